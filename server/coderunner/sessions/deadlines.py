"""A session's deadlines. No clock: the present moment is an argument."""

from __future__ import annotations

from dataclasses import dataclass

from coderunner.schema.messages import Expiry

WARNING_SECONDS = 60.0  # before an end, clients are warned
LOOK_SECONDS = 5.0  # while nobody is attached, as the resume time-out depends on the queue


@dataclass(frozen=True, slots=True)
class ResumeTimeouts:
    """Seconds that a session without attachments is kept: ``wanted`` while others wait for a slot."""

    wanted: float
    unwanted: float

    def shortest(self) -> ResumeTimeouts:
        """As if others always waited."""
        return ResumeTimeouts(self.wanted, self.wanted)


class Deadlines:
    """The deadlines of one session.  ``lifetime``, ``idle``: seconds.

    Parameters of the methods: ``now``: seconds of one monotonic clock, so that a change of the wall clock
    ends no session.  ``busy``: a program runs, so the session is not idle.  ``wanted``: somebody waits for a
    slot.
    """

    def __init__(self, now: float, *, lifetime: float, idle: float, resume: ResumeTimeouts) -> None:
        self._over_at = now + lifetime
        self._idle = idle
        self._resume = resume
        self._active = now
        self._detached: float | None = now
        self._warned: set[str] = set()

    def touch(self, now: float) -> None:
        """There was activity: input, a run, an extension, or the end of a program."""
        self._active = now
        self._warned.discard("idle_timeout")

    def attach(self) -> None:
        """A client has attached.  It is warned of near ends, even if another one was before."""
        self._detached = None
        self._warned.clear()

    def detach(self, now: float) -> None:
        """The last attachment has ended."""
        self._detached = now

    def _all(self, *, busy: bool, wanted: bool) -> list[tuple[float, str]]:
        """(moment, reason) of every deadline that is in force."""
        found = [(self._over_at, "lifetime")]
        if not busy:
            found.append((self._active + self._idle, "idle_timeout"))
        if self._detached is not None:
            resume = self._resume.wanted if wanted else self._resume.unwanted
            found.append((self._detached + resume, "resume_timeout"))
        return found

    def due(self, now: float, *, busy: bool, wanted: bool) -> str | None:
        """The reason of a deadline that has passed; None without one."""
        return next((why for moment, why in self._all(busy=busy, wanted=wanted) if now >= moment), None)

    def warn(self, now: float, *, busy: bool) -> list[tuple[str, float]]:
        """(reason, seconds left) of the deadlines that are near and were not warned of yet."""
        near = []
        for moment, why in self._all(busy=busy, wanted=False):
            if why != "resume_timeout" and why not in self._warned and now >= moment - WARNING_SECONDS:
                self._warned.add(why)
                near.append((why, max(0.0, moment - now)))
        return near

    def next_look(self, now: float, *, busy: bool, wanted: bool) -> float:
        """Seconds until a deadline or a warning may be due."""
        moments = []
        for moment, why in self._all(busy=busy, wanted=wanted):
            told = why in self._warned or why == "resume_timeout"
            moments.append(moment if told else moment - WARNING_SECONDS)
        wait = max(0.01, min(moments) - now)
        return min(wait, LOOK_SECONDS) if self._detached is not None else wait

    def expiry(self, now: float, *, busy: bool) -> Expiry:
        """The remaining times, in milliseconds, as clients are sent them."""
        idle = None if busy else max(0, round((self._active + self._idle - now) * 1000))
        return Expiry(idle_ms=idle, total_ms=max(0, round((self._over_at - now) * 1000)))
