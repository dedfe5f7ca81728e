from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine

import pytest

from coderunner.errors import Draining, EngineTimeout, InternalError, QueueFull, StartFailed
from coderunner.fleet.workers import REFILL, SWEEP, USER, WorkerPool


class Work:
    """A piece of work that begins and ends when the test says so."""

    def __init__(self, result: object = "done", error: Exception | None = None) -> None:
        self.begun = asyncio.Event()
        self.end = asyncio.Event()
        self.result = result
        self.error = error
        self.was_cancelled = False

    async def __call__(self) -> object:
        self.begun.set()
        try:
            await self.end.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        if self.error:
            raise self.error
        return self.result

    async def has_begun(self) -> Work:
        await asyncio.wait_for(self.begun.wait(), 5)
        return self


def submit(pool: WorkerPool, work: Callable[[], Coroutine], **options) -> asyncio.Task:
    options = {"name": "work", "timeout": 30, **options}
    return asyncio.create_task(pool.submit(work, **options))


async def queued(pool: WorkerPool, count: int) -> None:
    """Until so many jobs wait; a submission takes a turn of the loop or two."""
    for _ in range(10):
        await asyncio.sleep(0)
    assert pool.stats().queued == count


def figures(pool: WorkerPool) -> tuple[int, int, int, int, int]:
    stats = pool.stats()
    assert stats.active + stats.idle == stats.total
    return stats.active, stats.idle, stats.queued, stats.completed, stats.failed


async def test_the_pool_announces_itself(caplog):
    with caplog.at_level(logging.INFO):
        async with WorkerPool(3):
            pass
    assert [r.getMessage() for r in caplog.records] == [
        "Initializing worker pool with 3 threads", "Worker 1 initialized", "Worker 2 initialized",
        "Worker 3 initialized",
    ]  # fmt: skip
    assert caplog.records[0].fields == {"size": 3}


async def test_work_is_done_and_its_error_is_the_callers():
    async with WorkerPool(1) as pool:
        work = Work(result=5)
        work.end.set()
        assert await pool.submit(work, name="w", timeout=5) == 5
        failing = Work(error=StartFailed("no such runtime"))
        failing.end.set()
        with pytest.raises(StartFailed, match="no such runtime"):
            await pool.submit(failing, name="w", timeout=5)
        assert figures(pool) == (0, 1, 0, 1, 1)


async def test_no_more_at_one_time_than_there_are_workers_and_figures_that_are_true():
    async with WorkerPool(2) as pool:
        works = [Work() for _ in range(5)]
        tasks = [submit(pool, work) for work in works]
        await works[0].has_begun()
        await works[1].has_begun()
        assert figures(pool) == (2, 0, 3, 0, 0)
        works[0].end.set()
        await tasks[0]
        await works[2].has_begun()
        assert figures(pool) == (2, 0, 2, 1, 0)
        for work in works:
            work.end.set()
        await asyncio.gather(*tasks)
        assert figures(pool) == (0, 2, 0, 5, 0)
        assert pool.stats().average_task_ms > 0


async def test_users_go_before_refills_and_refills_before_sweeps():
    order: list[str] = []

    def note(name: str):
        async def work() -> None:
            order.append(name)

        return work

    async with WorkerPool(1) as pool:
        blocker = Work()
        first = submit(pool, blocker)
        await blocker.has_begun()
        jobs = [("s", SWEEP), ("r1", REFILL), ("u1", USER), ("r2", REFILL), ("u2", USER)]
        tasks = [submit(pool, note(name), priority=priority) for name, priority in jobs]
        await queued(pool, len(jobs))
        blocker.end.set()
        await asyncio.gather(first, *tasks)
    assert order == ["u1", "u2", "r1", "r2", "s"]


async def test_a_timeout_ends_the_work_and_names_it():
    async with WorkerPool(1) as pool:
        work = Work()
        with pytest.raises(EngineTimeout, match=r"provision took longer than 0\.02 s"):
            await pool.submit(work, name="provision", timeout=0.02)
        assert work.was_cancelled
        assert figures(pool) == (0, 1, 0, 0, 1)


async def test_a_timeout_inside_the_work_is_its_own_error():
    async def work() -> None:
        raise TimeoutError("of the socket")

    async with WorkerPool(1) as pool:
        with pytest.raises(TimeoutError, match="of the socket"):
            await pool.submit(work, name="w", timeout=5)


async def test_the_time_counts_from_the_beginning_of_the_work_not_from_waiting():
    async with WorkerPool(1) as pool:
        blocker, quick = Work(), Work()
        first = submit(pool, blocker)
        await blocker.has_begun()
        second = submit(pool, quick, timeout=0.05)
        await asyncio.sleep(0.1)
        blocker.end.set()
        quick.end.set()
        assert await second == "done"
        await first


async def test_cancelled_before_it_began_the_work_is_dropped():
    async with WorkerPool(1) as pool:
        blocker, dropped = Work(), Work()
        first = submit(pool, blocker)
        await blocker.has_begun()
        second = submit(pool, dropped)
        await queued(pool, 1)
        second.cancel()
        await asyncio.wait([second])
        assert figures(pool) == (1, 0, 0, 0, 0)
        blocker.end.set()
        await first
        assert not dropped.begun.is_set()


@pytest.mark.parametrize("kind", ["function", "coroutine"])
async def test_cancelled_after_it_began_the_result_is_given_back(kind):
    returned: asyncio.Queue[object] = asyncio.Queue()
    on_orphan = returned.put_nowait if kind == "function" else returned.put
    async with WorkerPool(1) as pool:
        work = Work(result="container")
        task = submit(pool, work, on_orphan=on_orphan)
        await work.has_begun()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert not work.was_cancelled
        work.end.set()
        assert await asyncio.wait_for(returned.get(), 5) == "container"
        assert (await pool.submit(ended(), name="w", timeout=5)) == "done"


def ended() -> Work:
    work = Work()
    work.end.set()
    return work


async def test_cancelled_in_the_moment_of_its_end_the_result_is_given_back():
    returned: list[object] = []
    async with WorkerPool(1) as pool:
        work = Work(result="container")
        task = submit(pool, work, on_orphan=returned.append)
        await work.has_begun()
        work.end.set()
        while pool.stats().completed == 0:
            assert not task.done()
            await asyncio.sleep(0)
        task.cancel()  # the result is there, the caller has not run
        await asyncio.wait([task])
        assert task.cancelled()
    assert returned == ["container"], "done at the latest when the pool has closed"


async def test_a_failure_that_nobody_waits_for_is_logged(caplog):
    async with WorkerPool(1) as pool:
        work = Work(error=StartFailed("boom"))
        task = submit(pool, work)
        await work.has_begun()
        task.cancel()
        await asyncio.wait([task])
        with caplog.at_level(logging.INFO):
            work.end.set()
            await pool.submit(ended(), name="w", timeout=5)
        # Of the pool alone: what another test has left running logs here, too.
        told = [one.fields for one in caplog.records if one.name == "coderunner.fleet.workers"]
        assert told == [{"work": "work", "error": "boom"}]


async def test_giving_back_that_fails_harms_no_worker(caplog):
    def fail(result: object) -> None:
        raise RuntimeError("cannot")

    async with WorkerPool(1) as pool:
        work = Work()
        task = submit(pool, work, on_orphan=fail)
        await work.has_begun()
        task.cancel()
        await asyncio.wait([task])
        work.end.set()
        assert await pool.submit(ended(), name="w", timeout=5) == "done"
        assert figures(pool) == (0, 1, 0, 2, 0)
    assert "Giving back" in caplog.text


async def test_work_that_is_cancelled_from_within_is_a_fault_and_not_the_callers_cancellation():
    async def work() -> None:
        raise asyncio.CancelledError

    async with WorkerPool(1) as pool:
        with pytest.raises(InternalError):
            await pool.submit(work, name="w", timeout=5)
        assert await pool.submit(ended(), name="w", timeout=5) == "done"


async def test_the_queue_is_bounded():
    async with WorkerPool(1, max_queued=1) as pool:
        blocker = Work()
        first = submit(pool, blocker)
        await blocker.has_begun()
        second = submit(pool, ended())
        await queued(pool, 1)
        with pytest.raises(QueueFull):
            await pool.submit(ended(), name="w", timeout=5)
        blocker.end.set()
        await asyncio.gather(first, second)


async def test_closing_refuses_what_waits_and_lets_what_runs_end():
    pool = WorkerPool(1)
    async with pool:
        running, waiting = Work(), Work()
        first = submit(pool, running)
        await running.has_begun()
        second = submit(pool, waiting)
        await queued(pool, 1)
        closing = asyncio.create_task(pool.close())
        with pytest.raises(Draining):
            await second
        with pytest.raises(Draining):
            await pool.submit(ended(), name="w", timeout=5)
        assert not closing.done()
        running.end.set()
        assert await first == "done"
        await asyncio.wait_for(closing, 5)
    assert figures(pool) == (0, 1, 0, 1, 0)


async def test_closing_cancels_what_does_not_end_in_its_grace():
    async with WorkerPool(1, grace=0.02) as pool:
        stuck = Work()
        task = submit(pool, stuck)
        await stuck.has_begun()
    assert stuck.was_cancelled
    with pytest.raises(Draining):
        await task
    assert figures(pool) == (0, 1, 0, 0, 1)


async def test_no_task_is_left_behind():
    before = asyncio.all_tasks()
    async with WorkerPool(4) as pool:
        await asyncio.gather(*(pool.submit(ended(), name="w", timeout=5) for _ in range(20)))
        assert pool.stats().completed == 20
    assert asyncio.all_tasks() == before
