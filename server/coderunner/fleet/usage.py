"""What sessions use at the moment, for the operator: processor time, memory, output.

Read only while it is requested. Rates are the difference between two looks.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from coderunner import timing
from coderunner.engine.docker import DockerEngine
from coderunner.engine.host import Host
from coderunner.errors import EngineError
from coderunner.sessions.session import Session

LEAST_SECONDS = 0.5  # between the two looks of a rate
MOST_SECONDS = 15.0  # after which an earlier look is too old for one
INSPECTIONS = 8  # at one time


@dataclass(frozen=True, slots=True)
class Look:
    """One session at one moment. `at`: on a monotonic clock. None: cannot be read here."""

    at: float
    cpu_seconds: float | None
    memory_bytes: int | None
    output_bytes: int


@dataclass(frozen=True, slots=True)
class Use:
    """What a session uses. `cpu_share`: of one processor. `output_rate`: bytes a second. None: not known."""

    now: Look
    cpu_share: float | None
    output_rate: float | None


class Usage:
    """Looks at sessions. `host`: reads the kernel's files."""

    def __init__(self, engine: DockerEngine, host: Host | None = None) -> None:
        self._engine = engine
        self._host = host or Host()
        self._pids: dict[str, int | None] = {}  # of each session's PID 1; None: not visible here
        self._looks: dict[str, Look] = {}  # the earlier ones
        self._asking = asyncio.Lock()

    async def of(self, sessions: Mapping[str, Session]) -> dict[str, Use]:
        """What these sessions use, by id. Takes LEAST_SECONDS where none was looked at before."""
        async with self._asking:  # two who ask at once get the same
            for gone in self._pids.keys() - sessions.keys():
                del self._pids[gone]
                self._looks.pop(gone, None)
            await self._find(sessions)
            now = await self._look(sessions)
            fresh = {name: look for name, look in now.items() if not self._usable(name, look)}
            if fresh:
                self._looks.update(fresh)
                await asyncio.sleep(LEAST_SECONDS)
                now |= await self._look({name: sessions[name] for name in fresh})
            found = {name: _between(self._looks[name], look) for name, look in now.items()}
            self._looks.update({n: look for n, look in now.items() if look.at - self._looks[n].at >= 2.0})
            return found

    def _usable(self, name: str, look: Look) -> bool:
        before = self._looks.get(name)
        return before is not None and LEAST_SECONDS <= look.at - before.at <= MOST_SECONDS

    async def _find(self, sessions: Mapping[str, Session]) -> None:
        places = asyncio.Semaphore(INSPECTIONS)

        async def one(name: str) -> None:
            async with places:
                with contextlib.suppress(EngineError):  # it has ended, or the next look finds it
                    pid = (await self._engine.inspect(sessions[name].container.id)).pid
                    here = await asyncio.to_thread(self._host.uid, pid)
                    self._pids[name] = pid if pid and here == sessions[name].container.uid else None

        await asyncio.gather(*(one(name) for name in sessions.keys() - self._pids.keys()))

    async def _look(self, sessions: Mapping[str, Session]) -> dict[str, Look]:
        pids = {name: self._pids.get(name) for name in sessions}
        read = await asyncio.to_thread(self._read, pids)
        return {
            name: Look(timing.now(), *read[name], sum(one.cache.end for one in session.channels.values()))
            for name, session in sessions.items()
        }

    def _read(self, pids: Mapping[str, int | None]) -> dict[str, tuple[float | None, int | None]]:
        return {
            name: (None, None)
            if pid is None
            else (self._host.session_seconds(pid), self._host.session_memory(pid))
            for name, pid in pids.items()
        }


def _between(before: Look, now: Look) -> Use:
    passed = now.at - before.at
    if passed <= 0:
        return Use(now, None, None)
    share = None
    if now.cpu_seconds is not None and before.cpu_seconds is not None:
        share = max(0.0, now.cpu_seconds - before.cpu_seconds) / passed
    # Output of channels that were forgotten is not counted any more.
    return Use(now, share, max(0, now.output_bytes - before.output_bytes) / passed)
