"""A WebSocket: bytes and messages between a client and its attachment.

One task reads, one writes, one keeps the connection alive.  The reader never waits for the program or for
the writer, so a Ctrl-C, an ack or a kill is never stuck behind input or output; what a client may queue up
that way is bounded by its attachment and by a rate.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque

import aiohttp
from aiohttp import web

import coderunner
from coderunner import timing
from coderunner.agent import flow
from coderunner.core import codec
from coderunner.core import messages as m
from coderunner.core.admission import Position
from coderunner.errors import (
    AccessError,
    BadMessage,
    CodeRunnerError,
    Draining,
    InputOverflow,
    InternalError,
    NoFirstMessage,
    RateLimited,
    UnexpectedMessage,
)
from coderunner.logs import fields
from coderunner.sessions.attachment import Attachment
from coderunner.sessions.registry import Opened, Opening, Visitor
from coderunner.web import guard
from coderunner.web.keys import PARTS, SOCKETS, Parts

log = logging.getLogger(__name__)

FIRST_MESSAGE_SECONDS = 10.0
KEEPALIVE_SECONDS = 20.0
MISSED_PONGS = 2
CLOSE_SECONDS = 5.0
MAX_PIPELINED = 256  # frames behind `open`
# A program's full speed is about 1,100 acks a second; a person's, with a mouse, a few hundred frames.
FRAMES_PER_SECOND = 4000
FRAMES_BURST = 8000
TEXT_A_FRAME = 4096  # a long text counts as several: one of 8 MiB takes a tenth of a second to read
FRAMES_A_TURN = 64  # then others have theirs, even where more frames wait


async def websocket(request: web.Request) -> web.StreamResponse:
    """GET /ws and GET /ws/{session}."""
    parts = request.app[PARTS]
    protocols = guard.offered(request)
    if guard.PROTOCOL not in protocols:
        raise web.HTTPBadRequest(text=f"offer the WebSocket subprotocol {guard.PROTOCOL}\n")
    socket = web.WebSocketResponse(
        protocols=(guard.PROTOCOL,), max_msg_size=codec.MAX_TEXT, autoping=False, compress=False
    )
    if not socket.can_prepare(request).ok:
        raise web.HTTPUpgradeRequired(text="this address is for WebSockets\n")
    try:
        await socket.prepare(request)
    except ConnectionError:
        return web.Response()  # gone already, and nobody to tell: not a fault to be logged
    connection = Connection(parts, socket, request, request.match_info.get("session"))
    sockets = request.app[SOCKETS]
    sockets.add(connection)
    try:
        await connection.serve(protocols)
    finally:
        sockets.discard(connection)
    return socket


def hello(parts: Parts) -> m.Hello:
    settings = parts.settings
    return m.Hello(
        protocol=m.PROTOCOL,
        server=f"coderunner/{coderunner.__version__}",
        environment=settings.app_env,
        limits={
            "text_bytes": codec.MAX_TEXT,
            "payload_bytes": codec.MAX_PAYLOAD,
            "window_bytes": flow.WINDOW,
            "input_window_bytes": flow.INPUT_WINDOW,
            "journal_bytes": flow.JOURNAL,
            "channels": flow.MAX_CHANNELS,
            "files": settings.max_files_per_session,
            "file_bytes": settings.max_file_size,
            "archive_bytes": settings.max_archive_size,
            "resume_ms": settings.session_resume_min,
        },
        features=("tty", "pipe", "shell", "watch", "resume", *(("groups",) if settings.max_groups else ())),
        keepalive_s=int(KEEPALIVE_SECONDS),
    )


class Connection:
    """One socket, from its greeting to its close."""

    def __init__(
        self, parts: Parts, socket: web.WebSocketResponse, request: web.Request, session_id: str | None
    ) -> None:
        self._parts = parts
        self._socket = socket
        self._request = request
        self._session_id = session_id
        self._attachment: Attachment | None = None
        self._opening: Opening | None = None
        self._hold = False
        self._pipelined: list[m.Run | m.Shell | codec.InputFrame | m.Eof | m.Ack] = []
        self._pipelined_bytes = 0
        self._lobby: deque[m.ServerMessage] = deque()
        self._wake = asyncio.Event()
        self._close_code: int | None = None
        self._outstanding = 0
        self._tokens = float(FRAMES_BURST)
        self._refilled = asyncio.get_running_loop().time()
        self._first_due = timing.now() + FIRST_MESSAGE_SECONDS  # of `open` or `attach`, whatever else comes
        self._waiter: asyncio.Task[None] | None = None
        self._closing = False
        self._reader: asyncio.Task[None] | None = None
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(self, protocols: list[str]) -> None:
        loop = asyncio.get_running_loop()
        writer = loop.create_task(self._write(), name="ws-write")
        keeper = loop.create_task(self._keep_alive(), name="ws-keepalive")
        self._post(hello(self._parts))
        try:
            visitor = guard.visitor(self._parts.settings, self._request, protocols)
            self._reader = loop.create_task(self._read(visitor), name="ws-read")
            await self._reader
        except asyncio.CancelledError:
            if not self._closing:
                raise
        except CodeRunnerError as error:
            self._fail(error)
        except Exception:
            log.exception("a connection failed")
            self._fail(InternalError())
        finally:
            self._lost()
            keeper.cancel()
            if self._waiter is not None:
                self._waiter.cancel()
            if self._socket.closed and not self._closing:
                writer.cancel()
            # A writer with a close to send gets a moment for it; a peer that reads nothing does not get more.
            done, _ = await asyncio.wait({writer}, timeout=2 * CLOSE_SECONDS)
            if not done:
                writer.cancel()
                self.abort()
            await asyncio.gather(writer, keeper, return_exceptions=True)
            self.gone.set_result(None)

    def shut(self, code: int) -> None:
        """The server goes away."""
        if self._attachment is None and self._close_code is None:
            if self._opening is not None:
                self._fail(Draining(retry_after_ms=2000))
            else:
                self._close(code)

    # --- in ----------------------------------------------------------------------------------------------

    async def _read(self, visitor: Visitor) -> None:
        turns = itertools.cycle(range(FRAMES_A_TURN))
        while self._close_code is None:
            if next(turns) == 0:
                await asyncio.sleep(0)
            settled = self._attachment is not None or self._opening is not None
            try:
                async with timing.within(None if settled else self._first_due - timing.now()):
                    frame = await self._socket.receive()
            except TimeoutError:
                raise NoFirstMessage("send `open` or `attach` first") from None
            self._outstanding = 0
            match frame.type:
                case aiohttp.WSMsgType.TEXT | aiohttp.WSMsgType.BINARY:
                    self._spend(len(frame.data) // TEXT_A_FRAME if isinstance(frame.data, str) else 0)
                    self._take(frame.data, visitor)
                case aiohttp.WSMsgType.PING:
                    self._spend()
                    await self._socket.pong(frame.data)
                case aiohttp.WSMsgType.PONG:
                    self._spend()
                case _:
                    return

    def _spend(self, more: int = 0) -> None:
        """Bounds what one socket can make the server do; raises RateLimited."""
        now = asyncio.get_running_loop().time()
        self._tokens = min(FRAMES_BURST, self._tokens + (now - self._refilled) * FRAMES_PER_SECOND)
        self._tokens -= 1 + more
        self._refilled = now
        if self._tokens < 0:
            raise RateLimited("too much at once; send fewer and shorter messages", retry_after_ms=5000)

    def _take(self, data: str | bytes, visitor: Visitor) -> None:
        """Every error that leaves the connection alive is answered here."""
        try:
            if isinstance(data, bytes):
                self._binary(codec.decode_input(data))
            else:
                self._text(codec.decode_client_text(data), visitor)
        except CodeRunnerError as error:
            if error.close is not None:
                raise
            self._post(m.ErrorMessage.of(error))

    def _binary(self, frame: codec.InputFrame) -> None:
        if self._attachment is not None:
            self._attachment.session.input(self._attachment, frame.channel, frame.offset, frame.payload)
        elif self._opening is not None and self._pipelined:
            self._pipelined_bytes += len(frame.payload)
            if self._pipelined_bytes > flow.INPUT_WINDOW:
                raise InputOverflow(
                    "at most 64 KiB of input before `opened`", channel=frame.channel, expected=0
                )
            self._pipelined.append(frame)
        else:
            raise UnexpectedMessage("send `open` or `attach` first")

    def _text(self, message: m.ClientMessage, visitor: Visitor) -> None:
        if self._attachment is not None:
            self._attachment.session.handle(self._attachment, message)
        elif isinstance(message, m.Ping):
            self._post(m.Pong(message.t))
        elif self._opening is not None:
            self._while_opening(message)
        elif isinstance(message, m.Open):
            self._open(message, visitor)
        elif isinstance(message, m.Attach):
            self._attach(message)
        else:
            raise UnexpectedMessage("send `open` or `attach` first")

    def _while_opening(self, message: m.ClientMessage) -> None:
        if isinstance(message, m.Close):
            self._lost(leave=True)
            self._post(m.Closed("client"))
            self._close(1000)
            return
        expected = (m.Eof | m.Ack) if self._pipelined else (m.Run | m.Shell)
        if not isinstance(message, expected) or len(self._pipelined) >= MAX_PIPELINED:
            raise UnexpectedMessage("wait for `opened`: only one `run` or `shell` may be sent before it")
        self._pipelined.append(message)

    # --- opening and attaching ---------------------------------------------------------------------------

    def _open(self, message: m.Open, visitor: Visitor) -> None:
        self._first_due = timing.now() + FIRST_MESSAGE_SECONDS
        if self._session_id is not None:
            raise BadMessage("`open` belongs to /ws; this address is for `attach`")
        self._opening = self._parts.registry.open(message, visitor)
        self._hold = message.nonce is not None
        self._opening.claim(self._on_position)
        self._waiter = asyncio.get_running_loop().create_task(self._await_opened(message), name="ws-open")

    def _on_position(self, position: Position) -> None:
        self._post(m.Queued(position.position, position.ahead, position.eta_ms, position.deadline_ms))

    async def _await_opened(self, message: m.Open) -> None:
        opening = self._opening
        assert opening is not None
        try:
            opened = await asyncio.shield(opening.done)
            self._begin(opened, message)
            opening.delivered = True
        except asyncio.CancelledError:
            if opening.done.cancelled():
                self._fail(Draining(retry_after_ms=2000))
            raise
        except CodeRunnerError as error:
            self._opening = None
            self._pipelined.clear()
            self._fail(error)
        except Exception:
            log.exception("opening a session failed")
            self._fail(InternalError())

    def _begin(self, opened: Opened, message: m.Open) -> None:
        session = opened.session
        attachment = session.attach(message.client, "control", "control", {}, announce=False)
        group = session.record.group
        runtime = session.language.runtime or self._parts.settings.docker_runtime or "runc"
        attachment.post(
            m.Opened(
                session=session.id,
                token=opened.token,
                language=session.language.name,
                warm=opened.warm,
                expires=session.expiry(),
                isolation=m.Isolation(runtime, "none" if group is None else "group"),
                timings_ms=opened.timings_ms,
                group=group,
                group_token=self._parts.registry.group_token(group),
                member=session.record.member,
            )
        )
        self._bind(attachment)
        for item in self._pipelined:
            try:
                if isinstance(item, codec.InputFrame):
                    session.input(attachment, item.channel, item.offset, item.payload)
                else:
                    session.handle(attachment, item)
            except CodeRunnerError as error:
                self._post(m.ErrorMessage.of(error))
        self._pipelined.clear()

    def _attach(self, message: m.Attach) -> None:
        if self._session_id != message.session:
            raise BadMessage("the session of `attach` must be the one of the address, /ws/<session>")
        session, granted = self._parts.registry.find(message.session, message.token)
        role = message.role or granted
        if granted == "watch":
            role = "watch"
        self._bind(session.attach(message.client, role, granted, message.cursors))

    def _bind(self, attachment: Attachment) -> None:
        self._opening = None
        self._attachment = attachment
        self._wake.set()

    def _lost(self, *, leave: bool = False) -> None:
        """The socket only detaches; while queued it keeps its place for a moment."""
        if self._attachment is not None:
            self._attachment.session.detach(self._attachment)
        if self._opening is not None:
            self._opening.leave(self._on_position, hold=self._hold and not leave)
            self._opening = None

    # --- out ---------------------------------------------------------------------------------------------

    def _post(self, message: m.ServerMessage) -> None:
        if self._attachment is not None:
            self._attachment.post(message)
            return
        if len(self._lobby) >= 256:
            self._close(1011)
            return
        self._lobby.append(message)
        self._wake.set()

    def _fail(self, error: CodeRunnerError) -> None:
        """An error, and the close that follows it."""
        if self._close_code is not None:
            return
        if isinstance(error, AccessError):
            address = guard.address_of(self._parts.settings, self._request)
            log.info("connection refused", extra=fields(code=error.code, address=address))
        self._post(m.ErrorMessage.of(error))
        if error.close is not None:
            self._close(error.close)

    def _close(self, code: int) -> None:
        if self._close_code is None:
            self._close_code = code
            if self._attachment is not None:
                self._attachment.end(code)
        self._wake.set()

    async def _write(self) -> None:
        try:
            code = await self._pump()
            # While somebody reads, aiohttp drops the connection behind the close frame, and its code may
            # be lost; only when nobody does, it waits for the peer's own close.
            self._closing = True
            if self._reader is not None:
                self._reader.cancel()
                await asyncio.wait({self._reader})
            async with timing.within(CLOSE_SECONDS):
                await self._socket.close(code=code)
        except (ConnectionError, TimeoutError, RuntimeError):
            self.abort()  # the peer is gone, or reads nothing
        except Exception:
            log.exception("writing to a connection failed")
            self.abort()  # its client comes back for the rest

    async def _pump(self) -> int:
        while True:
            while self._lobby:
                await self._socket.send_str(codec.encode_server(self._lobby.popleft()))
            if self._attachment is None:
                if self._close_code is not None:
                    return self._close_code
                self._wake.clear()
                await self._wake.wait()
                continue
            frame = await self._attachment.next()
            if frame is None:
                return self._attachment.close_code or 1000
            if isinstance(frame, str):
                await self._socket.send_str(frame)
            else:
                await self._socket.send_bytes(frame)

    async def _keep_alive(self) -> None:
        while True:
            await timing.sleep(KEEPALIVE_SECONDS)
            if self._outstanding >= MISSED_PONGS:
                address = guard.address_of(self._parts.settings, self._request)
                seconds = KEEPALIVE_SECONDS * MISSED_PONGS
                log.info("connection silent", extra=fields(seconds=seconds, address=address))
                self.abort()
                return
            self._outstanding += 1
            try:
                async with timing.within(KEEPALIVE_SECONDS):
                    await self._socket.ping()
            except (ConnectionError, TimeoutError, RuntimeError):
                self.abort()
                return

    def abort(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()
