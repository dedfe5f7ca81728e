"""What a connection sends to its client: the frames of its attachment, in as few writes as possible."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from coderunner import metrics
from coderunner.web.attached import Attached
from coderunner.web.tcp import TcpConnection
from coderunner.web.tcp_limits import TcpConnections

AT_ONCE = 32 * 1024  # bytes of frames that are collected for one write
LOOK_SECONDS = 0.1  # between two looks whether output in bulk still has to wait


class Outgoing:
    """Sends frames over one WebSocket. It is the `Sender` of the connection's attachment.

    `failed(error, name)`: called if `send_at_hand` fails; it ends the connection.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        tcp: TcpConnection,
        connections: TcpConnections,
        failed: Callable[[BaseException, str], None],
    ) -> None:
        self._socket = socket
        self._tcp = tcp
        self._connections = connections
        self._failed = failed
        self._session = ""
        self._attached: Attached | None = None
        self.resting = False  # after output in bulk, as others type

    def attach(self, session: str, attached: Attached) -> None:
        """Called when there is a session. Its bulk output is delayed by its id (`core.bulk`)."""
        self._session, self._attached = session, attached

    async def pump(self) -> int:
        """Sends the frames of the attachment until it has ended. Returns its close code."""
        assert self._attached is not None
        while (frame := await self._attached.next()) is not None:
            frames, size = [frame], len(frame)
            # Collected, so that a flood of small frames costs one write.
            while size < AT_ONCE and (more := self._attached.at_hand()) is not None:
                frames.append(more)
                size += len(more)
            await self.send(frames)
            await self._rest(size)
        return self._attached.close_code

    async def send(self, frames: list[str | bytes]) -> None:
        """Sends frames in one write: a system call for each would delay a key's echo.

        Raises ConnectionResetError if the connection has ended.
        """
        if self._socket.closed:
            raise ConnectionResetError
        if self._tcp.crowd:
            await self._connections.crowd.turn()
        metrics.bytes_out.inc(sum(map(len, frames)))
        self._tcp.send(frames)
        await self._tcp.drained()

    async def _rest(self, size: int) -> None:
        """Waits behind `size` bytes that were sent, if they are output in bulk and others type."""
        assert self._attached is not None
        bulk, loop = self._connections.bulk, asyncio.get_running_loop()
        wait = bulk.rest(self._session, size, loop.time())
        if not wait:
            return
        # Behind the frames and not before them: nothing is held that an echo would overtake.
        due = loop.time() + wait
        self.resting = True
        try:
            while (left := due - loop.time()) > 0:
                # Not at the end, whose deadline would pass meanwhile: what is left then would be lost.
                if self._attached.ends or not bulk.waits(self._session, loop.time()):
                    break
                await asyncio.sleep(min(left, LOOK_SECONDS))
        finally:
            self.resting = False

    def ready(self) -> bool:
        """Whether little output can be sent now: neither the peer nor others have to be waited for."""
        return self._tcp.writable and not self._tcp.crowd and not self._socket.closed

    def send_at_hand(self, most: int | None = None) -> None:
        """Sends what the attachment has at hand, which is little, where `ready` says so.

        `most`: as of `Attachment.at_hand`.
        """
        if self._attached is None:
            return
        try:
            frames: list[str | bytes] = []
            while (frame := self._attached.at_hand(most)) is not None:
                frames.append(frame)
            if frames:
                metrics.bytes_out.inc(sum(map(len, frames)))
                self._tcp.send(frames)
        # The caller reads the agent's stream, which this must not end.
        except Exception as error:
            self._failed(error, "ws-send")
