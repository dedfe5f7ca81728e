"""Figures over time that survive a restart: a point a minute for two days, then one an hour for two months.

They are kept in memory and in one file of the state folder, with a JSON document a line. A point has counts,
and not quantiles: so points can be added up, to hours, to days, and to the steps of a chart.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from prometheus_client import Counter, Histogram

from coderunner import metrics
from coderunner.logs import fields
from coderunner.schema.admin import Figures, Times

log = logging.getLogger(__name__)

MINUTE, HOUR, DAY = 60, 3600, 86400
# Shorter than most sessions, so that the maximum of a minute misses few.
LOOK_SECONDS = 5.0  # between two looks at how many sessions live
FINE_SECONDS = 2 * DAY  # for which minutes are kept
KEPT_SECONDS = 62 * DAY  # for which hours are kept
MAX_BYTES = 32 * 1024 * 1024  # of the file that are read; it has about 3 MB
MAX_POINTS = 300  # of a chart
MAX_ROOMS = 20  # of a point, and of the report, that are told apart: names are up to 64 characters long
KINDS = {
    "start": (metrics.open_seconds, metrics.SLOW),
    "first_byte": (metrics.first_byte_seconds, metrics.SLOW),
    "echo": (metrics.echo_seconds, metrics.FAST),
    "queue_wait": (metrics.queue_wait_seconds, metrics.SLOW),
    "loop_lag": (metrics.loop_lag_seconds, metrics.FAST),
}
"""What is measured, by its name in `Figures`, with the bounds of its buckets; the last one has none."""


@dataclass(slots=True)
class Point:
    """Counts of a stretch of time. `t`: when it begins, seconds since 1970; `seconds`: its length. `buckets`:
    by kind and index of the histogram's bucket. `rooms`: the most sessions at one time in each, of at most
    MAX_ROOMS; `other_rooms`: the same of all others together."""

    t: int
    seconds: int = 0
    sessions: int = 0
    waiting: int = 0
    failed: int = 0
    resumes: int = 0
    ended: Counts[str] = field(default_factory=Counts)
    runs: Counts[str] = field(default_factory=Counts)
    live: Counts[str] = field(default_factory=Counts)
    rooms: Counts[str] = field(default_factory=Counts)
    other_rooms: int = 0
    buckets: dict[str, Counts[int]] = field(default_factory=lambda: {kind: Counts() for kind in KINDS})

    def add(self, other: Point) -> None:
        """Adds the counts of another stretch of time, all but those of its rooms."""
        self.t = min(self.t, other.t)
        self.seconds += other.seconds
        self.sessions, self.waiting = max(self.sessions, other.sessions), max(self.waiting, other.waiting)
        self.failed += other.failed
        self.resumes += other.resumes
        self.ended += other.ended
        self.runs += other.runs
        # Levels, not counts: of two stretches of time the higher one counts.
        self.live |= other.live  # the greater of both
        for kind, counts in self.buckets.items():
            counts.update(other.buckets[kind])

    def line(self) -> bytes:
        """The point as it is stored."""
        found = {"t": self.t, "s": self.seconds, "n": self.sessions, "w": self.waiting}
        numbers = {"f": self.failed, "r": self.resumes, "o": self.other_rooms}
        tables = {"e": self.ended, "u": self.runs, "l": self.live, "m": self.rooms}
        kinds = {kind: {str(k): v for k, v in counts.items()} for kind, counts in self.buckets.items()}
        rest = {name: one for name, one in {**numbers, **tables, **kinds}.items() if one}
        return orjson.dumps({**found, **rest}) + b"\n"

    @classmethod
    def read(cls, line: bytes) -> Point:
        """The point in a line. Raises ValueError, TypeError, KeyError."""
        one = orjson.loads(line)
        buckets = {kind: Counts({int(k): int(v) for k, v in one.get(kind, {}).items()}) for kind in KINDS}
        ended, runs, live, rooms = (
            Counts({str(k): int(v) for k, v in one.get(name, {}).items()}) for name in "eulm"
        )
        t, seconds, sessions, waiting = (int(one[name]) for name in "tsnw")
        failed, resumes, others = (int(one.get(name, 0)) for name in "fro")
        return cls(t, seconds, sessions, waiting, failed, resumes, ended, runs, live, rooms, others, buckets)

    def figures(self) -> Figures:
        """The point for the operator."""
        times = {kind: times_of(self.buckets[kind], bounds) for kind, (_, bounds) in KINDS.items()}
        return Figures(
            t=self.t, seconds=self.seconds, sessions=self.sessions, waiting=self.waiting,
            opened=times["start"].count, failed=self.failed, resumes=self.resumes, ended=dict(self.ended),
            runs=dict(self.runs), live=dict(self.live), rooms=dict(self.rooms), other_rooms=self.other_rooms,
            **times,
        )  # fmt: skip


def busiest(rooms: Mapping[str, int]) -> list[str]:
    """The MAX_ROOMS rooms with most sessions."""
    return sorted(rooms, key=lambda name: (-rooms[name], name))[:MAX_ROOMS]


def highest(looks: Sequence[tuple[Mapping[str, int], int]]) -> tuple[Counts[str], int]:
    """The most sessions of the busiest rooms, and of all others together. `looks`: the same at several times.

    All at once: after the busiest of each look alone, it would not be known what lived at one time."""
    most: Counts[str] = Counts()
    for rooms, _ in looks:
        most |= Counts(rooms)
    shown = busiest(most)
    others = max((_others(rooms, more, shown) for rooms, more in looks), default=0)
    return Counts({name: most[name] for name in shown}), others


def _others(rooms: Mapping[str, int], others: int, shown: Sequence[str]) -> int:
    """Sessions of all rooms but those that are shown. `others`: of rooms that are not among `rooms`."""
    return others + sum(count for name, count in rooms.items() if name not in shown)


def times_of(counts: Mapping[int, int], bounds: Sequence[float]) -> Times:
    """The quantiles of counted times, as Prometheus reckons them: a bucket's are spread evenly in it."""
    total = sum(counts.values())

    def quantile(share: float) -> float | None:
        """A quantile in milliseconds; None without values."""
        if not total:
            return None
        rank, seen = share * total, 0
        for index in sorted(counts):
            if counts[index] and seen + counts[index] >= rank:
                # histogram_quantile of Prometheus: linear within a bucket; the last one has no upper bound.
                low = bounds[index - 1] if index else 0.0
                high = bounds[index] if index < len(bounds) else low
                return round((low + (high - low) * (rank - seen) / counts[index]) * 1000, 2)
            seen += counts[index]
        return None

    return Times(total, quantile(0.5), quantile(0.95))


@dataclass(frozen=True, slots=True)
class Seen:
    """All counters at one moment."""

    buckets: dict[str, Counts[int]]
    failed: int
    resumes: int
    ended: Counts[str]
    runs: Counts[str]


def seen_now() -> Seen:
    """The counters of this process, which only grow."""
    return Seen(
        {kind: _buckets(*one) for kind, one in KINDS.items()},
        sum(_table(metrics.opens_failed, "code").values()),
        sum(_table(metrics.resumes, "role").values()),
        _table(metrics.sessions_ended, "reason"),
        _table(metrics.runs_ended, "language"),
    )


def _buckets(histogram: Histogram, bounds: Sequence[float]) -> Counts[int]:
    """How many values are in each bucket, those of all labels together."""
    index = {bound: number for number, bound in enumerate([*bounds, float("inf")])}
    below: Counts[int] = Counts()
    for sample in next(iter(histogram.collect())).samples:
        if sample.name.endswith("_bucket"):
            below[index[float(sample.labels["le"])]] += int(sample.value)
    return Counts({n: below[n] - below.get(n - 1, 0) for n in below if below[n] > below.get(n - 1, 0)})


def _table(counter: Counter, label: str) -> Counts[str]:
    found: Counts[str] = Counts()
    for sample in next(iter(counter.collect())).samples:
        if sample.name.endswith("_total"):
            found[sample.labels[label]] += int(sample.value)
    return found


Levels = tuple[int, int, Mapping[str, int], Mapping[str, int]]


class History:
    """The points, and the task that makes them.

    `file`: where they are kept. `levels`: returns (sessions, requests that wait, sessions by language,
    sessions by room).
    """

    def __init__(self, file: Path, levels: Callable[[], Levels]) -> None:
        self._file = file
        self._levels = levels
        self._points: list[Point] = []
        self._before = seen_now()
        self._open = Point(int(time.time()))
        self._told = self._thinning = False
        self._writing = asyncio.Lock()

    async def run(self) -> None:
        """Reads what earlier servers have kept, then makes a point a minute, until it is cancelled."""
        if not self._points:
            self._points = await asyncio.to_thread(_read, self._file)
            await self._rewrite()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._look()
            # The wall clock: points of several servers are in one file.
            if time.time() - self._open.t >= MINUTE:
                await self.keep()

    def _look(self) -> None:
        sessions, waiting, live, rooms = self._levels()
        point = self._open
        point.sessions, point.waiting = max(point.sessions, sessions), max(point.waiting, waiting)
        point.live |= Counts(live)
        point.rooms, point.other_rooms = highest([(point.rooms, point.other_rooms), (rooms, 0)])

    async def keep(self) -> None:
        """Keeps what was counted since the last point, in memory and in the file."""
        # No await between this and the next line: nothing is counted twice or lost.
        point = self._present()
        self._before, self._open = seen_now(), Point(int(time.time()))
        self._points.append(point)
        if self._thinning or settled(self._points, point.t):
            await self._write(point.line, "ab")
            return
        self._thinning = True
        try:
            known = len(self._points)
            # In a thread, as all that adds up many points: it takes a tenth of a second.
            coarser = await asyncio.to_thread(thinned, self._points[:known], point.t)
            self._points = [*coarser, *self._points[known:]]
        finally:
            self._thinning = False
        await self._rewrite()

    def _present(self) -> Point:
        """The point since the last one that was kept."""
        self._look()
        now, before, point = seen_now(), self._before, self._open
        return Point(
            point.t, max(1, int(time.time()) - point.t), point.sessions, point.waiting,
            now.failed - before.failed, now.resumes - before.resumes, now.ended - before.ended,
            now.runs - before.runs, Counts(point.live), Counts(point.rooms), point.other_rooms,
            {kind: now.buckets[kind] - before.buckets[kind] for kind in KINDS},
        )  # fmt: skip

    async def _rewrite(self) -> None:
        points = list(self._points)
        await self._write(lambda: b"".join(one.line() for one in points), "wb")

    async def _write(self, made: Callable[[], bytes], mode: str) -> None:
        async with self._writing:
            try:
                await asyncio.to_thread(lambda: _write(self._file, made(), mode))
                self._told = False
            except OSError as error:  # a full disk must not end anything: the figures are in memory
                if not self._told:
                    log.warning("figures over time are not kept", extra=fields(why=str(error)))
                self._told = True

    async def since(self, begin: float, step: int) -> list[Point]:
        """The points from `begin` on, added up to steps of so many seconds, with what was counted up to
        now."""
        points = [one for one in [*self._points, self._present()] if one.t + one.seconds > begin]
        # In a thread: the points themselves are not changed any more.
        return await asyncio.to_thread(added, points, step)

    async def chart(self, hours: int) -> tuple[int, list[Point]]:
        """(seconds of a step, the points of the last hours); at most MAX_POINTS points."""
        step = next(one for one in (60, 300, 900, 3600, 6 * 3600) if hours * HOUR / one <= MAX_POINTS)
        return step, await self.since(time.time() - hours * HOUR, step)


def added(points: Iterable[Point], step: int) -> list[Point]:
    """The points added up: one for each multiple of `step` in which there are any."""
    found: dict[int, Point] = {}
    rooms: dict[int, list[tuple[Mapping[str, int], int]]] = {}
    for one in points:
        begin = one.t - one.t % step
        found.setdefault(begin, Point(begin)).add(one)
        rooms.setdefault(begin, []).append((one.rooms, one.other_rooms))
    for begin, looks in rooms.items():
        found[begin].rooms, found[begin].other_rooms = highest(looks)
    return [found[begin] for begin in sorted(found)]


def settled(points: Sequence[Point], now: float) -> bool:
    """Whether `thinned` would keep the points as they are: it changes something once an hour."""
    fine = _fine(now)
    # From the end, where the few that are too fine would be.
    newest = next((index for index in range(len(points) - 1, -1, -1) if points[index].t < fine), None)
    if newest is None:
        return True
    coarse = all(one.seconds > 10 * MINUTE for one in points[max(0, newest - 1) : newest + 1])
    return coarse and points[0].t >= now - KEPT_SECONDS - DAY


def thinned(points: Sequence[Point], now: float) -> list[Point]:
    """The points that are kept: minutes older than FINE_SECONDS become hours, and the oldest are dropped."""
    if settled(points, now):
        return list(points)
    fine = _fine(now)
    coarse = added([one for one in points if now - KEPT_SECONDS <= one.t < fine], HOUR)
    return [*coarse, *(one for one in points if one.t >= fine)]


def _fine(now: float) -> int:
    """Since when points are of minutes. Whole hours only."""
    return int(now - FINE_SECONDS) // HOUR * HOUR


def _read(file: Path) -> list[Point]:
    """The points in the file; lines that are none, as after a crash, are left out."""
    found: list[Point] = []
    try:
        with file.open("rb") as kept:
            # Bounded: the file may be damaged, and is read at the start.
            lines = kept.read(MAX_BYTES).splitlines()
    except OSError:
        return found
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
            found.append(Point.read(line))
    found.sort(key=lambda one: one.t)
    return thinned(found, time.time())


def _write(file: Path, data: bytes, mode: str) -> None:
    """Appends to the file, or replaces it as a whole. Raises OSError."""

    def opened(path: str, flags: int) -> int:
        return os.open(path, flags | os.O_CLOEXEC, 0o600)

    if mode == "ab":
        with open(file, mode, opener=opened) as kept:
            kept.write(data)
        return
    # Renamed once it is whole: a server that is killed leaves the old file or the new.
    draft = file.with_name(file.name + ".new")
    with open(draft, "wb", opener=opened) as kept:
        kept.write(data)
    draft.replace(file)


def report(points: Sequence[Figures], reasons: Sequence[str], languages: Sequence[str]) -> str:
    """The daily report as CSV: a line a day (UTC). All its values are numbers. It has the MAX_ROOMS rooms
    with most sessions on one of the days."""
    kinds = ("start", "first_byte", "echo", "queue_wait")
    head = ["day", "minutes", "sessions_opened", "openings_failed", "most_sessions", "most_waiting", "runs"]
    head += ["resumes", *(f"{kind}_{name}_ms" for kind in kinds for name in ("p50", "p95"))]
    head += [f"ended_{reason}" for reason in reasons] + [f"runs_{name}" for name in languages]
    most: Counts[str] = Counts()
    for one in points:
        most |= Counts(one.rooms)
    rooms = busiest(most)
    head += ["most_sessions_other_rooms", *(f"most_sessions_room_{name}" for name in rooms)]
    lines: list[list[Any]] = [head]
    for one in points:
        times: list[Any] = [getattr(getattr(one, kind), name) for kind in kinds for name in ("p50", "p95")]
        lines.append(
            [
                time.strftime("%Y-%m-%d", time.gmtime(one.t)), one.seconds // 60, one.opened, one.failed,
                one.sessions, one.waiting, sum(one.runs.values()), one.resumes,
                *("" if value is None else value for value in times),
                *(one.ended.get(reason, 0) for reason in reasons),
                *(one.runs.get(name, 0) for name in languages),
                _others(one.rooms, one.other_rooms, rooms), *(one.rooms.get(name, 0) for name in rooms),
            ]
        )  # fmt: skip
    return "".join(",".join(str(value) for value in line) + "\r\n" for line in lines)
