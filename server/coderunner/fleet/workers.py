"""The worker pool, which bounds how many jobs the container engine does at one time.

Users' work goes first, then refills of the warm pool, then the sweep. Jobs of one priority are done in the
order of submission.
"""

from __future__ import annotations

import asyncio
import heapq
import inspect
import itertools
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

from coderunner import timing
from coderunner.errors import Draining, EngineTimeout, InternalError, QueueFull
from coderunner.logs import fields, outcome
from coderunner.tasks import Tasks

log = logging.getLogger(__name__)

T = TypeVar("T")
OnOrphan = Callable[[Any], Awaitable[None] | None]

# Priorities; the lowest number goes first.
USER = 0
REFILL = 1
SWEEP = 2


@dataclass(frozen=True, slots=True)
class WorkerStats:
    """The pool's figures at one moment.

    `average_task_ms`: of all ended jobs, completed and failed; 0 without any.
    """

    total: int
    active: int
    idle: int
    queued: int
    completed: int
    failed: int
    average_task_ms: float


@dataclass(slots=True, eq=False)
class _Job:
    work: Callable[[], Coroutine[Any, Any, Any]]
    name: str
    timeout: float
    future: asyncio.Future[Any]
    on_orphan: OnOrphan | None
    context: Context = field(default_factory=copy_context)  # of who asks for it
    begun: bool = False


@dataclass(order=True, slots=True)
class _Entry:
    priority: int
    number: int
    job: _Job = field(compare=False)


class WorkerPool:
    """`size` workers, as an async context manager.

    `max_queued`: jobs that may wait. `grace`: seconds that running jobs get when the pool closes.
    """

    def __init__(self, size: int, *, max_queued: int = 4096, grace: float = 10.0) -> None:
        self.size = size
        self._max_queued = max_queued
        self._grace = grace
        self._queue: list[_Entry] = []
        self._numbers = itertools.count()
        self._resting: deque[asyncio.Future[None]] = deque()  # of workers that wait for a job
        self._tasks = Tasks("worker pool")
        self._active = 0
        self._completed = 0
        self._failed = 0
        self._total_s = 0.0
        self._closing = False

    async def __aenter__(self) -> Self:
        log.info("Initializing worker pool with %d threads", self.size, extra=fields(size=self.size))
        for number in range(1, self.size + 1):
            self._tasks.keep(self._worker, f"worker-{number}")
            log.info("Worker %d initialized", number)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Refuses waiting jobs with Draining; running ones are cancelled after `grace` seconds."""
        self._closing = True
        refused, self._queue = self._queue, []
        for entry in refused:
            # A caller that was cancelled has taken its future with it.
            if not entry.job.future.done():
                entry.job.future.set_exception(Draining())
        while self._resting:
            self._wake_one()
        # First without force, then by cancelling.
        await self._tasks.finish(self._grace)
        await self._tasks.stop()

    async def drop(self) -> None:
        """As `close`, without a grace. What the cancelled jobs leave behind is the caller's to clean up."""
        self._grace = 0.0
        await self.close()

    async def submit(
        self,
        work: Callable[[], Coroutine[Any, Any, T]],
        *,
        priority: int = USER,
        name: str,
        timeout: float,
        on_orphan: Callable[[T], Awaitable[None] | None] | None = None,
    ) -> T:
        """Has a worker do the work, within `timeout` seconds from its beginning, and returns the result.

        A job that is cancelled before it began is dropped. One that is cancelled later runs to its end, and
        its result goes to `on_orphan`, which has to clean it up. `name`: for the log. Raises what the work
        raises, EngineTimeout, QueueFull where too many jobs wait, Draining while the pool closes.
        """
        if self._closing:
            raise Draining()
        if len(self._queue) >= self._max_queued:
            raise QueueFull("too much work waits for the container engine", retry_after_ms=5000)
        # The future and not the task belongs to the caller: cancelling it leaves the work alone.
        job = _Job(work, name, timeout, asyncio.get_running_loop().create_future(), on_orphan)
        heapq.heappush(self._queue, _Entry(priority, next(self._numbers), job))
        self._wake_one()
        try:
            return await job.future  # type: ignore[no-any-return]
        except asyncio.CancelledError:
            if not job.begun:
                self._drop(job)
            if job.future.done() and not job.future.cancelled() and job.future.exception() is None:
                # It ended at the moment when its caller was cancelled: nobody else will take the result.
                self._return_later(job, job.future.result())
            raise

    def stats(self) -> WorkerStats:
        """The present figures."""
        ended = self._completed + self._failed
        return WorkerStats(
            total=self.size,
            active=self._active,
            idle=self.size - self._active,
            queued=len(self._queue),
            completed=self._completed,
            failed=self._failed,
            average_task_ms=self._total_s * 1000 / ended if ended else 0.0,
        )

    # --- inside ---------------------------------------------------------------------------------------

    def _wake_one(self) -> None:
        while self._resting:
            rest = self._resting.popleft()
            # A worker that was cancelled while it rested has left its future here.
            if not rest.done():
                rest.set_result(None)
                return

    def _drop(self, job: _Job) -> None:
        self._queue = [entry for entry in self._queue if entry.job is not job]
        heapq.heapify(self._queue)  # an entry from the middle leaves the list without the heap's order

    async def _worker(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if self._queue:
                await self._do(heapq.heappop(self._queue).job)
            elif self._closing:
                return
            else:
                # A future for each worker: a shared event would wake all of them for one job.
                rest = loop.create_future()
                self._resting.append(rest)
                await rest

    async def _do(self, job: _Job) -> None:
        """Does one job. Raises nothing but the cancellation of the worker itself."""
        job.begun = True
        self._active += 1
        # Whose request and session it is, for the log and for traces.
        tokens = [(variable, variable.set(value)) for variable, value in job.context.items()]
        try:
            await self._run(job)
        finally:
            for variable, token in tokens:
                variable.reset(token)
            self._active -= 1
            if not job.future.done():  # a fault of ours: its caller must not wait for ever
                job.future.set_exception(InternalError())

    async def _run(self, job: _Job) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        result: Any = None
        error: BaseException | None = None
        cancelled = False
        try:
            result = await self._bounded(job)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            # Of this worker by the pool, or raised by the work itself, which must not end the worker.
            # `cancelling` counts requests from outside: without one, the work has raised it itself.
            cancelled = task is not None and task.cancelling() > 0
            error = Draining() if cancelled else InternalError(f"{job.name} was cancelled from within")
        except Exception as failure:
            error = failure
        self._completed += error is None
        self._failed += error is not None
        self._total_s += loop.time() - began
        ms = round((loop.time() - began) * 1000)
        log.debug("work done", extra=fields(work=job.name, ms=ms, queued=len(self._queue), **outcome(error)))
        if job.future.done():
            # Its caller was cancelled meanwhile.
            if error is None:
                await self._give_back(job, result)
            else:
                log.info("background work failed", extra=fields(work=job.name, error=str(error)))
        elif error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)
        if cancelled:
            raise asyncio.CancelledError

    async def _bounded(self, job: _Job) -> Any:
        deadline: asyncio.Timeout | None = None
        try:
            async with timing.within(job.timeout) as deadline:
                return await job.work()
        except TimeoutError:
            # A TimeoutError of the work itself stays what it is.
            if deadline is not None and deadline.expired():
                raise EngineTimeout(f"{job.name} took longer than {job.timeout:g} s") from None
            raise

    def _return_later(self, job: _Job, result: Any) -> None:
        self._tasks.start(self._give_back(job, result), f"return of {job.name}")

    async def _give_back(self, job: _Job, result: Any) -> None:
        """Passes the result of a job without a caller to its `on_orphan`, within the job's time-out."""
        if job.on_orphan is None:
            return
        try:
            # The same bound as for the work: giving back is a call of the engine as well.
            async with timing.within(job.timeout):
                answer = job.on_orphan(result)
                if inspect.isawaitable(answer):
                    await answer
        except Exception:
            log.exception("Giving back the result of abandoned work failed", extra=fields(work=job.name))
