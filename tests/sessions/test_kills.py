"""A program that was killed: its end is awaited, and an agent that does not end it is detected."""

from __future__ import annotations

import asyncio

import pytest

from coderunner.sessions import kills
from tests.sessions.fakes import Agent, World, hello, state, until

ENDED = {"phase": "exited", "end": 0, "evidence": {"main": {"signal": "KILL"}, "intent": "killed"}}


@pytest.fixture
async def world() -> World:
    one = await World(Agent()).begin()
    one.session.on_attached(hello([state(1), state(2)]))
    return one


async def test_one_that_has_ended_is_not_waited_for(world):
    world.agent.say_state(state(1, **ENDED))
    channel = world.session.channels[1]
    await until(lambda: channel.exit, "the exit")
    async with asyncio.timeout(1):
        await kills.confirmed(channel, world.container)
    await world.close()


async def test_the_word_of_its_end_is_enough(world):
    waiting = asyncio.create_task(kills.confirmed(world.session.channels[1], world.container))
    world.agent.say_state(state(2, **ENDED))  # another's is not
    await until(lambda: world.session.channels[2].exit, "the other's exit")
    assert not waiting.done()
    world.agent.say_state(state(1, **ENDED))
    await asyncio.wait_for(waiting, 20)
    assert not world.container.gone.done()
    await world.close()


async def test_an_agent_that_does_not_end_it_loses_its_container(world, monkeypatch):
    monkeypatch.setattr(kills, "KILL_SECONDS", 0.05)
    monkeypatch.setattr(kills, "GRACE_SECONDS", 0.05)
    await asyncio.wait_for(kills.confirmed(world.session.channels[1], world.container), 20)
    assert world.container.gone.result() == "did not end a program in time"
    await until(lambda: world.ended == ["engine_lost"], "the session's end")


async def test_at_a_sessions_end_they_are_waited_for_together_and_not_for_long(world, monkeypatch):
    channels = list(world.session.channels.values())
    waiting = asyncio.create_task(kills.all_ended(channels, world.container))
    world.agent.say_state(state(1, **ENDED))
    await until(lambda: channels[0].exit, "the first exit")
    assert not waiting.done()
    world.agent.say_state(state(2, **ENDED))
    await asyncio.wait_for(waiting, 20)
    monkeypatch.setattr(kills, "KILL_SECONDS", 0.05)
    world.session.on_attached(hello([state(1, **ENDED), state(2, **ENDED), state(3)]))
    await asyncio.wait_for(kills.all_ended(world.session.channels.values(), world.container), 20)
    assert not world.container.gone.done()  # it is removed anyway
    await world.close()
