"""Slows down output in bulk while people type, so that their keys are echoed at once.

A program that prints without end takes all processors it can have: its own, the agent's, the server's. The
kernel shares them fairly, but a key's echo passes through five processes and waits for its turn in each.
Measured on two processors, with 45 people who type and 5 programs that print without end, the median echo
took 6 ms and the 99th percentile 36 to 70 ms; at `BYTES_PER_PROCESSOR`, 1.1 ms and 8 to 14 ms; and 1 ms and
5 to 6 ms without those programs.

Nobody reads that fast; and as soon as nobody types, output is as fast as before. The keys of a session slow
down the output of other sessions only: who types a command waits for what it prints.

The sessions that print share the rate, and not the connections: a hundred may watch one session.
"""

from __future__ import annotations

import math

QUIET_SECONDS = 1.0  # without a key; then nobody counts as typing
MAX_KEY_BYTES = 64  # of one input; more was pasted, or is sent by a program
MIN_BULK_BYTES = 4096  # of one write; less may be an echo, or an editor's screen
BYTES_PER_PROCESSOR = 4_000_000  # a second, of all sessions together
MOST_SECONDS = 1.0  # that a piece rests, however many connections share the rate
MAX_PROCESSORS = 8  # the event loop is one thread: it can use no more, however many the machine has


class Bulk:
    """Computes how long output is paused after each piece. `now` in its methods: seconds of one clock."""

    def __init__(self, processors: int) -> None:
        self._rate = BYTES_PER_PROCESSOR * min(processors, MAX_PROCESSORS)
        self._last = ("", -math.inf)  # the session that typed last, and when
        self._other = ("", -math.inf)  # of the others the one that did
        self._free = -math.inf  # when the pieces so far will have taken their time
        self._shares: dict[str, float] = {}  # the same of each session that prints, at its share of the rate

    def input(self, session: str, size: int, now: float) -> None:
        """Called when a client of `session` has sent `size` bytes of input."""
        if size > MAX_KEY_BYTES:
            return
        if self._last[0] != session:
            self._other = self._last
        self._last = (session, now)

    def waits(self, session: str, now: float) -> bool:
        """Whether this session's output in bulk has to wait, as others type."""
        typed = (self._other if self._last[0] == session else self._last)[1]
        return now - typed <= QUIET_SECONDS

    def rest(self, session: str, size: int, now: float) -> float:
        """Returns the seconds for which this session's output has to pause after a piece of `size` bytes.

        The sessions that print share the rate alike, to however many clients each is sent."""
        if size < MIN_BULK_BYTES or not self.waits(session, now):
            return 0.0
        seconds = size / self._rate
        # Bounded: messages to those who only watch wait as well, and a page takes silence for a loss.
        self._free = min(max(now, self._free) + seconds, now + MOST_SECONDS)
        share = max(now, self._shares.pop(session, now))
        # The first is the one that has sent nothing for longest.
        while self._shares and next(iter(self._shares.values())) < now - QUIET_SECONDS:
            del self._shares[next(iter(self._shares))]
        share += seconds * (len(self._shares) + 1)
        # No longer than all pieces take: others may print less than their share.
        self._shares[session] = min(self._free, share)
        return self._shares[session] - now
