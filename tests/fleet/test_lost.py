"""`reap --lost-key`: what a server has, or may have, is left; who has only taken its name is told of."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from coderunner.engine.containers import OWNER_LABEL
from coderunner.engine.docker import DockerEngine
from coderunner.engine.states import ContainerSummary
from coderunner.errors import CannotStart
from coderunner.fleet import lost
from coderunner.fleet.lost import remove_lost

OWNER = "0123456789abcdef"


class Stream:
    """To an agent that answers heartbeats, or hears of nobody."""

    def __init__(self, beats: bool) -> None:
        self._beats = beats

    async def read(self) -> bytes:
        if not self._beats:
            await asyncio.Event().wait()
        return b"beat"

    async def close(self) -> None:
        pass


class Engine:
    """An engine with one container. `beats`: a server is attached to its agent."""

    def __init__(self, labels: dict[str, str], beats: bool = False) -> None:
        self.removed: list[str] = []
        self._beats = beats
        self._one = ContainerSummary("id", "coderunner-x", "running", True, False, labels, "image", 0)

    async def list(self, labels: Any) -> list[ContainerSummary]:
        return [self._one]

    async def attach(self, container: str) -> Stream:
        return Stream(self._beats)

    async def remove(self, container: str) -> None:
        self.removed.append(container)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost, "LISTEN_SECONDS", 0.05)


@pytest.mark.parametrize("labels", [{OWNER_LABEL: OWNER}, {}], ids=["of now", "of an older release"])
@pytest.mark.parametrize("who", ["it shows itself", "it is heard", "it is heard beside a stranger"])
async def test_a_server_that_runs_keeps_its_sessions(labels: dict[str, str], who: str) -> None:
    engine = Engine(labels, beats="heard" in who)
    alive = {OWNER} if who == "it shows itself" else set()
    strangers = {OWNER: "process 7 of user 65534"} if "stranger" in who else {}
    with pytest.raises(CannotStart, match="a server that runs has 1 of the containers"):
        await remove_lost(cast(DockerEngine, engine), "x", None, alive, strangers)
    assert engine.removed == []


@pytest.mark.parametrize("labels", [{OWNER_LABEL: OWNER}, {}], ids=["of now", "of an older release"])
async def test_a_stranger_with_the_name_of_a_server_is_told_of(labels: dict[str, str]) -> None:
    """He may be a server of another user that stands still, so a person decides."""
    engine = Engine(labels)
    with pytest.raises(CannotStart) as told:
        await remove_lost(cast(DockerEngine, engine), "x", None, (), {OWNER: "process 7 of user 65534"})
    assert "process 7 of user 65534 holds the name" in str(told.value)
    assert "If not, end it and repeat this command" in str(told.value)
    assert engine.removed == []


async def test_a_stranger_with_another_name_keeps_nothing() -> None:
    engine = Engine({OWNER_LABEL: OWNER})
    assert await remove_lost(cast(DockerEngine, engine), "x", None, (), {"f" * 16: "a process"}) == 1
    assert engine.removed == ["id"]
