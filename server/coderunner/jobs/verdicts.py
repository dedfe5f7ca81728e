"""Decides how a case ended, and whether its output is the expected one. Without I/O."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass

from msgspec import UNSET

from coderunner.core.codec import STDERR, STDOUT, OutputFrame
from coderunner.jobs.answer import text
from coderunner.schema import messages as m
from coderunner.schema.api import CompileView
from coderunner.schema.batches import Case, Checker, Verdict

_WORD = re.compile(rb"\S+")
# A stricter form than float() takes: no "nan", "inf" or "1_0".
_NUMBER = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
SHOWN_WORD = 40  # characters of a word that a message shows
COMPILE_SHOWN = 256 * 1024  # bytes of a compiler's output that are shown
_BY_REASON = {
    "oom": "memory_limit",
    "wall_timeout": "time_limit",
    "cpu_timeout": "time_limit",
    "output_limit": "output_limit",
    "signaled": "runtime_error",
}
LOST = ("engine_lost", "evicted", "session_closed")
"""Exit reasons that the program did not cause: its case is run again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A program that has ended. `run_offset`: where its own output begins, after the compiler's. `began`:
    whether it ran at all; it did not if its compiler failed, or was ended by a limit."""

    exit: m.Exit
    frames: tuple[OutputFrame, ...]
    run_offset: int = 0
    began: bool = True

    @property
    def compiled(self) -> bool:
        """Whether the compiler, if there is one, made a program."""
        # A compiler that was ended by a limit has the limit's reason, not `compile_failed`.
        return self.began and self.exit.reason != "compile_failed"

    def stream(self, number: int) -> bytes:
        """All output of the program on this stream, without the compiler's."""
        return b"".join(
            frame.payload[max(0, self.run_offset - frame.offset) :]
            for frame in self.frames
            if frame.stream == number
        )


def by_end(outcome: Outcome) -> str | None:
    """The verdict if a program did not end normally; None if its output decides."""
    told = outcome.exit
    if told.reason == "exited" and told.code == 0:
        return None
    # The kernel may kill a child of the program (OOM), or the program may handle a failed allocation.
    if told.reason in ("exited", "signaled") and "memory" in told.limits_hit:
        return "memory_limit"
    return _BY_REASON.get(told.reason, "runtime_error")


def compared(checker: Checker, wanted: bytes, got: bytes) -> str:
    """Describes the first difference between the expected output `wanted` and `got`; "" if there is none."""
    if checker.kind == "exact":
        return "" if got == wanted else _first_byte(wanted, got)
    # Lazily, word by word: a list of all words would take many times the output's size.
    pairs = itertools.zip_longest(_WORD.finditer(wanted), _WORD.finditer(got))
    for place, (mine, theirs) in enumerate(pairs, 1):
        if mine is None or theirs is None:
            return f"word {place}: expected {_shown(mine)}, found {_shown(theirs)}"
        one, other = mine.group(), theirs.group()
        # Equal bytes first: most words are, and numbers that are written alike need no parsing.
        if one != other and not (checker.kind == "floats" and _near(one, other, checker.tolerance)):
            return f"word {place}: expected {_shown(mine)}, found {_shown(theirs)}"
    return ""


def _first_byte(wanted: bytes, got: bytes) -> str:
    at = next((i for i, (a, b) in enumerate(zip(wanted, got, strict=False)) if a != b), None)
    if at is None:
        at = min(len(wanted), len(got))
    return f"byte {at}: expected {wanted[at : at + SHOWN_WORD]!r}, found {got[at : at + SHOWN_WORD]!r}"


def _shown(found: re.Match[bytes] | None) -> str:
    if found is None:
        return "the end"
    word = found.group()
    return repr(word[:SHOWN_WORD].decode("utf-8", "replace")) + ("..." if len(word) > SHOWN_WORD else "")


def _near(one: bytes, other: bytes, tolerance: float) -> bool:
    # Bounds the time that parsing takes.
    if len(one) > 400 or len(other) > 400:
        return False
    if not _NUMBER.fullmatch(one) or not _NUMBER.fullmatch(other):
        return False
    mine, theirs = float(one), float(other)
    if not math.isfinite(mine) or not math.isfinite(theirs):
        return mine == theirs
    # Either is enough, as is usual for judges: relative for large results, absolute for ones near 0.
    return math.isclose(mine, theirs, rel_tol=tolerance, abs_tol=tolerance)


def compile_view(outcome: Outcome) -> CompileView:
    """The compiler's output, cut to the length that is shown."""
    failed = not outcome.compiled
    upto = min(COMPILE_SHOWN, outcome.exit.offset if failed else outcome.run_offset)
    both = bytearray()
    streams = {STDOUT: bytearray(), STDERR: bytearray()}
    order = [0]
    for frame in outcome.frames:
        data = frame.payload[: max(0, upto - frame.offset)]
        both += data
        streams[frame.stream] += data
        if data and (frame.stream == STDERR) is (len(order) % 2 == 1):
            order.append(0)
        order[-1] += len(data)
    texts = {**text("stdout", streams[STDOUT]), **text("stderr", streams[STDERR]), **text("output", both)}
    return CompileView(**texts, order=tuple(order), failed=failed)  # type: ignore[arg-type]


def verdict_of(index: int, case: Case, name: str, outcome: Outcome, shown: int, message: str = "") -> Verdict:
    """A verdict on a case that was run. `name`: the verdict. `shown`: bytes of each stream to include."""
    told = outcome.exit
    more: dict[str, object] = {}
    if shown:
        more |= text("stdout", _beginning(outcome.stream(STDOUT), shown))
        more |= text("stderr", _beginning(outcome.stream(STDERR), shown))
    if message:
        more["message"] = message
    if case.name is not None:
        more["name"] = case.name
    return Verdict(
        index=index,
        verdict=name,
        reason=told.reason,
        code=told.code,
        signal=told.signal,
        limits_hit=told.limits_hit,
        left_behind=told.left_behind,
        usage=told.usage,
        **more,  # type: ignore[arg-type]
    )


def _beginning(data: bytes, maximum: int) -> bytes:
    """The first `maximum` bytes, or a few less, so that no UTF-8 character is cut."""
    if len(data) > maximum:
        # 10xxxxxx is a continuation byte, so a cut before it would be within a character.
        while maximum and data[maximum] & 0xC0 == 0x80:
            maximum -= 1
    return data[:maximum]


def without_evidence(index: int, case: Case, name: str, message: str = "") -> Verdict:
    """A verdict on a case that was not run, or not to its end. `name`: the verdict."""
    return Verdict(
        index=index,
        verdict=name,
        name=case.name if case.name is not None else UNSET,
        message=message or UNSET,
    )
