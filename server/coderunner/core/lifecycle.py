"""A channel's phases, and the decision why its program ended.

The reason is derived from evidence of the kernel and of this server, not from exit codes: a program can exit
with 137 or kill itself with a signal, and that must not be reported as out of memory or as a timeout. The
evidence comes from the agent, which runs in a container with hostile programs, so `read_report` accepts any
JSON value and uses what is well-formed in it.
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
    """What a channel's program is doing."""

    COMPILING = "compiling"
    RUNNING = "running"
    EXITED = "exited"

    def may_become(self, later: Phase) -> bool:
        """Whether `later` may follow this phase: phases only move forward, and may be skipped."""
        order = list(Phase)
        return order.index(later) > order.index(self)


class ExitReason(StrEnum):
    """Why a program ended; the values are those of the protocol's `exit.reason`."""

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
    """Why the server or the agent killed a program; recorded before SIGKILL is sent, so that an end that
    comes first is not attributed to it. The values are those of the exit reasons of the same names."""

    WALL_TIMEOUT = "wall_timeout"
    CPU_TIMEOUT = "cpu_timeout"
    OUTPUT_LIMIT = "output_limit"
    KILLED = "killed"
    EVICTED = "evicted"
    SESSION_CLOSED = "session_closed"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: an exit code, a signal's name without SIG, or neither if it was not seen."""

    code: int | None = None
    signal: str | None = None

    @property
    def seen(self) -> bool:
        """Whether the supervisor waited for the process and got its status."""
        return self.code is not None or self.signal is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known about a channel's end.

    `compile`, `main`: how the first process of each phase ended, None for a phase that did not take place.
    `intent`: why SIGKILL was sent, None if it was not. The agent stops the whole process tree before it
    kills, so a first process that was alive at that moment always ends by SIGKILL.
    `oom_kills`, `fork_refusals`: by how much the cgroup's counters rose during the channel's life, 0 if the
    kernel has no such counter.
    `disk_full`: a file system of the container was full.
    `thrashed`: memory was so short that the kernel kept reading the programs' files from disk again.
    `others`: other channels were alive in the container, whose memory the counters cover as well.
    `supervisor_lost`: a program killed the process that supervised it.
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
        """The process end that decides the channel's end.

        A successful compile without a known end of the program counts as an end that was not seen.
        """
        if self.main is None and self.compile is not None and self.compile.code != 0:
            return self.compile
        return self.main or Ended()


class Verdict(NamedTuple):
    """The decision on a channel's end. `shared`: the memory evidence may belong to another channel of the
    session, as the kernel counts by container."""

    reason: ExitReason
    limits_hit: tuple[str, ...]
    shared: bool


def qualifies_for_oom(evidence: Evidence) -> bool:
    """Whether the end counts as out of memory: the kernel's OOM killer acted, and the first process ended by
    a SIGKILL that was not sent by the agent."""
    return evidence.oom_kills > 0 and evidence.last.signal == "KILL" and evidence.intent is None


def judge(evidence: Evidence) -> Verdict:
    """Decides the channel's `exit.reason`, `limits_hit` and `shared`."""
    memory = evidence.oom_kills > 0
    hits = (
        ("memory", memory or evidence.thrashed),
        ("pids", evidence.fork_refusals > 0),
        ("disk", evidence.disk_full),
    )
    # A limit that was hit is reported even if it is not the reason: a program may survive a refused fork.
    return Verdict(_reason(evidence), tuple(name for name, hit in hits if hit), memory and evidence.others)


def _reason(evidence: Evidence) -> ExitReason:
    last = evidence.last
    if evidence.intent is not None and (last.signal == "KILL" or not last.seen):
        # With any other end than SIGKILL the program had ended by itself before the kill reached it.
        return ExitReason(evidence.intent.value)
    if not last.seen:
        # Only a program of the session itself can kill a supervisor, so that is the program's own doing.
        # Without a supervisor's report and without its loss, nothing is known: the container itself is gone.
        return ExitReason.SIGNALED if evidence.supervisor_lost else ExitReason.ENGINE_LOST
    if qualifies_for_oom(evidence):
        return ExitReason.OOM
    if evidence.main is None:
        return ExitReason.COMPILE_FAILED
    return ExitReason.EXITED if last.signal is None else ExitReason.SIGNALED


# --- the agent's report -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Report:
    """An agent's parsed report of an end. `usage.output_bytes` is None: the caller takes it from the journal.
    `left_behind`: number of processes that were still alive when the first one ended. `compile_usage`: the
    compiler's part of `usage`; None if no compiler ran."""

    evidence: Evidence
    usage: Usage
    left_behind: int
    compile_usage: Usage | None = None


def read_report(raw: object, *, intent: Intent | None = None, others: bool = False) -> Report:
    """Parses an agent's evidence. Never raises: missing and malformed fields count as unknown.

    `intent`: why this server had the program killed; it takes precedence over the agent's.
    `others`: see Evidence.
    """
    # Leniently: an end without some of its figures is better than an end that is never reported.
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
        # The phases run one after the other: times add up, peaks do not.
        memory_peak_bytes=_together((end.memory_peak_bytes for end in ends), max),
        output_bytes=None,
    )
    compiled = report.compile
    compile_usage = None
    if compiled is not None:
        compile_usage = Usage(compiled.wall_ms, compiled.cpu_ms, compiled.memory_peak_bytes, None)
    return Report(evidence, usage, _together((end.left_behind for end in ends), sum) or 0, compile_usage)


def _end(said: reports.End | None) -> Ended | None:
    if said is None:
        return None
    # A process has either a code or a signal; an agent that reports both is not believed about the code.
    return Ended(code=said.code if said.signal is None else None, signal=said.signal)


def _together(counts: Iterable[int | None], combine: Callable[[list[int]], int]) -> int | None:
    """Combines the known counts, up to the protocol's maximum; None if none is known."""
    known = [count for count in counts if count is not None]
    return min(combine(known), MAX_OFFSET) if known else None
