"""Tasks with an owner that handles their unexpected failures.

An expected failure is handled in the task itself. An unexpected one is a fault of this server: it is logged
with its owner, and `on_fault` is called once, so that the owner can end in order, with the right reason for
its clients. The owner's other tasks continue until it stops them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Self, TypeVar

from coderunner.logs import contextual, fields

log = logging.getLogger(__name__)

T = TypeVar("T")
# Not at once: work that fails at its first line would fill the log.
AGAIN_SECONDS = 5.0  # before failed work is started again by `keep`


class Tasks:
    """The tasks of one owner.

    ``owner``: its name in the log, with ``about`` as further fields. ``on_fault(error)``: called with the
    first unexpected failure; it must not block, and may stop the tasks. ``expected``: exceptions that are no
    faults, as whoever started the task reads them from it. As an async context manager it ends with `stop`.
    """

    def __init__(
        self,
        owner: str,
        on_fault: Callable[[BaseException], None] = lambda _: None,
        *,
        expected: tuple[type[BaseException], ...] = (),
        **about: Any,
    ) -> None:
        self._owner = owner
        self._on_fault = on_fault
        self._expected = expected
        self._about = about
        self._all: set[asyncio.Task[Any]] = set()
        self._faulted = False
        self._hurry: float | None = None

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[asyncio.Task[Any]]:
        return iter(list(self._all))

    def start(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Runs work as a task of this owner. ``name``: for the log."""
        # The owner's session is in every line of the log that comes from here. Its tasks are not part of the
        # request that happened to start them.
        session = self._about.get("session")
        context = contextual(session=session, request=None) if isinstance(session, str) else None
        task = asyncio.get_running_loop().create_task(work, name=name, context=context)
        # asyncio itself keeps only a weak reference to a task (its documentation of create_task).
        self._all.add(task)
        task.add_done_callback(self._done)
        return task

    def keep(self, make: Callable[[], Coroutine[Any, Any, None]], name: str) -> asyncio.Task[None]:
        """Runs work as a task; after a fault it starts again. ``make``: makes the coroutine."""
        return self.start(self._keep(make, name), name)

    async def _keep(self, make: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        while True:
            try:
                await make()
                return
            # Not BaseException: a cancellation must end it.
            except Exception as error:
                self._log(error, name)
            await asyncio.sleep(AGAIN_SECONDS)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._all.discard(task)
        # Asking for the exception also marks it as retrieved, so that asyncio does not log it a second time.
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, self._expected):
            self.fault(error, task.get_name())

    def fault(self, error: BaseException, name: str) -> None:
        """Handles an unexpected failure outside of a task as that of a task with this name."""
        self._log(error, name)
        # Once: an owner that is ending has more tasks that fail because of that.
        if not self._faulted:
            self._faulted = True
            self._on_fault(error)

    def _log(self, error: BaseException, name: str) -> None:
        told = fields(owner=self._owner, task=name, **self._about)
        log.error("a task failed: a fault of this server", exc_info=error, extra=told)

    def cancel(self) -> None:
        """Cancels all tasks but the one that calls this."""
        current = asyncio.current_task()
        for task in self._all:
            if task is not current:
                task.cancel()

    def hurry(self, seconds: float) -> None:
        """Cancels all tasks. `stop` then waits ``seconds`` for their clean-up, and cancels them again."""
        self._hurry = seconds
        self.cancel()

    async def stop(self) -> None:
        """Cancels all tasks but the one that calls this, and returns when they have ended."""
        rest = self._all - {asyncio.current_task()}
        for task in rest:
            # A second cancellation would interrupt the clean-up that the first one has started.
            if not task.cancelling():
                task.cancel()
        if rest and self._hurry is not None:
            _, late = await asyncio.wait(rest, timeout=self._hurry)
            for task in late:
                task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    def ignore_faults(self) -> None:
        """Stops calling `on_fault`, and drops the reference to it: the owner has ended."""
        self._on_fault = lambda _: None

    async def finish(self, seconds: float | None = None) -> None:
        """Returns when all tasks have ended by themselves, or after ``seconds`` (None: no limit)."""
        if self._all:
            await asyncio.wait(self._all, timeout=seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
