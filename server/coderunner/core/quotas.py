"""Counts usage by period: programs per minute, processor time and output per day. Pure, no clock.

Periods are minutes and days of UTC, so that clients can be told when a quota is reset, and sums can be stored
over a restart by the beginning of their period.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterable, Iterator

RUNS, CPU, OUTPUT = "runs", "cpu_ms", "output_bytes"
PERIODS = {RUNS: 60, CPU: 86400, OUTPUT: 86400}
"""Seconds of each kind's period."""
MAX_SUMS = 65536
"""Most sums that are kept; beyond that the one that was not used for longest is dropped."""

Key = tuple[str, str]
"""A subject (`principal:NAME`, `address:NETWORK`) and a kind."""


class Sums:
    """What each subject has used in the present period of each kind. Times are seconds since 1970."""

    def __init__(self) -> None:
        self._sums: OrderedDict[Key, tuple[int, int]] = OrderedDict()  # (beginning of the period, amount)
        self._changed: set[Key] = set()

    def amount(self, subject: str, kind: str, now: float) -> int:
        """What was used in the period of `now`."""
        began, amount = self._sums.get((subject, kind), (0, 0))
        return amount if began == beginning(kind, now) else 0

    def add(self, subject: str, kind: str, amount: int, now: float) -> None:
        """Adds to the period of `now`."""
        key = (subject, kind)
        self._sums[key] = (beginning(kind, now), self.amount(subject, kind, now) + amount)
        self._sums.move_to_end(key)
        self._changed.add(key)
        while len(self._sums) > MAX_SUMS:
            dropped, _ = self._sums.popitem(last=False)
            self._changed.discard(dropped)

    def latest(self, most: int, now: float) -> dict[str, dict[str, int]]:
        """What subjects have used in the present periods, by kind: the last `most` sums that were changed."""
        found: dict[str, dict[str, int]] = {}
        for (subject, kind), (began, amount) in itertools.islice(reversed(self._sums.items()), most):
            if began == beginning(kind, now):
                found.setdefault(subject, {})[kind] = amount
        return found

    def restore(self, rows: Iterable[tuple[str, str, int, int]], now: float) -> None:
        """Adds sums that a previous server stored: (subject, kind, beginning, amount).

        Those of past periods are ignored. What was counted here meanwhile is kept.
        """
        for subject, kind, began, amount in rows:
            if kind in PERIODS and began == beginning(kind, now):
                self.add(subject, kind, amount, now)

    def changed(self) -> Iterator[tuple[str, str, int, int]]:
        """Yields the sums that have changed since the last call: (subject, kind, beginning, amount)."""
        changed, self._changed = self._changed, set()
        for subject, kind in changed:
            began, amount = self._sums[subject, kind]
            yield subject, kind, began, amount


def beginning(kind: str, now: float) -> int:
    """When the period of `now` began, in seconds since 1970."""
    return int(now) - int(now) % PERIODS[kind]


def left_seconds(kind: str, now: float) -> float:
    """Seconds until the next period of this kind begins."""
    return beginning(kind, now) + PERIODS[kind] - now
