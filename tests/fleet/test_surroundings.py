"""What of the machine is not as it should be: in the log at start, and for whoever asks after."""

from __future__ import annotations

import logging
import platform
from typing import Any

import pytest
from msgspec import convert

from coderunner.engine.states import EngineInfo
from coderunner.errors import EngineUnavailable
from coderunner.fleet import surroundings
from coderunner.fleet.surroundings import Surroundings
from coderunner.schema.engine import EngineFacts, EngineVersion

MEMORY = 4 * 1024**3


class Engine:
    """Away for the first `absent` questions."""

    def __init__(self, absent: int = 0, **facts: Any) -> None:
        self.absent = absent
        self.facts = {"KernelVersion": platform.release(), "MemTotal": MEMORY, **facts}

    async def info(self) -> EngineInfo:
        if self.absent:
            self.absent -= 1
            raise EngineUnavailable()
        return EngineInfo.of(EngineVersion(), convert(self.facts, EngineFacts), "v1.41")


def around(engine: Engine, watched: list[str] | None = None, level: int = logging.WARNING) -> Surroundings:
    return Surroundings(engine, 10**6, lambda: watched or [], level)  # type: ignore[arg-type]


async def test_what_is_below_its_floor_is_in_the_log_and_in_the_warnings(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A million sessions have more terminals than any kernel."""
    one = around(Engine(SecurityOptions=["name=apparmor"]), ["not watched"])
    assert one.confinement == "unknown"
    assert one.warnings() == ["not watched"]
    with caplog.at_level(logging.INFO):
        await one.look()
    assert one.confinement == "apparmor"
    assert any("kernel.pty.max" in text for text in one.warnings())
    assert one.warnings()[-1] == "not watched"
    warned = [line.message for line in caplog.records if line.levelno == logging.WARNING]
    assert any("kernel.pty.max" in text for text in warned)


async def test_another_machines_kernel_is_not_judged(caplog: pytest.LogCaptureFixture) -> None:
    one = around(Engine(KernelVersion="4.19.0-other"), level=logging.DEBUG)
    with caplog.at_level(logging.WARNING):
        await one.look()
    (text,) = one.warnings()
    assert "another kernel (4.19.0-other)" in text
    assert caplog.records == []  # a developer's log is not warned


async def test_it_waits_for_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "RETRY_SECONDS", 0.001)
    one = around(Engine(absent=3, SecurityOptions=["name=selinux"]))
    await one.look()
    assert one.confinement == "selinux"
