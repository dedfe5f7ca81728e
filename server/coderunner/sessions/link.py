"""The server's side of the connection to one agent: frames over a socket or the container's attach stream.

The stream is always read, whatever the clients do: an attach stream that nobody reads blocks the container,
also its kill and removal (moby issue 41827).  That needs no unbounded memory, because the agent sends output
only within its credit.  Every byte of an agent is untrusted: what is wrong is dropped or ends the link, and
never the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import secrets
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

from coderunner import timing
from coderunner.errors import AgentLost, EngineError, FilesBusy
from coderunner.logs import fields
from coderunner.schema import reports
from coderunner.schema.calls import Call
from coderunner.schema.reports import AgentProtocolError, Hello
from coderunner.schema.types import MAX_OFFSET
from coderunner.sessions.holdings import Holdings
from coderunner.sessions.listener import DECODERS, Listener, Told
from coderunner.sessions.refusals import problem
from coderunner.tasks import Tasks
from coderunner.wire import flow, frames

log = logging.getLogger(__name__)

SMALL = 65536  # bytes that are written at once if nothing waits before them; more is written in pieces
MAX_REPLY = 512 * 1024  # bytes of an answer
MAX_REPLY_TEXT = 256 * 1024  # bytes of JSON in it: more than any genuine one has, and parsed in milliseconds
ATTACH_SECONDS = 10.0  # in which an agent must answer the greeting
CLOSE_SECONDS = 5.0  # in which the stream must close
CALL_SECONDS = 10.0  # in which the agent must answer a call
SILENCE_SECONDS = 10.0  # without a byte of the agent, the link ends
LATE_SECONDS = 1.0  # that a heartbeat may take to arrive
MAX_EARLY_BYTES = 4 * 1024 * 1024  # of memory, for reports before there is a listener
EARLY_COST = 512  # bytes of memory of each such report, beside eight times its length
MAX_FATAL_ERROR = 4096  # bytes of the agent's last words that are kept, for error messages
MAX_GENERATION = 2**63  # generations are nanoseconds since 1970
MAX_TORN = 1  # frames with a right header and a wrong payload in one attach


Reply = tuple[Mapping[str, object], bytes]  # JSON, to be read as a model of schema.reports, and raw bytes
Answer = Coroutine[Any, Any, Reply]  # a reply, and the raw bytes with it


class ByteStream(Protocol):
    """A stream of bytes to and from an agent.

    ``stderr_tail``: the end of what it has written to standard error."""

    stderr_tail: bytes

    async def read(self) -> bytes:
        """The next bytes; b"" at the end. Raises EngineError."""

    def deliver(self, take: Callable[[bytes | memoryview], None]) -> bool:
        """Has ``take`` called with bytes as they arrive, and with b"" at the end.

        The bytes are valid until ``take`` returns.  False when the stream has to be read instead."""

    async def write(self, data: bytes) -> None:
        """Writes, and waits until the stream has taken the bytes.  Raises EngineError."""

    def write_now(self, data: bytes) -> bool:
        """Writes if that is possible without waiting; False when it is not, and nothing was written."""

    async def close(self) -> None:
        """Closes the stream."""


class AgentLink:
    """One attach to an agent, from its greeting to the end of the stream.

    ``closed``: done when the stream has ended, with the reason in words. ``broken``: the agent broke its
    protocol, and must not be attached to again. ``fault``: an error of this server's own code that ended the
    link. ``holdings`` counts the bytes that the link holds.
    """

    def __init__(self, stream: ByteStream, holdings: Holdings) -> None:
        self.hello = Hello(version=0)
        self.broken = False
        self._listener: Listener | None = None
        self._early: list[Told] = []  # reports that arrived before there was a listener
        self._early_bytes = 0
        self._revision = 0
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._stream = stream
        self._generation = 0
        # Of the checksums. Programs in the container do not know it, so they cannot forge frames.
        self._seed = secrets.randbits(32)
        self._decoder = frames.Decoder(self._seed)
        self._assembler = frames.Assembler(MAX_REPLY, MAX_REPLY_TEXT)
        self._holdings = holdings
        self._outbox = bytearray()
        holdings.count("outbox", lambda: len(self._outbox))
        holdings.count("incoming", lambda: self._assembler.held + self._early_bytes)
        self._writable = asyncio.Event()
        self._greeted: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._calls: dict[int, asyncio.Future[Reply]] = {}
        # A random beginning: an answer to the link before can not be taken for one of this link.
        self._ids = itertools.count(secrets.randbits(40))
        self._writing = False
        self._heard = 0.0
        self.fault: BaseException | None = None
        self._tasks = Tasks("agent link", self._failed)

    async def attach(self, generation: int, have: Mapping[int, int], *, torn: bool) -> None:
        """Greets the agent, and waits for its state, which is in ``hello`` then.

        ``generation``: higher than that of every attach before; the agent obeys only the highest. ``have``:
        by channel, the offset up to which this server has the output. ``torn``: another server wrote to this
        agent before, perhaps half a frame.  Raises AgentLost when no answer comes in ATTACH_SECONDS.
        """
        if not self._stream.deliver(self._delivered):
            self._tasks.start(self._read(), "agent-read")
        self._tasks.start(self._write(), "agent-write")
        if torn:
            # Completes what may be half a frame, so that the agent finds the beginning of the next one.
            self._send(frames.PREAMBLE)
        try:
            async with timing.within(ATTACH_SECONDS):
                in_force = await self._greet(generation, have)
                # Refused, as the clock was set back since an earlier attach: the answer says what to exceed.
                # A second refusal would need a third server with a clock ahead of both.
                if in_force and await self._greet(in_force + 1, have):
                    raise AgentLost("the agent refused two attaches")
        except TimeoutError:
            raise AgentLost("the agent did not answer the attach") from None
        self._tasks.start(self._beat(), "agent-beat")

    def listen(self, listener: Listener) -> None:
        """Passes all reports to ``listener``, first those that have arrived since the greeting."""
        # Taken out first: a listener may end the link, or cause further reports.
        self._listener = listener
        early, self._early, self._early_bytes = self._early, [], 0
        try:
            if self._revision:
                listener.on_workspace(self._revision)
            for told in early:
                told(listener)
        except AgentProtocolError as error:
            self._break(error)

    async def _greet(self, generation: int, have: Mapping[int, int]) -> int:
        self._generation = generation
        self._greeted = asyncio.get_running_loop().create_future()
        greeting = {"seed": self._seed, "have": {str(number): offset for number, offset in have.items()}}
        self._send(frames.encode(frames.ATTACH, generation, json.dumps(greeting).encode()))
        # Whichever comes first: an agent that ends at once should not cost the whole time-out.
        waiting: set[asyncio.Future[Any]] = {self._greeted, self.closed}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not self._greeted.done():
            raise AgentLost(f"the stream ended: {self.closed.result()}")
        return self._greeted.result()

    # --- to the agent ------------------------------------------------------------------------------

    def send_input(self, channel: int, offset: int, data: bytes) -> None:
        """Sends input for a program.  ``offset``: of its first byte."""
        # MAX_PAYLOAD is the frame's bound; a client's message may be larger.
        # Each piece has its own offset, so one that is lost or repeated does no harm.
        for start in range(0, len(data), frames.MAX_PAYLOAD):
            piece = data[start : start + frames.MAX_PAYLOAD]
            self._frame(frames.INPUT, piece, channel=channel, offset=offset + start)

    def send_flow(
        self, channel: int, *, released: int, credit: int, controlled: bool, exit_acked: bool
    ) -> None:
        """Tells the agent how far the clients are with a channel's output.

        ``released``: the control client has acknowledged everything below. ``credit``: the agent may send
        output below this offset. ``controlled``: there is a control client. ``exit_acked``: it has the exit.
        """
        flags = frames.CONTROLLED * controlled | frames.EXIT_ACKED * exit_acked
        body = frames.FLOW_BODY.pack(credit, flags)
        self._frame(frames.FLOW, body, channel=channel, offset=released)

    def cast(self, call: Call) -> None:
        """Sends a call without an answer.  After the end of the link it does nothing."""
        self._send(frames.encode_message(frames.CALL, self._generation, call.body()))

    async def call(self, call: Call, raw: bytes = b"", *, seconds: float = CALL_SECONDS) -> Reply:
        """As ``ask``, awaited; also raises an error that the agent answers."""
        reply, data = await self.ask(call, raw, seconds=seconds)
        fault = reports.read(reports.Reply, reply, call.op).error
        if fault is not None:
            raise problem(fault)
        return reply, data

    def ask(self, call: Call, raw: bytes = b"", *, seconds: float = CALL_SECONDS) -> Answer:
        """Sends a call now, in the order of the calls; awaiting the result gives (answer, raw bytes).

        ``seconds``: for the answer.  Raises FilesBusy at once when the session uses too much memory already,
        and AgentLost when awaited.  An error that the agent answers is in the answer, for ``problem``.
        """
        number = next(self._ids)
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        message = frames.encode_message(frames.CALL, self._generation, {"id": number, **call.body()}, raw)
        # Small calls always pass, such as a kill for a session that uses too much.
        if len(message) > SMALL and not self._holdings.allows(len(message)):
            raise FilesBusy(
                "the session sends too much at once; wait for what is under way", retry_after_ms=1000
            )
        # Before sending: the answer may arrive within `_send`, when the stream writes at once.
        self._calls[number] = answer
        self._send(message)
        return self._answer(call.op, number, answer, seconds)

    async def _answer(self, op: str, number: int, answer: asyncio.Future[Reply], seconds: float) -> Reply:
        try:
            # Checked here, as the link may have ended between the call and the await.
            if self.closed.done():
                raise AgentLost(self.closed.result())
            async with timing.within(seconds):
                reply, data = await answer
        except TimeoutError:
            raise AgentLost(f"the agent did not answer '{op}' in {seconds:g} s") from None
        finally:
            self._calls.pop(number, None)
        try:
            reports.read(reports.Reply, reply, f"the answer to '{op}'")
        except AgentProtocolError as error:
            self._break(error)
            raise AgentLost(self.closed.result()) from None
        return reply, data

    def _frame(self, kind: int, payload: bytes = b"", *, channel: int = 0, offset: int = 0) -> None:
        self._send(frames.encode(kind, self._generation, payload, channel=channel, offset=offset))

    def _send(self, data: bytes) -> None:
        if self.closed.done():
            return
        # Only if nothing waits: frames must not overtake each other.
        if len(data) <= SMALL and not self._outbox and not self._writing and self._stream.write_now(data):
            return  # so that a keystroke does not wait for the turn of another task
        if len(self._outbox) > SMALL and not self._holdings.allows(len(data)):
            # The agent has stopped reading, and the session's memory is used up: a new attach drops all this.
            self._end("the agent reads nothing")
            return
        self._outbox += data
        self._writable.set()

    # --- tasks -------------------------------------------------------------------------------------

    async def _read(self) -> None:
        """Reads until the stream ends or the agent breaks its protocol.

        Any other exception, also of a listener, is a fault of this server, and goes to ``_failed``."""
        while True:
            try:
                data = await self._stream.read()
            except EngineError as error:
                return self._end(str(error))
            if not data:
                return self._end(self._why_over())
            try:
                self._take(data)
            except AgentProtocolError as error:
                return self._break(error)

    def _delivered(self, data: bytes | memoryview) -> None:
        """As `_read`, but called by the stream, so that an echo does not wait for the turn of a task."""
        try:
            if self.closed.done():
                return
            if data:
                self._take(data)
            else:
                self._end(self._why_over())
        except AgentProtocolError as error:
            self._break(error)
        except Exception as error:
            self._tasks.fault(error, "agent-read")

    def _take(self, data: bytes | memoryview) -> None:
        """Handles bytes of the agent.  Raises AgentProtocolError, and what a listener raises."""
        # Any bytes count as a sign of life, even if they are no valid frame.
        self._heard = timing.now()
        listener = self._listener
        if listener is not None:
            listener.begin_reports()
        try:
            for frame in self._decoder.feed(data):
                told = self._decode(frame)
                if told is not None:
                    self._tell(told, len(frame.payload))
        finally:
            if listener is not None:
                listener.end_reports()
        if self._decoder.torn > MAX_TORN:
            raise AgentProtocolError("frames with wrong checksums")

    def _why_over(self) -> str:
        # A traceback of the agent, or what the runtime printed when it could not start it.
        said = self._stream.stderr_tail.decode("utf-8", "replace")
        return f"end of stream: {said}" if said else "end of stream"

    def _break(self, error: AgentProtocolError) -> None:
        """Ends the link, and allows no other: the agent is faulty, or a program writes in its name."""
        log.warning("agent broke its protocol", extra=fields(why=str(error)))
        self.broken = True
        self._end(f"the agent broke its protocol: {error}")

    async def _write(self) -> None:
        try:
            while not self.closed.done():
                await self._writable.wait()
                self._writable.clear()
                while self._outbox:
                    # In pieces: bytes that the stream has taken are not counted as this session's any more.
                    # `_writing` stays set until the stream has taken the piece, so that `_send` does not
                    # overtake it.
                    data = bytes(self._outbox[:SMALL])
                    del self._outbox[:SMALL]
                    self._writing = True
                    await self._stream.write(data)
                    self._writing = False
        except EngineError as error:
            self._end(str(error))

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while not self.closed.done():
            # The first at once: with the greeting it shows the agent which server is in force.
            self._frame(frames.BEAT)
            sent = loop.time()
            await asyncio.sleep(flow.BEAT_SECONDS)
            if loop.time() - sent > flow.SILENCE_SECONDS - LATE_SECONDS:
                # Our event loop was blocked, and the agent has detached: it ignores all frames but an attach.
                self._end("this server was silent itself")
            if self._silent():
                # Two looks: the loop may have been busy while bytes waited in the kernel's buffer.
                await timing.catch_up()  # bytes may have arrived that were not read yet
            if self._silent():
                self._end(f"silent for {SILENCE_SECONDS:g} s")

    def _silent(self) -> bool:
        return timing.now() - self._heard > SILENCE_SECONDS

    def _decode(self, frame: frames.Frame) -> Told | None:
        """The report in a frame, checked; None for greetings and answers, which are handled here.

        Raises AgentProtocolError for faults of the agent, and for nothing else.
        """
        if frame.kind == frames.REFUSED:
            if frame.offset > MAX_GENERATION:
                raise AgentProtocolError("generation out of range")
            # A second answer to one attach would be an invalid state of the future.
            if not self._greeted.done():
                self._greeted.set_result(max(1, frame.offset))
        elif frame.generation != self._generation:
            # Frames that the agent had written before it read the new attach.
            return None  # of an attach before this one
        elif frame.kind == frames.HELLO:
            if not self._greeted.done():
                self.hello = reports.read_hello(frame.payload)
                self._greeted.set_result(0)
        elif frame.kind == frames.REPLY:
            self._take_reply(frame)
        elif frame.kind == frames.FATAL_ERROR:
            # The socket has no standard error, so the last words come as a frame.
            self._stream.stderr_tail = frame.payload[-MAX_FATAL_ERROR:]
        elif self._listener is None and frame.kind == frames.OUTPUT:
            pass  # no output is expected before a credit was given
        elif self._listener is None and frame.kind == frames.WORKSPACE:
            self._revision = min(frame.offset, MAX_OFFSET)
        elif frame.kind in DECODERS:
            return DECODERS[frame.kind](frame)
        return None

    def _take_reply(self, frame: frames.Frame) -> None:
        # RecursionError: JSON that is nested deeply enough, from an agent that is not genuine.
        try:
            message = self._assembler.add(frame)
        except (ValueError, RecursionError) as error:
            raise AgentProtocolError(f"invalid answer: {error}") from None
        if message is None:
            return
        number = message[0].get("id")
        if type(number) is not int:
            raise AgentProtocolError("an answer without the number of a call")
        # An answer that comes too late has no waiting call, and is dropped.
        waiting = self._calls.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    def _tell(self, told: Told, size: int) -> None:
        if self._listener is not None:
            told(self._listener)
        else:
            self._early.append(told)
            # Objects of Python are larger than their JSON: about eight times was measured.
            self._early_bytes += EARLY_COST + 8 * size
            if self._early_bytes > MAX_EARLY_BYTES:
                raise AgentProtocolError("too many reports before the session listens")

    def _failed(self, error: BaseException) -> None:
        self.fault = error
        self._end(f"a fault of this server: {error!r}")

    def _end(self, reason: str) -> None:
        if self.closed.done():
            return
        self.closed.set_result(reason)
        self._writable.set()  # wakes `_write`, which sees that it is over
        for waiting in self._calls.values():
            if not waiting.done():
                # Each call ends with the link; who asked decides whether it is repeated.
                waiting.set_exception(AgentLost(reason))

    async def close(self) -> None:
        """Ends the link and its stream, in CLOSE_SECONDS at most.  The container keeps running."""
        self._end("closed")
        await self._tasks.stop()
        with contextlib.suppress(EngineError, TimeoutError):
            async with timing.within(CLOSE_SECONDS):
                await self._stream.close()
