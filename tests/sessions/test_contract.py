"""The fake agent says what the real one says.

Each test runs with both: the real agent is a process without a container (`real.py`), the fake one is
scripted as in other tests. The server's own session is between them and the test's client.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from coderunner import wire
from coderunner.schema import messages as m
from coderunner.schema import reports
from coderunner.sessions import specs
from coderunner.wire import frames
from tests.sessions.fakes import Agent, Stream, World, state, until
from tests.sessions.real import RealAgent, real_agent
from tests.sessions.test_attachment import Reader

CAT = """
import os
while data := os.read(0, 4096):
    os.write(1, data)
"""
SEED, GENERATION = 7, 5
OVER = {"evidence": {"main": {"code": 0}}}
KILLED = {"evidence": {"main": {"signal": "KILL"}, "intent": "killed"}}


class Cat(Agent):
    """The fake agent with one program, which prints its input until that ends."""

    def __init__(self) -> None:
        super().__init__()
        self.has = []
        self.printed = b""
        self.over: dict[str, Any] = {}
        self.answers |= {"run": self._run, "eof": self._eof, "kill": self._kill, "fetch": self._fetch}

    def now(self) -> dict[str, Any]:
        """The state of its channel."""
        end = len(self.printed)
        said = {"to": end, "sent": end, "in_acked": end, "input_offset": end}
        ended = {"phase": "exited", "phase_offset": end, "end": end, "input_eof": True, **self.over}
        return state(1, run_offset=0, wall_ms=60_000, **said, **(ended if self.over else {}))

    def hear(self, data: bytes) -> None:
        known = len(self.inputs)
        super().hear(data)
        for channel, offset, typed in self.inputs[known:]:
            fresh = typed[len(self.printed) - offset :]
            at, self.printed = len(self.printed), self.printed + fresh
            self.say(frames.IN_ACK, channel=channel, offset=len(self.printed))
            self.say(frames.OUTPUT, fresh, channel=channel, stream=1, offset=at)

    def attached(self, frame: frames.Frame) -> None:
        self.hello["channels"] = [self.now()] if self.has else []
        super().attached(frame)

    def _run(self, body: dict[str, Any]) -> dict[str, Any]:
        existed, self.has = body["channel"] in self.has, [body["channel"]]
        return {"state": self.now(), "existed": existed}

    def _eof(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._end(OVER)

    def _kill(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._end(KILLED)

    def _end(self, over: dict[str, Any]) -> dict[str, Any]:
        self.over = over
        self.say_state(self.now())
        return {}

    def _fetch(self, body: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        return {"from": body["offset"], "stream": 1}, self.printed[body["offset"] :][: body["limit"]]


@pytest.fixture(params=["fake", "real"])
async def agent(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Agent | RealAgent]:
    (tmp_path / "main.py").write_text(CAT)
    monkeypatch.setattr(specs, "WORKSPACE", str(tmp_path))
    monkeypatch.setattr(specs, "BUILD", str(tmp_path / ".build"))
    if request.param == "fake":
        yield Cat()
        return
    async with real_agent(tmp_path) as one:
        yield one


class End:
    """The server's end of a stream, frame by frame."""

    def __init__(self, one: Agent | RealAgent) -> None:
        self._stream = one.stream = Stream(one)
        self._decoder = frames.Decoder(SEED)
        self._waiting: list[frames.Frame] = []

    def say(self, kind: int, payload: bytes = b"", generation: int = GENERATION, **fields: int) -> None:
        self._stream.write_now(frames.encode(kind, generation, payload, **fields))

    def attach(self, generation: int = GENERATION) -> None:
        self.say(frames.ATTACH, json.dumps({"seed": SEED, "have": {}}).encode(), generation)

    async def hear(self, kind: int) -> frames.Frame:
        """The next frame of a kind; others are dropped."""
        async with asyncio.timeout(20):
            while True:
                while self._waiting:
                    frame = self._waiting.pop(0)
                    if frame.kind == kind:
                        return frame
                self._waiting += self._decoder.feed(await self._stream.read())

    async def call(self, op: str, **body: object) -> tuple[dict[str, Any], bytes]:
        for frame in frames.Decoder().feed(
            frames.encode_message(frames.CALL, GENERATION, {"op": op, "id": 1, **body})
        ):
            self.say(frame.kind, frame.payload, stream=frame.stream)
        return frames.decode_message((await self.hear(frames.REPLY)).payload)


def spec(folder: str) -> dict[str, Any]:
    """A program as a `schema.calls` model."""
    return {
        "kind": "run", "mode": "pipe", "cols": 80, "rows": 24, "workspace": folder, "build": folder,
        "entry": "main.py", "args": [], "sources": [], "compile": [], "run": ["sleep", "60"],
        "env": {"TMPDIR": folder},
        "limits": {"wall_ms": 60_000, "cpu_ms": 10_000, "output_bytes": 1 << 20, "cpus": 1,
                   "memory_bytes": 1 << 40},
    }  # fmt: skip


class TestFrames:
    async def test_the_greeting(self, agent):
        end = End(agent)
        end.attach()
        frame = await end.hear(frames.HELLO)
        assert frame.generation == GENERATION
        hello = json.loads(frame.payload)
        assert set(Agent().hello) <= set(hello)
        assert (hello["version"], hello["sealed"], hello["channels"]) == (wire.VERSION, None, [])

    async def test_a_heartbeat_is_answered(self, agent):
        end = End(agent)
        end.attach()
        end.say(frames.BEAT)
        assert (await end.hear(frames.BEAT)).generation == GENERATION

    async def test_a_server_of_a_lower_generation_is_refused(self, agent):
        end = End(agent)
        end.attach()
        await end.hear(frames.HELLO)
        end.attach(GENERATION - 1)
        frame = await end.hear(frames.REFUSED)
        assert (frame.generation, frame.offset) == (GENERATION - 1, GENERATION)
        end.say(frames.BEAT)
        await end.hear(frames.BEAT)

    async def test_what_it_keeps_is_in_the_next_greeting(self, agent):
        end = End(agent)
        end.attach()
        assert await end.call("seal", record="sealed") == ({"id": 1}, b"")
        end = End(agent)
        end.attach(GENERATION + 1)
        assert json.loads((await end.hear(frames.HELLO)).payload)["sealed"] == "sealed"

    async def test_answers_without_a_word(self, agent):
        end = End(agent)
        end.attach()
        for op, body in (("prepare", {"service": None, "preload": None}), ("files", {"files": []})):
            reply, data = await end.call(op, **body)
            assert reply.pop("id") == 1
            assert reports.read(reports.Prepared, reply, op) == reports.Prepared()
            assert reports.read(reports.Reply, reply, op).error is None
            assert data == b""

    async def test_the_state_of_a_program_that_has_begun(self, agent, tmp_path):
        end = End(agent)
        end.attach()
        reply, _ = await end.call("run", channel=1, spec=spec(str(tmp_path)), controlled=True)
        assert (reply["id"], reply["channels"], reply["existed"]) == (1, [1], False)
        told = reply["state"]
        # Between its start and the word of its supervisor the program does not run yet.
        assert told == {**state(1, run_offset=0, wall_ms=60_000), "run_offset": told["run_offset"]}
        again, _ = await end.call("run", channel=1, spec=spec(str(tmp_path)), controlled=True)
        assert again["existed"]
        assert set(again["state"]) == set(state())


class TestSession:
    async def test_input_output_and_the_end(self, agent):
        world = await World(agent).begin()
        control = world.control()
        reader = Reader(control)
        world.run(control)
        world.session.input(control, 1, 0, b"one\n")
        await until(lambda: reader.output == b"one\n", "the echo", 20)
        await until(lambda: world.session.channels[1].in_acked == 4, "the acknowledgement", 20)
        world.session.handle(control, m.Eof(1, 4))
        await until(lambda: reader.of(m.Exit), "the exit", 20)
        (ended,) = reader.of(m.Exit)
        assert (ended.reason, ended.code, ended.offset) == ("exited", 0, 4)
        await world.session.end("client")
        await reader.done
        assert [type(one) for one in reader.got[-2:]] == [m.Exit, m.Closed]

    async def test_a_stream_that_breaks_loses_nothing(self, agent):
        world = await World(agent).begin()
        control = world.control()
        reader = Reader(control)
        world.run(control)
        world.session.input(control, 1, 0, b"one\n")
        await until(lambda: reader.output == b"one\n", "the echo", 20)
        world.engine.away = True
        agent.stream.cut()
        await until(world.container.link.closed.done, "the break", 20)
        world.session.input(control, 1, 4, b"two\n")
        world.engine.away = False
        await until(lambda: reader.output == b"one\ntwo\n", "what was typed meanwhile", 20)
        assert reader.of(m.Gap) == []
        world.session.handle(control, m.Kill(1))
        await until(lambda: reader.of(m.Exit), "the exit", 20)
        assert reader.of(m.Exit)[0].reason == "killed"
        await world.session.end("client")
        await reader.done

    async def test_a_second_server_has_all_of_it(self, agent, monkeypatch):
        """Also if its clock was set back: the agent reports the generation that it must exceed."""
        first = await World(agent).begin()
        control = first.control()
        reader = Reader(control)
        first.run(control)
        first.session.input(control, 1, 0, b"one\n")
        await until(lambda: reader.output == b"one\n", "the echo", 20)
        first.session.suspend()
        await first.container.close()
        await reader.done
        monkeypatch.setattr(time, "time_ns", lambda: 1)
        second = await World(agent).begin()
        channel = second.session.channels[1]
        assert (channel.end, channel.in_acked, channel.cache.start) == (None, 4, 4)
        control = second.control()  # it has nothing of it, and neither has this server
        reader = Reader(control)
        await until(lambda: reader.output == b"one\n", "what the agent kept", 20)
        second.session.input(control, 1, 4, b"two\n")
        await until(lambda: reader.output == b"one\ntwo\n", "the echo", 20)
        await second.session.end("client")
        await reader.done
        assert reader.of(m.Exit)[0].reason == "session_closed"
