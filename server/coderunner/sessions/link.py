"""The server's end of one agent: frames over the container's attach stream.

The stream is always drained, whatever the clients do (a stalled reader wedges the container, kill and
remove included: moby issue 41827).  That is safe because the agent sends output only within the credit
that it was given.  Every byte from it is hostile input: what does not check out is dropped or ends the
link, never the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import secrets
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

from coderunner import errors
from coderunner.agent import flow, frames
from coderunner.core.shapes import MAX_OFFSET
from coderunner.errors import AgentLost, EngineError, FilesFailed
from coderunner.sessions.reports import read_artifact, read_hello, read_json, read_state

log = logging.getLogger(__name__)

# Everything that may wait to be written: input of all channels, files of a few calls, small commands.
OUTBOX_LIMIT = 2 * frames.MAX_MESSAGE + flow.MAX_CHANNELS * flow.INPUT_WINDOW
ATTACH_SECONDS = 10.0
CALL_SECONDS = 10.0
SILENCE_SECONDS = 10.0
EARLY_BYTES = 4 * 1024 * 1024  # what an agent may say of its channels before anybody listens
MAX_GENERATION = 2**63  # they are nanoseconds since the epoch
MAX_TEARS = 1  # frames in one attach whose header checks out and whose payload does not


Answer = Coroutine[Any, Any, tuple[dict[str, Any], bytes]]  # a reply, and the raw bytes with it


class ByteStream(Protocol):
    """An attach stream of the engine.  ``stderr_tail``: the last that the agent said beside its frames."""

    stderr_tail: bytes

    async def read(self) -> bytes: ...
    async def write(self, data: bytes) -> None: ...
    def write_now(self, data: bytes) -> bool: ...
    async def close(self) -> None: ...


class Listener(Protocol):
    """Who is told what the agent says.  Called in the reader's task; must not wait."""

    def on_output(self, channel: int, stream: int, offset: int, data: bytes) -> None: ...
    def on_in_ack(self, channel: int, offset: int) -> None: ...
    def on_state(self, state: dict[str, Any]) -> None: ...
    def on_workspace(self, revision: int) -> None: ...
    def on_artifact(self, channel: int, news: tuple[str, int] | None) -> None: ...


class AgentLink:
    """One attach, from its greeting to its end.

    ``closed`` is done when the stream has ended; with ``broken`` the agent broke its protocol: what speaks
    for it is not to be believed again.
    """

    def __init__(self, stream: ByteStream) -> None:
        self.hello: dict[str, Any] = {}
        self.broken = False
        self._listener: Listener | None = None
        self._early: list[frames.Frame] = []
        self._early_bytes = 0
        self._revision = 0
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._stream = stream
        self._generation = 0
        self._seed = secrets.randbits(32)
        self._decoder = frames.Decoder(self._seed)
        self._assembler = frames.Assembler()
        self._outbox = bytearray()
        self._writable = asyncio.Event()
        self._greeted: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._calls: dict[int, asyncio.Future[tuple[dict[str, Any], bytes]]] = {}
        self._ids = itertools.count(secrets.randbits(40))
        self._writing = False
        self._heard = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    async def attach(self, generation: int, have: Mapping[int, int], *, torn: bool) -> None:
        """Greet the agent; returns when it has said what it holds.

        ``have``: the output offset of each channel up to which this server has it.  ``torn``: somebody
        wrote to this agent before, perhaps half a frame.  Raises AgentLost when no answer comes.
        """
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._read(), name="agent-read"),
            loop.create_task(self._write(), name="agent-write"),
        ]
        if torn:
            self._send(frames.PREAMBLE)
        try:
            async with asyncio.timeout(ATTACH_SECONDS):
                in_force = await self._greet(generation, have)
                # Where our clock went back: exceed what the agent obeys.
                if in_force and await self._greet(in_force + 1, have):
                    raise AgentLost("the agent refused two attaches")
        except TimeoutError:
            raise AgentLost("the agent did not answer the attach") from None
        self._tasks.append(loop.create_task(self._beat(), name="agent-beat"))

    def listen(self, listener: Listener) -> None:
        """From now on ``listener`` is told, first of what came behind the greeting."""
        self._listener = listener
        early, self._early = self._early, []
        if self._revision:
            listener.on_workspace(self._revision)
        try:
            for frame in early:
                self._tell(listener, frame)
        except ValueError as error:
            self._break(error)

    async def _greet(self, generation: int, have: Mapping[int, int]) -> int:
        self._generation = generation
        self._greeted = asyncio.get_running_loop().create_future()
        greeting = {"seed": self._seed, "have": {str(number): offset for number, offset in have.items()}}
        self._send(frames.encode(frames.ATTACH, generation, json.dumps(greeting).encode()))
        waiting: set[asyncio.Future[Any]] = {self._greeted, self.closed}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not self._greeted.done():
            raise AgentLost(f"the attach stream ended: {self.closed.result()}")
        return self._greeted.result()

    # --- to the agent ------------------------------------------------------------------------------

    def send_input(self, channel: int, offset: int, data: bytes) -> None:
        for start in range(0, len(data), frames.MAX_PAYLOAD):
            piece = data[start : start + frames.MAX_PAYLOAD]
            self._frame(frames.INPUT, piece, channel=channel, offset=offset + start)

    def send_flow(
        self, channel: int, *, released: int, credit: int, controlled: bool, exit_acked: bool
    ) -> None:
        flags = frames.CONTROLLED * controlled | frames.EXIT_ACKED * exit_acked
        body = frames.FLOW_BODY.pack(credit, flags)
        self._frame(frames.FLOW, body, channel=channel, offset=released)

    def cast(self, op: str, **body: Any) -> None:
        """A command whose answer does not matter."""
        self._send(frames.encode_message(frames.CALL, self._generation, {"op": op, **body}))

    def call(self, op: str, raw: bytes = b"", *, seconds: float = CALL_SECONDS, **body: Any) -> Answer:
        """A command, sent now, in the order of the calls; awaiting it gives (reply, raw bytes).

        Raises the error that the agent names, or AgentLost.
        """
        number = next(self._ids)
        answer: asyncio.Future[tuple[dict[str, Any], bytes]] = asyncio.get_running_loop().create_future()
        self._calls[number] = answer
        message = {"op": op, "id": number, **body}
        self._send(frames.encode_message(frames.CALL, self._generation, message, raw))
        return self._answer(op, number, answer, seconds)

    async def _answer(
        self, op: str, number: int, answer: asyncio.Future[tuple[dict[str, Any], bytes]], seconds: float
    ) -> tuple[dict[str, Any], bytes]:
        try:
            if self.closed.done():
                raise AgentLost(self.closed.result())
            async with asyncio.timeout(seconds):
                reply, data = await answer
        except TimeoutError:
            raise AgentLost(f"the agent did not answer '{op}' in {seconds:g} s") from None
        finally:
            self._calls.pop(number, None)
        problem = reply.get("error")
        if problem:
            if type(problem) is not dict:
                self._break(ValueError(f"the answer to '{op}' is an error that is none"))
                raise AgentLost(self.closed.result())
            raise _agent_error(problem)
        return reply, data

    def _frame(self, kind: int, payload: bytes = b"", *, channel: int = 0, offset: int = 0) -> None:
        self._send(frames.encode(kind, self._generation, payload, channel=channel, offset=offset))

    def _send(self, data: bytes) -> None:
        if self.closed.done():
            return
        if not self._outbox and not self._writing and self._stream.write_now(data):
            return  # a keystroke does not wait for another task's turn
        if len(self._outbox) + len(data) > OUTBOX_LIMIT:
            self._end("the agent reads nothing")
            return
        self._outbox += data
        self._writable.set()

    # --- tasks -------------------------------------------------------------------------------------

    async def _read(self) -> None:
        reason = "end of stream"
        try:
            while data := await self._stream.read():
                self._heard = asyncio.get_running_loop().time()
                for frame in self._decoder.feed(data):
                    self._take(frame)
                if self._decoder.torn > MAX_TEARS:
                    raise ValueError("frames that do not check out")
            if self._stream.stderr_tail:
                reason += ": " + self._stream.stderr_tail.decode("utf-8", "replace")
        except EngineError as error:
            reason = str(error)
        except Exception as error:
            self._break(error)
        finally:
            self._end(reason)

    def _break(self, error: Exception) -> None:
        """Something in the container speaks for the agent, or the agent is broken."""
        log.warning("agent broke its protocol", exc_info=error)
        self.broken = True
        self._end(f"the agent broke its protocol: {error}")

    async def _write(self) -> None:
        try:
            while not self.closed.done():
                await self._writable.wait()
                self._writable.clear()
                while self._outbox:
                    data, self._outbox = bytes(self._outbox), bytearray()
                    self._writing = True
                    await self._stream.write(data)
                    self._writing = False
        except EngineError as error:
            self._end(str(error))

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while not self.closed.done():
            self._frame(frames.BEAT)
            await asyncio.sleep(flow.BEAT_SECONDS)
            if loop.time() - self._heard > SILENCE_SECONDS:
                self._end(f"silent for {SILENCE_SECONDS:g} s")

    def _take(self, frame: frames.Frame) -> None:
        if frame.kind == frames.REFUSED:
            if frame.offset > MAX_GENERATION:
                raise ValueError("no generation may be so high")
            if not self._greeted.done():
                self._greeted.set_result(max(1, frame.offset))
        elif frame.generation != self._generation:
            return
        elif frame.kind == frames.HELLO:
            self.hello = read_hello(frame.payload)
            if not self._greeted.done():
                self._greeted.set_result(0)
        elif frame.kind == frames.REPLY:
            message = self._assembler.add(frame)
            if message:
                waiting = self._calls.get(message[0].get("id", -1))
                if waiting and not waiting.done():
                    waiting.set_result(message)
        elif self._listener is not None:
            self._tell(self._listener, frame)
        elif frame.kind == frames.WORKSPACE:
            self._revision = frame.offset
        elif frame.kind in (frames.IN_ACK, frames.STATE, frames.ARTIFACT):  # output is due after a credit
            self._early.append(frame)
            self._early_bytes += frames.HEADER_SIZE + len(frame.payload)
            if self._early_bytes > EARLY_BYTES:
                raise ValueError("too much said while nobody listens")

    @staticmethod
    def _tell(listener: Listener, frame: frames.Frame) -> None:
        if frame.kind == frames.OUTPUT:
            if frame.offset > MAX_OFFSET - len(frame.payload):
                raise ValueError("output beyond all offsets")
            listener.on_output(frame.channel, frame.stream, frame.offset, frame.payload)
        elif frame.kind == frames.IN_ACK:
            listener.on_in_ack(frame.channel, frame.offset)
        elif frame.kind == frames.WORKSPACE:
            if frame.offset > MAX_OFFSET:
                raise ValueError("a revision beyond all numbers")
            listener.on_workspace(frame.offset)
        elif frame.kind == frames.ARTIFACT:
            listener.on_artifact(frame.channel, read_artifact(read_json(frame.payload)))
        elif frame.kind == frames.STATE:
            listener.on_state(read_state(read_json(frame.payload)))

    def _end(self, reason: str) -> None:
        if self.closed.done():
            return
        self.closed.set_result(reason)
        self._writable.set()
        for waiting in self._calls.values():
            if not waiting.done():
                waiting.set_exception(AgentLost(reason))

    async def close(self) -> None:
        """End the link; the container lives on."""
        self._end("closed")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(EngineError, TimeoutError):
            async with asyncio.timeout(5):
                await self._stream.close()


def _agent_error(problem: dict[str, Any]) -> Exception:
    code, message = str(problem.get("code")), str(problem.get("message"))[:1000]
    return _BY_CODE.get(code, FilesFailed)(message)


# The errors that are an agent's to name.
_BY_CODE = {
    kind.code: kind
    for kind in (
        errors.BadPath, errors.ChannelLimit, errors.ChannelUsed, errors.ChannelsBusy, errors.FileExists,
        errors.FilesBusy, errors.FilesFailed, errors.InternalError, errors.NoChannel, errors.NoFile,
        errors.StartFailed, errors.WorkspaceFull,
    )
}  # fmt: skip
