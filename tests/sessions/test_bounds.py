"""The number of bytes that the server holds is bounded, whatever agent, program and client do together."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tracemalloc
from collections.abc import Iterator

import pytest

from coderunner.errors import BadMessage, FilesBusy, NoSession
from coderunner.fleet.opening import Opening
from coderunner.schema import messages as m
from coderunner.schema.reports import ArtifactNews
from coderunner.sessions.attachment import Cursor
from coderunner.sessions.holdings import CACHE_BYTES, SESSION_BYTES
from coderunner.sessions.link import MAX_REPLY
from coderunner.sessions.pace import Pace
from coderunner.wire import flow, frames
from tests.fleet.test_registry import CALLER, registry
from tests.sessions.fakes import CLIENT, Agent, World, alive, hello, state, told, until

MIB = 1024 * 1024


@contextlib.contextmanager
def measured(most: int) -> Iterator[None]:
    """Fails if objects that are new at the end of the block have more bytes than this, by Python's own
    count."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    try:
        yield
        assert tracemalloc.get_traced_memory()[0] - before < most
    finally:
        tracemalloc.stop()


def output(world: World, channel: int, data: bytes, offset: int) -> None:
    for start in range(0, len(data), frames.MAX_PAYLOAD):
        piece = data[start : start + frames.MAX_PAYLOAD]
        world.agent.say(frames.OUTPUT, piece, channel=channel, stream=1, offset=offset + start)


def ended(number: int, at: int) -> dict:
    return state(
        number, phase="exited", to=at, sent=at, end=at, phase_offset=at, evidence={"main": {"code": 0}}
    )


class TestChannels:
    async def test_a_hostile_agent_that_forgets_nothing_and_floods_every_channel(self):
        """It reports each channel as ended, keeps all of them, and sends as much output as is accepted."""
        one, before = Agent(), alive(Pace)
        world = await World(one).begin()
        control = world.control()
        one.answers["run"] = lambda body: {"state": state(body["channel"]), "channels": list(one.has)}
        with measured(SESSION_BYTES):
            for number in range(300):
                one.has = list(range(max(0, number - 39), number + 1))
                world.run(control, number)
                await until(lambda n=number: world.session.channels[n].started, "the start")
                output(world, number, bytes(flow.WINDOW), 0)
                one.say_state(ended(number, flow.WINDOW))
                await until(lambda n=number: world.session.channels[n].exit, "the end")
                world.session.handle(control, m.Ping(1))
                while control.at_hand() is not None:
                    pass
                assert world.container.holdings.held < SESSION_BYTES
                assert world.container.holdings.cached <= CACHE_BYTES
        assert len(world.session.channels) <= 40
        assert alive(Pace) - before <= 41
        await world.close()

    async def test_more_channels_than_there_may_be_end_the_session(self):
        one = Agent()
        world = await World(one).begin()
        one.answers["run"] = lambda body: {"state": state(body["channel"]), "channels": list(range(99))}
        world.run(world.control())
        await until(lambda: world.ended == ["engine_lost"], "the session's end")

    @pytest.mark.parametrize("reply", ["error", "lost"])
    async def test_what_the_agent_forgot_is_dropped_whatever_became_of_the_answer(self, reply):
        """An error also lists the channels, and after a lost stream the greeting does."""
        one, before = Agent(), alive(Cursor)
        world = await World(one).begin()
        world.session.on_attached(hello([ended(number, 5) for number in range(1, 6)]))
        control = world.control()
        await until(lambda: all(one.exit for one in world.session.channels.values()), "their ends")
        if reply == "error":
            one.answers["run"] = {"error": {"code": "no_file", "message": "no such file"}, "channels": [5]}
            world.run(control, 9)
            await until(lambda: told(control, m.ErrorMessage), "the error")
        else:
            one.hello = {**one.hello, "channels": [ended(5, 5)]}
            one.stream.cut()
        await until(lambda: list(world.session.channels) == [5], "the others dropped")
        assert alive(Cursor) - before <= 1
        await world.close()

    async def test_an_agent_that_denies_a_live_channel_is_not_believed(self):
        one = Agent()
        world = await World(one).begin()
        world.session.on_attached(hello([state(1)]))
        one.answers["run"] = {"error": {"code": "no_file", "message": "none"}, "channels": []}
        world.run(world.control(), 2)
        await until(lambda: world.ended == ["engine_lost"], "the session's end")

    async def test_an_exit_cannot_be_acknowledged_before_it_was(self):
        """Otherwise the agent would drop a program whose end no client has received."""
        world = await World(Agent()).begin()
        world.session.on_attached(hello([state(1)]))
        world.session.handle(world.control(), m.Ack(1, 0, exit=True))
        assert not world.session.channels[1].exit_acked
        await world.close()

    async def test_input_of_programs_that_have_ended_is_not_kept(self):
        one = Agent()
        world = await World(one).begin()
        world.session.on_attached(hello([state(1)]))
        control = world.control()
        world.session.input(control, 1, 0, bytes(1000))
        one.say_state(ended(1, 0))
        await until(lambda: world.session.channels[1].exit, "the end")
        world.session.input(control, 1, 1000, bytes(flow.INPUT_WINDOW))
        assert world.session.channels[1].input_held == 0
        assert told(control, m.InAck) == [m.InAck(1, 1000 + flow.INPUT_WINDOW)]
        await world.close()


class TestToTheAgent:
    async def test_files_for_an_agent_that_answers_nothing(self, monkeypatch):
        """The files of each run are kept until it is answered; what does not fit is refused, to be sent
        later."""
        one = Agent()
        world = await World(one).begin()
        monkeypatch.setattr(type(one.stream), "write_now", lambda *_: False)

        async def never(*_: object) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(type(one.stream), "write", never)
        control = world.control()
        world.container.holdings.limit = 8 * MIB
        refused = 0
        with measured(10 * MIB):
            for number in range(8):
                files = tuple(m.File(f"{n}.py", bytes(60_000)) for n in range(15))
                try:
                    world.session.handle(control, m.Run(number, "pipe", files=files, entry="0.py"))
                except FilesBusy:
                    refused += 1
            assert world.container.holdings.held <= 8 * MIB
        assert 0 < refused < 8
        assert len(world.session.channels) == 8 - refused
        await world.session.end("client")

    async def test_an_agent_that_reads_nothing_of_many_commands(self, monkeypatch):
        one = Agent()
        world = await World(one).begin()
        world.session.on_attached(hello([state(1, mode="tty")]))
        control = world.control()
        monkeypatch.setattr(type(one.stream), "write_now", lambda *_: False)
        world.container.holdings.limit = MIB
        with measured(3 * MIB):
            for number in range(100_000):
                if world.container.link.closed.done():
                    break
                world.session.handle(control, m.Resize(1, 80, 24 + number % 8))
            assert world.container.link.closed.result() == "the agent reads nothing"
        monkeypatch.undo()
        await world.session.end("client")

    async def test_a_kill_repeated_has_one_waiter(self):
        world = await World(Agent()).begin()
        world.session.on_attached(hello([state(1)]))
        control = world.control()
        before = len(asyncio.all_tasks())
        for _ in range(1000):
            world.session.handle(control, m.Kill(1))
        assert len(asyncio.all_tasks()) == before + 1
        await world.session.end("client")

    async def test_more_words_than_a_program_can_have_are_refused(self):
        world = await World(Agent()).begin()
        args = tuple("x" * 65_000 for _ in range(20))
        with pytest.raises(BadMessage, match="as a file"):
            world.session.handle(world.control(), m.Run(1, "pipe", entry="main.py", args=args))
        await world.close()


class TestFromTheAgent:
    async def test_an_answer_without_end(self):
        world = await World(Agent()).begin()
        with measured(SESSION_BYTES // 4):
            for _ in range(2 * MAX_REPLY // frames.MAX_PAYLOAD):
                world.agent.say(frames.REPLY, bytes(frames.MAX_PAYLOAD), stream=frames.MORE)
            world.agent.say(frames.REPLY, b"end")
            await until(lambda: world.ended == ["engine_lost"], "the session's end")

    async def test_an_answer_that_is_dear_to_read_is_not_read(self):
        world = await World(Agent()).begin()
        text = b"[" + b"[]," * 130_000 + b"[]]"
        whole = frames.RAW.pack(len(text)) + text
        for start in range(0, len(whole), frames.MAX_PAYLOAD):
            more = frames.MORE if start + frames.MAX_PAYLOAD < len(whole) else 0
            world.agent.say(frames.REPLY, whole[start : start + frames.MAX_PAYLOAD], stream=more)
        await until(lambda: world.ended == ["engine_lost"], "the session's end")

    async def test_artifacts_with_the_longest_names(self):
        world = await World(Agent()).begin()
        world.session.on_attached(hello([state(n) for n in range(1, 9)]))
        world.control()
        with measured(6 * MIB):
            for number in range(3000):
                name = "é" * 120 + "/" + "é" * 100 + f"{number}.png"
                news = json.dumps({"path": name, "size": number}).encode()
                world.agent.say(frames.ARTIFACT, news, channel=1 + number % 8)
            world.agent.say(frames.WORKSPACE, offset=7)
            await until(lambda: world.session.revision == 7, "what came behind them")
        assert world.container.holdings.table()["artifacts"] >= MIB
        await world.close()

    async def test_words_beside_those_of_the_protocol_are_not_kept(self):
        one = Agent()
        one.hello = {**one.hello, "more": ["x" * 1000] * 40, "version": one.hello["version"]}
        world = await World(one).begin()
        assert not hasattr(world.container.link.hello, "more")
        await world.close()


class TestToTheClients:
    async def test_a_crowd_that_reads_nothing(self):
        """Together they hold no more than the session may; the slowest client is disconnected first."""
        world = await World(Agent()).begin()
        world.session.on_attached(hello([state(1)]))
        with measured(SESSION_BYTES + 4 * MIB):
            for number in range(127):
                world.session.attach(f"{number:022}", "watch", "control", dict.fromkeys(range(4096), 5))
            control = world.control()
            for _ in range(900):
                world.session.channels.attachments.broadcast(m.Notice("x", "y" * 1000))
                while control.at_hand() is not None:
                    pass
            assert world.container.holdings.held <= SESSION_BYTES
        assert control.close_code is None
        assert any(one.close_code == 1011 for one in world.session.channels.attachments)
        await world.close()


class TestSessionsThatAreOver:
    async def test_hold_nothing_and_are_held_by_nobody(self):
        """Otherwise the sessions of a client that opens and closes in a loop would be kept for a minute."""
        one, provisioner = registry(slots=4)
        before = alive(Opening)
        for number in range(3):
            wish = m.Open("python", CLIENT, nonce=f"{number:022}")
            opened = await one.open(wish, CALLER).done
            session = opened.session
            attachment = session.attach(CLIENT, "control", "control", {})
            session.on_attached(hello([state(n) for n in range(8)]))
            for channel in range(8):
                session.on_output(channel, 1, 0, bytes(flow.WINDOW))
                session.on_artifact(channel, ArtifactNews(f"{channel}.png", 5))
                session.input(attachment, channel, 0, bytes(1000))
            assert session.container.holdings.held > 2 * MIB
            ended = session.end("client")
            session.detach(attachment)
            await ended
            assert session.container.holdings.held == 0
            with pytest.raises(NoSession):
                one.open(wish, CALLER)
        del opened
        assert alive(Opening) == before
        assert provisioner.removed == ["c-0", "c-1", "c-2"]
        await one.end_all("evicted")
