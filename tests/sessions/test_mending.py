"""A broken attach stream is replaced without the client noticing: nothing is lost, and nothing done twice."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest

from coderunner.schema import messages as m
from coderunner.wire import flow, frames
from tests.sessions.fakes import Agent, World, hello, state, told, until


async def mended(world: World, attaches: int = 2) -> None:
    await until(lambda: world.agent.attaches == attaches, "another attach")
    await until(lambda: not world.container.link.closed.done(), "the link")


class TestBehindTheGreeting:
    async def test_an_end_told_right_behind_the_greeting_is_heard(self):
        one = Agent()
        world = await World(one).begin()
        world.session.on_attached(hello([state(1)]))
        one.hello = {**one.hello, "channels": [state(1)]}
        ended = state(1, phase="exited", end=0, evidence={"main": {"code": 4}})
        one.behind = [(frames.STATE, json.dumps(ended).encode(), {})]
        one.stream.cut()
        await until(lambda: world.session.channels[1].exit is not None, "the exit")
        assert world.session.channels[1].exit.code == 4
        await world.close()

    async def test_input_acknowledged_right_behind_the_greeting_is_heard(self):
        one = Agent()
        world = await World(one).begin()
        world.session.on_attached(hello([state(1)]))
        world.session.input(world.control(), 1, 0, b"abc")
        one.hello = {**one.hello, "channels": [state(1)]}
        one.behind = [(frames.IN_ACK, b"", {"channel": 1, "offset": 3})]
        one.stream.cut()
        await until(lambda: world.session.channels[1].in_acked == 3, "the acknowledgement")
        await world.close()


class TestLastWords:
    async def test_why_an_agent_ended_is_in_the_log(self, caplog):
        caplog.set_level("INFO")
        one = Agent()
        world = await World(one).begin()
        one.give(one.frame(frames.FATAL_ERROR, b"Traceback: a fault"))
        one.stream.cut()
        await mended(world)
        lines = [record.fields["why"] for record in caplog.records if "stream lost" in record.message]
        assert lines == ["end of stream: Traceback: a fault"]
        await world.close()


class TestRepeated:
    async def test_control_is_told_of_input_that_was_taken_meanwhile(self):
        """Its window is full, so without the message it would wait for ever."""
        one = Agent()
        world = await World(one).begin()
        world.session.on_attached(hello([state(1)]))
        control = world.control()
        world.session.input(control, 1, 0, bytes(flow.INPUT_WINDOW))
        taken = flow.INPUT_WINDOW
        one.hello = {**one.hello, "channels": [state(1, input_offset=taken, in_acked=taken)]}
        one.stream.cut()
        await mended(world)
        await until(lambda: m.InAck(1, taken) in told(control, m.InAck), "in_ack")
        await world.close()

    async def test_commands_given_meanwhile_reach_the_agent(self):
        one = Agent()
        world = await World(one).begin()
        world.session.on_attached(hello([state(1), state(2, mode="tty"), state(3)]))
        control = world.control()
        world.engine.away = True
        one.stream.cut()
        await until(lambda: world.container.link.closed.done(), "the break")
        one.calls.clear()
        world.session.handle(control, m.Eof(1, 3))
        world.session.input(control, 1, 0, b"abc")
        world.session.handle(control, m.Resize(2, 100, 40))
        world.session.handle(control, m.Kill(3))
        assert one.calls == []
        one.hello = {**one.hello, "channels": [state(1), state(2, mode="tty"), state(3)]}
        world.engine.away = False
        await mended(world)
        assert one.inputs[-1] == (1, 0, b"abc")
        assert one.ops("eof") == [{"op": "eof", "channel": 1, "offset": 3}]
        assert one.ops("resize") == [{"op": "resize", "channel": 2, "cols": 100, "rows": 40}]
        assert one.ops("kill") == [{"op": "kill", "channel": 3, "intent": "killed"}]
        await world.close()

    async def test_a_kill_waits_for_an_engine_that_is_away(self, monkeypatch):
        """The agent cannot confirm what it has not received, so its container is not given up."""
        monkeypatch.setattr("coderunner.sessions.kills.KILL_SECONDS", -3.9)
        one = Agent()
        world = await World(one).begin()
        world.session.on_attached(hello([state(1)]))
        control = world.control()
        world.engine.away = True
        one.stream.cut()
        await until(lambda: world.container.link.closed.done(), "the break")
        world.session.handle(control, m.Kill(1))
        looks = []
        inspect = world.engine.inspect

        async def look(container):
            looks.append(container)
            return await inspect(container)

        world.engine.inspect = look
        await until(lambda: len(looks) >= 2, "two looks at the engine, longer than a kill may take")
        assert not world.container.gone.done()
        world.engine.away = False
        ended = state(1, phase="exited", end=0, evidence={"main": {"signal": "KILL"}, "intent": "killed"})
        one.hello = {**one.hello, "channels": [ended]}
        await until(lambda: world.session.channels[1].exit is not None, "the exit")
        assert world.session.channels[1].exit.reason == "killed"
        await world.close()


class TestRun:
    async def test_a_run_that_the_agent_never_heard_is_asked_again(self):
        one = Agent()
        world = await World(one).begin()
        control = world.control()
        world.run(control)  # no answer
        world.session.input(control, 1, 0, b"abc")
        assert len(one.ops("run")) == 1
        one.inputs.clear()
        one.answers["run"] = {"state": state(1), "existed": False}
        one.stream.cut()
        await until(lambda: world.session.channels[1].started, "the start")
        assert len(one.ops("run")) == 2
        assert one.inputs == [(1, 0, b"abc")]
        assert told(control, m.ErrorMessage) == []
        await world.close()

    async def test_a_run_whose_answer_was_lost_is_not_an_error(self):
        one = Agent()
        world = await World(one).begin()
        control = world.control()
        world.run(control)
        one.hello = {**one.hello, "channels": [state(1, to=0)]}
        one.answers["run"] = {"state": state(1), "existed": True}
        one.stream.cut()
        await until(lambda: world.session.channels[1].started, "the start")
        assert told(control, m.ErrorMessage) == []
        await world.close()

    async def test_a_run_in_a_break_is_begun_behind_it(self):
        one = Agent()
        world = await World(one).begin()
        control = world.control()
        world.engine.away = True
        one.stream.cut()
        await until(lambda: world.container.link.closed.done(), "the break")
        world.run(control)
        one.answers["run"] = {"state": state(1)}
        await asyncio.sleep(0)
        world.engine.away = False
        await until(lambda: world.session.channels[1].started, "the start")
        assert told(control, m.ErrorMessage) == []
        await world.close()

    async def test_an_agent_that_answers_no_run_loses_its_container(self, monkeypatch):
        monkeypatch.setattr("coderunner.sessions.runs.RUN_SECONDS", 0.05)
        world = await World(Agent()).begin()
        world.run(world.control())
        await until(lambda: world.ended == ["engine_lost"], "the session's end")

    @pytest.mark.parametrize(
        ("for_memory", "reason", "hit"), [(True, "oom", ("memory",)), (False, "engine_lost", ())]
    )
    async def test_a_container_that_ended_for_memory_says_so(self, for_memory, reason, hit):
        """In gVisor the machine's kernel ends all of it, with the agent."""
        one = Agent()
        one.answers["run"] = {"state": state(1)}
        world = await World(one).begin()
        control = world.control()
        world.run(control)
        await until(lambda: world.session.channels[1].started, "the start")
        world.engine.state = SimpleNamespace(
            running=False, exit_code=137, oom_killed=True, ended_for_memory=for_memory
        )
        one.stream.cut()
        await until(lambda: world.ended == ["engine_lost"], "the session's end")
        [told_end] = told(control, m.Exit)
        assert (told_end.reason, told_end.limits_hit, told_end.code) == (reason, hit, None)
