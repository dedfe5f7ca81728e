"""A session's deadlines: pure arithmetic, the moment is an argument."""

from __future__ import annotations

from dataclasses import dataclass

from coderunner.schema.messages import Expiry

WARNING_SECONDS = 60.0
LOOK_SECONDS = 5.0  # while nobody is attached: a queue that forms shortens the time for coming back


@dataclass(frozen=True, slots=True)
class ResumeTimeouts:
    """Seconds that a session without an attachment is kept: while others want its slot, and otherwise."""

    wanted: float
    unwanted: float


class Deadlines:
    """``busy``: a program lives, so the session is not idle.  ``wanted``: somebody waits for a slot.

    All moments are of one monotonic clock, in seconds: a wall clock that jumps ends nobody's session.
    """

    def __init__(self, now: float, *, lifetime: float, idle: float, resume: ResumeTimeouts) -> None:
        self._over_at = now + lifetime
        self._idle = idle
        self._resume = resume
        self._active = now
        self._detached: float | None = now
        self._warned: set[str] = set()

    def touch(self, now: float) -> None:
        """Input, a run, an extension, the end of a program."""
        self._active = now
        self._warned.discard("idle_timeout")

    def attach(self) -> None:
        """Who comes now has been told nothing yet."""
        self._detached = None
        self._warned.clear()

    def detach(self, now: float) -> None:
        """The last attachment has gone."""
        self._detached = now

    def _all(self, *, busy: bool, wanted: bool) -> list[tuple[float, str]]:
        """(moment, `closed.reason`) of every end that time may bring."""
        found = [(self._over_at, "lifetime")]
        if not busy:
            found.append((self._active + self._idle, "idle_timeout"))
        if self._detached is not None:
            resume = self._resume.wanted if wanted else self._resume.unwanted
            found.append((self._detached + resume, "resume_timeout"))
        return found

    def due(self, now: float, *, busy: bool, wanted: bool) -> str | None:
        """The reason for which the session is over now."""
        return next((why for moment, why in self._all(busy=busy, wanted=wanted) if now >= moment), None)

    def warn(self, now: float, *, busy: bool) -> list[tuple[str, float]]:
        """(reason, seconds left) of the ends that are near and have not been told yet."""
        near = []
        for moment, why in self._all(busy=busy, wanted=False):
            if why != "resume_timeout" and why not in self._warned and now >= moment - WARNING_SECONDS:
                self._warned.add(why)
                near.append((why, max(0.0, moment - now)))
        return near

    def next_look(self, now: float, *, busy: bool, wanted: bool) -> float:
        """Seconds until something may be due or to be told."""
        moments = []
        for moment, why in self._all(busy=busy, wanted=wanted):
            told = why in self._warned or why == "resume_timeout"
            moments.append(moment if told else moment - WARNING_SECONDS)
        wait = max(0.01, min(moments) - now)
        return min(wait, LOOK_SECONDS) if self._detached is not None else wait

    def expiry(self, now: float, *, busy: bool) -> Expiry:
        """What is left, in milliseconds, as clients are told."""
        idle = None if busy else max(0, round((self._active + self._idle - now) * 1000))
        return Expiry(idle_ms=idle, total_ms=max(0, round((self._over_at - now) * 1000)))
