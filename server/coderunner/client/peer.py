"""A client of the protocol: what it received is checked against the offsets, byte by byte."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp

from coderunner.core import codec
from coderunner.schema import messages as m

T = TypeVar("T")
M = TypeVar("M", bound=m.ServerMessage)


class Unexpected(Exception):
    """What was waited for did not come; the text says what was seen instead."""


def random_id() -> str:
    return secrets.token_urlsafe(16)


@dataclass(slots=True)
class Stream:
    """A channel as the client has it. `start`: offset of the first byte of `data`."""

    data: bytearray = field(default_factory=bytearray)
    start: int = 0
    exit: m.Exit | None = None
    states: list[m.State] = field(default_factory=list)
    gaps: list[m.Gap] = field(default_factory=list)
    in_ack: int = 0

    @property
    def hi(self) -> int:
        return self.start + len(self.data)

    @property
    def text(self) -> str:
        return self.data.decode(errors="replace")

    @property
    def last_line(self) -> str:
        lines = self.text.replace("\r", "").strip().splitlines()
        return lines[-1][:160] if lines else ""


class Peer:
    """One socket. Acknowledges what it receives unless `acks` is False; `keep` False drops what it read."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, client: str | None = None) -> None:
        self.socket = socket
        self.client = client or random_id()
        self.acks = True
        self.keep = True
        self.streams: dict[int, Stream] = {}
        self.messages: list[m.ServerMessage] = []
        self.opened: m.Opened | None = None
        self.close_code: int | None = None
        self.on_output: Callable[[codec.OutputFrame], None] | None = None
        self.on_opened: Callable[[m.Opened], None] | None = None
        self._broken: str | None = None
        self._news = asyncio.Event()
        self.reader = asyncio.create_task(self._read(), name="client-peer")

    # --- sending -----------------------------------------------------------------------------------------

    async def send(self, message: m.ClientMessage) -> None:
        await self.socket.send_str(codec.encode_client(message))

    async def text(self, text: str) -> None:
        await self.socket.send_str(text)

    async def input(self, channel: int, offset: int, data: bytes) -> None:
        await self.socket.send_bytes(codec.encode_input(channel, offset, data))

    async def run(
        self,
        channel: int,
        code: str,
        *,
        entry: str = "main.py",
        mode: str = "pipe",
        beside: tuple[m.File, ...] = (),
        **fields: Any,
    ) -> None:
        files = (m.File(entry, code.encode()), *beside)
        await self.send(m.Run(channel, mode, files=files, entry=entry, **fields))

    # --- receiving ---------------------------------------------------------------------------------------

    def stream(self, channel: int) -> Stream:
        return self.streams.setdefault(channel, Stream())

    async def _read(self) -> None:
        try:
            async for frame in self.socket:
                if frame.type is aiohttp.WSMsgType.TEXT:
                    await self._message(codec.decode_server_text(frame.data))
                elif frame.type is aiohttp.WSMsgType.BINARY:
                    await self._output(codec.decode_output(frame.data))
                self._news.set()
        except (ConnectionError, aiohttp.ClientError):
            pass  # an ack that came too late
        finally:
            self.close_code = self.socket.close_code or 1006
            self._news.set()

    async def _message(self, message: m.ServerMessage) -> None:
        self.messages.append(message)
        match message:
            case m.Opened():
                self.opened = message
                if self.on_opened is not None:
                    self.on_opened(message)
            case m.State():
                self.stream(message.channel).states.append(message)
            case m.InAck():
                self.stream(message.channel).in_ack = message.offset
            case m.Gap():
                stream = self.stream(message.channel)
                stream.gaps.append(message)
                self._expect(message.from_ == stream.hi, f"a gap from {message.from_} after {stream.hi}")
                stream.start = message.to - len(stream.data)
            case m.Exit():
                stream = self.stream(message.channel)
                self._expect(message.offset == stream.hi, f"an exit at {message.offset} after {stream.hi}")
                stream.exit = message
                if self.acks:
                    await self.send(m.Ack(message.channel, message.offset, exit=True))

    async def _output(self, frame: codec.OutputFrame) -> None:
        stream = self.stream(frame.channel)
        self._expect(frame.offset == stream.hi, f"output at {frame.offset} after {stream.hi}")
        if self.keep:
            stream.data += frame.payload
        else:
            stream.start += len(frame.payload)
        if self.on_output is not None:
            self.on_output(frame)
        if self.acks:
            await self.send(m.Ack(frame.channel, frame.offset + len(frame.payload)))

    def _expect(self, holds: bool, seen: str) -> None:
        if not holds:
            self._broken = self._broken or seen

    # --- waiting -----------------------------------------------------------------------------------------

    async def wait(self, condition: Callable[[], T], seconds: float, what: str) -> T:
        """Until the condition holds; Unexpected when time is up, the socket closed or its stream broke."""
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
        errors = [f"{one.code}: {one.message}" for one in self.messages if isinstance(one, m.ErrorMessage)]
        shown = [f"{number}: {stream.last_line!r}" for number, stream in self.streams.items()]
        return " ".join([*errors[-2:], *shown])

    async def shows(self, channel: int, text: str, seconds: float = 15) -> Stream:
        stream = self.stream(channel)
        await self.wait(lambda: text in stream.text or stream.exit, seconds, f"{text!r}")
        if text not in stream.text:
            raise Unexpected(f"ended without {text!r}: {stream.exit}")
        return stream

    async def ended(self, channel: int, seconds: float = 20) -> Stream:
        stream = self.stream(channel)
        await self.wait(lambda: stream.exit or self._refusal(channel), seconds, f"exit of channel {channel}")
        if stream.exit is None:
            raise Unexpected(f"not run: {self._refusal(channel)}")
        return stream

    def _refusal(self, channel: int) -> str:
        refused = {
            "bad_path", "files_failed", "no_file", "workspace_full", "start_failed", "channel_limit",
            "bad_message", "bad_limit", "agent_lost", "container_gone", "not_control",
        }  # fmt: skip
        found = [
            one for one in self.messages
            if isinstance(one, m.ErrorMessage) and one.channel == channel and one.code in refused
        ]  # fmt: skip
        return f"{found[-1].code} ({found[-1].message})" if found else ""

    async def result(self, channel: int, code: str, seconds: float = 20, **fields: Any) -> Stream:
        await self.run(channel, code, **fields)
        return await self.ended(channel, seconds)

    async def next(self, kind: type[M], seconds: float = 10) -> M:
        """The next message of this kind that nobody asked for yet."""

        def find() -> M | None:
            return next((one for one in self.messages if isinstance(one, kind)), None)

        found = await self.wait(find, seconds, kind.__name__)
        assert found is not None
        self.messages.remove(found)
        return found

    async def error(self, seconds: float = 10) -> str:
        """The code of the next error."""
        return (await self.next(m.ErrorMessage, seconds)).code

    async def closed(self, seconds: float = 15) -> int:
        try:
            async with asyncio.timeout(seconds):
                while self.close_code is None:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise Unexpected(f"not closed in {seconds:g} s; {self._last_words()}") from None
        return self.close_code

    # --- leaving -----------------------------------------------------------------------------------------

    def drop(self) -> None:
        """The connection breaks: no close frame."""
        connection = self.socket._response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()

    def stall(self) -> None:
        """Reads nothing any more, not even from the kernel."""
        connection = self.socket._response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.pause_reading()

    async def leave(self) -> None:
        try:
            async with asyncio.timeout(2):
                await self.socket.close()
        except (TimeoutError, ConnectionError):
            self.drop()
        self.reader.cancel()
        await asyncio.gather(self.reader, return_exceptions=True)
