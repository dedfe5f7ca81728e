"""A channel's phases, which only move forward, and its end, which is judged by evidence and never guessed.

The evidence comes from the agent in the container, which shares it with hostile programs: `read_report` takes
any JSON value and answers what is well-formed in it. What a program can do by itself (exit with 137, die of a
signal of its own) never passes for something that was done to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from coderunner.schema.messages import Usage
from coderunner.schema.types import MAX_OFFSET


class Phase(StrEnum):
    COMPILING = "compiling"
    RUNNING = "running"
    EXITED = "exited"

    def may_become(self, later: Phase) -> bool:
        """Forward only; a phase may be left out, none comes twice."""
        order = list(Phase)
        return order.index(later) > order.index(self)


class ExitReason(StrEnum):
    EXITED = "exited"
    SIGNALED = "signaled"
    COMPILE_FAILED = "compile_failed"
    OOM = "oom"
    WALL_TIMEOUT = "wall_timeout"
    CPU_TIMEOUT = "cpu_timeout"
    OUTPUT_LIMIT = "output_limit"
    KILLED = "killed"
    EVICTED = "evicted"
    SESSION_CLOSED = "session_closed"
    ENGINE_LOST = "engine_lost"


class Intent(StrEnum):
    """Why we killed; recorded before the signal was sent. The values are the exit reasons of these names."""

    WALL_TIMEOUT = "wall_timeout"
    CPU_TIMEOUT = "cpu_timeout"
    OUTPUT_LIMIT = "output_limit"
    KILLED = "killed"
    EVICTED = "evicted"
    SESSION_CLOSED = "session_closed"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: a code, or a signal's name without SIG, or neither (nobody saw it)."""

    code: int | None = None
    signal: str | None = None

    @property
    def seen(self) -> bool:
        return self.code is not None or self.signal is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of a channel's end.

    `compile` and `main`: the ends of the first processes of the two phases, None for a phase that was not.
    `intent`: why we sent SIGKILL, None where we sent none. The agent stops the whole tree before it kills, so
    a first process that was alive then always ends by SIGKILL.
    `oom_kills`, `fork_refusals`: how far the kernel's counts rose in the channel's time, 0 where it has none.
    `others`: another channel may as well be the one that the kernel's count of oom kills means.
    `supervisor_lost`: a program killed the process that watched over it.
    """

    compile: Ended | None = None
    main: Ended | None = None
    intent: Intent | None = None
    oom_kills: int = 0
    fork_refusals: int = 0
    disk_full: bool = False
    others: bool = False
    supervisor_lost: bool = False

    @property
    def last(self) -> Ended:
        """The end that ended the channel. After a good compile without a program's end, nobody saw it."""
        if self.main is None and self.compile is not None and self.compile.code != 0:
            return self.compile
        return self.main or Ended()


class Verdict(NamedTuple):
    """`shared`: the memory evidence fits another channel of the session as well."""

    reason: ExitReason
    limits_hit: tuple[str, ...]
    shared: bool


def qualifies_for_oom(evidence: Evidence) -> bool:
    """The kernel killed for memory, and the first process ended by a SIGKILL that we did not send."""
    return evidence.oom_kills > 0 and evidence.last.signal == "KILL" and evidence.intent is None


def judge(evidence: Evidence) -> Verdict:
    """The channel's `exit.reason`, `limits_hit` and `shared`."""
    memory = evidence.oom_kills > 0
    hits = (("memory", memory), ("pids", evidence.fork_refusals > 0), ("disk", evidence.disk_full))
    return Verdict(_reason(evidence), tuple(name for name, hit in hits if hit), memory and evidence.others)


def _reason(evidence: Evidence) -> ExitReason:
    last = evidence.last
    if evidence.intent is not None and (last.signal == "KILL" or not last.seen):
        # With another end than by SIGKILL, it had ended before our kill.
        return ExitReason(evidence.intent.value)
    if not last.seen:
        # A lost supervisor was killed from within: a signal that nobody saw. Otherwise nothing is known.
        return ExitReason.SIGNALED if evidence.supervisor_lost else ExitReason.ENGINE_LOST
    if qualifies_for_oom(evidence):
        return ExitReason.OOM
    if evidence.main is None:
        return ExitReason.COMPILE_FAILED
    return ExitReason.EXITED if last.signal is None else ExitReason.SIGNALED


# --- the agent's report -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Report:
    """An agent's report of an end, read. `usage.output_bytes` is None: the journal knows it."""

    evidence: Evidence
    usage: Usage
    left_behind: int


_SIGNAL = re.compile(r"[A-Z][A-Z0-9+-]{1,15}")


def read_report(raw: Any, *, intent: Intent | None = None, others: bool = False) -> Report:
    """Reads an agent's evidence; never fails. What is missing or malformed in it counts as not known.

    `intent` is the server's own record and goes before the agent's; `others`: see Evidence.
    The report: {"compile": end|null, "main": end|null, "intent", "oom_kills", "fork_refusals", "disk_full",
    "supervisor_lost"}; an end: {"code", "signal", "left_behind", "wall_ms", "cpu_ms", "memory_peak_bytes"}.
    """
    report = raw if isinstance(raw, Mapping) else {}
    ends = [part for part in (report.get("compile"), report.get("main")) if isinstance(part, Mapping)]
    said = report.get("intent")
    if intent is None and isinstance(said, str) and said in set(Intent):
        intent = Intent(said)
    evidence = Evidence(
        compile=_end(report.get("compile")),
        main=_end(report.get("main")),
        intent=intent,
        oom_kills=_count(report.get("oom_kills")) or 0,
        fork_refusals=_count(report.get("fork_refusals")) or 0,
        disk_full=report.get("disk_full") is True,
        others=others,
        supervisor_lost=report.get("supervisor_lost") is True,
    )
    usage = Usage(
        wall_ms=_together(ends, "wall_ms", sum),
        cpu_ms=_together(ends, "cpu_ms", sum),
        memory_peak_bytes=_together(ends, "memory_peak_bytes", max),
        output_bytes=None,
    )
    return Report(evidence, usage, _together(ends, "left_behind", sum) or 0)


def _end(raw: Any) -> Ended | None:
    if not isinstance(raw, Mapping):
        return None
    code, signal = raw.get("code"), raw.get("signal")
    if isinstance(signal, str) and _SIGNAL.fullmatch(signal):
        return Ended(signal=signal)
    return Ended(code=code) if type(code) is int and 0 <= code <= 255 else Ended()


def _count(raw: Any) -> int | None:
    return min(raw, MAX_OFFSET) if type(raw) is int and raw >= 0 else None


def _together(ends: list[Mapping[Any, Any]], name: str, combine: Any) -> int | None:
    counts = [_count(end.get(name)) for end in ends]
    known = [count for count in counts if count is not None]
    return min(combine(known), MAX_OFFSET) if known else None
