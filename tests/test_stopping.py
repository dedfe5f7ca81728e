"""What the start and the stop do beside themselves fails: their caller gets it, and no task is left."""

from __future__ import annotations

import asyncio

import pytest

from coderunner import stopping
from coderunner.errors import EngineTimeout
from tests.sessions.test_faults import Bug


class Engine:
    """Its answers to pings, one after another; the last one for ever. `stands`: for how long it has answered
    nothing else."""

    def __init__(self, *answers: BaseException | None, stands: float = 0.0) -> None:
        self.answers = list(answers)
        self.stalled = lambda: stands

    async def ping(self, seconds: float) -> None:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            raise answer


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()


async def fails() -> None:
    raise Bug


@pytest.fixture(autouse=True)
async def no_task_is_left(monkeypatch):
    monkeypatch.setattr(stopping, "LOOK_SECONDS", 0.01)
    yield
    assert asyncio.all_tasks() == {asyncio.current_task()}


def not_asked() -> stopping.Stop:
    return stopping.Stop(asyncio.get_running_loop().create_future())


async def test_the_start_ends_where_the_server_is_to_stop():
    stop = not_asked()
    asyncio.get_running_loop().call_later(0.01, stop.ask, stopping.SUSPEND)
    assert not await stopping.unless_stopped(stop, for_ever())


async def test_a_fault_of_the_start_is_its_callers():
    with pytest.raises(Bug):
        await stopping.unless_stopped(not_asked(), fails())


async def test_a_fault_of_the_end_is_its_callers():
    with pytest.raises(Bug):
        await stopping.unless_hung(Engine(None), fails())


async def test_a_fault_of_the_watch_is_not_taken_for_an_engine_that_hangs():
    with pytest.raises(Bug):
        await stopping.unless_hung(Engine(None, Bug()), for_ever())


async def test_the_end_is_given_up_where_the_engine_hangs():
    assert not await stopping.unless_hung(Engine(None, EngineTimeout("ping")), for_ever())


async def test_the_end_is_given_up_where_the_engine_answers_nothing_but_pings():
    assert not await stopping.unless_hung(Engine(None, stands=stopping.STALLED_SECONDS + 1), for_ever())
