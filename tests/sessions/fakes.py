"""A scripted agent, and an engine that has only containers with such agents.

Tests let it say what the real agent says; `test_contract.py` compares the two. It is for what the real agent
cannot be made to do: to lie, to be silent, or to answer late.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
import weakref
from types import SimpleNamespace
from typing import Any

from msgspec.structs import replace

from coderunner import declarations, wire
from coderunner.core import codec
from coderunner.errors import EngineUnavailable
from coderunner.schema import messages as m
from coderunner.schema.record import Record
from coderunner.schema.reports import Hello, read
from coderunner.sessions.attachment import Attachment
from coderunner.sessions.container import Container
from coderunner.sessions.deadlines import ResumeTimeouts
from coderunner.sessions.record import digest
from coderunner.sessions.session import Rules, Session
from coderunner.sessions.specs import ProjectRules
from coderunner.wire import frames

TOKEN = "t" * 32
CLIENT = "c" * 22


def state(channel: int = 1, **changes: Any) -> dict[str, Any]:
    """An agent's state of a channel that has just begun."""
    return {
        "channel": channel, "mode": "pipe", "phase": "running", "phase_offset": 0, "from": 0, "to": 0,
        "sent": 0, "released": 0, "in_acked": 0, "input_offset": 0, "input_eof": False, "cols": 80,
        "rows": 24, "wall_ms": 600_000, "end": None, "evidence": None, "kind": "run", "run_offset": None,
        "occupied": True, "stopped": None,
        **changes,
    }  # fmt: skip


def hello(states: list[dict[str, Any]]) -> Hello:
    """The greeting of an agent with these channels, decoded."""
    return read(Hello, {"version": wire.VERSION, "channels": states}, "hello")


class Stream:
    """The server's end of an attach stream. `cut` breaks it."""

    stderr_tail = b""

    def __init__(self, to: Agent) -> None:
        self._agent = to
        self._incoming: asyncio.Queue[bytes] = asyncio.Queue()
        self.closed = False

    async def read(self) -> bytes:
        return await self._incoming.get()

    def deliver(self, take: object) -> bool:
        return False

    def write_now(self, data: bytes) -> bool:
        if not self.closed:
            self._agent.hear(data)
        return True

    async def write(self, data: bytes) -> None:
        self.write_now(data)

    async def close(self) -> None:
        self.cut()

    def cut(self) -> None:
        self.closed = True
        self._incoming.put_nowait(b"")

    def give(self, data: bytes) -> None:
        self._incoming.put_nowait(data)


class Agent:
    """Answers an attach with `hello` (and `behind`, in the same piece), and a call with `answers[op]`: JSON,
    or JSON and bytes.

    An operation without an answer is never answered. What it received is in `calls`, `inputs` and `flows`.
    """

    def __init__(self) -> None:
        self.hello: Any = {"version": wire.VERSION, "sealed": None, "channels": []}
        self.behind: list[tuple[int, bytes, dict[str, int]]] = []
        self.answers: dict[str, Any] = {"prepare": {}, "seal": {}, "files": {}}
        self.has = list(range(16))  # the channels that it says it has
        self.calls: list[dict[str, Any]] = []
        self.inputs: list[tuple[int, int, bytes]] = []
        self.flows: list[tuple[int, int, int]] = []
        self.attaches = 0
        self.stream: Stream | None = None
        self.generation = 0
        self.seed = 0
        self._decoder = frames.Decoder()
        self._assembler = frames.Assembler()

    def hear(self, data: bytes) -> None:
        for frame in self._decoder.feed(data):
            if frame.kind == frames.ATTACH:
                self.attached(frame)
            elif frame.kind == frames.INPUT:
                self.inputs.append((frame.channel, frame.offset, frame.payload))
            elif frame.kind == frames.FLOW:
                self.flows.append((frame.channel, frame.offset, frames.FLOW_BODY.unpack(frame.payload)[0]))
            elif frame.kind == frames.BEAT:
                self.say(frames.BEAT)
            elif frame.kind == frames.CALL:
                message = self._assembler.add(frame)
                if message is not None:
                    self._called(message[0])

    def attached(self, frame: frames.Frame) -> None:
        seed = json.loads(frame.payload)["seed"]
        if frame.generation <= self.generation:
            self.give(frames.encode(frames.REFUSED, frame.generation, offset=self.generation, seed=seed))
            return
        self.attaches += 1
        self.generation, self.seed = frame.generation, seed
        pieces = [self.frame(frames.HELLO, json.dumps(self.hello).encode())]
        pieces += [self.frame(kind, payload, **fields) for kind, payload, fields in self.behind]
        self.give(b"".join(pieces))

    def _called(self, body: dict[str, Any]) -> None:
        self.calls.append(body)
        if body["op"] == "seal":
            self.hello["sealed"] = body["record"]
        answer = self.answers.get(body["op"])
        if callable(answer):
            answer = answer(body)
        raw = b""
        if isinstance(answer, tuple):
            answer, raw = answer
        if answer is not None and "id" in body:
            whole = {"id": body["id"], **answer} if isinstance(answer, dict) else answer
            if body["op"] == "run" and isinstance(answer, dict):
                whole.setdefault("channels", self.has)
            self.give(frames.encode_message(frames.REPLY, self.generation, whole, raw, seed=self.seed))

    def frame(self, kind: int, payload: bytes = b"", **fields: int) -> bytes:
        return frames.encode(kind, self.generation, payload, seed=self.seed, **fields)

    def give(self, data: bytes) -> None:
        assert self.stream is not None
        self.stream.give(data)

    def say(self, kind: int, payload: bytes = b"", **fields: int) -> None:
        self.give(self.frame(kind, payload, **fields))

    def say_state(self, value: Any) -> None:
        self.say(frames.STATE, json.dumps(value).encode())

    def ops(self, name: str) -> list[dict[str, Any]]:
        return [call for call in self.calls if call["op"] == name]


class Engine:
    """An engine of fake containers. `away`: every call fails."""

    def __init__(self, *agents: Agent) -> None:
        self.agents = {f"container-{number}": one for number, one in enumerate(agents)}
        self.away = False
        self.listed: list[SimpleNamespace] = []  # its containers, as it tells them
        self.removed: list[str] = []
        self.state = SimpleNamespace(running=True, exit_code=0, oom_killed=False, ended_for_memory=False)
        self.networks = SimpleNamespace(members=set())

    async def list(self, labels: Any) -> list[SimpleNamespace]:
        return self.listed

    async def attach(self, container: str) -> Stream:
        if self.away:
            raise EngineUnavailable("away")
        one = self.agents[container]
        one.stream = Stream(one)
        return one.stream

    async def start(self, container: str) -> None:
        pass

    async def inspect(self, container: str) -> SimpleNamespace:
        if self.away:
            raise EngineUnavailable("away")
        return self.state

    async def prune_volumes(self, labels: Any) -> int:
        return 0

    async def remove(self, container: str) -> None:
        self.removed.append(container)


class World:
    """One session in such a container, and the clients that attach to it."""

    def __init__(self, one: Agent) -> None:
        self.agent = one
        self.engine = Engine(one)
        self.ended: list[str] = []
        self.faults = 0
        self.container: Container
        self.session: Session

    async def begin(self, **limits_: int) -> World:
        """Begins the session. `limits_`: limits that differ from the defaults."""
        declared = declarations.load(only=["python"])
        limits = replace(declared.rules.defaults, **limits_)
        self.container = Container(self.engine, "container-0", session="s-1", language="python", uid=1)
        await self.container.connect(start=True)
        now = time.time()
        record = Record(
            session="s-1", language="python", limits=limits, token_digest=digest(TOKEN), client=CLIENT,
            nonce=None, principal=None, address="127.0.0.1", opened=now,
            expires=now + limits.lifetime_ms / 1000,
        )  # fmt: skip
        rules = Rules(declared.rules, ProjectRules(16, 65536), ResumeTimeouts(60, 900))
        self.session = Session(
            self.container, declared.languages["python"], record, rules,
            wanted=lambda: False, on_end=self._on_end, on_fault=self._on_fault,
        )  # fmt: skip
        return self

    def _on_fault(self, session: Session) -> None:
        self.faults += 1
        session.drop()

    async def _on_end(self, session: Session, reason: str) -> None:
        self.ended.append(reason)
        await self.container.close()

    def control(self, client: str = CLIENT, **cursors: int) -> Attachment:
        given = {int(name.removeprefix("at")): offset for name, offset in cursors.items()}
        return self.session.attach(client, "control", "control", given)

    def run(self, attachment: Attachment, channel: int = 1, mode: str = "pipe") -> None:
        self.session.handle(attachment, m.Run(channel, mode, entry="main.py"))

    async def close(self) -> None:
        """Ends the session. The agent ends its programs at once, as the real one does."""
        live = [channel for channel in self.session.channels.values() if channel.live]
        ended = self.session.end("client")
        if not self.container.link.closed.done():
            for one in live:
                taken = {"input_offset": one.input_offset, "in_acked": one.input_offset}
                said = one.cache.end
                over = {"phase": "exited", "to": said, "end": said, "evidence": {"main": {"code": 0}}}
                self.agent.say_state(state(one.number, mode=one.mode, kind=one.kind, **taken, **over))
        await ended


_read: weakref.WeakKeyDictionary[Attachment, list[m.ServerMessage]] = weakref.WeakKeyDictionary()


def read_messages(attachment: Attachment) -> list[m.ServerMessage]:
    """All messages that a client has been sent so far. Reads what is available now."""
    got = _read.setdefault(attachment, [])
    while (frame := attachment.at_hand()) is not None:
        if isinstance(frame, str):
            got.append(codec.decode_server_text(frame))
    return got


async def read_to_end(attachment: Attachment) -> list[m.ServerMessage]:
    """All messages that a client was sent until its attachment ended."""
    got = read_messages(attachment)
    while (frame := await attachment.next()) is not None:
        if isinstance(frame, str):
            got.append(codec.decode_server_text(frame))
    return got


def told(attachment: Attachment, kind: type) -> list[Any]:
    """The messages of a kind."""
    return [one for one in read_messages(attachment) if isinstance(one, kind)]


def alive(kind: type) -> int:
    """The number of objects of a type in this process."""
    gc.collect()
    return sum(type(one) is kind for one in gc.get_objects())


async def until(condition: Any, what: str, seconds: float = 5.0) -> None:
    """Lets the loop run until the condition holds."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.001)


async def turns(number: int = 50) -> None:
    """Lets the loop run this many turns, after which everything that needs no event from outside is done."""
    for _ in range(number):
        await asyncio.sleep(0)
