"""No data of a hostile agent harms the server or any session but its own."""

from __future__ import annotations

import asyncio
import json

import pytest

from coderunner.errors import AgentLost
from coderunner.schema import messages as m
from coderunner.sessions.container import Container
from coderunner.wire import frames
from tests.sessions.fakes import Agent, Engine, World, hello, state, until

HUGE = 2**53
BAD_STATES = [
    5, [], {}, None, "state",
    state(channel=-1), state(channel=65536), state(channel="1"), state(channel=[]), state(channel=True),
    state(phase="asleep"), state(phase=[]), state(mode="both"),
    state(phase_offset=10**30), state(phase_offset=-1), state(phase_offset="a"), state(phase_offset=1.5),
    {**state(), "from": 10**30}, {**state(), "from": -5}, {**state(), "to": HUGE},
    state(sent=10), state(released=10), state(in_acked=1), state(input_offset=HUGE - 1),
    state(cols="wide"), state(rows=0), state(cols=10**9),
    state(wall_ms=0), state(wall_ms="long"), state(wall_ms=-1), state(wall_ms=True),
    state(phase="exited", end=10**30), state(phase="exited", end=-1), state(phase="exited", end="end"),
    state(phase="exited", end=0, evidence="none"),
]  # fmt: skip
DEEP = b"[" * 20_000 + b"]" * 20_000


@pytest.fixture
async def clean():
    """Checks that a test leaves no task, and that no task failed unnoticed."""
    loop = asyncio.get_running_loop()
    problems = []
    loop.set_exception_handler(lambda _, context: problems.append(context))
    before = asyncio.all_tasks()
    yield
    await until(lambda: asyncio.all_tasks() <= before | {asyncio.current_task()}, "no task left")
    assert problems == []


class TestHello:
    @pytest.mark.parametrize(
        "hello",
        [
            5, [], None, "hello", {}, {"version": "1"}, {"version": 1, "channels": 5},
            {"version": 1, "channels": {"1": {}}}, {"version": 1, "sealed": 5},
            *({"version": 1, "sealed": None, "channels": [one]} for one in BAD_STATES),
            {"version": 1, "sealed": None, "channels": [state(1), state(1)]},
            {"version": 1, "sealed": None, "channels": [state(n) for n in range(120)]},
        ],
    )  # fmt: skip
    async def test_a_bad_greeting_is_an_agent_lost(self, clean, hello):
        one = Agent()
        one.hello = hello
        container = Container(Engine(one), "container-0", session="s", language="python", uid=1)
        with pytest.raises(AgentLost):
            await container.connect(start=True)
        await container.close()

    async def test_one_that_refuses_with_the_highest_generation(self, clean):
        one = Agent()

        def refuse(frame):
            one.generation, one.seed = frame.generation, json.loads(frame.payload)["seed"]
            one.say(frames.REFUSED, offset=2**64 - 1)

        one.attached = refuse
        container = Container(Engine(one), "container-0", session="s", language="python", uid=1)
        with pytest.raises(AgentLost):
            await container.connect(start=False)
        await container.close()


class TestFrames:
    @pytest.mark.parametrize("bad", BAD_STATES)
    async def test_a_bad_state_ends_its_session_at_once(self, clean, bad):
        world = await World(Agent()).begin()
        world.session.on_attached(hello([state(1)]))
        world.agent.say_state(bad)
        await until(lambda: world.ended == ["engine_lost"], "the session's end")
        assert world.agent.attaches == 1

    @pytest.mark.parametrize(
        ("kind", "payload", "fields"),
        [
            (frames.STATE, DEEP, {}),
            (frames.STATE, b"{", {}),
            (frames.OUTPUT, b"x", {"channel": 1, "stream": 1, "offset": 2**64 - 1}),
            (frames.OUTPUT, b"x", {"channel": 1, "stream": 1, "offset": HUGE}),
            (frames.REPLY, frames.RAW.pack(2**32 - 1), {}),
            (frames.REPLY, frames.RAW.pack(len(DEEP)) + DEEP, {}),
            (frames.REPLY, frames.RAW.pack(9) + b'{"id":[]}', {}),
        ],
    )
    async def test_a_bad_frame_ends_its_session_at_once(self, clean, kind, payload, fields):
        world = await World(Agent()).begin()
        world.session.on_attached(hello([state(1)]))
        world.agent.say(kind, payload, **fields)
        await until(lambda: world.ended == ["engine_lost"], "the session's end")
        assert world.agent.attaches == 1

    async def test_what_names_no_channel_is_nothing(self, clean):
        world = await World(Agent()).begin()
        world.agent.say(frames.OUTPUT, b"x", channel=7, stream=1)
        world.agent.say(frames.OUTPUT, b"x", channel=65535, stream=200)
        world.agent.say(frames.IN_ACK, channel=9, offset=2**64 - 1)
        world.agent.say_state(state(8))
        world.session.on_attached(hello([state(1)]))
        control = world.control()
        world.agent.say(frames.OUTPUT, b"seen", channel=1, stream=1)
        await until(lambda: world.session.channels[1].cache.end == 4, "what came behind it")
        assert list(world.session.channels) == [1]
        assert control.close_code is None
        await world.close()

    async def test_input_that_nobody_sent_is_not_acknowledged(self, clean):
        world = await World(Agent()).begin()
        world.session.on_attached(hello([state(1)]))
        control = world.control()
        world.session.input(control, 1, 0, b"abc")
        world.agent.say(frames.IN_ACK, channel=1, offset=2**64 - 1)
        await until(lambda: world.session.channels[1].in_acked == 3, "the acknowledgement")
        await world.close()

    async def test_frames_that_never_check_out_cost_little(self, clean):
        world = await World(Agent()).begin()
        head = world.agent.frame(frames.OUTPUT, bytes(65536))[: frames.HEADER_SIZE]
        world.agent.stream.give(head * 4000)
        await until(lambda: world.ended == ["engine_lost"], "the session's end")


class TestReplies:
    @pytest.mark.parametrize(
        "answer",
        [
            {}, {"state": 5}, {"state": state(2)}, {"state": state(1, phase="gone")},
            {"state": state(1), "channels": 5}, {"state": state(1), "channels": [[]]},
            {"state": state(1), "channels": None}, {"state": state(1), "channels": list(range(999))},
            {"error": {"code": "no_file", "message": "gone"}, "channels": "1"},
            {"error": 5}, {"error": []}, {"error": "words"},
        ],
    )  # fmt: skip
    async def test_a_bad_answer_to_run_leaves_no_channel_behind(self, clean, answer):
        world = await World(Agent()).begin()
        world.agent.answers["run"] = answer
        world.run(world.control())
        await until(lambda: world.ended == ["engine_lost"], "the session's end")

    async def test_an_agent_names_no_error_that_is_not_its_to_name(self, clean):
        world = await World(Agent()).begin()
        world.agent.answers["run"] = {"error": {"code": "superseded", "message": "\ud800 go"}}
        control = world.control()
        world.run(control)
        await until(lambda: not world.session.channels, "the answer")
        texts = [json.loads(await control.next()) for _ in range(2)]
        assert [one["type"] for one in texts] == ["attached", "error"]
        assert texts[1]["code"] == "files_failed"
        await world.close()

    @pytest.mark.parametrize(
        "answer",
        [
            {}, {"from": "a"}, {"from": 10**30}, {"from": -1}, {"from": []}, {"error": 5},
            {"from": 0, "restore": 5},
        ],
    )  # fmt: skip
    async def test_a_bad_answer_to_fetch_ends_its_session(self, clean, answer):
        world = await World(Agent()).begin()
        world.agent.answers["fetch"] = answer
        world.session.on_attached(hello([state(1, to=9, sent=9)]))
        control = world.control()
        frames_out = []

        async def write():
            while (frame := await control.next()) is not None:
                frames_out.append(frame)

        writer = asyncio.create_task(write())
        await until(lambda: world.ended == ["engine_lost"], "the session's end")
        await writer
        assert json.loads(frames_out[-1])["type"] in ("closed", "exit", "gap")

    async def test_the_wall_limit_is_this_servers_own(self, clean):
        world = await World(Agent()).begin()
        world.agent.answers["run"] = {"state": state(1, wall_ms=HUGE - 1)}
        control = world.control()
        world.session.handle(control, m.Run(1, "pipe", entry="main.py", limits={"wall_ms": 1000}))
        channel = world.session.channels[1]
        await until(lambda: channel.wall_deadline is not None, "the answer")
        assert channel.wall_deadline < asyncio.get_running_loop().time() + 7
        await world.close()
