"""A WebSocket client without a library, for frames that no library would send."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import ssl
import struct
from collections.abc import AsyncIterator, Mapping
from urllib.parse import urlsplit

from coderunner.client.peer import Unexpected

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
_MASK = b"\x11\x22\x33\x44"  # fixed, so that a failed case can be repeated byte by byte


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bool = True, length: int = -1
) -> bytes:
    """Builds a client's frame, valid or not. `length`:
    what the header states if it is not the payload's length."""
    size = len(payload) if length < 0 else length
    head = bytes([fin << 7 | rsv << 4 | opcode])
    bit = mask << 7
    # The three forms of a length: RFC 6455, section 5.2.
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += struct.pack(">BH", bit | 126, size)
    else:
        head += struct.pack(">BQ", bit | 127, size)
    if not mask:
        return head + payload
    key = (_MASK * (len(payload) // 4 + 1))[: len(payload)]
    # As one large number: a loop over the bytes would be too slow for floods.
    hidden = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return head + _MASK + hidden.to_bytes(len(payload), "big")


class Raw:
    """A TCP (or TLS) connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Writes data. Errors are ignored if the server has closed the connection,
        as that is what many cases test."""
        if self.over:
            return
        with contextlib.suppress(ConnectionError):
            self._writer.write(data)
            async with asyncio.timeout(20):
                await self._writer.drain()
        await asyncio.sleep(0)  # with TLS, `drain` on a closed connection does not yield to the loop

    async def status(self, seconds: float = 10) -> int:
        """The status of the next HTTP response; 0 if the server closed the connection without one."""
        try:
            async with asyncio.timeout(seconds):
                # The body is read as well, so that the next response begins where it should.
                head = await self._reader.readuntil(b"\r\n\r\n")
                size = re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)
                await self._reader.readexactly(int(size[1]) if size else 0)
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0
        except TimeoutError:
            raise Unexpected(f"no HTTP answer in {seconds:g} s") from None
        return int(head.split(None, 2)[1])

    async def receive(self) -> tuple[int, bytes]:
        """Returns (opcode, payload) of the next frame.
        The server's frames are not masked and not fragmented."""
        first, second = await self._reader.readexactly(2)
        size = second & 127
        if size == 126:
            (size,) = struct.unpack(">H", await self._reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", await self._reader.readexactly(8))
        return first & 15, await self._reader.readexactly(size)

    async def until(self, text: bytes, seconds: float = 10) -> bytes:
        """Returns the payload of the next frame that contains `text`. Raises Unexpected."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    _, payload = await self.receive()
                    if text in payload:
                        return payload
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError) as error:
            raise Unexpected(f"no frame with {text!r}: {type(error).__name__}") from None

    async def close_code(self, seconds: float = 15) -> int:
        """Waits for the server's close code; 1006 if it closed the connection without a close frame."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    opcode, payload = await self.receive()
                    if opcode == CLOSE:
                        # 1005: a close frame without a code (RFC 6455, section 7.1.5).
                        return int.from_bytes(payload[:2], "big") if payload else 1005
        except (asyncio.IncompleteReadError, ConnectionError):
            return 1006
        except TimeoutError:
            raise Unexpected(f"not closed in {seconds:g} s") from None

    @property
    def over(self) -> bool:
        """Whether the connection is known to be closed."""
        return self._writer.is_closing()

    async def ended(self, seconds: float) -> None:
        """Waits until the server has closed the connection. Raises TimeoutError."""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(seconds):
                # Answers that were under way come before the end.
                while await self._reader.read(65536):
                    pass

    def close(self) -> None:
        """Aborts the connection."""
        # close() would wait until the server has read what is buffered, which cases send too much of.
        self._writer.transport.abort()


def request(url: str, path: str, headers: Mapping[str, str], *, method: str = "GET") -> bytes:
    """Builds an upgrade request. `headers`: replace or add headers; an empty value removes one."""
    parts = urlsplit(url)
    usual = {
        "Host": parts.netloc,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Protocol": "coderunner.v1",
    }
    lines = [f"{method} {parts.path}{path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in {**usual, **headers}.items() if value]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@contextlib.asynccontextmanager
async def connect(url: str) -> AsyncIterator[Raw]:
    """Connects with TCP or TLS, without sending anything."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(
            parts.hostname,
            parts.port or (443 if secure else 80),
            ssl=ssl.create_default_context() if secure else None,
            # The largest head or line that a case reads at once.
            limit=1 << 20,
        )
    one = Raw(reader, writer)
    try:
        yield one
    finally:
        one.close()


@contextlib.asynccontextmanager
async def websocket(
    url: str, path: str = "ws", headers: Mapping[str, str] | None = None
) -> AsyncIterator[Raw]:
    """Opens a WebSocket, and waits for `hello`. Raises Unexpected if the server refuses."""
    async with connect(url) as one:
        await one.send(request(url, path, headers or {}))
        status = await one.status()
        if status != 101:
            raise Unexpected(f"HTTP {status}")
        await one.until(b'"hello"')
        yield one
