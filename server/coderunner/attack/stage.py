"""What a case is given: the way to the server, and the certainty that nothing of it stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import aiohttp

from coderunner.attack import raw
from coderunner.attack.case import Unexpected
from coderunner.attack.client import Peer
from coderunner.core import messages as m

PROTOCOL = "coderunner.v1"


class Stage:
    """`url` ends with a slash. Every session that is opened through it ends with it."""

    def __init__(self, url: str, bearer: str = "") -> None:
        self.url = url if url.endswith("/") else url + "/"
        self.bearer = bearer
        self._live: dict[str, str] = {}
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Stage:
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            for session, token in list(self._live.items()):
                await self._end(session, token)
        finally:
            assert self._http is not None
            await self._http.close()

    # --- connections -------------------------------------------------------------------------------------

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.bearer}"} if self.bearer else {}

    async def connected(self, path: str = "ws", *, client: str | None = None, **fields: Any) -> Peer:
        """A socket for the caller to leave."""
        assert self._http is not None
        headers = {**self.headers, **fields.pop("headers", {})}
        fields.setdefault("protocols", (PROTOCOL,))
        socket = await self._http.ws_connect(self.url + path, headers=headers, max_msg_size=0, **fields)
        peer = Peer(socket, client)
        peer.on_opened = self._remember
        return peer

    @contextlib.asynccontextmanager
    async def connect(self, path: str = "ws", **fields: Any) -> AsyncIterator[Peer]:
        peer = await self.connected(path, **fields)
        try:
            yield peer
        finally:
            await peer.leave()

    @contextlib.asynccontextmanager
    async def session(self, language: str = "python", **fields: Any) -> AsyncIterator[Peer]:
        """A client in control of a new session."""
        async with self.connect() as peer:
            await peer.send(m.Open(language, peer.client, **fields))
            await peer.wait(lambda: peer.opened, 60, "session")
            try:
                yield peer
            finally:
                if peer.close_code is None:
                    with contextlib.suppress(ConnectionError, Unexpected):
                        await peer.send(m.Take())  # another of the case's sockets may have it
                        await peer.send(m.Close())
                        if await peer.closed(10) == 1000:
                            self.forget(peer)

    @contextlib.asynccontextmanager
    async def attach(
        self,
        opened: m.Opened,
        *,
        client: str | None = None,
        role: str | None = None,
        go_on: Peer | None = None,
    ) -> AsyncIterator[Peer]:
        """Another socket of a live session; with `go_on` it continues what that one has."""
        async with self.connect(f"ws/{opened.session}", client=client) as peer:
            if go_on is not None:
                peer.streams = go_on.streams
            cursors = {number: stream.hi for number, stream in peer.streams.items()}
            await peer.send(m.Attach(opened.session, opened.token, peer.client, role=role, cursors=cursors))
            yield peer

    @contextlib.asynccontextmanager
    async def raw(self, path: str = "ws", headers: Mapping[str, str] | None = None) -> AsyncIterator[raw.Raw]:
        """An upgraded connection by hand."""
        async with raw.websocket(self.url, path, {**self.headers, **(headers or {})}) as one:
            yield one

    async def get(self, path: str) -> tuple[int, str]:
        """(status, body)."""
        assert self._http is not None
        async with self._http.get(self.url + path, headers=self.headers) as answer:
            return answer.status, await answer.text(errors="replace")

    async def stats(self) -> dict[str, Any]:
        _, text = await self.get("api/queue-stats")
        return dict(json.loads(text))

    async def settled(self, condition: Callable[[dict[str, Any]], bool], seconds: float) -> bool:
        """Whether the figures of the server's queue become so in time."""
        deadline = time.monotonic() + seconds
        while not condition((await self.stats())["queue"]):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.05)
        return True

    # --- leaving nothing ---------------------------------------------------------------------------------

    def _remember(self, opened: m.Opened) -> None:
        self._live[opened.session] = opened.token

    def forget(self, peer: Peer) -> None:
        if peer.opened is not None:
            self._live.pop(peer.opened.session, None)

    async def _end(self, session: str, token: str) -> None:
        """By the session's token, whatever became of the sockets; one that is over already is fine."""
        with contextlib.suppress(Unexpected, ConnectionError, aiohttp.ClientError):
            async with self.connect(f"ws/{session}") as peer:
                await peer.send(m.Attach(session, token, peer.client))
                await peer.send(m.Close())
                await peer.closed(10)
        self._live.pop(session, None)


async def sessions_at_once(stage: Stage, stack: contextlib.AsyncExitStack, most: int) -> list[Peer]:
    """As many sessions as the server has slots for and gives to one client, at most these."""
    queue = (await stage.stats())["queue"]
    found: list[Peer] = []
    for _ in range(min(most, queue["maxConcurrent"] - queue["active"])):
        try:
            found.append(await stack.enter_async_context(stage.session()))
        except Unexpected as error:
            if "too_many_sessions" not in str(error):
                raise
            break
    return found
