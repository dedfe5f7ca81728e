"""Limits for the bytes and the times of one TCP connection, enforced between its socket and aiohttp.

aiohttp waits without a deadline for the rest of a request's head or of a WebSocket message, and buffers what
it has. So every byte passes here first, in pieces of at most 16 KiB.
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
from coderunner.core.framing import Framing, close_frame, framed
from coderunner.errors import CodeRunnerError, FrameTooLarge, RateLimited, TooSlow

if TYPE_CHECKING:
    from coderunner.web.tcp_limits import TcpConnections

# Small ones for sockets of the crowd (`get_buffer`).
PIECE, SMALL_PIECE = 16 * 1024, 4 * 1024  # bytes of one read
HEAD_BYTES = 32 * 1024  # of a request, before its handler is called
CHUNKING_BYTES = 16 * 1024  # overhead of a chunked body (heads, trailer) that is allowed beside its own size
SMALL_CHUNKS = 256 * 1024  # more overhead, for bodies of a few bytes per chunk: the head of one has five
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
HEAD_SECONDS = 10.0  # for a request's head, from its first byte; for the first request from the connection
IDLE_SECONDS = 90.0  # between requests; longer than proxies keep unused connections
STILL_SECONDS = 30.0  # between checks of a connection whose last answer is still being sent
UNREAD_MS = 60_000  # without an acknowledgement of sent data, until the kernel gives the peer up
MESSAGE_SECONDS = 15.0  # for a WebSocket message, beside the time that its bytes take at SLOWEST
SLOWEST = 16 * 1024  # bytes per second
OVERHEAD = 256  # bytes of memory of a buffered message beside its content
UNTAKEN = 320  # buffered messages without a session: handshake.MAX_PIPELINED and some more
FULL, FREE = 64, 32  # buffered messages at which reading is paused, and resumed
FREE_BYTES = 32 * 1024  # of buffered messages, below which reading is resumed
GOODBYE_SECONDS = 5.0  # for the peer to read an error and a close frame


class State(Enum):
    """The state of a connection.

    HEAD: waits for the head of its first request. BUSY: a handler has the request. DONE: the answer is made,
    the next request may come. FRAMES: a WebSocket.
    """

    HEAD, BUSY, DONE, FRAMES = range(4)


class TcpConnection(asyncio.BufferedProtocol):
    """The protocol of one TCP connection, between asyncio's transport and aiohttp's protocol.

    `address`: the client under which the connection is counted; None for one of a trusted proxy until a
    request names its client. `due`: when `late` is called, in seconds of `timing`'s clock; None for no
    deadline. `kept`: bytes of messages that the application holds until there is a session.
    `deaf`: further input is ignored.
    """

    def __init__(self, connections: TcpConnections, make: Callable[[], Any]) -> None:
        self._connections = connections
        self._make = make
        self._handler: Any = None
        self.transport: asyncio.Transport | None = None
        self.address: str | None = None
        self.state = State.HEAD
        self.due: float | None = None
        self.kept = 0
        self._received = 0  # bytes of an incomplete head
        self._framing = Framing(0, 0)
        self._unread = 0  # bytes of complete messages that the application has not taken yet
        self._began = 0.0  # when the unfinished message began
        self._fail: Callable[[CodeRunnerError], None] | None = None
        self.deaf = False
        self._told = False  # an error or a close was sent: the socket lingers until the peer has read it
        self._body: StreamReader | None = None  # an incomplete chunked body
        self._chunked = 0  # raw bytes of the chunked body, with its overhead
        self._full = False  # reading is paused because FULL messages are buffered
        self._finished = False  # whether the application takes no messages any more
        self._fd = -1
        self._session: str | None = None
        self._second = False  # whether the loop serves this socket after those of users who type (`turns`)
        self._paused: asyncio.Future[None] | None = None  # exists while the peer reads too slowly

    # --- asyncio's side ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio for a new connection. Aborts it if its address exceeds a limit."""
        transport = cast(asyncio.Transport, transport)  # other loops' transports are no instances
        self.transport = transport
        try:
            self._begin(transport)
        except BaseException:
            transport.abort()  # asyncio would leave it open, and nothing here counts it or ends it
            raise

    def _begin(self, transport: asyncio.Transport) -> None:
        one = transport.get_extra_info("socket")
        # By default the kernel retransmits to a peer that is gone for about 15 minutes.
        if one is not None and one.family in (socket.AF_INET, socket.AF_INET6):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
        # -1: transports of tests have no socket.
        self._fd = one.fileno() if one is not None else -1
        turns.second(self._fd)
        self._second = True
        # The deadline of the first request begins with the connection.
        self.due = self._connections.now() + HEAD_SECONDS
        if not self._connections.admit(self):
            transport.abort()
            return
        self._handler = self._make()
        self._handler.connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio when the connection is closed. `error`: None for an orderly end."""
        self._connections.forget(self)
        # The number of the descriptor will be used again, by a connection of any priority.
        turns.first(self._fd)
        # After an error of the socket nobody can read an answer.
        if self._told and error is None:
            self._connections.leftovers.keep(self._fd)
        self._resume()
        if self._handler is not None:
            self._handler.connection_lost(error)
        # Break the reference cycles, so that the objects are freed without the garbage collector.
        self._handler = self._fail = self._body = self.transport = None

    def get_buffer(self, sizehint: int) -> memoryview:
        """Called by asyncio before a read: returns the buffer.

        Sockets of low priority get a small one, so that reading many of them hardly delays a user's key.
        """
        # While a handler reads a body, large reads are more efficient, and the handler bounds it.
        small = self._second and self.state is not State.BUSY
        return self._connections.small if small else self._connections.buffer

    def buffer_updated(self, size: int) -> None:
        """Called by asyncio after reading `size` bytes: checks them, and passes them to aiohttp."""
        if self._handler is None or self.deaf:
            return
        # Copied, as all connections read into the same buffer.
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
        """Called by asyncio when the peer has closed its sending side."""
        if self._handler is not None:
            self._handler.eof_received()
        return None

    def pause_writing(self) -> None:
        """Called by asyncio when too much unsent output is buffered."""
        if self._paused is None:
            self._paused = asyncio.get_running_loop().create_future()
        if self._handler is not None:
            self._handler.pause_writing()

    def resume_writing(self) -> None:
        """Called by asyncio when the buffered output has been sent."""
        self._resume()
        if self._handler is not None:
            self._handler.resume_writing()

    def _resume(self) -> None:
        # A cancelled waiter has taken its future with it.
        if self._paused is not None and not self._paused.done():
            self._paused.set_result(None)
        self._paused = None

    # --- requests ----------------------------------------------------------------------------------------

    def _head(self, size: int) -> None:
        if not self._received and self.state is State.DONE:
            # A connection that was used before has IDLE_SECONDS; once a request begins, it has the time of a
            # head.
            self.due = min(self.due or 0.0, self._connections.now() + HEAD_SECONDS)
        self._received += size
        # Only in the state HEAD: after an answer, the rest of a refused body may arrive, which is discarded.
        if self.state is State.HEAD and self._received > HEAD_BYTES:
            self._too_large()
            return
        self._connections.count(self)

    def _too_large(self) -> None:
        """Answers directly: no handler has the request, and the rest of it is not read."""
        assert self.transport is not None
        self._connections.note("head too large")
        self.deaf = self._told = True
        self.due = self._connections.now() + GOODBYE_SECONDS
        self.transport.write(TOO_LARGE)
        self.transport.close()

    def _chunks(self, size: int) -> None:
        """Bounds the overhead of a chunked body, as aiohttp would buffer an endless trailer."""
        # A read after the end of the body is the next request's.
        assert self._body is not None
        if self._body.is_eof():
            self._body = None
            return
        self._chunked += size
        total = self._body.total_bytes
        # Twice the content and some more: even a byte in each chunk stays below for a small body.
        if self._chunked > CHUNKING_BYTES + 2 * total + min(4 * total, SMALL_CHUNKS):
            self.cut("a chunked body with almost no content")

    def begin(self, body: StreamReader | None = None) -> None:
        """Called when a handler gets the request: its head is complete, and the deadline ends.

        `body`: the request's body if it is chunked, otherwise None.
        """
        self._body, self._chunked = body, 0
        self.state, self.due, self._received = State.BUSY, None, 0
        self._connections.count(self)

    def done(self) -> None:
        """Called when the handler has made its answer: the next request must come within IDLE_SECONDS."""
        if self.state is State.BUSY:
            self.state, self.due = State.DONE, self._connections.now() + IDLE_SECONDS

    # --- WebSockets --------------------------------------------------------------------------------------

    def upgrade(self, text: int, binary: int, fail: Callable[[CodeRunnerError], None]) -> None:
        """Interprets the bytes as WebSocket frames from now on.

        `text`, `binary`: the most bytes of a message of the kind. `fail`: called with the first error, after
        which nothing is read.
        """
        self._framing = Framing(text, binary)
        self._fail = fail
        self.state, self.due = State.FRAMES, None

    def send(self, messages: Sequence[str | bytes]) -> None:
        """Sends WebSocket messages in one write. Raises ConnectionResetError if it is closed or closing.

        Not by aiohttp, which would write each message by itself.
        """
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError
        self.transport.write(framed(messages))

    @property
    def writable(self) -> bool:
        """Whether `send` may be called now: the connection is open, and its peer reads."""
        return self._paused is None and self.transport is not None and not self.transport.is_closing()

    async def drained(self) -> None:
        """Waits while too much output is unsent. Raises ConnectionResetError if the connection ends."""
        if self._paused is not None:
            # Shielded: several writers may wait for the same future.
            await asyncio.shield(self._paused)
            if self.over:
                raise ConnectionResetError

    def taken(self) -> None:
        """Called when the application has taken the oldest buffered message, which is no longer counted."""
        if self._framing.complete:
            # In the order in which they arrived.
            self._unread -= self._framing.complete.pop(0) + OVERHEAD
            self._connections.count(self)
        # Resumed at half of what paused it, so that it does not go on and off with each message.
        if self._full and len(self._framing.complete) < FREE and self._unread < FREE_BYTES:
            self._full = False
            if self.transport is not None and not self.deaf:
                self.transport.resume_reading()

    def finish(self) -> None:
        """No messages are taken any more: those that still arrive are dropped, up to the close frame."""
        self._finished = True
        # What is buffered already is not counted any more.
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
        """Sets how many bytes of messages the application holds until there is a session."""
        self.kept = size
        self._connections.count(self)

    def _frames(self, data: bytes) -> None:
        framing = self._framing
        before, have = framing.messages, len(framing.complete)
        if not framing.feed(data):
            self._refuse(FrameTooLarge(f"a text may have at most {framing.text} bytes here"))
            return
        # A peer may go on sending until it reads the close frame.
        if self._finished:
            self._drop()
            return
        if len(framing.complete) > have:
            self._unread += sum(framing.complete[have:]) + OVERHEAD * (len(framing.complete) - have)
            # Without a session no client has a reason to have so many messages under way.
            if self.stranger and len(framing.complete) > UNTAKEN:
                self._connections.note("too many frames")
                self._refuse(RateLimited("too much at once; wait for answers", retry_after_ms=5000))
                return
            if len(framing.complete) > FULL and not self.stranger and self.transport is not None:
                # aiohttp's flow control counts bytes only: 100 sockets could hold 130,000 tiny messages.
                self._full = True
                self.transport.pause_reading()
        if framing.unfinished:
            # Further bytes of a message extend its deadline only by the time that they take at SLOWEST.
            if self.due is None or framing.messages != before:
                self._began = self._connections.now()
            self.due = self._began + MESSAGE_SECONDS + framing.partial / SLOWEST
        else:
            self.due = None
        self._connections.count(self)

    def _refuse(self, error: CodeRunnerError) -> None:
        """Reports an error to the peer and stops reading; further input stays in the kernel's buffers."""
        self.deaf = True
        self.due = self._connections.now() + GOODBYE_SECONDS
        assert self.transport is not None
        # Paused and not closed: the error must reach the peer first.
        self.transport.pause_reading()
        if self._fail is not None:
            self._fail(error)

    def part(self, code: int) -> None:
        """Sends a close frame with `code` and closes.

        It does not wait for the peer's close frame, which would come after input that is not read any more.
        """
        if self.transport is not None and not self.over:
            # The socket lingers (`connection_lost`).
            self._told = True
            self.transport.write(close_frame(code))
            self.transport.close()

    @property
    def stranger(self) -> bool:
        """Whether the connection has no session, and is counted under its address."""
        return self._session is None and self.state is not State.BUSY

    @property
    def over(self) -> bool:
        """Whether the connection is closed or closing."""
        return self.transport is None or self.transport.is_closing()

    # --- bounds ------------------------------------------------------------------------------------------

    @property
    def held(self) -> int:
        """Bytes that the server holds in memory for this connection."""
        if self.state is State.FRAMES:
            return self._framing.partial + self._unread + self.kept
        return self._received

    @property
    def idle(self) -> bool:
        """Whether a new connection may replace it: no handler runs, and no session is being made."""
        return self.state is not State.BUSY and not self.kept

    def admit_session(self, session: str, text: int) -> None:
        """Called when the connection gets a session: counts it there, and allows texts of `text` bytes."""
        # What the handshake has held is the session's now.
        self.kept = 0
        self._session = session
        self._framing.text = text
        self._connections.move_to_session(self, session)

    @property
    def crowd(self) -> bool:
        """Whether its socket is served after those of users who type."""
        return self._second

    def second(self, whether: bool) -> None:
        """Sets whether its socket is served after those of users who type."""
        if whether is not self._second:
            self._second = whether
            # The event loop keeps the order of the sockets, by descriptor.
            (turns.second if whether else turns.first)(self._fd)

    def late(self, now: float) -> None:
        """Called when `due` has passed: ends the connection or sets a new deadline. `now`: present time."""
        assert self.transport is not None
        # An error or a close frame was sent GOODBYE_SECONDS ago.
        if self.deaf:
            self.cut("did not go")
        elif self.state is State.FRAMES:
            if not self.transport.is_reading():  # paused by this server, so the peer is not to blame
                self.due = now + MESSAGE_SECONDS
                return
            self._connections.note("unfinished message")
            self._refuse(TooSlow("a message did not come to its end in time"))
        elif self.state is State.DONE and self._sending():
            # A slow reader of a large answer is not idle.
            self.due = now + STILL_SECONDS
        else:
            self.cut("no request" if not self._received else "unfinished head")

    def _sending(self) -> bool:
        """Whether parts of an answer are still buffered here or in the kernel's send queue."""
        assert self.transport is not None
        if self.transport.get_write_buffer_size():
            return True
        one = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError, ValueError):
            # The kernel's queue: aiohttp's buffer may be empty while megabytes wait there.
            left = fcntl.ioctl(one.fileno(), termios.TIOCOUTQ, bytes(4))
            return bool(struct.unpack("i", left)[0])
        return False

    def cut(self, why: str) -> None:
        """Aborts the connection. `why`: the reason, which is counted for the log."""
        self.deaf = True
        # An aborted connection is not read any more, so nothing lingers.
        self._told = False
        self._connections.note(why)
        if self.transport is not None:
            self.transport.abort()
        self._connections.forget(self)


def tcp_of(request: web.BaseRequest) -> TcpConnection | None:
    """The connection of a request; None if it is closed."""
    # In tests, or if the transport was wrapped, it may be another protocol.
    found = request.transport.get_protocol() if request.transport is not None else None
    return found if isinstance(found, TcpConnection) else None
