"""Limits how often events are reported: beyond a number per minute they are only counted.

The count is reported once, after the minute. The number of keys is limited as well: events with further keys
are counted together.
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
    """Decides which events are reported.

    `each`: most reported events with one key per minute. `together`: most with all keys per minute.
    """

    def __init__(self, each: int, together: int) -> None:
        self._each = each
        self._together = together
        self._windows: dict[Hashable, _Window] = {}
        self._all = _Window(0.0)

    def tell(self, key: Hashable, now: float) -> bool:
        """Returns whether this event is to be reported; otherwise counts it. `now`: seconds."""
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
        """Ends minutes that are over (`all`: all minutes), and yields their keys and counts above 0.

        The key None stands for all further keys, which are counted together.
        """
        for key, window in list(self._windows.items()):
            if all or now - window.began >= WINDOW_SECONDS:
                del self._windows[key]
                if window.counted:
                    yield key, window.counted
