"""The order of what a client is sent, at the end and while the agent is not reachable."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random
from typing import Any

import pytest

from coderunner.core import codec
from coderunner.errors import CodeRunnerError
from coderunner.schema import messages as m
from coderunner.schema.reports import ChannelState, read
from coderunner.wire import flow, frames
from tests.sessions.fakes import Agent, World, hello, read_to_end, state, told, until

OTHER = "o" * 22


class Reader:
    """Reads everything that an attachment sends, decoded."""

    def __init__(self, attachment: Any) -> None:
        self.attachment = attachment
        self.got: list[Any] = []
        self.done = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while (frame := await self.attachment.next()) is not None:
            self.take(frame)

    def take(self, frame: str | bytes) -> None:
        text = isinstance(frame, str)
        self.got.append(codec.decode_server_text(frame) if text else codec.decode_output(frame))

    def of(self, kind: type) -> list[Any]:
        return [one for one in self.got if isinstance(one, kind)]

    @property
    def output(self) -> bytes:
        return b"".join(one.payload for one in self.of(codec.OutputFrame))


def output(world: World, data: bytes, offset: int = 0, channel: int = 1) -> None:
    for start in range(0, len(data), frames.MAX_PAYLOAD):
        piece = data[start : start + frames.MAX_PAYLOAD]
        world.agent.say(frames.OUTPUT, piece, channel=channel, stream=1, offset=offset + start)


def dies(world: World, end: int) -> None:
    """The agent confirms a kill at once."""

    def killed(body: dict[str, Any]) -> None:
        world.agent.say_state(
            state(1, phase="exited", to=end, sent=end, end=end, phase_offset=end,
                  evidence={"main": {"signal": "KILL"}, "intent": body["intent"]})
        )  # fmt: skip

    world.agent.answers["kill"] = killed


class Socket:
    """The socket of a reader's client. `takes`: whether it can be written to now."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.takes = True
        self.resting = False
        self.sent = 0  # how many pieces were sent by `flush`

    def ready(self) -> bool:
        return self.takes

    def send_at_hand(self, most: int | None = None) -> None:
        self.sent += 1
        while (frame := self._reader.attachment.at_hand(most)) is not None:
            self._reader.take(frame)


class TestAtOnce:
    """Little of what the agent reports is sent in the same call, the rest by `next`: in order, and once."""

    async def begin(self) -> tuple[World, Reader, Socket]:
        world = await World(Agent()).begin()
        world.session.on_attached(hello([state(1)]))
        control = world.control()
        reader = Reader(control)
        control.sender = socket = Socket(reader)
        await until(lambda: reader.got, "what a new client is told")
        return world, reader, socket

    async def test_an_echo_and_what_was_taken_of_the_input_go_in_one_piece(self):
        world, reader, socket = await self.begin()
        # Once the client's writer waits for more.
        await until(lambda: self.echo(world, reader, socket), "an echo at once")

    @staticmethod
    def echo(world: World, reader: Reader, socket: Socket) -> bool:
        """Whether both were sent when the agent's bytes had been handled."""
        channels, before, had = world.session.channels, socket.sent, len(reader.got)
        at = channels[1].cache.end
        channels[1].input_offset = at + 1
        channels.begin_reports()
        channels.on_output(1, 1, at, b"k")
        channels.on_in_ack(1, at + 1)
        channels.end_reports()
        return socket.sent == before + 1 and {type(one) for one in reader.got[had:]} == {
            codec.OutputFrame, m.InAck
        }  # fmt: skip

    async def test_all_of_it_comes_once_and_in_order_whatever_its_size(self):
        world, reader, socket = await self.begin()
        random, expected = Random(7), b""
        for _ in range(300):
            data = random.randbytes(random.choice([1, 80, 1000, 3000, 60_000]))
            socket.takes = random.random() < 0.8
            output(world, data, len(expected))
            expected += data
            if random.random() < 0.7:
                await until(lambda: len(reader.output) == len(expected), "all output")  # noqa: B023
            world.session.channels.ack(reader.attachment, m.Ack(1, len(reader.output)))
        await until(lambda: len(reader.output) == len(expected), "all output")
        assert reader.output == expected
        assert 20 < socket.sent < 300

    async def test_one_who_only_watches_gets_it_as_well(self):
        world = await World(Agent()).begin()
        world.session.on_attached(hello([state(1)]))
        reader = Reader(world.session.attach(OTHER, "watch", "watch", {}))
        output(world, bytes(60_000))
        await until(lambda: len(reader.output) == 60_000, "the output")

    async def test_an_echo_does_not_wait_for_the_rest_after_another_programs_flood(self):
        world = await World(Agent()).begin()
        world.session.on_attached(hello([state(1), state(2)]))
        reader = Reader(world.control())
        reader.done.cancel()  # its writer rests
        reader.attachment.sender = socket = Socket(reader)
        socket.resting = True
        channels = world.session.channels
        channels.begin_reports()
        channels.on_output(1, 1, 0, bytes(60_000))
        channels.end_reports()
        channels.begin_reports()
        channels.on_output(2, 1, 0, b"k")
        channels.end_reports()
        assert [(one.channel, one.payload) for one in reader.of(codec.OutputFrame)] == [(2, b"k")]

    async def test_what_is_sent_beside_the_turns_does_not_choose_who_floods(self):
        """Regression: each look moved the turns, so that every second of eight programs got none for half a
        minute."""
        world = await World(Agent()).begin()
        world.session.on_attached(hello([state(number) for number in range(1, 9)]))
        control = world.control()
        for number in range(1, 9):
            output(world, bytes(2 * frames.MAX_PAYLOAD), channel=number)
        turns = []
        while len(turns) < 16:
            frame = await control.next()
            if isinstance(frame, bytes) and len(frame) > 1000:
                turns.append(codec.decode_output(frame).channel)
            control.at_hand(1000)
        assert {turns.count(number) for number in range(1, 9)} == {2}, turns

    async def test_output_that_has_to_be_fetched_gets_its_turn_beside_what_is_at_hand(self):
        """It never did while the programs beside it printed: a writer takes what is at hand as well."""
        one = Agent()
        one.answers["fetch"] = lambda body: ({"from": body["offset"], "stream": 1}, b"kept")
        world = await World(one).begin()
        # Of the second one the agent has output that this server has not.
        world.session.on_attached(hello([state(1), state(2, to=4, sent=4), state(3)]))
        control = world.control()
        told(control, m.Attached)
        channels, came = world.session.channels, []
        for _ in range(20):
            for number in (1, 3):
                channels.on_output(number, 1, channels[number].cache.end, bytes(2000))
            frames_ = [await control.next(), control.at_hand()]  # as the writer of a connection does it
            came += [codec.decode_output(frame) for frame in frames_ if isinstance(frame, bytes)]
        assert [frame.payload for frame in came if frame.channel == 2] == [b"kept"]
        assert {frame.channel for frame in came} == {1, 2, 3}
        await world.close()

    async def test_what_waits_for_the_agent_holds_up_neither_messages_nor_an_echo(self):
        """A page takes its connection for lost before an agent that does not answer is given up."""
        world = await World(Agent()).begin()
        world.session.on_attached(hello([state(1, to=9, sent=9), state(2)]))
        control = world.control()
        reader = Reader(control)
        control.sender = Socket(reader)
        await until(lambda: world.agent.ops("fetch"), "a fetch, which is not answered")
        world.session.handle(control, m.Ping(5))
        assert reader.of(m.Pong) == [m.Pong(5)]
        channels = world.session.channels
        channels.begin_reports()
        channels.on_output(2, 1, 0, b"k")
        channels.end_reports()
        assert [(one.channel, one.payload) for one in reader.of(codec.OutputFrame)] == [(2, b"k")]
        reader.done.cancel()

    async def test_a_socket_that_takes_nothing_leaves_it_to_the_writer(self):
        world, reader, socket = await self.begin()
        socket.takes = False
        output(world, b"later")
        await until(lambda: reader.output == b"later", "the output")
        assert not socket.sent


class TestTheEnd:
    async def test_closed_comes_last_behind_output_and_exit(self):
        world = await World(Agent()).begin()
        world.session.on_attached(hello([state(1)]))
        control = world.control()
        dies(world, 4)
        output(world, b"last")
        await until(lambda: world.session.channels[1].cache.end == 4, "the output")
        ended = world.session.end("lifetime")
        reader = Reader(control)
        await asyncio.gather(ended, reader.done)
        assert [type(one).__name__ for one in reader.got[-2:]] == ["Exit", "Closed"]
        assert reader.output == b"last"
        assert reader.of(m.Exit)[0].reason == "session_closed"

    async def test_a_client_whose_window_is_full_gets_the_rest(self):
        world = await World(Agent()).begin()
        world.session.on_attached(hello([state(1)]))
        control = world.control()
        reader = Reader(control)
        dies(world, flow.WINDOW + 9)
        output(world, bytes(flow.WINDOW))
        await until(lambda: len(reader.output) == flow.WINDOW, "a full window")
        output(world, b"and a bit", flow.WINDOW)
        ended = world.session.end("client")
        await until(lambda: world.session.channels[1].exit is not None, "the exit")
        world.session.handle(control, m.Ack(1, flow.WINDOW))
        await asyncio.gather(ended, reader.done)
        assert reader.output.endswith(b"and a bit")
        assert [type(one).__name__ for one in reader.got[-2:]] == ["Exit", "Closed"]

    async def test_a_client_that_takes_nothing_is_not_waited_for_without_end(self, monkeypatch):
        monkeypatch.setattr("coderunner.sessions.attachment.FLUSH_SECONDS", 0.05)
        world = await World(Agent()).begin()
        world.session.on_attached(hello([state(1)]))
        reader = Reader(world.control())
        dies(world, flow.WINDOW + 9)
        output(world, bytes(flow.WINDOW))
        await until(lambda: len(reader.output) == flow.WINDOW, "a full window")
        output(world, b"and a bit", flow.WINDOW)
        await asyncio.gather(world.session.end("client"), reader.done)
        assert isinstance(reader.got[-1], m.Closed)

    async def test_a_stopping_server_tells_no_gap_of_what_the_agent_keeps(self):
        world = await World(Agent()).begin()
        world.session.on_attached(hello([state(1, to=9, sent=9)]))
        reader = Reader(world.control())
        await until(lambda: world.agent.ops("fetch"), "a fetch")
        world.session.suspend()
        await world.container.close()
        await reader.done
        assert reader.of(m.Gap) == []
        assert reader.attachment.close_code == 1012

    async def test_an_engine_that_is_gone_is_told_with_a_gap(self):
        world = await World(Agent()).begin()
        world.session.on_attached(hello([state(1, to=9, sent=9)]))
        reader = Reader(world.control())
        await until(lambda: world.agent.ops("fetch"), "a fetch")
        world.container.condemn("for this test")
        await reader.done
        assert reader.of(m.Gap) == [m.Gap(1, 0, 9, None)]
        assert [type(one).__name__ for one in reader.got[-2:]] == ["Exit", "Closed"]
        assert reader.of(m.Exit)[0].reason == "engine_lost"

    async def test_a_search_for_problems_that_never_begins_keeps_no_exit_back(self):
        """As when a session is closed in the turn of the loop in which its program fails."""
        world = await World(Agent()).begin()
        world.session.on_attached(hello([state(1)]))
        reader = Reader(world.control())
        channels, said = world.session.channels, b'  File "main.py", line 1, in <module>\nNameError: x\n'
        ended = world.session.end("client")
        channels.on_output(1, 2, 0, said)
        over = {"phase": "exited", "to": len(said), "end": len(said), "evidence": {"main": {"code": 1}}}
        channels.on_state(read(ChannelState, state(1, **over), "state"))
        assert channels[1].searching
        await asyncio.gather(ended, reader.done)
        assert [type(one) for one in reader.got[-2:]] == [m.Exit, m.Closed]

    @pytest.mark.parametrize("lost", [True, False])
    async def test_what_the_agent_had_left_of_a_program_that_ended_is_a_gap_before_its_exit(self, lost):
        """Its clients waited for two seconds, and were told neither."""
        world = await World(Agent()).begin()
        world.session.on_attached(hello([state(1)]))
        reader = Reader(world.control())
        output(world, bytes(9))
        said = {"phase": "exited", "to": 20, "sent": 9, "end": 20, "evidence": {"main": {"code": 3}}}
        world.agent.say_state(state(1, **said))
        await until(lambda: world.session.channels[1].exit is not None, "the end")
        if lost:
            world.container.condemn("for this test")
        else:
            world.session.end("client")
        await reader.done
        assert reader.of(m.Gap) == [m.Gap(1, 9, 20, None)]
        assert [type(one) for one in reader.got[-2:]] == [m.Exit, m.Closed]
        assert reader.of(m.Exit)[0].code == 3


class TestAgentOutOfReach:
    async def test_messages_pass_while_output_has_to_wait(self):
        one = Agent()
        world = await World(one).begin()
        world.session.on_attached(hello([state(1, to=9, sent=9)]))
        control = world.control()
        reader = Reader(control)
        await until(lambda: one.ops("fetch"), "a fetch")
        world.engine.away = True
        one.stream.cut()
        await until(lambda: world.container.link.closed.done(), "the break")
        world.session.handle(control, m.Ping(5))
        await until(lambda: reader.of(m.Pong), "the pong", 0.5)
        one.hello = {**one.hello, "channels": [state(1, to=9, sent=9)]}
        one.answers["fetch"] = lambda body: {"from": body["offset"], "stream": 1}
        world.engine.away = False
        # An empty answer, in this fake: nothing is there any more, which is a gap.
        await until(lambda: reader.of(m.Gap), "what the agent says, once it is back")
        await world.close()
        await reader.done

    async def test_what_it_cannot_answer_is_a_gap_and_the_rest_comes(self):
        """As with an agent of another version, which does not know the request."""
        one = Agent()
        one.answers["fetch"] = {"error": {"code": "internal", "message": "not known"}}
        world = await World(one).begin()
        world.session.on_attached(hello([state(1, to=9, sent=9)]))
        reader = Reader(world.control())
        await until(lambda: reader.of(m.Gap), "the gap")
        assert reader.of(m.Gap) == [m.Gap(1, 0, 9, None)]
        output(world, b"rest", 9)
        await until(lambda: reader.output == b"rest", "what comes behind it")
        await world.close()
        await reader.done


class TestControl:
    async def test_a_superseded_attachment_takes_nothing_any_more(self):
        world = await World(Agent()).begin()
        world.session.on_attached(hello([state(1)]))
        old = world.control()
        new = world.control()  # the same client
        for message in (m.Take(), m.Close(), m.Kill(1)):
            with contextlib.suppress(CodeRunnerError):
                world.session.handle(old, message)
        assert not world.session.over
        assert world.agent.ops("kill") == []
        world.session.input(new, 1, 0, b"typed")
        assert new.role == "control"
        world.session.detach(new)
        assert world.agent.flows[-1][0] == 1
        await world.close()

    async def test_who_takes_the_control_knows_what_input_was_taken(self):
        world = await World(Agent()).begin()
        world.session.on_attached(hello([state(1)]))
        control = world.control()
        world.session.input(control, 1, 0, bytes(flow.INPUT_WINDOW))
        world.agent.say(frames.IN_ACK, channel=1, offset=flow.INPUT_WINDOW)
        await until(lambda: world.session.channels[1].in_acked, "the acknowledgement")
        other = world.session.attach(OTHER, "watch", "control", {})
        assert told(other, m.InAck) == []
        world.session.handle(other, m.Take())
        assert told(other, m.Role) == [m.Role("control", {1: flow.INPUT_WINDOW})]
        assert told(other, m.InAck) == [m.InAck(1, flow.INPUT_WINDOW)]
        await world.close()

    async def test_who_takes_the_control_that_nobody_has_is_told(self):
        world = await World(Agent()).begin()
        world.session.on_attached(hello([state(1)]))
        control = world.control()
        world.session.input(control, 1, 0, b"abc")
        watcher = world.session.attach(OTHER, "watch", "control", {})
        world.session.detach(control)
        world.session.handle(watcher, m.Take())
        assert told(watcher, m.Role) == [m.Role("control", {1: 3})]
        world.session.handle(watcher, m.Take())
        assert len(told(watcher, m.Role)) == 1
        world.session.input(watcher, 1, 3, b"def")
        await world.close()

    async def test_a_client_that_reads_no_message_is_cut_off(self):
        world = await World(Agent()).begin()
        control = world.control()
        for number in range(5000):
            world.session.handle(control, m.Ping(number))
        assert control.close_code == 1011
        messages = await read_to_end(control)
        assert isinstance(messages[0], m.Attached)
        assert len(messages) <= 1025
        await world.close()


class TestAnswers:
    async def test_of_programs_that_were_asked_for_later_an_answer_says_nothing(self):
        """On a busy loop several answers are read at once, before the later ones are awaited."""
        world = await World(Agent()).begin()
        control, first = world.control(), asyncio.Event()

        async def answer(number: int, channels: list[int]) -> tuple[dict[str, Any], bytes]:
            if number == 1:
                await first.wait()
            return {"id": number, "state": state(number), "channels": channels}, b""

        def ask(call: Any, raw: bytes = b"", *, seconds: float = 0.0) -> Any:
            return answer(call.channel, list(range(1, call.channel + 1)))

        world.container.link.ask = ask  # type: ignore[method-assign]
        for number in (1, 2, 3):
            world.run(control, number)
        channels = world.session.channels
        await until(lambda: not channels[3].asked and not channels[2].asked, "the later answers")
        first.set()
        await until(lambda: not channels[1].asked, "the first answer")
        await asyncio.sleep(0)
        assert not world.container.gone.done()
        assert list(channels) == [1, 2, 3]
