"""The attach stream of a container: its standard streams as bytes, over a connection of its own.

The engine answers the request with `101`; then the connection is a byte stream. To the container, bytes are
sent as they are. From it come frames: stream (1 byte), three zero bytes, length (4 bytes, big endian), data.
The connection is not from a pool, so that the bytes of a keystroke pass no HTTP code.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

from coderunner import timing
from coderunner.errors import AgentLost, ContainerGone, EngineTimeout, EngineUnavailable
from coderunner.schema.engine import Refusal

STDERR_TAIL = 4096  # last bytes of stderr that are kept, for error messages
READ_BUFFER = 256 * 1024  # bytes that are read ahead at most; a frame of the engine has up to 32 KiB
MAX_HEAD = 16 * 1024  # bytes of a response's head, or of an error message
STDOUT = 1
_FRAME = struct.Struct(">BxxxL")


@dataclass(frozen=True, slots=True)
class Address:
    """The address of the engine: a Unix socket's `path`, or `host` and `port`, with or without TLS."""

    path: str | None = None
    host: str = "localhost"
    port: int = 0
    tls: bool = False

    @classmethod
    def parse(cls, url: str) -> Address:
        """Parses `unix:///path`, `tcp://host:port`, `http://…` or `https://…`. Raises EngineUnavailable."""
        # Parsed here, so that a wrong address is reported as an error of the setting and not of a connection.
        parts = urlsplit(url)
        if parts.scheme == "unix" and parts.path:
            return cls(path=(parts.netloc + parts.path))
        if parts.scheme in ("tcp", "http", "https") and parts.hostname:
            tls = parts.scheme == "https"
            return cls(host=parts.hostname, port=parts.port or (2376 if tls else 2375), tls=tls)
        raise EngineUnavailable(
            f"DOCKER_HOST {url!r} is not an engine's address; write unix:///path or tcp://host:port"
        )

    def __str__(self) -> str:
        if self.path:
            return f"unix://{self.path}"
        return f"{'https' if self.tls else 'tcp'}://{self.host}:{self.port}"

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connects. Raises OSError."""
        if self.path:
            return await asyncio.open_unix_connection(self.path, limit=READ_BUFFER)
        context = ssl.create_default_context() if self.tls else None
        return await asyncio.open_connection(self.host, self.port, limit=READ_BUFFER, ssl=context)


class AttachStream:
    """Reads the container's stdout and writes its stdin. One task may read while another writes.

    It must be read as long as the container runs: if nobody reads an attach stream, the engine can neither
    kill nor remove the container; these calls hang (moby issue 41827).
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, call_timeout_s: float
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._call_timeout_s = call_timeout_s
        # Kept across calls: a read that was cancelled between header and body goes on with the body.
        self._frame: tuple[int, int] | None = None  # a header whose body has not been read yet
        self.stderr_tail = b""

    async def read(self) -> bytes:
        """Returns the next bytes of stdout, at most one frame of the engine; b"" at the end of the stream.

        The end of the program, an end of the engine and a broken connection cannot be told apart here. A read
        that is cancelled loses nothing.
        """
        try:
            while True:
                if self._frame is None:
                    self._frame = _FRAME.unpack(await self._reader.readexactly(_FRAME.size))
                stream, length = self._frame
                data = await self._reader.readexactly(length)
                self._frame = None
                # Standard error is only for a traceback of the agent; nothing else writes to it.
                if stream == STDOUT:
                    if data:
                        return data
                else:
                    self.stderr_tail = (self.stderr_tail + data)[-STDERR_TAIL:]
        except (asyncio.IncompleteReadError, OSError):
            return b""

    def deliver(self, take: Callable[[bytes | memoryview], None]) -> bool:
        """Returns False: this stream does not call `take`, but has to be read. See `DirectStream.deliver`."""
        return False

    async def write(self, data: bytes) -> None:
        """Writes the bytes, and waits if the engine does not accept them at once.

        Raises AgentLost if the stream has ended, EngineTimeout if nothing was accepted for the time of a
        call.
        """
        if self._writer.is_closing():
            raise AgentLost("the stream to the container has ended")
        # `write` before the wait: asyncio keeps the order of writes, also if this task is cancelled while it
        # waits.
        self._writer.write(data)
        try:
            async with timing.within(self._call_timeout_s):
                await self._writer.drain()
        except TimeoutError:
            raise EngineTimeout("the engine did not accept the container's input in time") from None
        except OSError as error:
            raise AgentLost(f"the stream to the container is broken: {error}") from None

    def write_now(self, data: bytes) -> bool:
        """Writes the bytes without waiting. Returns False, without writing, if the stream has ended or
        earlier bytes are still waiting."""
        # Bytes must not overtake those that are still in asyncio's buffer.
        if self._writer.is_closing() or self._writer.transport.get_write_buffer_size():
            return False
        self._writer.write(data)
        return True

    async def close(self) -> None:
        """Closes the connection; the container's stdin stays open. May be called repeatedly, and during a
        read."""
        # `abort` and not `close`, which would wait for bytes that the engine may never accept.
        self._writer.transport.abort()
        with contextlib.suppress(OSError):  # raised if the connection was broken before
            await self._writer.wait_closed()


async def open_attach(
    address: Address, api_version: str, container: str, call_timeout_s: float
) -> AttachStream:
    """Attaches to the three streams of a container, created or running, without its earlier output.

    `call_timeout_s`: seconds for a write to the stream; the time to attach is limited by the caller. Raises
    ContainerGone, EngineUnavailable, OSError.
    """
    reader, writer = await address.open()
    try:
        await _upgrade(reader, writer, api_version, container)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        writer.transport.abort()
        raise EngineUnavailable(f"attach: the response is not an engine's: {error}") from error
    except BaseException:
        writer.transport.abort()
        raise
    return AttachStream(reader, writer, call_timeout_s)


async def _upgrade(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, api_version: str, container: str
) -> None:
    # Without detach keys, as Ctrl-P Ctrl-Q would otherwise end the stream.
    query = "stream=1&stdin=1&stdout=1&stderr=1&logs=0&detachKeys="
    writer.write(
        f"POST /{api_version}/containers/{container}/attach?{query} HTTP/1.1\r\n"
        "Host: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n".encode("ascii")
    )
    # `readuntil` raises LimitOverrunError beyond READ_BUFFER, so an endless head cannot fill the memory.
    head = (await reader.readuntil(b"\r\n\r\n"))[:MAX_HEAD].decode("latin-1")
    lines = head.split("\r\n")
    status = int(lines[0].split(" ")[1]) if " " in lines[0] else 0
    # 200 is what the engine answers if a proxy in front has removed the Upgrade header.
    if status in (101, 200):
        return
    fields = (line.partition(":") for line in lines)
    length = next((int(value) for name, _, value in fields if name.lower() == "content-length"), MAX_HEAD)
    words = _words(await _body(reader, min(length, MAX_HEAD)))
    if status == 404:
        raise ContainerGone(f"attach: {words}")
    raise EngineUnavailable(f"attach: the engine answered {status}: {words}")


async def _body(reader: asyncio.StreamReader, maximum: int) -> bytes:
    """Reads `maximum` bytes, or fewer if the engine closes: its errors of attach have no length."""
    try:
        return await reader.readexactly(maximum)
    except asyncio.IncompleteReadError as error:
        return error.partial


def _words(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=Refusal).message
    except ValueError:
        return body.decode("utf-8", "replace").strip()
