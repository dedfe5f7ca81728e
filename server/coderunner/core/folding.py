"""Bounds how often an event is reported: beyond a number in a minute it is only counted.

The count is reported once, after its minute. The number of keys is bounded as well: events of
further keys are counted together.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

WINDOW_SECONDS = 60.0
MAX_KEYS = 1024


@dataclass(slots=True)
class _Window:
    began: float
    told: int = 0
    counted: int = 0


class Folding:
    """`each`: how many with one key are reported in a minute. `together`: how many with all keys."""

    def __init__(self, each: int, together: int) -> None:
        self._each = each
        self._together = together
        self._windows: dict[Hashable, _Window] = {}
        self._all = _Window(0.0)

    def tell(self, key: Hashable, now: float) -> bool:
        """Whether this one is reported; otherwise it is counted. `now`: seconds."""
        if now - self._all.began >= WINDOW_SECONDS:
            self._all = _Window(now)
        window = self._windows.get(key)
        if window is None:
            if len(self._windows) >= MAX_KEYS:
                key = None  # together with those of all further keys
            window = self._windows.setdefault(key, _Window(now))
        if key is None or window.told >= self._each or self._all.told >= self._together:
            window.counted += 1
            return False
        window.told += 1
        self._all.told += 1
        return True

    def over(self, now: float, *, all: bool = False) -> Iterator[tuple[Hashable, int]]:
        """Yields the keys of minutes that are over, or of `all`, with how many were counted, if any were.

        The key None stands for those that were counted together.
        """
        for key, window in list(self._windows.items()):
            if all or now - window.began >= WINDOW_SECONDS:
                del self._windows[key]
                if window.counted:
                    yield key, window.counted
