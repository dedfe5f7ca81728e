"""The window of one client: how far output may be ahead of its acknowledgements, by its round trip.

To use all of a connection's bandwidth, as much must be on its way as it carries in a round trip. For a client
that is near, or that has little bandwidth, a larger window would only delay the end of a flood that it
interrupts. So the window is twice what arrives within the shortest round trip so far, and at least
`flow.WINDOW`.
"""

from __future__ import annotations

import math
from collections import deque

from coderunner.wire import flow

MARK_BYTES = 128 * 1024  # between two pieces whose acknowledgement is timed
MAX_MARKS = 2 * flow.MAX_WINDOW // MARK_BYTES


class Window:
    """The window of one client in one channel.  ``size``: bytes; it only grows.

    ``marks``: offsets whose acknowledgement is timed.  ``now`` in its methods: seconds of one clock."""

    __slots__ = ("_trip", "marks", "size")

    def __init__(self) -> None:
        self.size = flow.WINDOW
        self.marks: deque[tuple[int, int, float]] = deque()  # (offset sent, offset acknowledged then, when)
        self._trip = math.inf

    def sent(self, offset: int, acked: int, now: float) -> None:
        """Output was sent up to ``offset``; the client had acknowledged up to ``acked``."""
        far = not self.marks or offset - self.marks[-1][0] >= MARK_BYTES
        if far and len(self.marks) < MAX_MARKS:
            self.marks.append((offset, acked, now))

    def acked(self, offset: int, now: float) -> bool:
        """The client has acknowledged output up to ``offset``; returns whether the window has grown."""
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
