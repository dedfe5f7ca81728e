"""Judge0's `number_of_runs`: runs a submission several times, independently of each other.

Each run is a job of its own, whose id is derived from the submission's token. So they are found after a
restart, and each run is begun only once, however many requests ask for it.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from coderunner.errors import CodeRunnerError, NoRun
from coderunner.facades import judge0_shown, running
from coderunner.facades import judge0_submissions as submissions
from coderunner.facades.judge0_shown import ACCEPTED, Facts
from coderunner.facades.running import Result
from coderunner.fleet.registry import Caller
from coderunner.jobs.about import Plan
from coderunner.jobs.job import Job
from coderunner.jobs.runs import Runs
from coderunner.logs import fields
from coderunner.tasks import Tasks
from coderunner.web.keys import Parts

log = logging.getLogger(__name__)

AGAIN_SECONDS = 2.0  # between attempts to begin the next run, if the server has no room for it
TRIES = 300  # attempts: ten minutes, as long as a submission is kept


class Repeats:
    """The tasks that begin the next run of a submission when one has ended."""

    def __init__(self) -> None:
        self._tasks = Tasks("repeats")

    def go_on(self, work: Callable[[], Awaitable[None]]) -> None:
        """Awaits `work` in the background, and repeats it if it raises a retryable error."""
        self._tasks.start(self._go_on(work), "repeat")

    async def _go_on(self, work: Callable[[], Awaitable[None]]) -> None:
        for _ in range(TRIES):
            try:
                await work()
                return
            except CodeRunnerError as error:
                if not error.retryable:
                    log.info("submission not run again", extra=fields(code=error.code))
                    return
            await asyncio.sleep(AGAIN_SECONDS)

    async def close(self) -> None:
        """Cancels the tasks. After a restart, the next request for a submission begins its next run."""
        await self._tasks.stop()


def token_of(job: Job) -> str:
    """The token of the submission that a run belongs to."""
    return job.id[: submissions.TOKEN_CHARACTERS]


def first(job: Job) -> bool:
    """Whether a run is the first one of its submission, whose id is the token."""
    return len(job.id) == submissions.TOKEN_CHARACTERS


def count_of(note: Mapping[str, Any]) -> int:
    """How many times a submission is to be run. Fractions are cut off, as by Judge0's integer column."""
    return max(1, int(note["number_of_runs"]))


async def runs_of(parts: Parts, head: Job, note: Mapping[str, Any]) -> list[Job]:
    """Returns the runs of a submission so far; begins the next one if it is due.

    `head`: the first run. The submission is over when the last returned run is. Raises CodeRunnerError if the
    next run is refused.
    """
    jobs = [head]
    while len(jobs) < count_of(note):
        last = jobs[-1]
        # As in Judge0, a run that is not accepted is the last one.
        if not last.done or last.error is not None or not _accepted(note, await running.result_of(last)):
            break
        jobs.append(await _next(parts, head, note, len(jobs) + 1))
    return jobs


def _accepted(note: Mapping[str, Any], result: Result) -> bool:
    facts = Facts("", ACCEPTED, 0, 0, result)
    status: int = judge0_shown.outcome(facts, note)["status_id"]
    return status == ACCEPTED


async def _next(parts: Parts, head: Job, note: Mapping[str, Any], number: int) -> Job:
    about, name = head.about, f"{head.id}-{number}"
    caller = Caller(about.address, about.principal, about=about.told)
    runs: Runs = parts.runs
    try:
        return runs.find(name, caller, Job)
    except NoRun:
        pass
    # In a thread, as for the first run. From the note, as the original request is not kept.
    order = await asyncio.to_thread(submissions.order_of, _given(note), parts, encoded=True, callbacks=True)
    plan = Plan(id=name, walls=order.walls, scripts=order.scripts, patient=True, again=1, first=head.id)
    # With the id as idempotency key, concurrent requests get the same run.
    work = runs.begin(order.run, caller, name, plan)
    assert isinstance(work, Job)
    return work


def _given(note: Mapping[str, Any]) -> dict[str, Any]:
    """The submission's attributes as they were sent, with texts in base64."""
    given = {name: note[name] for name in (*submissions.ENCODED, "additional_files", "language_id")}
    for name in ("compiler_options", "command_line_arguments"):  # never sent in base64
        text = note[name]
        given[name] = None if text is None else base64.b64decode(text).decode("utf-8", "replace")
    return given | {name: note[name] for name in submissions.NUMBERS}


def averaged(results: Sequence[Result]) -> dict[str, Any]:
    """The attributes that are an average over the runs."""
    stages = [one.run for one in results if one.run is not None]
    if not stages:
        return {}
    return {
        "time": f"{sum(stage.cpu_ms for stage in stages) / len(stages) / 1000:.3f}",
        "memory": sum(stage.memory for stage in stages) // len(stages) // 1024,
    }
