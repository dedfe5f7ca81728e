"""Limits of one connection between its socket and aiohttp: how much it may hold, and for how long.

aiohttp waits for ever for the rest of a request's head or of a WebSocket's message, and keeps what it has of
it. So every byte passes here first, in pieces of 16 KiB.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from collections.abc import Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

from aiohttp import StreamReader, web

from coderunner import turns
from coderunner.core.framing import Framing
from coderunner.errors import CodeRunnerError, FrameTooLarge, RateLimited, TooSlow

if TYPE_CHECKING:
    from coderunner.web.tcp_limits import TcpConnections

PIECE, SMALL_PIECE = 16 * 1024, 4 * 1024  # what is read at a time
HEAD_BYTES = 32 * 1024  # of a request, before its handler begins
CHUNKING_BYTES = 16 * 1024  # of a body in chunks: of its heads and trailer, beside as many as it has itself
SMALL_CHUNKS = 256 * 1024  # more of them, for who sends few bytes in each chunk: the head of one has five
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
HEAD_SECONDS = 10.0  # from its first byte (the first: from the connection) to its last
IDLE_SECONDS = 90.0  # without a request; above the time for which a proxy keeps connections
STILL_SECONDS = 30.0  # what is still being sent after that is looked at this often
UNREAD_MS = 60_000  # a peer that takes nothing for so long is gone, whatever we send
MESSAGE_SECONDS = 15.0  # for a message, plus the time that its bytes take at the slowest rate
SLOWEST = 16 * 1024  # bytes a second
OVERHEAD = 256  # bytes that a message takes beside its own
UNTAKEN = 320  # messages that may wait without a session: what may come behind `open`, and then some
FULL, FREE = 64, 32  # messages that wait, from which on no more are read, and again are
FREE_BYTES = 32 * 1024  # of them, that aiohttp has not stopped reading for
GOODBYE_SECONDS = 5.0  # to take an error and a close
_TEXT, _BINARY, _CLOSE = 0x81, 0x82, 0x88  # whole frames


class State(Enum):
    """HEAD: a request's head has to come. BUSY: a handler has the request. DONE: its answer is made, and
    the next head may come. FRAMES: a WebSocket."""

    HEAD, BUSY, DONE, FRAMES = range(4)


class TcpConnection(asyncio.BufferedProtocol):
    """The protocol of one TCP connection, between asyncio's transport and aiohttp's own protocol.

    `address`: the client's, under which it is counted; None for a connection of a trusted proxy until a
    request names its client. `due`: when `late` is called, None for no deadline; seconds of `timing`'s clock.
    """

    def __init__(self, connections: TcpConnections, make: Callable[[], Any]) -> None:
        self._connections = connections
        self._make = make
        self._handler: Any = None
        self.transport: asyncio.Transport | None = None
        self.address: str | None = None
        self.state = State.HEAD
        self.due: float | None = None
        self.kept = 0  # bytes of messages that wait for a session
        self._received = 0  # bytes of what has to be a head
        self._framing = Framing(0, 0)
        self._unread = 0  # bytes of complete messages that nobody has taken yet
        self._began = 0.0  # when the unfinished message began
        self._fail: Callable[[CodeRunnerError], None] | None = None
        self.deaf = False  # what comes is neither read nor counted any more
        self._told = False  # a close was sent: the socket lingers, so that the peer can read it
        self._body: StreamReader | None = None  # in chunks, and not complete
        self._chunked = 0  # bytes of it, and of what stands around them
        self._full = False  # so many messages wait that no more are read
        self._finished = False  # nobody takes messages any more
        self._fd = -1
        self._session: str | None = None
        self._second = False  # one of the crowd: it comes behind others
        self._paused: asyncio.Future[None] | None = None  # done when the peer takes what is sent again

    # --- asyncio's side ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio: the connection exists. One that exceeds its address's limits is aborted."""
        transport = cast(asyncio.Transport, transport)  # those of other loops are of no such class
        self.transport = transport
        one = transport.get_extra_info("socket")
        # Without it the kernel keeps a connection whose peer takes nothing for a quarter of an hour.
        if one is not None and one.family in (socket.AF_INET, socket.AF_INET6):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
        self._fd = one.fileno() if one is not None else -1
        turns.second(self._fd)
        self._second = True
        self.due = self._connections.now() + HEAD_SECONDS
        if not self._connections.admit(self):
            transport.abort()
            return
        self._handler = self._make()
        self._handler.connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio: the connection is closed. `error` is None for an orderly end."""
        self._connections.forget(self)
        turns.first(self._fd)
        if self._told and error is None:
            self._connections.leftovers.keep(self._fd)
        self._resume()
        if self._handler is not None:
            self._handler.connection_lost(error)
        # The objects refer to each other; without this they wait for the garbage collector.
        self._handler = self._fail = self._body = self.transport = None

    def get_buffer(self, sizehint: int) -> memoryview:
        """Called by asyncio: where to read into.

        Those of the crowd read small pieces, so that a hundred of them delay a user's key little.
        """
        small = self._second and self.state is not State.BUSY
        return self._connections.small if small else self._connections.buffer

    def buffer_updated(self, size: int) -> None:
        """Called by asyncio: `size` bytes were read. They are checked, then handed to aiohttp."""
        if self._handler is None or self.deaf:
            return
        # Copied: all connections read into the same buffer.
        data = bytes(self._connections.buffer[:size])
        if self.state is State.FRAMES:
            self._frames(data)
        elif self.state is not State.BUSY:
            self._head(size)
        elif self._body is not None:
            self._chunks(size)
        if not self.deaf:
            self._handler.data_received(data)

    def eof_received(self) -> bool | None:
        """Called by asyncio: the peer sends no more."""
        if self._handler is not None:
            self._handler.eof_received()
        return None

    def pause_writing(self) -> None:
        """Called by asyncio: the peer takes less than is sent."""
        if self._paused is None:
            self._paused = asyncio.get_running_loop().create_future()
        if self._handler is not None:
            self._handler.pause_writing()

    def resume_writing(self) -> None:
        """Called by asyncio: the peer takes what is sent again."""
        self._resume()
        if self._handler is not None:
            self._handler.resume_writing()

    def _resume(self) -> None:
        if self._paused is not None and not self._paused.done():
            self._paused.set_result(None)
        self._paused = None

    # --- requests ----------------------------------------------------------------------------------------

    def _head(self, size: int) -> None:
        if not self._received and self.state is State.DONE:
            self.due = min(self.due or 0.0, self._connections.now() + HEAD_SECONDS)
        self._received += size
        # Behind an answer the rest of a refused body may come, which nobody keeps.
        if self.state is State.HEAD and self._received > HEAD_BYTES:
            self._too_large()
            return
        self._connections.count(self)

    def _too_large(self) -> None:
        """Answered by hand: nobody has taken the request, and the rest of it is not read."""
        assert self.transport is not None
        self._connections.note("head too large")
        self.deaf = self._told = True
        self.due = self._connections.now() + GOODBYE_SECONDS
        self.transport.write(TOO_LARGE)
        self.transport.close()

    def _chunks(self, size: int) -> None:
        """aiohttp keeps a trailer, of which nobody here reads anything, until it is complete."""
        assert self._body is not None
        if self._body.is_eof():
            self._body = None
            return
        self._chunked += size
        total = self._body.total_bytes
        if self._chunked > CHUNKING_BYTES + 2 * total + min(4 * total, SMALL_CHUNKS):
            self.cut("a body of little but what stands around it")

    def begin(self, body: StreamReader | None = None) -> None:
        """A handler has the request: its head is complete, and has no deadline any more.

        `body`: where it comes in chunks.
        """
        self._body, self._chunked = body, 0
        self.state, self.due, self._received = State.BUSY, None, 0
        self._connections.count(self)

    def done(self) -> None:
        """The handler has made its answer: the next request has IDLE_SECONDS to come."""
        if self.state is State.BUSY:
            self.state, self.due = State.DONE, self._connections.now() + IDLE_SECONDS

    # --- WebSockets --------------------------------------------------------------------------------------

    def upgrade(self, text: int, binary: int, fail: Callable[[CodeRunnerError], None]) -> None:
        """From now on the bytes are WebSocket frames.

        `text`, `binary`: the greatest size of a message, in bytes. `fail` is called with the first error;
        nothing is read after it.
        """
        self._framing = Framing(text, binary)
        self._fail = fail
        self.state, self.due = State.FRAMES, None

    def send(self, messages: Sequence[str | bytes]) -> None:
        """Sends WebSocket messages, in one write. Raises ConnectionResetError where the connection ends."""
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError
        parts: list[bytes] = []
        for one in messages:
            data = one.encode() if isinstance(one, str) else one
            kind, size = (_TEXT if isinstance(one, str) else _BINARY), len(data)
            if size < 126:
                parts += (struct.pack(">BB", kind, size), data)
            elif size < 1 << 16:
                parts += (struct.pack(">BBH", kind, 126, size), data)
            else:
                parts += (struct.pack(">BBQ", kind, 127, size), data)
        self.transport.write(b"".join(parts))

    async def drained(self) -> None:
        """Returns when the peer takes what is sent, at once where it does. Raises ConnectionResetError."""
        if self._paused is not None:
            await asyncio.shield(self._paused)
            if self.over:
                raise ConnectionResetError

    def taken(self) -> None:
        """The application has taken the oldest complete message: it is not counted any more."""
        if self._framing.complete:
            self._unread -= self._framing.complete.pop(0) + OVERHEAD
            self._connections.count(self)
        if self._full and len(self._framing.complete) < FREE and self._unread < FREE_BYTES:
            self._full = False
            if self.transport is not None and not self.deaf:
                self.transport.resume_reading()

    def finish(self) -> None:
        """Nobody takes messages any more: what still comes is dropped, up to the peer's close frame."""
        self._finished = True
        self._drop()
        if self._full:
            self._full = False
            if self.transport is not None and not self.deaf:
                self.transport.resume_reading()

    def _drop(self) -> None:
        self._framing.complete.clear()
        self._unread = 0
        self._connections.count(self)

    def keep(self, size: int) -> None:
        """Counts `size` bytes of messages that the application holds until there is a session; 0: none."""
        self.kept = size
        self._connections.count(self)

    def _frames(self, data: bytes) -> None:
        framing = self._framing
        before, have = framing.messages, len(framing.complete)
        if not framing.feed(data):
            self._refuse(FrameTooLarge(f"a text may have at most {framing.text} bytes here"))
            return
        if self._finished:
            self._drop()
            return
        if len(framing.complete) > have:
            self._unread += sum(framing.complete[have:]) + OVERHEAD * (len(framing.complete) - have)
            if self.stranger and len(framing.complete) > UNTAKEN:
                self._connections.note("too many frames")
                self._refuse(RateLimited("too much at once; wait for answers", retry_after_ms=5000))
                return
            if len(framing.complete) > FULL and not self.stranger and self.transport is not None:
                # aiohttp counts their bytes alone: a hundred sockets held 130,000 messages.
                self._full = True
                self.transport.pause_reading()
        if framing.unfinished:
            # A new message gets a new deadline; more bytes of the same one only the time that they take.
            if self.due is None or framing.messages != before:
                self._began = self._connections.now()
            self.due = self._began + MESSAGE_SECONDS + framing.partial / SLOWEST
        else:
            self.due = None
        self._connections.count(self)

    def _refuse(self, error: CodeRunnerError) -> None:
        """Reports an error to the peer and stops reading: the rest stays in the kernel's buffers."""
        self.deaf = True
        self.due = self._connections.now() + GOODBYE_SECONDS
        assert self.transport is not None
        self.transport.pause_reading()
        if self._fail is not None:
            self._fail(error)

    def part(self, code: int) -> None:
        """Sends a close frame with `code` behind the error, and closes.

        The peer's close frame is not waited for: it would come behind bytes that are not read.
        """
        if self.transport is not None and not self.over:
            self._told = True
            self.transport.write(struct.pack(">BBH", _CLOSE, 2, code))
            self.transport.close()

    @property
    def stranger(self) -> bool:
        """Whether it is counted for its address, because it has no session."""
        return self._session is None and self.state is not State.BUSY

    @property
    def over(self) -> bool:
        """Whether the connection is gone, or about to be."""
        return self.transport is None or self.transport.is_closing()

    # --- bounds ------------------------------------------------------------------------------------------

    @property
    def held(self) -> int:
        """Bytes that this connection makes the server hold."""
        if self.state is State.FRAMES:
            return self._framing.partial + self._unread + self.kept
        return self._received

    @property
    def idle(self) -> bool:
        """Whether it may be closed to make room: no handler runs, and nothing waits for a session."""
        return self.state is not State.BUSY and not self.kept

    def admit_session(self, session: str, text: int) -> None:
        """It has a session from now on: counted there, with texts of up to `text` bytes."""
        self.kept = 0
        self._session = session
        self._framing.text = text
        self._connections.move_to_session(self, session)

    @property
    def crowd(self) -> bool:
        """Whether its socket is one of the crowd."""
        return self._second

    def second(self, whether: bool) -> None:
        """Whether its socket is one of the crowd, and handled after all others."""
        if whether is not self._second:
            self._second = whether
            (turns.second if whether else turns.first)(self._fd)

    def late(self, now: float) -> None:
        """Called when `due` has passed, at `now`: ends the connection, or sets a new deadline."""
        assert self.transport is not None
        if self.deaf:
            self.cut("did not go")
        elif self.state is State.FRAMES:
            if not self.transport.is_reading():  # this server paused it: the rest may wait in the kernel
                self.due = now + MESSAGE_SECONDS
                return
            self._connections.note("unfinished message")
            self._refuse(TooSlow("a message did not come to its end in time"))
        elif self.state is State.DONE and self._sending():
            self.due = now + STILL_SECONDS
        else:
            self.cut("no request" if not self._received else "unfinished head")

    def _sending(self) -> bool:
        """Whether bytes of an answer wait here or in the kernel's send queue."""
        assert self.transport is not None
        if self.transport.get_write_buffer_size():
            return True
        one = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError, ValueError):
            left = fcntl.ioctl(one.fileno(), termios.TIOCOUTQ, bytes(4))
            return bool(struct.unpack("i", left)[0])
        return False

    def cut(self, why: str) -> None:
        """Aborts the connection; `why` is counted for the log."""
        self.deaf = True
        self._told = False
        self._connections.note(why)
        if self.transport is not None:
            self.transport.abort()
        self._connections.forget(self)


def tcp_of(request: web.BaseRequest) -> TcpConnection | None:
    """The connection that a request came over; None where it is closed."""
    found = request.transport.get_protocol() if request.transport is not None else None
    return found if isinstance(found, TcpConnection) else None
