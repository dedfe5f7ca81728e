"""A program or shell on a channel of a session, whose output and input continue over lost connections."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import NamedTuple

import aiohttp

from coderunner.client.peer import Channel, Peer
from coderunner.client.refused import Refused
from coderunner.schema import messages as m
from coderunner.wire.flow import INPUT_WINDOW
from coderunner.wire.journal import STDOUT

PIECE = 16 * 1024  # bytes of a frame of input
PROMPT_SECONDS = 10.0  # for a shell's first output
QUIET_SECONDS = 0.2
SETTLED_SECONDS = 2.0  # a program in the shell may print all the time


class Piece(NamedTuple):
    """Output. `end`: the offset behind it. `stream`: STDOUT or STDERR of `wire.journal`. `lost`: bytes that
    are missing before it, of a terminal whose program printed more than is kept while the server was away."""

    end: int
    stream: int
    data: bytes
    lost: int


class ProgramChannel:
    """Its output in order, and input that is sent again after a lost connection. `number`: the channel's.
    `start`: makes the message that begins the program."""

    def __init__(self, number: int, start: Callable[[], m.Run | m.Shell]) -> None:
        self.number, self.start = number, start
        self.received = Channel()
        self.exit: m.Exit | None = None
        self.failed: Refused | None = None  # why it cannot be run or followed any more
        self._peer: Peer | None = None  # only while the program can be spoken to
        # Bounded by the server, which sends no more than its window ahead of what was confirmed.
        self._queue: asyncio.Queue[Piece | None] = asyncio.Queue()
        self._lost = 0
        self._seen = 0  # the offset behind the last piece that was yielded
        self._known = False  # told by an answer to `attach`
        self._typed = bytearray()  # input that the server has not confirmed
        self._base = self._sent = 0  # offsets of its first byte, and of the next byte to send
        self._size: m.Resize | None = None
        self._ends: int | None = None  # offset where the input ends, if it does
        self._room = asyncio.Event()
        self._shown = asyncio.Event()  # whether there was output, or the end
        # `_pump` may be called by several tasks, and frames must be sent in the order of their offsets.
        self._sending = asyncio.Lock()

    @property
    def over(self) -> bool:
        """Whether the program has ended, or cannot be followed any more."""
        return self.exit is not None or self.failed is not None

    @property
    def heard(self) -> bool:
        """Whether the server has the program: it has said anything of it."""
        known = self.received
        return self._known or bool(known.states or known.end or known.in_ack or known.exit)

    # --- output ------------------------------------------------------------------------------------------

    async def output(self) -> AsyncGenerator[Piece, None]:
        """Yields the output until the program has ended; then `exit` is set. Raises Refused.

        What was yielded is confirmed to the server when the next is asked for."""
        if self._seen:  # by who has left it, perhaps with the last piece that the server's window has
            await self._send(m.Ack(self.number, self._seen))
        while (piece := await self._queue.get()) is not None:
            self._seen = piece.end
            yield piece
            # Only now: what a user has not seen is sent again after a lost connection.
            await self._send(m.Ack(self.number, piece.end))
        self._queue.put_nowait(None)  # for whoever asks again
        if self.failed is not None:
            raise self.failed.again()

    async def confirm_exit(self) -> None:
        """Lets the server forget the program, whose output was consumed."""
        await self._send(m.Ack(self.number, self.received.end, exit=True))

    # --- input -------------------------------------------------------------------------------------------

    async def type(self, data: bytes) -> None:
        """Sends at most PIECE bytes of input; waits while the server has no room for more. A program that has
        ended takes none: it is dropped."""
        # What is kept for sending again is bounded by the window, too.
        while len(self._typed) + len(data) > INPUT_WINDOW and not self.over:
            self._room.clear()
            await self._room.wait()
        if not self.over:
            self._typed += data
            await self._pump()

    async def end_input(self) -> None:
        """Closes standard input behind what was typed. In the mode `pipe` only."""
        self._ends = self._base + len(self._typed)
        await self._pump()

    async def settled(self) -> None:
        """Waits until the program has printed something, and then nothing for QUIET_SECONDS: a shell has set
        its terminal's modes when it shows its prompt. A Ctrl-D before that is lost (termios(3))."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PROMPT_SECONDS):
                await self._shown.wait()
            async with asyncio.timeout(SETTLED_SECONDS):
                seen = -1
                while seen != self.received.end and not self.over:
                    seen = self.received.end
                    await asyncio.sleep(QUIET_SECONDS)

    async def resize(self, cols: int, rows: int) -> None:
        """Sets the terminal's size; while the server is away, for when it is back."""
        self._size = m.Resize(self.number, cols, rows)
        await self._send(self._size)

    async def signal(self, name: str) -> None:
        """Sends a signal to the program, as `INT`. None while the server is away: it must not be delivered
        twice."""
        await self._send(m.Signal(self.number, name))

    async def kill(self) -> None:
        """Kills the program with all of its processes. Does nothing while the server is away."""
        await self._send(m.Kill(self.number))

    async def _pump(self) -> None:
        """Sends the input that was not sent on this connection, in frames of PIECE bytes."""
        async with self._sending:
            while self._peer is not None and self._sent < self._base + len(self._typed):
                begin = self._sent - self._base
                piece = bytes(self._typed[begin : begin + PIECE])
                self._sent += len(piece)
                with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                    await self._peer.input(self.number, piece, offset=self._sent - len(piece))
            if self._ends is not None and self._sent == self._ends:
                await self._send(m.Eof(self.number, self._ends))

    async def _send(self, message: m.ClientMessage) -> None:
        """Sends a message on the present connection; drops it while there is none."""
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            if self._peer is not None:
                await self._peer.send(message)

    # --- what the connection tells -----------------------------------------------------------------------

    async def reached(self, peer: Peer, known: m.ChannelView | None) -> None:
        """The program can be reached on this connection: sends the terminal's size and the input that the
        server does not have. `known`: what the server says of the channel; None if the program was begun just
        now."""
        if known is not None:
            self._known = True
            # The server says what it has; everything behind it is sent again.
            self._confirmed(known.input_offset)
        self._sent = self._base if known is None else known.input_offset
        self._peer = peer
        if self._size is not None:
            await self._send(self._size)
        await self._pump()

    def left(self) -> None:
        """Notes that the connection is lost. Input is kept for the next one."""
        self._peer = None

    def take(self, stream: int, data: bytes, end: int) -> None:
        """Queues output that has arrived. `end`: the offset behind it."""
        self._queue.put_nowait(Piece(end, stream, data, self._lost))
        self._lost = 0
        self._shown.set()

    def skip(self, gap: m.Gap) -> None:
        """Notes output that was lost, which the next piece tells. Its data are the sequences that set a
        terminal's modes again."""
        self._lost += gap.to - gap.from_
        self.take(STDOUT, (gap.restore or "").encode(), gap.to)

    def look(self) -> None:
        """Applies what has arrived besides output: confirmations of input, a refusal, the program's exit."""
        self._confirmed(self.received.in_ack)
        if self.over:
            return
        if self.received.refused is not None:
            refused = self.received.refused
            self.fail(Refused(refused.message, retryable=refused.retryable))
        elif self.received.exit is not None:
            self.exit = self.received.exit
            self._end()

    def fail(self, why: Refused) -> None:
        """Ends the channel, as its program cannot be followed any more. `why`: raised by `output`."""
        if not self.over:
            self.failed = why
            self._end()

    def _end(self) -> None:
        """Wakes up who reads output or waits for room for input."""
        self._queue.put_nowait(None)
        self._room.set()
        self._shown.set()

    def _confirmed(self, offset: int) -> None:
        """Drops the input below `offset`, which the server has."""
        if offset > self._base:
            del self._typed[: offset - self._base]
            self._base = offset
            self._room.set()
