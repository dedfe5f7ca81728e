"""The stream to an agent over a Unix socket of the server, without the engine's framing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from coderunner import timing
from coderunner.engine.attach import READ_BUFFER
from coderunner.errors import AgentLost, EngineTimeout

Take = Callable[[bytes | memoryview], None]

# One for all streams: reading a flood into a buffer for each session would cost 256 KiB for each of them.
_room = memoryview(bytearray(READ_BUFFER))
"""The read buffer of all these streams: what one has read is taken before the next one reads."""


class DirectStream(asyncio.BufferedProtocol):
    """A stream of bytes, which are passed on as they arrive (`deliver`), or kept for `read`.

    `write_seconds`: how long a write may wait for the agent to read.
    """

    def __init__(self, write_seconds: float) -> None:
        self.stderr_tail = b""
        self._write_seconds = write_seconds
        self._transport: asyncio.Transport | None = None
        self._take: Take | None = None
        self._kept = bytearray()
        self._ended = False
        self._news = asyncio.Event()  # bytes were kept, or it has ended
        self._writable = asyncio.Event()
        self._writable.set()

    # --- asyncio's side ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio: the connection exists."""
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Called by asyncio: where to read into."""
        return _room

    def buffer_updated(self, size: int) -> None:
        """Called by asyncio: `size` bytes were read."""
        # Nothing is copied on this way: the frames are decoded from the shared buffer.
        if self._take is not None:
            self._take(_room[:size])
            return
        self._kept += _room[:size]
        self._news.set()
        # Before `deliver` nobody takes the bytes, so the kernel's buffer holds back the agent.
        if len(self._kept) >= READ_BUFFER and self._transport is not None:
            self._transport.pause_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio: the connection is closed."""
        self._ended = True
        self._news.set()
        self._writable.set()
        # An empty piece is the end, as for `read`.
        if self._take is not None:
            self._take(b"")

    def pause_writing(self) -> None:
        """Called by asyncio: the agent reads less than is written."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Called by asyncio: the agent reads again."""
        self._writable.set()

    # --- the agent link's side ---------------------------------------------------------------------------

    def deliver(self, take: Take) -> bool:
        """From now on calls `take` with all bytes as they arrive, and with b"" at the end. Returns True.

        The bytes are valid only until `take` returns. After this call nothing can be `read`.
        """
        # In this order: bytes that came before must not be overtaken by those that arrive now.
        self._take = take
        if self._kept:
            take(bytes(self._kept))
            self._kept.clear()
        if self._ended:
            take(b"")
        elif self._transport is not None:
            self._transport.resume_reading()
        return True

    async def read(self) -> bytes:
        """Returns the next bytes; b"" at the end. A read that is cancelled loses nothing."""
        while not self._kept and not self._ended:
            self._news.clear()
            await self._news.wait()
        data = bytes(self._kept)
        self._kept.clear()
        if not self._ended and self._transport is not None:
            self._transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        """Writes the bytes, and waits if the agent does not read.

        Raises AgentLost if the stream has ended, EngineTimeout if the agent did not read in time.
        """
        if self._transport is None or self._transport.is_closing():
            raise AgentLost("the stream to the container has ended")
        self._transport.write(data)
        if not self._writable.is_set():
            try:
                async with timing.within(self._write_seconds):
                    await self._writable.wait()
            except TimeoutError:
                raise EngineTimeout("the agent did not read in time") from None
        # It may have ended while this task waited: the bytes are lost, and the caller must know.
        if self._ended:
            raise AgentLost("the stream to the container is broken")

    def write_now(self, data: bytes) -> bool:
        """Writes the bytes without waiting. Returns False, without writing, if the stream has ended or
        earlier bytes are still waiting."""
        transport = self._transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size():
            return False
        transport.write(data)
        return True

    async def close(self) -> None:
        """Closes the connection. May be called repeatedly, and during a read."""
        if self._transport is not None:
            self._transport.abort()
        # Until `connection_lost`: the descriptor is closed then, and not before.
        while not self._ended:
            self._news.clear()
            await self._news.wait()
