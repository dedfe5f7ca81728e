"""Requests with a session's token, beside its socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp

from coderunner.attack.stage import Stage
from coderunner.client.peer import Peer
from coderunner.schema import messages as m

SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, read to its end."""

    status: int
    headers: Any
    body: bytes

    @property
    def document(self) -> Any:
        """The body as JSON. Raises ValueError."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """An error's code, or the status."""
        return str(self.document["error"]["code"]) if self.status >= 400 else str(self.status)


class Rest:
    """Requests with a session's token; `http` has no credential of its own."""

    def __init__(self, http: aiohttp.ClientSession, url: str, opened: m.Opened) -> None:
        self.http = http
        self.url = url
        self.session = opened.session
        self.token = opened.token

    async def __call__(self, method: str, path: str = "", body: Any = None) -> Answer:
        """A request of the session: ``path`` is what comes behind its address. Raises as `ask`."""
        return await self.ask(method, f"api/sessions/{self.session}{path}", body)

    async def ask(self, method: str, path: str, body: Any = None) -> Answer:
        """A request of any path of the server. Raises TimeoutError after SECONDS, and aiohttp's errors."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        async with asyncio.timeout(SECONDS):
            async with self.http.request(method, self.url + path, data=body, headers=headers) as answer:
                return Answer(answer.status, answer.headers, await answer.read())

    async def paths(self) -> list[str]:
        """The paths of the session's files."""
        return [one["path"] for one in (await self("GET", "/files")).document["files"]]


@contextlib.asynccontextmanager
async def session(stage: Stage, program: str = "") -> AsyncIterator[tuple[Peer, Rest]]:
    """A session in which a program has run, and the way to its files."""
    async with stage.session() as peer, aiohttp.ClientSession(auto_decompress=False) as http:
        assert peer.opened is not None
        if program:
            await peer.result(1, program)
        yield peer, Rest(http, stage.url, peer.opened)
