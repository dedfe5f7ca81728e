"""A client far away: what goes either way arrives late, however much is on its way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

PIECE = 64 * 1024


class Distance:
    """`url` leads to a server of this machine, `seconds` away, there and back.  `most`: bytes that were on
    their way from there at one time, at most."""

    def __init__(self, port: int, seconds: float) -> None:
        self.most = 0
        self.url = ""
        self._port = port
        self._one_way = seconds / 2
        self._under_way = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Called by asyncio for each connection."""
        back, other = await asyncio.open_connection("127.0.0.1", self._port)
        pairs = ((reader, other, False), (back, writer, True))
        tasks = [asyncio.create_task(self._carry(*pair)) for pair in pairs]
        self._tasks.update(tasks)
        await asyncio.wait(tasks)
        for one in (writer, other):
            one.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counts: bool) -> None:
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()

        def arrives(data: bytes) -> None:
            self._under_way -= len(data) if counts else 0
            if not data:
                gone.set()
            elif not writer.transport.is_closing():
                writer.write(data)

        data = b" "
        with contextlib.suppress(ConnectionError):
            while data:
                data = await reader.read(PIECE)
                self._under_way += len(data) if counts else 0
                self.most = max(self.most, self._under_way)
                loop.call_later(self._one_way, arrives, data)
            await gone.wait()

    async def leave(self) -> None:
        """Ends what is left of the connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def distance(url: str, seconds: float) -> AsyncIterator[Distance]:
    """Between here and the server at `url`."""
    far = Distance(int(url.rstrip("/").rsplit(":", 1)[1]), seconds)
    server = await asyncio.start_server(far.serve, "127.0.0.1", 0)
    far.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    try:
        yield far
    finally:
        server.close()
        await far.leave()
