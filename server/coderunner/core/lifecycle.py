"""A channel's phases, which only move forward, and its end, which is judged by evidence and never guessed.

The evidence comes from the agent in the container, which shares it with hostile programs: `read_report` takes
any JSON value and answers what is well-formed in it. What a program can do by itself (exit with 137, die of a
signal of its own) never passes for something that was done to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from coderunner.schema import reports
from coderunner.schema.check import as_far_as_right
from coderunner.schema.messages import Usage
from coderunner.schema.types import MAX_OFFSET


class Phase(StrEnum):
    """What a channel does; it only moves forward."""

    COMPILING = "compiling"
    RUNNING = "running"
    EXITED = "exited"

    def may_become(self, later: Phase) -> bool:
        """Forward only; a phase may be left out, none comes twice."""
        order = list(Phase)
        return order.index(later) > order.index(self)


class ExitReason(StrEnum):
    """Why a program is over, as the wire names it."""

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
        """Whether its supervisor saw it end."""
        return self.code is not None or self.signal is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of a channel's end.

    `compile` and `main`: the ends of the first processes of the two phases, None for a phase that was not.
    `intent`: why we sent SIGKILL, None where we sent none. The agent stops the whole tree before it kills, so
    a first process that was alive then always ends by SIGKILL.
    `oom_kills`, `fork_refusals`: how far the kernel's counts rose in the channel's time, 0 where it has none.
    `thrashed`: for want of memory the container read its programs' files again and again.
    `others`: another channel may as well be the one that the kernel's count of oom kills means.
    `supervisor_lost`: a program killed the process that watched over it.
    """

    compile: Ended | None = None
    main: Ended | None = None
    intent: Intent | None = None
    oom_kills: int = 0
    fork_refusals: int = 0
    disk_full: bool = False
    thrashed: bool = False
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
    hits = (
        ("memory", memory or evidence.thrashed),
        ("pids", evidence.fork_refusals > 0),
        ("disk", evidence.disk_full),
    )
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


def read_report(raw: object, *, intent: Intent | None = None, others: bool = False) -> Report:
    """Reads an agent's evidence; never fails. What is missing or malformed in it counts as not known.

    `intent` is the server's own record and goes before the agent's; `others`: see Evidence.
    """
    report = as_far_as_right(reports.Evidence, raw)
    ends = [end for end in (report.compile, report.main) if end is not None]
    if intent is None and report.intent is not None and report.intent in set(Intent):
        intent = Intent(report.intent)
    evidence = Evidence(
        compile=_end(report.compile),
        main=_end(report.main),
        intent=intent,
        oom_kills=report.oom_kills,
        fork_refusals=report.fork_refusals,
        disk_full=report.disk_full,
        thrashed=report.thrashed,
        others=others,
        supervisor_lost=report.supervisor_lost,
    )
    usage = Usage(
        wall_ms=_together((end.wall_ms for end in ends), sum),
        cpu_ms=_together((end.cpu_ms for end in ends), sum),
        memory_peak_bytes=_together((end.memory_peak_bytes for end in ends), max),
        output_bytes=None,
    )
    return Report(evidence, usage, _together((end.left_behind for end in ends), sum) or 0)


def _end(said: reports.End | None) -> Ended | None:
    if said is None:
        return None
    return Ended(code=said.code if said.signal is None else None, signal=said.signal)


def _together(counts: Iterable[int | None], combine: Callable[[list[int]], int]) -> int | None:
    known = [count for count in counts if count is not None]
    return min(combine(known), MAX_OFFSET) if known else None
