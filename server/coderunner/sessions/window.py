"""How far output may be ahead of what one client has acknowledged, by how far away it is.

A client far away fills its line only if as much is under way as the line takes in a round trip. One that is
near, or behind a slow line, would only wait longer for the end of a flood that it interrupts. So the window
is twice what arrives within the least round trip that was seen, and never less than `flow.WINDOW`.
"""

from __future__ import annotations

import math
from collections import deque

from coderunner.wire import flow

MARK_BYTES = 128 * 1024  # between two pieces whose acknowledgement is timed
MAX_MARKS = 2 * flow.MAX_WINDOW // MARK_BYTES


class Window:
    """Of one client in one channel.  ``size``: bytes; it only grows.  ``marks``: pieces whose acknowledgement
    is timed."""

    __slots__ = ("_trip", "marks", "size")

    def __init__(self) -> None:
        self.size = flow.WINDOW
        self.marks: deque[tuple[int, int, float]] = deque()  # sent up to, acknowledged then, when
        self._trip = math.inf

    def sent(self, offset: int, acked: int, now: float) -> None:
        """Output was sent up to ``offset``, of which ``acked`` is what the client had acknowledged."""
        far = not self.marks or offset - self.marks[-1][0] >= MARK_BYTES
        if far and len(self.marks) < MAX_MARKS:
            self.marks.append((offset, acked, now))

    def acked(self, offset: int, now: float) -> bool:
        """The client has acknowledged output up to ``offset``; whether the window has grown."""
        mark = None
        while self.marks and self.marks[0][0] <= offset:
            mark = self.marks.popleft()
        if mark is None:
            return False
        _, before, when = mark
        took = max(now - when, 1e-6)
        self._trip = min(self._trip, took)
        wanted = min(flow.MAX_WINDOW, int(2 * (offset - before) * self._trip / took))
        if wanted <= self.size:
            return False
        self.size = wanted
        return True
