"""A bare terminal beside what is measured: what this machine, with all its other work, can do at that moment.

A latency that is asserted is compared with this one's, of the same seconds: a machine that is busy is busy
for both, and a bound that holds on a busy machine is still one on a quiet one.
"""

from __future__ import annotations

import math
import os
import pty
import select
import signal
import statistics
import threading
import time
import tty
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar

T = TypeVar("T")

PAGE_WORK = """() => { const began = performance.now(); let sum = 0;
    for (let at = 0; at < 1e7; at += 1) sum = (sum + at) % 1009;
    return performance.now() - began + 0 * sum; }"""
"""Milliseconds of a piece of work that is always the same, in a page, on the machine as it is then."""
INTERVAL = 0.02
LEAST_MS = 1.0  # below this a ratio says nothing
PATIENCE_SECONDS = 20.0
MINUTE = 60.0


def work_seconds() -> float:
    """Of this thread on a processor, for a piece of work that is always the same: the best of three."""
    return min(_worked() for _ in range(3))


def _worked() -> float:
    began = time.thread_time()
    sum(range(200_000))
    return time.thread_time() - began


class Minute:
    """A measurement that is made anew when the last one is a minute old, for tests that are compared with it
    one after another."""

    def __init__(self) -> None:
        self._made = -math.inf
        self._value: Any = None

    async def of(self, measure: Callable[[], Awaitable[T]]) -> T:
        """The last one's value, or a new one."""
        if time.monotonic() - self._made > MINUTE:
            self._value = await measure()
            self._made = time.monotonic()
        value: T = self._value
        return value


class BareTerminal:
    """Types a key every 20 ms into `cat` on a terminal of this machine, in a thread."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, float]] = []
        self._stop = threading.Event()
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            tty.setraw(0)
            os.execv("/bin/cat", ["cat"])
        self._thread = threading.Thread(target=self._type, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE_SECONDS)
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._terminal)

    def _type(self) -> None:
        while not self._stop.wait(INTERVAL):
            began = time.monotonic()
            os.write(self._terminal, b"k")
            if not select.select([self._terminal], [], [], PATIENCE_SECONDS)[0]:
                return
            os.read(self._terminal, 100)
            self._samples.append((began, (time.monotonic() - began) * 1000))

    def p50(self, began: float, ended: float) -> float:
        """Milliseconds of a key's echo, the median of those typed between two moments of the monotonic clock;
        LEAST_MS at least."""
        within = [ms for at, ms in self._samples if began <= at <= ended]
        return max(LEAST_MS, statistics.median(within)) if within else LEAST_MS
