"""Deadlines for peers, on a clock that stops while the event loop is blocked.

A timer that expires on a loop that was blocked does not show that the peer is silent: its bytes may be in a
socket's buffer, unread. So the time by which the loop was late is measured and not counted, and a deadline is
evaluated only by a check that ran on time, so that waiting data were read before it. Use these wherever a
deadline ends, refuses or removes something; `asyncio.sleep` is for pauses.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator, Callable

TICK = 0.1  # seconds between two measurements
TOLERANCE = 0.02  # seconds by which a timer may be late on a loop that is not blocked
LONG_STALL = 0.5  # seconds; after a stall this long there is much to read, and
RECOVERY = 0.25  # the clock stays stopped for this many seconds more
LOOK = 0.05  # seconds after which a late check is repeated
MAX_LATE_LOOKS = 20  # on a loop that is never on time, the deadline expires after this many late checks


class Clock:
    """The clock of one loop. ``late``: seconds that it has not counted since it was made."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.late = 0.0
        self._loop = weakref.ref(loop)
        self._due = loop.time() + TICK
        self._last = loop.time()
        loop.call_at(self._due, self._tick)

    def now(self) -> float:
        """Seconds, never decreasing. Without stalls it advances as `loop.time` does."""
        loop = self._loop()
        assert loop is not None
        moment = loop.time()
        self._last = max(self._last, moment - self.late - _beyond(moment - self._due))
        return self._last

    def _tick(self) -> None:
        loop = self._loop()
        assert loop is not None
        self.now()
        moment = loop.time()
        stall = _beyond(moment - self._due)
        self.late += stall + (RECOVERY if stall >= LONG_STALL else 0.0)
        self._due = moment + TICK
        loop.call_at(self._due, self._tick)


def _beyond(late: float) -> float:
    return late if late > TOLERANCE else 0.0


_clocks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Clock] = weakref.WeakKeyDictionary()


def clock() -> Clock:
    """The running loop's clock, begun with the first call."""
    loop = asyncio.get_running_loop()
    found = _clocks.get(loop)
    if found is None:
        found = _clocks[loop] = Clock(loop)
    return found


def now() -> float:
    """Seconds on the running loop's clock."""
    return clock().now()


class Timer:
    """Calls ``callback`` once, ``delay`` seconds from now on the clock, in a check that is on time."""

    def __init__(self, delay: float, callback: Callable[[], None]) -> None:
        self._clock = clock()
        self._callback = callback
        self._due = self._clock.now() + delay
        self._late_looks = 0
        self._look_after(delay)

    def _look_after(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._expected = loop.time() + max(0.0, seconds)
        self._handle = loop.call_at(self._expected, self._look)

    def _look(self) -> None:
        left = self._due - self._clock.now()
        if left > 0.001:
            self._look_after(left)
            return
        late = asyncio.get_running_loop().time() - self._expected
        if late > TOLERANCE and self._late_looks < MAX_LATE_LOOKS:
            self._late_looks += 1
            self._look_after(LOOK)
            return
        self._callback()

    def cancel(self) -> None:
        """Prevents the call. Does nothing after it."""
        self._handle.cancel()


@contextlib.asynccontextmanager
async def within(seconds: float | None) -> AsyncIterator[asyncio.Timeout]:
    """As `asyncio.timeout`, on the clock: raises TimeoutError.  None: no deadline."""
    deadline = asyncio.timeout(None)
    if seconds is None:
        yield deadline
        return

    def expire() -> None:
        deadline.reschedule(asyncio.get_running_loop().time())

    async with deadline:
        timer = Timer(seconds, expire)
        try:
            yield deadline
        finally:
            timer.cancel()


async def catch_up() -> None:
    """Returns when data that waited in sockets have been read; for use before a peer counts as silent."""
    await sleep(LOOK)


async def sleep(seconds: float) -> None:
    """Returns after ``seconds`` on the clock, in a check that is on time."""
    waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    timer = Timer(seconds, lambda: None if waiting.done() else waiting.set_result(None))
    try:
        await waiting
    finally:
        timer.cancel()
