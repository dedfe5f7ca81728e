"""The reasons of a program's end that clients get, from the agent's evidence and from what the server
knows."""

from __future__ import annotations

from typing import Any

import pytest

from coderunner.schema.messages import Usage
from coderunner.sessions.channel import Channel
from coderunner.sessions.endings import exit_message, lost

KILLED = {"signal": "KILL"}


def channel(*, intent: str | None = None, end: int | None = 7) -> Channel:
    one = Channel(3, "pipe")
    one.take_output(1, 0, b"printed")
    one.intent, one.end = intent, end
    return one


@pytest.mark.parametrize(
    ("intent", "evidence", "reason"),
    [
        (None, {"main": {"code": 4}}, "exited"),
        (None, {"main": {"signal": "SEGV"}}, "signaled"),
        (None, {"compile": {"code": 1}}, "compile_failed"),
        (None, {"main": KILLED, "oom_kills": 1}, "oom"),
        (None, {"main": KILLED, "intent": "wall_timeout"}, "wall_timeout"),
        # This server's own reason goes before the agent's.
        ("killed", {"main": KILLED, "intent": "wall_timeout"}, "killed"),
        # It had ended by itself before the kill reached it.
        ("killed", {"main": {"code": 0}}, "exited"),
        (None, {"main": KILLED, "intent": "because"}, "signaled"),
        (None, {}, "engine_lost"),
        (None, "no evidence at all", "engine_lost"),
        (None, {"main": {"code": "four", "signal": 9}}, "engine_lost"),
    ],
)
def test_the_reason(intent: str | None, evidence: Any, reason: str) -> None:
    told = exit_message(channel(intent=intent), evidence, others=False)
    assert told.reason == reason
    assert (told.channel, told.offset, told.usage.output_bytes) == (3, 7, 7)


def test_the_figures_are_of_both_phases() -> None:
    phase = {"code": 0, "wall_ms": 10, "cpu_ms": 4, "memory_peak_bytes": 100, "left_behind": 1}
    told = exit_message(
        channel(), {"compile": phase, "main": {**phase, "memory_peak_bytes": 50}}, others=False
    )
    assert told.usage == Usage(wall_ms=20, cpu_ms=8, memory_peak_bytes=100, output_bytes=7)
    assert told.left_behind == 2


@pytest.mark.parametrize("others", [False, True])
def test_memory_that_may_have_been_anothers_is_said_to_be(others: bool) -> None:
    one = channel()
    told = exit_message(one, {"main": KILLED, "oom_kills": 1}, others=others)
    assert (told.limits_hit, told.shared) == (("memory",), others)
    assert one.unexplained_kill


@pytest.mark.parametrize(("intent", "reason"), [(None, "engine_lost"), ("wall_timeout", "wall_timeout")])
@pytest.mark.parametrize("end", [None, 7])
def test_an_end_that_nobody_saw(intent: str | None, reason: str, end: int | None) -> None:
    told = lost(channel(intent=intent, end=end))
    assert (told.reason, told.code, told.signal, told.offset) == (reason, None, None, 7)
    assert told.usage == Usage(wall_ms=None, cpu_ms=None, memory_peak_bytes=None, output_bytes=7)
