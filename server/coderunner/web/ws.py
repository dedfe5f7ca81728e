"""A WebSocket: bytes and messages between a client and its attachment.

One task reads, one writes, one keeps the connection alive.  The reader never waits for the program or for
the writer, so a Ctrl-C, an ack or a kill is never stuck behind input or output; what a client may queue up
that way is bounded by its attachment and by a rate.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
from collections import deque
from collections.abc import Callable

import aiohttp
from aiohttp import web

import coderunner
from coderunner import timing
from coderunner.core import codec
from coderunner.core.admission import Position
from coderunner.errors import (
    AccessError,
    BadJson,
    BadMessage,
    CodeRunnerError,
    Draining,
    InputOverflow,
    InternalError,
    NoFirstMessage,
    RateLimited,
    UnexpectedMessage,
)
from coderunner.fleet.registry import Caller, Opened, Opening
from coderunner.logs import fields
from coderunner.schema import messages as m
from coderunner.sessions.attachment import Attachment
from coderunner.sessions.session import Session
from coderunner.tasks import Tasks
from coderunner.web import guard
from coderunner.web.keys import PARTS, SOCKETS, WIRES, Parts
from coderunner.web.middleware import release
from coderunner.web.wire import Wire, wire_of
from coderunner.web.wires import Wires
from coderunner.wire import flow

log = logging.getLogger(__name__)

FIRST_MESSAGE_SECONDS = 10.0
KEEPALIVE_SECONDS = 20.0
MISSED_PONGS = 2
CLOSE_SECONDS = 5.0
MAX_PIPELINED = 256  # frames behind `open`
# A program's full speed is about 1,100 acks a second; a person's, with a mouse, a few hundred frames.
FRAMES_PER_SECOND = 4000
FRAMES_BURST = 8000
TEXT_A_FRAME = 4096  # a long text counts as several,
VALUES_A_FRAME = 50  # and so does one of many lists and objects, which take longest to read
PING = 8  # frames: it makes us answer
FRAMES_A_TURN = 64  # then others have theirs, even where more frames wait


class _Socket(web.WebSocketResponse):
    async def write_eof(self) -> None:  # type: ignore[override]  # as aiohttp has it
        """aiohttp's last word about it."""
        await super().write_eof()
        release(self.exception())


async def websocket(request: web.Request) -> web.StreamResponse:
    """GET /ws and GET /ws/{session}."""
    parts = request.app[PARTS]
    protocols = guard.offered(request)
    if guard.PROTOCOL not in protocols:
        raise web.HTTPBadRequest(text=f"offer the WebSocket subprotocol {guard.PROTOCOL}\n")
    socket = _Socket(
        protocols=(guard.PROTOCOL,),
        max_msg_size=codec.MAX_TEXT + 1,
        autoping=False,
        compress=False,
        decode_text=False,  # done with the rest of reading it
    )
    if not socket.can_prepare(request).ok:
        raise web.HTTPUpgradeRequired(text="this address is for WebSockets\n")
    wires, wire = request.app[WIRES], wire_of(request)
    welcome = wire is None or wires.meet(wire, guard.address_of(parts.settings, request))
    try:
        await socket.prepare(request)
    except ConnectionError:
        return web.Response()  # gone already, and nobody to tell: not a fault to be logged
    if wire is None:
        return socket
    connection = Connection(parts, socket, request, request.match_info.get("session"), wires, wire)
    if not welcome:
        connection.refuse(RateLimited("this address connects too often", retry_after_ms=5000))
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
            "first_text_bytes": codec.MAX_FIRST_TEXT,
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


def _effort(text: bytes) -> int:
    """What a text costs, in frames."""
    return 1 + len(text) // TEXT_A_FRAME + (text.count(b"[") + text.count(b"{")) // VALUES_A_FRAME


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


class Connection:
    """One socket, from its greeting to its close."""

    def __init__(
        self,
        parts: Parts,
        socket: web.WebSocketResponse,
        request: web.Request,
        session_id: str | None,
        wires: Wires,
        wire: Wire,
    ) -> None:
        self._parts = parts
        self._socket = socket
        self._request = request
        self._wires = wires
        self._wire = wire
        self._address = guard.address_of(parts.settings, request)
        wire.upgrade(codec.MAX_FIRST_TEXT, codec.HEADER_SIZE + codec.MAX_PAYLOAD, self._fail)
        self._session_id = session_id
        self._attachment: Attachment | None = None
        self._session: Session | None = None
        self._opening: Opening | None = None
        self._hold = False
        self._pipelined: list[m.Run | m.Shell | codec.InputFrame | m.Eof | m.Ack] = []
        self._pipelined_bytes = 0
        self._waiting_bytes = 0  # of texts that wait for `opened`
        self._lobby: deque[m.ServerMessage] = deque()
        self._wake = asyncio.Event()
        self._close_code: int | None = None
        self._outstanding = 0
        self._tokens = float(FRAMES_BURST)
        self._refilled = asyncio.get_running_loop().time()
        self._first_due: timing.Timer | None = None  # of `open` or `attach`, whatever else comes
        self._closing = False
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

    async def serve(self, protocols: list[str]) -> None:
        writer = self._writer = self._tasks.start(self._write(), "ws-write")
        self._tasks.start(self._keep_alive(), "ws-keepalive")
        self._post(hello(self._parts))
        try:
            if self._refusal is not None:
                raise self._refusal
            self._expect_first()
            self._reader = self._tasks.start(self._read(protocols), "ws-read")
            await self._reader
        except asyncio.CancelledError:
            if not self._closing:
                raise
        except ConnectionResetError:
            writer.cancel()
        except CodeRunnerError as error:
            self._fail(error)
        except Exception:
            self._fail(InternalError())  # logged with its owner
        finally:
            self._expect_nothing()
            self._lost()
            for task in self._tasks:
                if task is not writer:
                    task.cancel()
            if self._socket.closed and not self._closing:
                writer.cancel()
            # A writer with a close to send gets a moment for it; a peer that reads nothing does not get more.
            done, _ = await asyncio.wait({writer}, timeout=2 * CLOSE_SECONDS)
            if not done:
                writer.cancel()
                self.abort()
            await self._tasks.stop()
            self._tasks.leave()
            self._reader = self._writer = None  # with all that their frames hold
            self.gone.set_result(None)

    def refuse(self, error: CodeRunnerError) -> None:
        """Before it is served: it will be told nothing else."""
        self._refusal = error

    def shut(self, code: int) -> None:
        """The server goes away."""
        if self._attachment is None and self._close_code is None:
            if self._opening is not None:
                self._fail(Draining(retry_after_ms=2000))
            else:
                self._close(code)

    # --- in ----------------------------------------------------------------------------------------------

    def _faulted(self) -> None:
        """This server failed at one of its tasks: it ends, and its client comes back to its session."""
        self._fail(InternalError())
        if self._writer is None or self._writer.done():
            self.abort()  # nobody is there to tell it

    async def _read(self, protocols: list[str]) -> None:
        caller = guard.caller(self._parts.settings, self._request, protocols)
        turns = itertools.cycle(range(FRAMES_A_TURN))
        while self._close_code is None:
            if next(turns) == 0:
                await asyncio.sleep(0)
            frame = await self._socket.receive()
            self._outstanding = 0
            self._wire.taken()
            match frame.type:
                case aiohttp.WSMsgType.TEXT:
                    await self._spend(_effort(frame.data))
                    await self._take_text(frame.data, caller)
                case aiohttp.WSMsgType.BINARY:
                    await self._spend(1)
                    self._take(functools.partial(self._binary, frame.data))
                case aiohttp.WSMsgType.PING:
                    await self._spend(PING)
                    await self._socket.pong(frame.data)
                case aiohttp.WSMsgType.PONG:
                    await self._spend(1)
                case _:
                    return

    async def _spend(self, cost: int) -> None:
        """Bounds what one socket can make the server do; raises RateLimited."""
        if self._attachment is None:
            await self._wires.pace(self._address, cost)
            if self._wire.over:  # meanwhile; what it had sent is of no use any more
                raise ConnectionResetError
            return
        now = asyncio.get_running_loop().time()
        self._tokens = min(FRAMES_BURST, self._tokens + (now - self._refilled) * FRAMES_PER_SECOND)
        self._tokens -= cost
        self._refilled = now
        if self._tokens < 0:
            raise RateLimited("too much at once; send fewer and shorter messages", retry_after_ms=5000)

    async def _take_text(self, data: bytes, caller: Caller) -> None:
        try:
            message = await self._wires.read_text(data)
        except BadJson as error:
            self._post(m.ErrorMessage.of(error))
            if not _is_text(data):
                self._close(1007)  # as RFC 6455 wants it
        except CodeRunnerError as error:
            if error.close is not None:
                raise
            self._post(m.ErrorMessage.of(error))
        else:
            self._take(lambda: self._text(message, len(data), caller))

    def _take(self, act: Callable[[], None]) -> None:
        """Every error that leaves the connection alive is answered here."""
        try:
            act()
        except CodeRunnerError as error:
            if error.close is not None:
                raise
            self._post(m.ErrorMessage.of(error))

    def _binary(self, data: bytes) -> None:
        frame = codec.decode_input(data)
        if self._session is not None and self._attachment is not None:
            self._session.input(self._attachment, frame.channel, frame.offset, frame.payload)
        elif self._opening is not None and self._pipelined:
            self._pipelined_bytes += len(frame.payload)
            if self._pipelined_bytes > flow.INPUT_WINDOW:
                raise InputOverflow(
                    "at most 64 KiB of input before `opened`", channel=frame.channel, expected=0
                )
            self._pipelined.append(frame)
        else:
            raise UnexpectedMessage("send `open` or `attach` first")

    def _text(self, message: m.ClientMessage, size: int, caller: Caller) -> None:
        if self._session is not None and self._attachment is not None:
            self._session.handle(self._attachment, message)
        elif isinstance(message, m.Ping):
            self._post(m.Pong(message.t))
        elif self._opening is not None:
            self._while_opening(message, size)
        elif isinstance(message, m.Open):
            self._open(message, size, caller)
        elif isinstance(message, m.Attach):
            self._attach(message)
        else:
            raise UnexpectedMessage("send `open` or `attach` first")

    def _while_opening(self, message: m.ClientMessage, size: int) -> None:
        if isinstance(message, m.Close):
            self._lost(leave=True)
            self._post(m.Closed("client"))
            self._close(1000)
            return
        expected = (m.Eof | m.Ack) if self._pipelined else (m.Run | m.Shell)
        if not isinstance(message, expected) or len(self._pipelined) >= MAX_PIPELINED:
            raise UnexpectedMessage("wait for `opened`: only one `run` or `shell` may be sent before it")
        self._hold_text(size)
        self._pipelined.append(message)

    def _hold_text(self, size: int) -> None:
        """Of what waits for a session, `open` and the request behind it, there is room for one text."""
        if self._waiting_bytes + size > codec.MAX_FIRST_TEXT:
            raise UnexpectedMessage(
                f"wait for `opened`: before it at most {codec.MAX_FIRST_TEXT} bytes of text are kept"
            )
        self._waiting_bytes += size
        self._wire.keep(self._waiting_bytes)

    # --- opening and attaching ---------------------------------------------------------------------------

    def _open(self, message: m.Open, size: int, caller: Caller) -> None:
        self._expect_first()
        if self._session_id is not None:
            raise BadMessage("`open` belongs to /ws; this address is for `attach`")
        self._waiting_bytes = 0
        opening = self._parts.registry.open(message, caller)
        self._hold_text(size)
        self._opening = opening
        self._expect_nothing()
        self._hold = message.nonce is not None
        self._opening.claim(self._on_position)
        self._tasks.start(self._await_opened(opening, message), "ws-open")

    def _expect_first(self) -> None:
        """There is no session and no wish for one: the time for it begins, or begins again."""
        self._expect_nothing()
        late = NoFirstMessage("send `open` or `attach` first")
        self._first_due = timing.Timer(FIRST_MESSAGE_SECONDS, lambda: self._fail(late))

    def _expect_nothing(self) -> None:
        if self._first_due is not None:
            self._first_due.cancel()
            self._first_due = None

    def _on_position(self, position: Position) -> None:
        self._post(m.Queued(position.position, position.ahead, position.eta_ms, position.deadline_ms))

    async def _await_opened(self, opening: Opening, message: m.Open) -> None:
        if self._opening is not opening:
            return  # the client left before this task had its turn
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
            self._wire.keep(0)
            self._expect_first()
            self._fail(error)

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
        self._bind(session, attachment)
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
        self._bind(session, session.attach(message.client, role, granted, message.cursors))

    def _bind(self, session: Session, attachment: Attachment) -> None:
        self._session = session
        self._opening = None
        self._expect_nothing()
        self._attachment = attachment
        self._wire.settle(session.id, codec.MAX_TEXT)
        self._wake.set()

    def _lost(self, *, leave: bool = False) -> None:
        """The socket only detaches; while queued it keeps its place for a moment."""
        if self._session is not None and self._attachment is not None:
            self._session.detach(self._attachment)
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
            about = guard.request_id(self._parts.settings, self._request)
            log.info("connection refused", extra=fields(code=error.code, address=address, **about))
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
            if self._wire.over:
                return  # nobody is there to be told
            if self._wire.deaf:
                self._wire.part(code)
                return
            async with timing.within(CLOSE_SECONDS):
                await self._socket.close(code=code)
        except (ConnectionError, TimeoutError, RuntimeError):
            self.abort()  # the peer is gone, or reads nothing

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
