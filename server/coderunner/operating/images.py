"""Jobs on images that the operator starts: one at a time, each with the last lines of its output."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from coderunner.errors import AlreadyRunning, CodeRunnerError, NoAddress
from coderunner.schema.admin import Job
from coderunner.tasks import Tasks

MAX_LINES = 200  # of a job
MAX_LINE = 400  # characters
MAX_JOBS = 20  # that are remembered

Say = Callable[[str], None]


@dataclass(slots=True, eq=False)
class _Job:
    """A job and its state. `task`: the work, None before it has begun."""

    action: str
    languages: tuple[str, ...]
    id: str = field(default_factory=lambda: secrets.token_hex(6))
    state: str = "running"
    began: float = field(default_factory=time.time)
    ended: float | None = None
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_LINES))
    task: asyncio.Task[Any] | None = None

    def view(self) -> Job:
        """The job as it is sent to the operator."""
        return Job(
            self.id, self.action, self.languages, self.state, self.began, self.ended, tuple(self.lines)
        )


class Jobs:
    """The jobs since the server's start, of which the last MAX_JOBS are kept."""

    def __init__(self) -> None:
        self._jobs: deque[_Job] = deque(maxlen=MAX_JOBS)
        self._tasks = Tasks("operator's images")

    def all(self) -> tuple[Job, ...]:
        """The jobs, the newest first."""
        return tuple(one.view() for one in self._jobs)

    def start(self, action: str, languages: Sequence[str], work: Callable[[Say], Awaitable[None]]) -> Job:
        """Starts a job. `work`: gets a function to be called with each line of output. Raises
        AlreadyRunning."""
        if any(one.state == "running" for one in self._jobs):
            raise AlreadyRunning("a job on images runs already; wait for its end, or cancel it")
        job = _Job(action, tuple(languages))
        self._jobs.appendleft(job)
        job.task = self._tasks.start(self._run(job, work), f"images-{action}")
        return job.view()

    async def _run(self, job: _Job, work: Callable[[Say], Awaitable[None]]) -> None:
        """Does the work, and notes how it ended."""
        loop = asyncio.get_running_loop()

        def say(line: str) -> None:  # called in the builder's thread
            loop.call_soon_threadsafe(job.lines.append, line[:MAX_LINE])

        try:
            await work(say)
            job.state = "done"
        except CodeRunnerError as error:
            say(error.message)
            job.state = "failed"
        except asyncio.CancelledError:
            job.state = "cancelled"
            raise
        finally:
            job.ended = time.time()
            if job.state == "running":  # a fault of this server, which is logged
                job.state = "failed"

    def cancel(self, id: str) -> Job:
        """Cancels a job; one that has ended stays as it is. Raises NoAddress."""
        for job in self._jobs:
            if job.id == id:
                if job.task is not None:
                    job.task.cancel()
                return job.view()
        raise NoAddress("there is no such job")

    async def stop(self) -> None:
        """Cancels the job that runs."""
        await self._tasks.stop()
