"""Tasks and their owners, which are notified of failures."""

from __future__ import annotations

import asyncio

import pytest

from coderunner.tasks import Tasks
from tests.sessions.fakes import until
from tests.sessions.test_faults import Bug, faults, raises_later


class TestTasks:
    async def test_the_owner_is_told_once_and_its_other_tasks_go_on(self, caplog):
        told: list[BaseException] = []
        async with Tasks("somebody", told.append, number=5) as tasks:
            other = tasks.start(asyncio.sleep(60), "other")
            for _ in range(2):
                tasks.start(raises_later(), "work")
            await until(lambda: len(tasks) == 1, "their ends")
            assert len(told) == 1
            assert not other.done()
        assert other.cancelled()
        assert faults(caplog) == 2 * [{"owner": "somebody", "task": "work", "number": 5}]

    async def test_what_is_expected_is_somebody_elses_to_read(self, caplog):
        async with Tasks("somebody", expected=(Bug,)) as tasks:
            task = tasks.start(raises_later(), "work")
            with pytest.raises(Bug):
                await task
        assert faults(caplog) == []

    async def test_in_a_hurry_a_task_that_cleans_up_gets_a_moment(self):
        async def slow() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(60)

        tasks = Tasks("somebody")
        task = tasks.start(slow(), "slow")
        await asyncio.sleep(0)
        tasks.hurry(0.05)
        await asyncio.wait_for(tasks.stop(), 5)
        assert task.cancelled()
