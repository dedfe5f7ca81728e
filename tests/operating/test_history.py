"""Figures over time: added up rightly, bounded, and kept over restarts and damaged files."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import threading
import time
from collections.abc import AsyncIterator

import pytest

from coderunner import metrics
from coderunner.operating import history
from coderunner.operating.history import (
    DAY,
    HOUR,
    MAX_ROOMS,
    MINUTE,
    History,
    Point,
    added,
    thinned,
    times_of,
)
from tests.harness import eventually

NOTHING = (0, 0, {}, {})


@contextlib.asynccontextmanager
async def reading(one: History, begin: int) -> AsyncIterator[History]:
    """Runs it, and waits until it has read what began then or before."""
    task = asyncio.create_task(one.run())
    try:
        await eventually(lambda: _begins(one, begin), 10, "the points to be read")
        yield one
    finally:
        task.cancel()


async def _begins(one: History, begin: int) -> bool:
    return (await one.since(0, 1))[0].t <= begin


def point(t: int, seconds: int = MINUTE, **fields) -> Point:
    one = Point(t, seconds)
    for name, value in fields.items():
        setattr(one, name, type(getattr(one, name))(value))
    return one


def test_points_are_added_up_and_levels_are_the_highest():
    one = point(100 * HOUR, sessions=3, waiting=1, ended={"client": 2}, live={"c": 3}, failed=1)
    two = point(
        100 * HOUR + 60, sessions=2, waiting=4, ended={"client": 1, "evicted": 1}, live={"c": 1, "go": 2}
    )
    one.buckets["echo"][2] = two.buckets["echo"][2] = 5
    (both,) = added([one, two], HOUR)
    assert (both.t, both.seconds, both.sessions, both.waiting, both.failed) == (100 * HOUR, 120, 3, 4, 1)
    assert both.ended == {"client": 3, "evicted": 1}
    assert both.live == {"c": 3, "go": 2}
    assert both.buckets["echo"] == {2: 10}
    assert [each.t for each in added([one, two], MINUTE)] == [100 * HOUR, 100 * HOUR + 60]


def test_a_line_is_read_as_it_was_written():
    one = point(
        1000, ended={"client": 2}, runs={"python": 7}, live={"c": 1}, resumes=3, rooms={"a": 2}, other_rooms=5
    )
    one.buckets["start"][15] = 4
    assert Point.read(one.line()) == one


def test_a_line_of_an_earlier_version_has_no_rooms():
    one = Point.read(b'{"t":60,"s":60,"n":1,"w":0,"l":{"c":1}}')
    assert (one.live, one.rooms, one.other_rooms) == ({"c": 1}, {}, 0)


def test_of_many_rooms_those_with_most_are_told_apart():
    many = {f"small-{n}": 1 for n in range(40)} | {"big": 9}
    rooms, others = history.highest([(many, 0)])
    assert len(rooms) == MAX_ROOMS
    assert (rooms["big"], sum(rooms.values()) + others) == (9, 49)
    rooms, others = history.highest([(rooms, others), ({"big": 1, "bigger": 30}, 3)])
    assert (rooms["big"], rooms["bigger"], len(rooms)) == (9, 30, MAX_ROOMS)
    assert others == 40 - (MAX_ROOMS - 2), "what was most at one time"


def test_rooms_are_bounded_however_many_points_are_added_up():
    points = [point(n * MINUTE, rooms={f"room-{n}-{k}": k + 1 for k in range(MAX_ROOMS)}) for n in range(60)]
    (hour,) = added(points, HOUR)
    assert set(hour.rooms.values()) == {MAX_ROOMS}
    assert len(hour.rooms) == MAX_ROOMS
    # At no minute there were more sessions than these in rooms that are not shown.
    assert hour.other_rooms == sum(range(MAX_ROOMS + 1))
    assert len(hour.line()) < 2000


@pytest.mark.parametrize(
    ("counts", "p50", "p95"),
    [({}, None, None), ({0: 10}, 0.5, 0.95), ({1: 10, 2: 10}, 2.0, 3.8), ({3: 1}, 4.0, 4.0)],
)
def test_quantiles_are_spread_over_a_bucket(counts, p50, p95):
    times = times_of(counts, [0.001, 0.002, 0.004])
    assert (times.p50, times.p95) == (p50, p95)
    assert times.count == sum(counts.values())


def test_minutes_become_hours_and_what_is_old_is_dropped():
    now = 200 * DAY + 1234
    points = [point(t, runs={"c": 1}) for t in range(now - 3 * DAY, now, MINUTE)]
    points = [point(now - 100 * DAY, HOUR), *points]
    kept = thinned(points, now)
    assert kept[0].t >= now - 3 * DAY - HOUR
    assert sum(one.runs["c"] for one in kept) == 3 * DAY // MINUTE
    coarse = [one for one in kept if one.seconds > MINUTE]
    assert len(coarse) <= 25
    assert thinned(kept, now) == kept, "once is enough"
    whole = [point(t) for t in range(now - 62 * DAY, now, HOUR)] + points[1:]
    assert len(thinned(whole, now)) < 62 * 24 + 2 * 24 * 60 + 90


async def test_what_is_counted_is_there_at_once_and_after_a_restart(tmp_path):
    file = tmp_path / "one.history"
    first = History(file, lambda: (2, 1, {"python": 2}, {"algebra": 1}))
    metrics.sessions_ended.labels("client").inc()
    metrics.open_seconds.labels("yes").observe(0.02)
    metrics.resumes.labels("watch").inc()
    _, (now,) = await first.chart(1)
    seen = now.figures()
    assert (seen.sessions, seen.waiting, seen.resumes, seen.opened) == (2, 1, 1, 1)
    assert seen.ended == {"client": 1}
    assert (seen.live, seen.rooms, seen.other_rooms) == ({"python": 2}, {"algebra": 1}, 0)
    assert seen.start.p50 == 15.0
    await first.keep()
    earlier = point(int(time.time()) - HOUR, ended={"client": 4})
    file.write_bytes(earlier.line() + file.read_bytes() + b'{"t":1,"s"')  # cut off, as by a kill
    async with reading(History(file, lambda: NOTHING), earlier.t) as second:
        days = await second.since(0, DAY)
        assert sum(one.resumes for one in days) == 1
        assert sum(one.ended["client"] for one in days) == 5
        assert days[-1].rooms == {"algebra": 1}
    assert file.stat().st_mode & 0o077 == 0


async def test_a_disk_that_takes_nothing_ends_nothing(tmp_path, caplog):
    one = History(tmp_path / "missing" / "one.history", lambda: NOTHING)
    await one.keep()
    await one.keep()
    assert len(await one.since(0, DAY)) == 1
    told = [record for record in caplog.records if "not kept" in record.message]
    assert len(told) == 1


async def test_a_chart_has_few_points(tmp_path):
    now = int(time.time())
    file = tmp_path / "one.history"
    file.write_bytes(b"".join(point(t).line() for t in range(now - 2 * DAY, now, MINUTE)))
    async with reading(History(file, lambda: NOTHING), now - 2 * DAY) as one:
        for hours in (1, 6, 24, 168, 1488):
            step, points = await one.chart(hours)
            assert 1 <= len(points) <= history.MAX_POINTS + 2, hours
            assert all(each.t % step == 0 for each in points)


async def test_many_points_are_added_up_beside_the_loop(tmp_path, monkeypatch):
    """Two months of points take a tenth of a second, in which no key would be echoed."""
    threads, add = [], history.added

    def noted(points, step):
        threads.append(threading.get_ident())
        return add(points, step)

    monkeypatch.setattr(history, "added", noted)
    file, begin = tmp_path / "one.history", int(time.time()) // HOUR * HOUR - 3 * DAY
    file.write_bytes(b"".join(point(t, runs={"c": 1}).line() for t in range(begin, begin + 3 * DAY, MINUTE)))
    monkeypatch.setattr(history, "FINE_SECONDS", 4 * DAY)
    async with reading(History(file, lambda: NOTHING), begin) as one:
        monkeypatch.setattr(history, "FINE_SECONDS", 2 * DAY)
        await asyncio.gather(one.keep(), one.keep())
        assert (await one.since(0, 1))[0].seconds == HOUR
        _, points = await one.chart(1488)
        assert sum(each.runs["c"] for each in points) == 3 * DAY // MINUTE
    async with reading(History(file, lambda: NOTHING), begin) as one:
        assert sum(each.runs["c"] for each in await one.since(0, DAY)) == 3 * DAY // MINUTE
    assert threads
    assert threading.get_ident() not in threads


def test_the_report_has_a_line_a_day_of_numbers():
    one = point(20_000 * DAY, DAY, runs={"c": 4, "go": 1}, ended={"client": 3}, sessions=7).figures()
    (row,) = csv.DictReader(io.StringIO(history.report([one], ("client", "evicted"), ("c", "python"))))
    assert row["day"] == "2024-10-04"
    assert (row["minutes"], row["runs"], row["runs_c"], row["runs_python"]) == ("1440", "5", "4", "0")
    assert (row["ended_client"], row["ended_evicted"], row["echo_p50_ms"]) == ("3", "0", "")


def test_the_report_has_the_rooms_with_most_sessions():
    small = {f"small-{n:02}": 1 for n in range(MAX_ROOMS)}
    days = [
        point(20_000 * DAY, DAY, rooms=small, other_rooms=2).figures(),
        point(20_001 * DAY, DAY, rooms={"algebra_1": 30}).figures(),
    ]
    one, two = csv.DictReader(io.StringIO(history.report(days, (), ())))
    rooms = [name for name in one if name.startswith("most_sessions_room_")]
    assert len(rooms) == MAX_ROOMS
    assert (one["most_sessions_room_algebra_1"], two["most_sessions_room_algebra_1"]) == ("0", "30")
    assert (one["most_sessions_room_small-00"], two["most_sessions_room_small-00"]) == ("1", "0")
    assert (one["most_sessions_other_rooms"], two["most_sessions_other_rooms"]) == ("3", "0")
