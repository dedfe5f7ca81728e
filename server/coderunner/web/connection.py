"""One WebSocket connection: its reader, writer and keepalive tasks.

The reader waits neither for the program nor for the writer, so a Ctrl-C, an ack or a kill is not delayed by
input or output. What a client can queue up that way is bounded by its attachment and by a rate. Frames are
interpreted by `Handshake` until there is a session, then by `Attached`.
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

from coderunner import logs, metrics, timing
from coderunner.core import codec
from coderunner.errors import AccessError, BadJson, CodeRunnerError, InternalError, Unauthenticated
from coderunner.fleet.registry import Caller
from coderunner.identity.principal import Principal
from coderunner.logs import fields
from coderunner.schema import messages as m
from coderunner.sessions.attachment import Attachment
from coderunner.sessions.session import Session
from coderunner.tasks import Tasks
from coderunner.web import guard
from coderunner.web.attached import Attached
from coderunner.web.handshake import Handshake
from coderunner.web.keys import Parts
from coderunner.web.outgoing import Outgoing
from coderunner.web.replies import note_refusal
from coderunner.web.tcp import TcpConnection
from coderunner.web.tcp_limits import TcpConnections

log = logging.getLogger(__name__)

KEEPALIVE_SECONDS = 20.0  # between pings; below the 60 s after which many proxies drop a silent connection
MISSED_PONGS = 2  # unanswered pings after which the peer counts as gone
CLOSE_SECONDS = 5.0  # for the peer to answer a close frame
TEXT_A_FRAME = 4096  # bytes of text that cost as much as one frame
VALUES_A_FRAME = 50  # lists and objects that cost as much as one frame: they take the longest to decode
PING_COST = 8  # frames; higher than 1 because each ping makes the server send something
FRAMES_A_TURN = 64  # frames that are read in a row before other connections get their turn


class State(Enum):
    """The state of a connection.

    HANDSHAKE: waits for `open` or `attach`. OPENING: its session is being made. ATTACHED: has a session.
    CLOSING: the close code is decided, queued messages are still sent. CLOSED: nothing more is sent.
    """

    HANDSHAKE, OPENING, ATTACHED, CLOSING, CLOSED = range(5)


# Allowed transitions. OPENING goes back to HANDSHAKE if opening fails: the client may try again.
_NEXT = {
    State.HANDSHAKE: {State.OPENING, State.ATTACHED, State.CLOSING, State.CLOSED},
    State.OPENING: {State.HANDSHAKE, State.ATTACHED, State.CLOSING, State.CLOSED},
    State.ATTACHED: {State.CLOSING, State.CLOSED},
    State.CLOSING: {State.CLOSED},
    State.CLOSED: set(),
}


class Connection:
    """A WebSocket from `hello` to its close.

    `session_id`: from the URL /ws/<session>; None for /ws. `gone`: a future that is done when none of the
    connection's tasks runs any more.
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
        # The address is computed once: it must not change with later headers.
        self._address = guard.address_of(parts.settings, request)
        # Before the session, a frame may be as large as the first text and not more.
        tcp.upgrade(codec.MAX_FIRST_TEXT, codec.HEADER_SIZE + codec.MAX_PAYLOAD, self.fail)
        self._session = session_id  # the id from the URL; not yet known to be a session
        self.state = State.HANDSHAKE
        self._handshake: Handshake | None = Handshake(parts, self, session_id)
        self._attached: Attached | None = None
        self._close_code: int | None = None
        self._unanswered = 0  # pings since the last frame of any kind
        self._refusal: CodeRunnerError | None = None
        self._who: Principal | None = None
        self._abort_due: timing.Timer | None = None  # after the end of its caller's credential
        self._tasks = Tasks(
            "connection",
            lambda _: self._faulted(),
            expected=(CodeRunnerError, ConnectionResetError),
            address=self._address,
        )
        self._outgoing = Outgoing(socket, tcp, connections, self._tasks.fault)
        self._writer: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[None] | None = None
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(self, protocols: list[str], hello: m.Hello) -> None:
        """Sends `hello` and serves the socket until either side has closed it.

        `protocols`: the subprotocols that the client offered. They may contain its credential, as browsers
        cannot set a header for a WebSocket.
        """
        writer = self._writer = self.start(self._write(), "ws-write")
        try:
            self.start(self._keep_alive(), "ws-keepalive")
            self.post(hello)
            # Refused after `hello`, so that every client gets the error in the same form.
            if self._refusal is not None:
                raise self._refusal
            if self._handshake is not None:
                self._handshake.expect_first()
            self._reader = self.start(self._read(protocols), "ws-read")
            await self._reader
        except asyncio.CancelledError:
            # The connection's own end cancels this task; any other cancellation is the server's.
            if self.state is not State.CLOSED:
                raise
        except ConnectionResetError:
            # The peer is gone: nothing can be sent any more.
            writer.cancel()
        except CodeRunnerError as error:
            self.fail(error)
        except Exception as error:
            if self._reader is None:  # otherwise it is the reader's, which `Tasks` has logged
                self._tasks.fault(error, "ws-serve")
        finally:
            await self._finish(writer)

    async def _finish(self, writer: asyncio.Task[None]) -> None:
        """Ends the tasks, `writer` as the last one, and becomes CLOSED."""
        try:
            self._lost()
        # A fault here must not keep the tasks below from being ended.
        except Exception as error:
            self._tasks.fault(error, "ws-lost")
        for task in self._tasks:
            if task is not writer:
                task.cancel()
        # The peer has closed first, so there is no close frame to wait for.
        if self._socket.closed and self.state is not State.CLOSED:
            writer.cancel()
        # The writer gets some time to send the close frame, but a peer that reads nothing must not keep it.
        done, _ = await asyncio.wait({writer}, timeout=2 * CLOSE_SECONDS)
        if not done:
            writer.cancel()
            self.abort()
        # Also the writer, if the wait above was not enough.
        await self._tasks.stop()
        # Break the reference cycles, so that memory is freed now: after many connections the garbage
        # collector would stop the loop for long.
        self._tasks.ignore_faults()
        self._reader = self._writer = self._handshake = None
        if self._abort_due is not None:
            self._abort_due.cancel()
        self._move(State.CLOSED)
        self.gone.set_result(None)

    def refuse(self, error: CodeRunnerError) -> None:
        """Makes `serve` send only this error and close. To be called before `serve`."""
        self._refusal = error

    def shut(self, code: int) -> None:
        """Closes with `code` because the server stops. Only for connections without a session; the others
        are closed by `Session.suspend`."""
        if self._handshake is not None and self.state in (State.HANDSHAKE, State.OPENING):
            self._handshake.shut(code)

    def _move(self, state: State) -> None:
        """Changes the state. Raises RuntimeError for a transition that is not in `_NEXT`, which is a bug."""
        if state is not self.state:
            if state not in _NEXT[self.state]:
                raise RuntimeError(f"a connection cannot go from {self.state.name} to {state.name}")
            self.state = state

    # --- reading -----------------------------------------------------------------------------------------

    def _faulted(self) -> None:
        """Called if a task of this connection failed: closes with 1011, so that the client reconnects."""
        self.fail(InternalError())
        if self._writer is None or self._writer.done():
            self.abort()  # nobody is left to send the close frame

    async def _read(self, protocols: list[str]) -> None:
        # Raises Unauthenticated: the connection is closed with its code.
        caller = await guard.caller(self._parts, self._request, protocols)
        self._who = caller.who
        turns = itertools.cycle(range(FRAMES_A_TURN))
        while self._close_code is None:
            if next(turns) == 0:  # `receive` does not yield to the loop while frames are waiting
                await asyncio.sleep(0)
            frame = await self._socket.receive()
            self._unanswered = 0  # any frame shows that the peer is alive, not only a pong
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
            self._tcp.taken()  # only now: a long text stays in memory until its turn to be decoded

    async def _spend(self, cost: int) -> None:
        """Charges the cost of a frame. Clients without a session and watchers are slowed down; a client with
        the control is refused with RateLimited."""
        if self._attached is not None:
            self._attached.spend(cost)
            # A hundred clients may watch one session: their sockets come behind those of users who type.
            self._tcp.second(self._attached.watches)
            await self._connections.pace_member(self._address, cost, watches=self._attached.watches)
            return
        await self._connections.pace(self._address, cost)
        if self._tcp.over:  # closed while it waited: the frames that are still buffered are dropped
            raise ConnectionResetError

    async def _take_text(self, data: bytes, caller: Caller) -> None:
        try:
            message = await self._connections.read_text(data)
        except BadJson as error:
            self.post(m.ErrorMessage.of(error))
            if not _is_text(data):
                self.close(1007)  # RFC 6455, 8.1: invalid UTF-8 fails the connection
        except CodeRunnerError as error:
            # A code means that the connection cannot go on.
            if error.close is not None:
                raise
            self.post(m.ErrorMessage.of(error))
        else:
            # Only these make a channel; errors of other messages have their channel themselves.
            channel = message.channel if isinstance(message, m.Run | m.Shell) else None
            self._take(lambda: self._text(message, len(data), caller), channel)

    def _take(self, act: Callable[[], None], channel: int | None = None) -> None:
        """Runs `act`, and sends errors that do not close the connection. Raises the others.

        `channel`: of a `run` or `shell`, so that the client can assign the error."""
        try:
            act()
        except CodeRunnerError as error:
            if error.close is not None:
                raise
            if error.channel is None:
                error.channel = channel
            if isinstance(error, AccessError):
                note_refusal(error, self._address, self._who, session=self._session)
            self.post(m.ErrorMessage.of(error))

    def _binary(self, data: bytes) -> None:
        frame = codec.decode_input(data)
        # The handshake's bytes are kept for the session that is being made.
        source = self._attached or self._handshake
        if source is not None:
            source.input(frame)
        # Only what was accepted: who has no session, or no control, must not slow down the output of others.
        if self._attached is not None:
            now = asyncio.get_running_loop().time()
            self._connections.bulk.input(self._session or "", len(frame.payload), now)

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
        """Called when the making of a session begins (`under_way`) or has failed.

        Returns False if the connection is closing: then it must not get the session.
        """
        if self.state not in (State.HANDSHAKE, State.OPENING):
            return False
        # Back to HANDSHAKE: the same socket may send another `open`.
        self._move(State.OPENING if under_way else State.HANDSHAKE)
        return True

    def waits(self) -> bool:
        """Whether the connection has no session yet, and is not closing."""
        return self.state is State.HANDSHAKE

    def stands_for(self, who: Principal) -> None:
        """Called with the operator whose ticket was shown: the connection ends with that credential."""
        self._who = who

    def attached(self, session: Session, attachment: Attachment) -> None:
        """Called when there is a session: from now on frames are exchanged with `attachment`."""
        self._move(State.ATTACHED)
        # From here on `_pump` goes on with the attachment.
        self._attached = Attached(session, attachment)
        self._outgoing.attach(session.id, self._attached)
        attachment.sender = self._outgoing
        self._session = session.id
        logs.within(session=session.id)
        # With a session longer texts are allowed, as its token was checked.
        self._tcp.admit_session(session.id, codec.MAX_TEXT)
        self._tcp.second(self._attached.watches)

    # --- writing -----------------------------------------------------------------------------------------

    def post(self, message: m.ServerMessage) -> None:
        """Queues a message for the client."""
        source = self._attached or self._handshake
        if source is not None:
            source.post(message)

    def fail(self, error: CodeRunnerError) -> None:
        """Sends an error, and closes the connection if the error has a close code."""
        if self._close_code is not None:
            return
        # Wrong credentials and origins: an attack or a mistake, which an operator wants to see.
        if isinstance(error, AccessError):
            about = guard.request_id(self._parts.settings, self._request)
            log.info("connection refused", extra=fields(code=error.code, address=self._address, **about))
            note_refusal(error, self._address, self._who, session=self._session)
        self.post(m.ErrorMessage.of(error))
        if error.close is not None:
            self.close(error.close)

    def check(self, ended: Callable[[Principal, bool], bool]) -> None:
        """Closes if the credential of its caller has ended: discards queued output, and aborts a peer that
        does not read. `ended(principal, oversees)`: `oversees`: whether the connection oversees a session."""
        if self._who is None or self._close_code is not None:
            return
        if not ended(self._who, self._attached is not None and self._attached.oversees):
            return
        error = Unauthenticated(guard.ENDED)
        if self._attached is not None and error.close is not None:
            self.post(m.ErrorMessage.of(error))
            self._attached.end(error.close, flush=False)
        self.fail(error)
        self._abort_due = timing.Timer(CLOSE_SECONDS / 2, self.abort)

    def close(self, code: int) -> None:
        """Closes with `code` after the queued messages have been sent. Only the first call has an effect."""
        if self._close_code is not None or self.state is State.CLOSED:
            return
        self._close_code = code
        self._move(State.CLOSING)
        if self._attached is not None:
            self._attached.end(code)
        if self._handshake is not None:
            # Even if attached: if the hand-over to a session failed, the writer still waits for the
            # handshake.
            self._handshake.end()

    def _lost(self) -> None:
        """Tells the handshake and the attachment that the socket is closed."""
        if self._handshake is not None:
            self._handshake.lost()
        if self._attached is not None:
            self._attached.lost()

    async def _write(self) -> None:
        try:
            code = await self._pump()
            # The reader is stopped first: while another task reads, aiohttp's `close` does not wait for the
            # peer's close frame and drops the connection, and the close code may not arrive.
            self._move(State.CLOSED)
            if self._reader is not None:
                self._reader.cancel()
                await asyncio.wait({self._reader})
            self._tcp.finish()
            # Closing a socket with much data in its buffers takes the kernel a millisecond, so a crowd takes
            # turns.
            if self._tcp.crowd:
                await self._connections.crowd.turn()
            if self._tcp.over:
                return  # the peer is gone already
            async with timing.within(CLOSE_SECONDS):
                await self._socket.close(code=code)
        except (CodeRunnerError, ConnectionError, TimeoutError, RuntimeError):
            self.abort()  # the peer is gone or does not read, and the socket has no writer any more

    async def _pump(self) -> int:
        """Sends the frames of the handshake, then those of the attachment. Returns the close code."""
        assert self._handshake is not None
        while (frame := await self._handshake.next()) is not None:
            await self._outgoing.send([frame])
        if self._attached is None:
            return self._close_code or 1000
        return await self._outgoing.pump()

    async def _keep_alive(self) -> None:
        """Pings the peer, and aborts the connection of a peer that does not answer."""
        while True:
            await timing.sleep(KEEPALIVE_SECONDS)
            # Frames of any kind count as an answer (`_read`).
            if self._unanswered >= MISSED_PONGS:
                seconds = KEEPALIVE_SECONDS * MISSED_PONGS
                about = fields(seconds=seconds, address=self._address, session=self._session)
                log.info("connection silent", extra=about)
                self.abort()
                return
            self._unanswered += 1
            try:
                # The ping may have to wait behind output that the peer does not read.
                async with timing.within(KEEPALIVE_SECONDS):
                    await self._socket.ping()
            except (ConnectionError, TimeoutError, RuntimeError):
                self.abort()
                return

    def abort(self) -> None:
        """Aborts the TCP connection without a close frame."""
        if self._request.transport is not None:
            self._request.transport.abort()


def _effort(text: bytes) -> int:
    """The cost of a text in frames: long texts and those with many lists take longer to decode."""
    return 1 + len(text) // TEXT_A_FRAME + (text.count(b"[") + text.count(b"{")) // VALUES_A_FRAME


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
