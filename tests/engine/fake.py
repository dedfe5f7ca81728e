"""An engine that misbehaves: a unix-socket HTTP server whose answers a test chooses."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

Answer = Callable[["Request"], Awaitable[None]]


class Request:
    """One request as it came in; `path` is without the API version, which may be ""."""

    def __init__(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.method, target, _ = head.split("\r\n")[0].split(" ")
        first = target.split("/")[1]
        self.version = first if first.startswith("v1.") else ""
        self.path = target.removeprefix("/" + self.version) if self.version else target
        self.writer = writer

    async def reply(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n".encode()
            + body
        )
        await self.writer.drain()

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


class FakeEngine:
    """`answer` speaks for every path but /version, which tells `newest` and `oldest`."""

    def __init__(self, socket: Path, answer: Answer) -> None:
        self.socket = socket
        self.answer = answer
        self.newest, self.oldest = "1.41", "1.12"
        self.kind = "Engine"
        self.requests: list[Request] = []
        self.connections = 0
        self.idle = asyncio.Event()

    @property
    def host(self) -> str:
        return f"unix://{self.socket}"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._serve(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_unix_server(accept, self.socket)
        try:
            yield
        finally:
            server.close()
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.socket.unlink(missing_ok=True)  # from Python 3.13 on the server has removed it

    def _version(self) -> dict[str, object]:
        parts = [{"Name": self.kind, "Version": "0.test"}]
        said = {"Version": "0.test", "ApiVersion": self.newest, "MinAPIVersion": self.oldest}
        return {**said, "Components": parts}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.idle.clear()
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            request = Request(head, reader, writer)
            self.requests.append(request)
            if request.path.startswith("/version") and not request.version:
                await request.reply(200, self._version())
            else:
                await self.answer(request)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client left, as in several tests it should
        finally:
            self.connections -= 1
            if self.connections == 0:
                self.idle.set()
            writer.transport.abort()


async def never(request: Request) -> None:
    """Takes the request and says nothing until the client leaves."""
    await request.reader.read()


def always(status: int, document: object) -> Answer:
    async def answer(request: Request) -> None:
        await request.reply(status, document)

    return answer
