"""One WebSocket: its reader, its writer and its keepalive.

The reader never waits for the program or for the writer, so a Ctrl-C, an ack or a kill is never stuck behind
input or output; what a client may queue up that way is bounded by its attachment and by a rate.  What the
frames mean is the `Handshake`'s to say at first, and then the `Attached` connection's.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
from collections.abc import Callable, Coroutine
from enum import Enum
from typing import Any

import aiohttp
from aiohttp import web

from coderunner import metrics, timing
from coderunner.core import codec
from coderunner.errors import AccessError, BadJson, CodeRunnerError, InternalError
from coderunner.fleet.registry import Caller
from coderunner.logs import fields
from coderunner.schema import messages as m
from coderunner.sessions.attachment import Attachment
from coderunner.sessions.session import Session
from coderunner.tasks import Tasks
from coderunner.web import guard
from coderunner.web.attached import Attached
from coderunner.web.handshake import Handshake
from coderunner.web.keys import Parts
from coderunner.web.tcp import TcpConnection
from coderunner.web.tcp_limits import TcpConnections

log = logging.getLogger(__name__)

KEEPALIVE_SECONDS = 20.0
MISSED_PONGS = 2
CLOSE_SECONDS = 5.0
TEXT_A_FRAME = 4096  # a long text counts as several frames,
VALUES_A_FRAME = 50  # and so does one of many lists and objects, which take longest to read
PING_COST = 8  # frames: a ping makes us answer
AT_ONCE = 32 * 1024  # bytes of frames from which on they are written
FRAMES_A_TURN = 64  # frames in a row; then the loop serves other connections


class State(Enum):
    """Where a connection is.

    HANDSHAKE: `open` or `attach` has to come.  OPENING: a session is being made.  ATTACHED: it has one.
    CLOSING: its close code is settled; what is queued is still sent.  CLOSED: nothing more is sent.
    """

    HANDSHAKE, OPENING, ATTACHED, CLOSING, CLOSED = range(5)


_NEXT = {
    State.HANDSHAKE: {State.OPENING, State.ATTACHED, State.CLOSING, State.CLOSED},
    State.OPENING: {State.HANDSHAKE, State.ATTACHED, State.CLOSING, State.CLOSED},
    State.ATTACHED: {State.CLOSING, State.CLOSED},
    State.CLOSING: {State.CLOSED},
    State.CLOSED: set(),
}


class Connection:
    """One socket, from its greeting to its close.

    ``session_id``: of the address, None for `open`.  ``gone`` is done when nothing of it runs any more.
    """

    def __init__(
        self,
        parts: Parts,
        socket: web.WebSocketResponse,
        request: web.Request,
        session_id: str | None,
        connections: TcpConnections,
        tcp: TcpConnection,
    ) -> None:
        self._parts = parts
        self._socket = socket
        self._request = request
        self._connections = connections
        self._tcp = tcp
        self._address = guard.address_of(parts.settings, request)
        tcp.upgrade(codec.MAX_FIRST_TEXT, codec.HEADER_SIZE + codec.MAX_PAYLOAD, self.fail)
        self.state = State.HANDSHAKE
        self._handshake: Handshake | None = Handshake(parts, self, session_id)
        self._attached: Attached | None = None
        self._close_code: int | None = None
        self._unanswered = 0  # pings
        self._refusal: CodeRunnerError | None = None
        self._tasks = Tasks(
            "connection",
            lambda _: self._faulted(),
            expected=(CodeRunnerError, ConnectionResetError),
            address=self._address,
        )
        self._writer: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[None] | None = None
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(self, protocols: list[str], hello: m.Hello) -> None:
        """Sends ``hello`` and serves the socket until either side has closed it.

        ``protocols``: the subprotocols that the client offered, among them its credential.
        """
        writer = self._writer = self.start(self._write(), "ws-write")
        self.start(self._keep_alive(), "ws-keepalive")
        self.post(hello)
        try:
            if self._refusal is not None:
                raise self._refusal
            if self._handshake is not None:
                self._handshake.expect_first()
            self._reader = self.start(self._read(protocols), "ws-read")
            await self._reader
        except asyncio.CancelledError:
            if self.state is not State.CLOSED:
                raise
        except ConnectionResetError:
            writer.cancel()
        except CodeRunnerError as error:
            self.fail(error)
        except Exception:
            self.fail(InternalError())  # logged with its owner
        finally:
            self._lost()
            for task in self._tasks:
                if task is not writer:
                    task.cancel()
            if self._socket.closed and self.state is not State.CLOSED:
                writer.cancel()
            # A writer with a close to send gets a moment for it; a peer that reads nothing does not get more.
            done, _ = await asyncio.wait({writer}, timeout=2 * CLOSE_SECONDS)
            if not done:
                writer.cancel()
                self.abort()
            await self._tasks.stop()
            # Nothing of it waits for the garbage collector: not what frames hold, nor a circle of owners.
            self._tasks.ignore_faults()
            self._reader = self._writer = self._handshake = None
            self._move(State.CLOSED)
            self.gone.set_result(None)

    def refuse(self, error: CodeRunnerError) -> None:
        """Has `serve` send nothing but this error and its close; called before `serve`."""
        self._refusal = error

    def shut(self, code: int) -> None:
        """Closes with `code` because the server stops; where there is a session, the session does that."""
        if self._handshake is not None and self.state in (State.HANDSHAKE, State.OPENING):
            self._handshake.shut(code)

    def _move(self, state: State) -> None:
        """Moves to a state of `_NEXT`. Raises RuntimeError for another: that is a fault of this server."""
        if state is not self.state:
            if state not in _NEXT[self.state]:
                raise RuntimeError(f"a connection cannot go from {self.state.name} to {state.name}")
            self.state = state

    # --- reading -----------------------------------------------------------------------------------------

    def _faulted(self) -> None:
        """A task of this connection failed: it is closed with 1011, and the client attaches again."""
        self.fail(InternalError())
        if self._writer is None or self._writer.done():
            self.abort()  # the peer is gone

    async def _read(self, protocols: list[str]) -> None:
        caller = guard.caller(self._parts.settings, self._request, protocols)
        turns = itertools.cycle(range(FRAMES_A_TURN))
        while self._close_code is None:
            if next(turns) == 0:  # `receive` does not yield where a frame waits
                await asyncio.sleep(0)
            frame = await self._socket.receive()
            self._unanswered = 0
            match frame.type:
                case aiohttp.WSMsgType.TEXT:
                    metrics.bytes_in.inc(len(frame.data))
                    await self._spend(_effort(frame.data))
                    await self._take_text(frame.data, caller)
                case aiohttp.WSMsgType.BINARY:
                    metrics.bytes_in.inc(len(frame.data))
                    await self._spend(1)
                    self._take(functools.partial(self._binary, frame.data))
                case aiohttp.WSMsgType.PING:
                    await self._spend(PING_COST)
                    await self._socket.pong(frame.data)
                case aiohttp.WSMsgType.PONG:
                    await self._spend(1)
                case _:
                    return
            self._tcp.taken()  # counted until now: a long text may wait for its turn to be read

    async def _spend(self, cost: int) -> None:
        """Counts the work of a frame: who has no session or only watches waits; then raises RateLimited."""
        if self._attached is not None:
            self._attached.spend(cost)
            self._tcp.second(self._attached.watches)  # a hundred may watch one session
            await self._connections.pace_member(self._address, cost, watches=self._attached.watches)
            return
        await self._connections.pace(self._address, cost)
        if self._tcp.over:  # closed meanwhile: its remaining frames are not used
            raise ConnectionResetError

    async def _take_text(self, data: bytes, caller: Caller) -> None:
        try:
            message = await self._connections.read_text(data)
        except BadJson as error:
            self.post(m.ErrorMessage.of(error))
            if not _is_text(data):
                self.close(1007)  # RFC 6455, 8.1: invalid UTF-8 fails the connection
        except CodeRunnerError as error:
            if error.close is not None:
                raise
            self.post(m.ErrorMessage.of(error))
        else:
            channel = message.channel if isinstance(message, m.Run | m.Shell) else None
            self._take(lambda: self._text(message, len(data), caller), channel)

    def _take(self, act: Callable[[], None], channel: int | None = None) -> None:
        """Runs `act`, and answers an error of its that does not close the connection.

        `channel`: the one that a refused run or shell was to have, which the error names."""
        try:
            act()
        except CodeRunnerError as error:
            if error.close is not None:
                raise
            if error.channel is None:
                error.channel = channel
            self.post(m.ErrorMessage.of(error))

    def _binary(self, data: bytes) -> None:
        frame = codec.decode_input(data)
        source = self._attached or self._handshake
        if source is not None:
            source.input(frame)

    def _text(self, message: m.ClientMessage, size: int, caller: Caller) -> None:
        if self._attached is not None:
            self._attached.text(message)
        elif self._handshake is not None:
            self._handshake.text(message, size, caller)

    # --- called by the handshake -------------------------------------------------------------------------

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Runs work that ends with the connection; its unexpected failure ends the connection."""
        return self._tasks.start(work, name)

    def keep(self, size: int) -> None:
        """Counts `size` bytes of text that are held until there is a session."""
        self._tcp.keep(size)

    def opening(self, under_way: bool) -> bool:
        """A session is being made, or (`under_way` false) that has failed.

        False where the connection closes already: then the session must not be made.
        """
        if self.state not in (State.HANDSHAKE, State.OPENING):
            return False
        self._move(State.OPENING if under_way else State.HANDSHAKE)
        return True

    def attached(self, session: Session, attachment: Attachment) -> None:
        """Ends the handshake: frames go to and come from `attachment` from now on."""
        self._move(State.ATTACHED)
        self._attached = Attached(session, attachment)
        self._tcp.admit_session(session.id, codec.MAX_TEXT)
        self._tcp.second(self._attached.watches)

    # --- writing -----------------------------------------------------------------------------------------

    def post(self, message: m.ServerMessage) -> None:
        """Queues a message for the client."""
        source = self._attached or self._handshake
        if source is not None:
            source.post(message)

    def fail(self, error: CodeRunnerError) -> None:
        """Sends an error, and closes with its code where it has one."""
        if self._close_code is not None:
            return
        if isinstance(error, AccessError):
            about = guard.request_id(self._parts.settings, self._request)
            log.info("connection refused", extra=fields(code=error.code, address=self._address, **about))
        self.post(m.ErrorMessage.of(error))
        if error.close is not None:
            self.close(error.close)

    def close(self, code: int) -> None:
        """Closes with `code` once what is queued has been sent; of several calls the first counts."""
        if self._close_code is not None or self.state is State.CLOSED:
            return
        self._close_code = code
        self._move(State.CLOSING)
        if self._attached is not None:
            self._attached.end(code)
        elif self._handshake is not None:
            self._handshake.end()

    def _lost(self) -> None:
        """Tells handshake and attachment that no frame comes or goes any more."""
        if self._handshake is not None:
            self._handshake.lost()
        if self._attached is not None:
            self._attached.lost()

    async def _write(self) -> None:
        try:
            code = await self._pump()
            # While somebody reads, aiohttp drops the connection behind the close frame, and its code may
            # be lost; only when nobody does, it waits for the peer's own close.
            self._move(State.CLOSED)
            if self._reader is not None:
                self._reader.cancel()
                await asyncio.wait({self._reader})
            self._tcp.finish()
            if self._tcp.crowd:  # to close one that has sent much takes the kernel a millisecond
                await self._connections.crowd.turn()
            if self._tcp.over:
                return  # the peer is gone already
            async with timing.within(CLOSE_SECONDS):
                await self._socket.close(code=code)
        except (CodeRunnerError, ConnectionError, TimeoutError, RuntimeError):
            self.abort()  # the peer is gone, or reads nothing; nobody stays at a socket that nobody writes to

    async def _pump(self) -> int:
        """Sends the frames of the handshake, then of the attachment; returns the code to close with."""
        assert self._handshake is not None
        while (frame := await self._handshake.next()) is not None:
            await self._send([frame])
        if self._attached is None:
            return self._close_code or 1000
        while (frame := await self._attached.next()) is not None:
            frames, size = [frame], len(frame)
            while size < AT_ONCE and (more := self._attached.at_hand()) is not None:
                frames.append(more)
                size += len(more)
            await self._send(frames)
        return self._attached.close_code

    async def _send(self, frames: list[str | bytes]) -> None:
        """Sends all of them in one write, so that a key's echo does not wait for a write of its own."""
        if self._socket.closed:
            raise ConnectionResetError
        if self._tcp.crowd:
            await self._connections.crowd.turn()
        metrics.bytes_out.inc(sum(map(len, frames)))
        self._tcp.send(frames)
        await self._tcp.drained()

    async def _keep_alive(self) -> None:
        while True:
            await timing.sleep(KEEPALIVE_SECONDS)
            if self._unanswered >= MISSED_PONGS:
                seconds = KEEPALIVE_SECONDS * MISSED_PONGS
                log.info("connection silent", extra=fields(seconds=seconds, address=self._address))
                self.abort()
                return
            self._unanswered += 1
            try:
                async with timing.within(KEEPALIVE_SECONDS):
                    await self._socket.ping()
            except (ConnectionError, TimeoutError, RuntimeError):
                self.abort()
                return

    def abort(self) -> None:
        """Aborts the TCP connection, without a close frame."""
        if self._request.transport is not None:
            self._request.transport.abort()


def _effort(text: bytes) -> int:
    """The cost of a text, in frames: texts that are long or have many values take longer to read."""
    return 1 + len(text) // TEXT_A_FRAME + (text.count(b"[") + text.count(b"{")) // VALUES_A_FRAME


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
