"""A client of the protocol, which checks the offsets of everything that it receives."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp

from coderunner.core import codec
from coderunner.schema import messages as m
from coderunner.wire.flow import INPUT_WINDOW
from coderunner.wire.journal import STDERR

T = TypeVar("T")
M = TypeVar("M", bound=m.ServerMessage)


class Unexpected(Exception):
    """The awaited event did not occur; the text says what happened instead."""


def random_id() -> str:
    """A random id for a client, or a nonce, of 128 bits."""
    # As long as the protocol asks for: ids of clients are not secret, nonces must not be guessed.
    return secrets.token_urlsafe(16)


@dataclass(slots=True)
class Channel:
    """What a client has received of a channel: its output in order, with the offsets checked. `start`: offset
    of the first byte of `data`. `stdout`, `stderr`: the same bytes by stream. `in_ack`: offset below which
    the program has the input. `sent`: offset of the next byte of input. `refused`: the error with which the
    last `run` or `shell` was refused."""

    data: bytearray = field(default_factory=bytearray)
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    start: int = 0
    exit: m.Exit | None = None
    states: list[m.State] = field(default_factory=list)
    gaps: list[m.Gap] = field(default_factory=list)
    in_ack: int = 0
    sent: int = 0
    refused: m.ErrorMessage | None = None

    @property
    def end(self) -> int:
        """Offset after the last byte received."""
        return self.start + len(self.data)

    @property
    def text(self) -> str:
        """The output as text."""
        return self.data.decode(errors="replace")

    @property
    def last_line(self) -> str:
        """The output's last line, shortened, for messages."""
        lines = self.text.replace("\r", "").strip().splitlines()
        return lines[-1][:160] if lines else ""


# Errors with a channel that end the wait for its program also while it runs.
REFUSALS = {
    "bad_path", "files_failed", "no_file", "workspace_full", "start_failed", "channel_limit",
    "bad_message", "bad_limit", "agent_lost", "container_gone", "not_control",
}  # fmt: skip
# Errors about data of a channel; any other one refuses a channel that has not begun.
PASSING = {"input_gap", "input_overflow", "ack_ahead"}


class Peer:
    """One WebSocket, read by a task of its own. `socket`: made with `autoclose=False`. `client`: the client's
    id, None for a random one. `slowness`: how many times longer it waits for anything. `acks`: whether it
    acknowledges what it receives. `keep`: whether output is kept, or only counted."""

    def __init__(
        self, socket: aiohttp.ClientWebSocketResponse, client: str | None = None, *, slowness: float = 1.0
    ) -> None:
        self.socket = socket
        self.slowness = slowness
        self.client = client or random_id()
        self.acks = True
        self.keep = True
        self.channels: dict[int, Channel] = {}
        self.messages: list[m.ServerMessage] = []
        self.hello: m.Hello | None = None
        self.opened: m.Opened | None = None
        self.close_code: int | None = None
        self.on_output: Callable[[codec.OutputFrame], None] | None = None
        self.on_gap: Callable[[m.Gap], None] | None = None
        self.on_opened: Callable[[m.Opened], None] | None = None
        self.on_queued: Callable[[], None] | None = None
        self._broken: str | None = None
        self._news = asyncio.Event()
        # A task: acknowledgements go out while the caller waits for something else.
        self.reader = asyncio.create_task(self._read(), name="client-peer")

    # --- sending -----------------------------------------------------------------------------------------

    async def send(self, message: m.ClientMessage) -> None:
        """Sends a message."""
        # Before it is sent: the answer to the last one must not be taken for the answer to this one.
        if isinstance(message, m.Run | m.Shell):
            self.channel(message.channel).refused = None
        await self.socket.send_str(codec.encode_client(message))

    def cursors(self) -> dict[int, int]:
        """The cursors for `attach`: by channel, the offset behind the last byte received."""
        return {number: one.end for number, one in self.channels.items()}

    async def send_raw(self, text: str) -> None:
        """Sends a text message with any content."""
        await self.socket.send_str(text)

    async def input(
        self, channel: int, data: bytes, *, offset: int | None = None, piece: int = 16384
    ) -> None:
        """Sends input, in frames of at most `piece` bytes as the window allows; with `offset`, as one frame
        at once. Raises Unexpected if the window stays full."""
        if offset is not None:
            await self.socket.send_bytes(codec.encode_input(channel, offset, data))
            return
        one = self.channel(channel)
        left = memoryview(data)
        # Whole frames within the window: what goes beyond it is dropped (`input_overflow`).
        while left:
            room = one.in_ack + INPUT_WINDOW - one.sent
            if room <= 0:
                await self.wait(lambda: one.in_ack + INPUT_WINDOW > one.sent, 30, "room for input")
                continue
            part = bytes(left[: min(room, piece)])
            await self.socket.send_bytes(codec.encode_input(channel, one.sent, part))
            one.sent += len(part)
            left = left[len(part) :]

    async def run(
        self,
        channel: int,
        code: str | None = None,
        *,
        entry: str = "main.py",
        mode: str = "pipe",
        beside: tuple[m.File, ...] = (),
        **fields: Any,
    ) -> None:
        """Sends `run`. `code`: the content of the file `entry`; None: the workspace's file is run. `beside`:
        other files to send. `fields`: others of the message."""
        files = () if code is None else (m.File(entry, code.encode()), *beside)
        await self.send(m.Run(channel, mode, files=files, entry=entry, **fields))

    # --- receiving ---------------------------------------------------------------------------------------

    def channel(self, number: int) -> Channel:
        """The channel with this number, also before anything was received of it."""
        return self.channels.setdefault(number, Channel())

    async def _read(self) -> None:
        """The reader's task: handles frames until the connection ends."""
        try:
            async for frame in self.socket:
                if frame.type is aiohttp.WSMsgType.TEXT:
                    await self._message(codec.decode_server_text(frame.data))
                elif frame.type is aiohttp.WSMsgType.BINARY:
                    await self._output(codec.decode_output(frame.data))
                self._news.set()
        except (ConnectionError, aiohttp.ClientError):
            pass
        finally:
            # Before the answer to the server's close frame: that may come too late, and aiohttp would then
            # give 1006 in place of the code that was received. 1006: none came (RFC 6455, section 7.1.5).
            self.close_code = self.socket.close_code or 1006
            self._news.set()
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            await self.socket.close()

    async def _acknowledge(self, ack: m.Ack) -> None:
        """Sends an acknowledgement. Errors are ignored: a connection that takes none may still have frames to
        be read, and the close code comes last."""
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            await self.send(ack)

    async def _message(self, message: m.ServerMessage) -> None:
        """Applies a message to the state of the session and its channels."""
        self.messages.append(message)
        match message:
            case m.Hello():
                self.hello = message
            case m.Opened():
                self.opened = message
                if self.on_opened is not None:
                    self.on_opened(message)
            case m.Queued():
                if self.on_queued is not None:
                    self.on_queued()
            case m.Attached():
                for view in message.channels:
                    one = self.channel(view.channel)
                    # Another client of the session may have sent input.
                    one.sent = max(one.sent, view.input_offset)
            case m.ErrorMessage(channel=int(channel), code=code):
                one = self.channel(channel)
                begun = bool(one.states) or one.exit is not None
                # The first one: what follows was sent before it came, such as the end of input.
                if one.refused is None and (code in REFUSALS or not (begun or code in PASSING)):
                    one.refused = message
            case m.State():
                self.channel(message.channel).states.append(message)
            case m.InAck():
                self.channel(message.channel).in_ack = message.offset
            case m.Gap():
                one = self.channel(message.channel)
                one.gaps.append(message)
                self._expect(message.from_ == one.end, f"a gap from {message.from_} after {one.end}")
                one.start = message.to - len(one.data)
                if self.on_gap is not None:
                    self.on_gap(message)
            case m.Exit():
                one = self.channel(message.channel)
                self._expect(message.offset == one.end, f"an exit at {message.offset} after {one.end}")
                one.exit = message
                if self.acks:
                    await self._acknowledge(m.Ack(message.channel, message.offset, exit=True))

    async def _output(self, frame: codec.OutputFrame) -> None:
        """Applies a frame of output, and acknowledges it."""
        one = self.channel(frame.channel)
        self._expect(frame.offset == one.end, f"output at {frame.offset} after {one.end}")
        if self.keep:
            one.data += frame.payload
            (one.stderr if frame.stream == STDERR else one.stdout).extend(frame.payload)
        else:
            one.start += len(frame.payload)
        if self.on_output is not None:
            self.on_output(frame)
        if self.acks:
            await self._acknowledge(m.Ack(frame.channel, frame.offset + len(frame.payload)))

    def _expect(self, holds: bool, seen: str) -> None:
        """Notes a violation of the protocol, which all further waiting reports. `seen`: what was received."""
        if not holds:
            # Only the first: after it, all later offsets are wrong, too.
            self._broken = self._broken or seen

    # --- waiting -----------------------------------------------------------------------------------------

    async def wait(self, condition: Callable[[], T], seconds: float = 15, what: str = "condition") -> T:
        """Waits until a condition holds, and returns its value. `what`: its name, for the error. Raises
        Unexpected after `seconds`, or if the socket closes or the offsets are wrong."""
        seconds *= self.slowness
        try:
            async with asyncio.timeout(seconds):
                while not (value := condition()):
                    if self._broken:
                        raise Unexpected(f"the stream broke: {self._broken}")
                    if self.close_code is not None:
                        raise Unexpected(f"closed with {self.close_code} before {what}; {self._last_words()}")
                    self._news.clear()
                    await self._news.wait()
                if self._broken:
                    raise Unexpected(f"the stream broke: {self._broken}")
                return value
        except TimeoutError:
            raise Unexpected(f"no {what} in {seconds:g} s; {self._last_words()}") from None

    def _last_words(self) -> str:
        """The last errors and output, for the text of an exception."""
        errors = [f"{one.code}: {one.message}" for one in self.messages if isinstance(one, m.ErrorMessage)]
        errors += [f"closed: {one.reason}" for one in self.messages if isinstance(one, m.Closed)]
        shown = [f"{number}: {stream.last_line!r}" for number, stream in self.channels.items()]
        return " ".join([*errors[-2:], *shown])

    async def until(self, channel: int, text: str, seconds: float = 15) -> Channel:
        """Waits until a channel's output has this text. Raises Unexpected, also if it ends without it."""
        one = self.channel(channel)
        await self.wait(lambda: text in one.text or one.exit, seconds, f"{text!r} in channel {channel}")
        if text not in one.text:
            raise Unexpected(f"channel {channel} ended without {text!r}: {one.exit}; {one.text[-300:]!r}")
        return one

    async def ended(self, channel: int, seconds: float = 30) -> Channel:
        """Waits until a program has ended. Raises Unexpected, also if its `run` is refused."""
        one = self.channel(channel)
        await self.wait(lambda: one.exit or one.refused, seconds, f"exit of channel {channel}")
        if one.exit is None and one.refused is not None:
            raise Unexpected(f"not run: {one.refused.code} ({one.refused.message})")
        return one

    async def result(self, channel: int, code: str, seconds: float = 30, **fields: Any) -> Channel:
        """Runs a program and waits until it has ended. Raises Unexpected."""
        await self.run(channel, code, **fields)
        return await self.ended(channel, seconds)

    async def message(
        self, kind: type[M], seconds: float = 10, *, which: Callable[[M], bool] = lambda _: True
    ) -> M:
        """Waits for a message of this kind for which `which` is true; each message is returned once. Raises
        Unexpected."""

        def find() -> M | None:
            return next((one for one in self.messages if isinstance(one, kind) and which(one)), None)

        found = await self.wait(find, seconds, kind.__name__)
        assert found is not None
        self.messages.remove(found)
        return found

    async def error(self, code: str, seconds: float = 10) -> m.ErrorMessage:
        """Waits for an error with this code. Raises Unexpected."""
        return await self.message(m.ErrorMessage, seconds, which=lambda one: one.code == code)

    async def error_code(self, seconds: float = 10) -> str:
        """Waits for any error, and returns its code. Raises Unexpected."""
        return (await self.message(m.ErrorMessage, seconds)).code

    async def closed(self, seconds: float = 15) -> int:
        """Waits until the server has closed, and returns the close code; 1006 if the connection broke. Raises
        Unexpected."""
        seconds *= self.slowness
        try:
            async with asyncio.timeout(seconds):
                while self.close_code is None:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise Unexpected(f"not closed in {seconds:g} s; {self._last_words()}") from None
        return self.close_code

    # --- closing -----------------------------------------------------------------------------------------

    def drop(self) -> None:
        """Breaks the connection without a close frame."""
        # aiohttp has no public way to a client connection's transport.
        connection = self.socket._response.connection  # noqa: SLF001
        if connection is not None and connection.transport is not None:
            connection.transport.abort()

    def stall(self) -> None:
        """Stops reading from the socket, as a client that hangs."""
        connection = self.socket._response.connection  # noqa: SLF001
        if connection is not None and connection.transport is not None:
            connection.transport.pause_reading()

    async def disconnect(self) -> None:
        """Closes the connection."""
        try:
            async with asyncio.timeout(2):
                await self.socket.close()
        except (TimeoutError, ConnectionError):
            self.drop()
        self.reader.cancel()
        await asyncio.gather(self.reader, return_exceptions=True)
