"""A proxy that harms what passes: it cuts, delays, splits, and swallows answers.

In a thread with a loop of its own, so that it works while a test's loop is busy or blocked.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Callable, Coroutine
from typing import Any


class Proxy:
    """Listens at ``listen`` (a path, or a port on loopback), forwards to ``target`` (likewise)."""

    def __init__(self, target: str | int, listen: str | int = 0, *, seed: int = 1) -> None:
        self.target = target
        self.listen = listen
        self.chance = random.Random(seed)
        self.split = 0  # pieces of at most so many bytes
        self.cut_after: tuple[int, int] | None = None  # bytes (least, most) after which a connection is cut
        self.hold: Callable[[bytes], bool] = lambda request: False  # whose answers never come
        self.refuse = False
        self.cuts = 0
        self.seen: list[bytes] = []
        self._links: dict[asyncio.Task[Any], tuple[bytes, list[asyncio.StreamWriter]]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._call(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _open(self) -> None:
        if isinstance(self.listen, str):
            self._server: asyncio.Server = await asyncio.start_unix_server(self._serve, self.listen)
        else:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.listen)
            self.listen = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        tasks = list(self._links)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def cut(self, which: Callable[[bytes], bool] = lambda request: True) -> int:
        """Aborts the connections whose first bytes fit; how many."""

        async def work() -> int:
            found = [writers for request, writers in self._links.values() if which(request)]
            for writers in found:
                for writer in writers:
                    writer.transport.abort()
            return len(found)

        return int(self._call(work()))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        request = b""
        other = None
        try:
            if self.refuse:
                return
            request = await reader.read(65536)
            self.seen.append(request[:200])
            self._links[task] = (request, [writer])
            if self.hold(request):
                await asyncio.Event().wait()
            if isinstance(self.target, str):
                back, other = await asyncio.open_unix_connection(self.target)
            else:
                back, other = await asyncio.open_connection("127.0.0.1", self.target)
            self._links[task] = (request, [writer, other])
            other.write(request)
            there = asyncio.ensure_future(self._pump(reader, other, writer))
            here = asyncio.ensure_future(self._pump(back, writer, other))
            try:
                await asyncio.gather(there, here)
            finally:
                there.cancel()
                here.cancel()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._links.pop(task, None)
            for one in (writer, other):
                if one is not None:
                    one.transport.abort()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, peer: asyncio.StreamWriter
    ) -> None:
        left = self.chance.randint(*self.cut_after) if self.cut_after else None
        while data := await source.read(self.split or 65536):
            if left is not None and len(data) >= left:
                sink.write(data[:left])
                with contextlib.suppress(OSError):
                    await sink.drain()
                self.cuts += 1
                sink.transport.abort()
                peer.transport.abort()
                return
            if left is not None:
                left -= len(data)
            sink.write(data)
            await sink.drain()
        with contextlib.suppress(OSError, RuntimeError):
            sink.write_eof()
