"""The parts of the server that only the operator's handlers use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aiohttp import web

from coderunner.config import Settings
from coderunner.engine.docker import DockerEngine
from coderunner.fleet.registry import Registry
from coderunner.fleet.usage import Usage
from coderunner.operating.history import History, Levels
from coderunner.operating.images import Jobs, Say
from coderunner.operating.loadtests import LoadTests
from coderunner.operating.records import Records


class Builder(Protocol):
    """The image builder, as the operator's handlers use it. All raise EngineError."""

    def reference(self, name: str) -> str:
        """The name of a language's image."""

    async def built(self, name: str) -> str | None:
        """When a language's image was made; None if it is missing."""

    async def renew(self, names: Sequence[str], say: Say) -> list[str]:
        """Rebuilds images for which there are security updates; returns their languages."""

    async def prune(self, names: Sequence[str]) -> list[str]:
        """Removes images that no server uses; returns their tags."""


@dataclass(slots=True)
class Room:
    """The parts behind the operator's interface.

    `prepare`: builds a language's image, tests it and offers the language. `builder` and `prepare` are None
    until they are loaded.
    """

    engine: DockerEngine
    usage: Usage
    history: History
    records: Records
    jobs: Jobs
    load_tests: LoadTests
    builder: Builder | None = None
    prepare: Callable[[str], Awaitable[None]] | None = None

    async def stop(self) -> None:
        """Cancels running jobs and load tests, and saves the history."""
        await self.jobs.stop()
        await self.load_tests.stop()
        await self.history.keep()


def room_of(
    settings: Settings, registry: Registry, engine: DockerEngine, records: Records, folder: Path
) -> Room:
    """Makes the operator's parts. `folder`: for the files of history and load tests."""

    def levels() -> Levels:
        sessions = list(registry.sessions.values())
        live = Counter(one.language.name for one in sessions)
        rooms = Counter(one.record.room for one in sessions if one.record.room is not None)
        stats = registry.queue.stats()
        return stats.active, stats.queued, live, rooms

    name = settings.instance_name
    return Room(
        engine,
        Usage(engine),
        History(folder / f"{name}.history", levels),
        records,
        Jobs(),
        LoadTests(folder / f"{name}.load-tests", settings.admin_key or ""),
    )


ROOM: web.AppKey[Room] = web.AppKey("room", Room)
