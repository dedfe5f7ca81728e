"""If the server's own loop was blocked, unread messages do not count as the silence of others."""

from __future__ import annotations

import asyncio
import time

import pytest

from coderunner import timing
from coderunner.core.admission import Admission, Ticket
from coderunner.errors import QueueTimeout
from coderunner.fleet.queue import AdmissionQueue
from coderunner.fleet.workers import WorkerPool
from coderunner.schema import calls
from coderunner.schema import messages as m
from coderunner.wire import flow, frames
from tests.sessions.fakes import Agent, World, hello, state, until

pytestmark = pytest.mark.timed


def stand_still(seconds: float) -> None:
    time.sleep(seconds)


@pytest.fixture
def quick(monkeypatch):
    """Sets deadlines of tenths of seconds."""
    monkeypatch.setattr("coderunner.sessions.kills.KILL_SECONDS", -3.8)
    monkeypatch.setattr("coderunner.sessions.channels.GRACE_SECONDS", 0.1)
    monkeypatch.setattr("coderunner.sessions.link.SILENCE_SECONDS", 0.5)
    monkeypatch.setattr(flow, "BEAT_SECONDS", 0.1)


async def world_with(*states: dict) -> World:
    world = await World(Agent()).begin()
    world.session.on_attached(hello(list(states)))
    return world


def dead(number: int, intent: str | None) -> dict:
    evidence = {"main": {"signal": "KILL"}, "intent": intent}
    return state(number, phase="exited", end=0, evidence=evidence)


async def test_a_kill_whose_confirmation_waits_unread(quick):
    world = await world_with(state(1))
    world.session.handle(world.control(), m.Kill(1))
    await asyncio.sleep(0)
    world.agent.say_state(dead(1, "killed"))
    stand_still(1.0)
    await until(lambda: world.session.channels[1].exit, "the exit")
    assert world.session.channels[1].exit.reason == "killed"
    assert not world.container.gone.done()
    await world.close()


async def test_a_program_that_ended_in_its_wall_limit(quick):
    world = await world_with(state(1, wall_ms=100))
    await asyncio.sleep(0.05)
    stand_still(1.0)
    world.agent.say_state(dead(1, "wall_timeout"))
    await until(lambda: world.session.channels[1].exit, "the exit")
    assert world.session.channels[1].exit.reason == "wall_timeout"
    assert not world.container.gone.done()
    await world.close()


async def test_an_agent_whose_heartbeats_wait_unread(quick):
    world = await world_with()
    await asyncio.sleep(0.2)
    for _ in range(3):
        world.agent.say(frames.BEAT)
        stand_still(1.0)
        await asyncio.sleep(0)
    await asyncio.sleep(0.3)
    assert world.agent.attaches == 1
    assert not world.container.link.closed.done()
    await world.close()


async def test_a_server_that_was_silent_itself_attaches_anew(quick, monkeypatch):
    """Its agent counts it as gone and reads nothing more, so further requests on the stream would be
    in vain."""
    monkeypatch.setattr(flow, "SILENCE_SECONDS", 1.5)
    world = await world_with()
    world.agent.answers["seal"] = None
    call = asyncio.ensure_future(world.container.call(calls.Seal(record="x")))
    await asyncio.sleep(0.05)
    world.agent.answers["seal"] = {}
    stand_still(1.0)
    await until(lambda: world.agent.attaches == 2, "another attach")
    assert await call == ({"id": world.agent.calls[-1]["id"]}, b"")
    await world.close()


async def test_an_agent_that_is_truly_silent_is_found_out(quick, monkeypatch):
    world = await world_with()
    before = world.agent.attaches
    monkeypatch.setattr(world.agent, "hear", lambda data: None)
    await until(lambda: world.container.link.closed.done() or world.agent.attaches > before, "the break")
    assert "silent" in world.container.link.closed.result()
    world.container.condemn("for this test")
    await until(lambda: world.ended, "the end")


async def test_a_call_whose_answer_waits_unread():
    world = await world_with()
    call = asyncio.ensure_future(world.container.link.call(calls.Keep(), seconds=0.3))
    await asyncio.sleep(0)
    number = world.agent.calls[-1]["id"]
    world.agent.give(
        frames.encode_message(
            frames.REPLY, world.agent.generation, {"id": number, "size": 5}, seed=world.agent.seed
        )
    )
    stand_still(0.8)
    assert (await call)[0]["size"] == 5
    await world.close()


async def test_a_session_whose_clients_key_waits_unread(monkeypatch):
    """Its idle time passed while the loop was blocked; the key is read a moment later."""
    world = await World(Agent()).begin(idle_ms=300)
    control = world.control()
    session = world.session
    await asyncio.sleep(0.1)
    asyncio.get_running_loop().call_later(0.45, session.handle, control, m.Extend())
    stand_still(0.8)
    await asyncio.sleep(0.1)
    assert not session.over
    await until(lambda: world.ended == ["idle_timeout"], "its true end")


async def test_a_shell_in_which_nothing_runs_is_no_live_program():
    world = await World(Agent()).begin(idle_ms=300)
    session = world.session
    session.on_attached(hello([state(1, kind="shell", mode="tty")]))
    control = world.control()
    assert session.channels.busy
    await asyncio.sleep(0.6)  # longer than it may be idle
    assert control.close_code is None
    world.agent.say_state(state(1, kind="shell", mode="tty", occupied=False))
    await until(lambda: not session.channels.busy, "the word of it")
    assert session.expiry().idle_ms > 0  # what ran in it ended now
    await until(lambda: world.ended == ["idle_timeout"], "the end")


async def test_a_waiter_whose_slot_became_free_meanwhile():
    queue = AdmissionQueue(Admission(1, 8))
    now = timing.now()
    slot = await queue.acquire(Ticket("1", "a", None, "python", now + 60), lambda _: None)
    waiting = asyncio.ensure_future(
        queue.acquire(Ticket("2", "b", None, "python", now + 0.3), lambda _: None)
    )
    await asyncio.sleep(0.05)
    asyncio.get_running_loop().call_later(0.27, slot.release)
    stand_still(0.8)
    (await waiting).release()
    with pytest.raises(QueueTimeout):
        late = timing.now() + 0.1
        await queue.acquire(Ticket("3", "a", None, "python", timing.now() + 60), lambda _: None)
        await queue.acquire(Ticket("4", "b", None, "python", late), lambda _: None)


async def test_work_that_was_done_in_time():
    async with WorkerPool(1) as pool:

        async def work() -> int:
            await asyncio.sleep(0.1)
            return 7

        job = asyncio.ensure_future(pool.submit(work, name="work", timeout=0.4))
        await asyncio.sleep(0.02)
        stand_still(1.0)
        assert await job == 7
