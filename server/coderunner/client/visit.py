"""HTTP requests and WebSockets to a server. The sessions that were opened through them are ended with
them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Self, TypeVar

import aiohttp
import msgspec

from coderunner.client.patience import Away, is_own
from coderunner.client.peer import Peer, Unexpected
from coderunner.client.refused import Refused
from coderunner.schema import messages as m
from coderunner.schema.answers import QueueStatistics
from coderunner.schema.forms import UNIX

PROTOCOL = "coderunner.v1"
T = TypeVar("T")
SILENCE = 60.0  # seconds; a stream of events has a comment every ten
ANSWER_SECONDS = 30.0  # for an answer that is there at once, and for a WebSocket
NOT_OPEN = "this client is not open: use it within its `with` or `async with` block"
EVENTS = "text/event-stream"
LONGEST_EVENT = 8 * 1024 * 1024  # bytes


class Answered(Exception):
    """An answer that is no stream of events."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}")
        self.status, self.text = status, text


class Visit:
    """An async context manager for connections to a server. At its end, it ends the sessions that were
    opened. `url`: an address, or `unix:` and the path of a socket. `bearer`: the credential for all requests,
    "" for none. `slowness`: of its peers."""

    def __init__(self, url: str, bearer: str = "", *, slowness: float = 1.0) -> None:
        self.place = url  # as it was named
        self._socket = url.removeprefix(UNIX) if url.startswith(UNIX) else None
        if self._socket is not None:
            url = "http://localhost"
        self.url = url if url.endswith("/") else url + "/"
        self.bearer = bearer
        self.slowness = slowness
        self.reached = False  # whether a CodeRunner has answered there
        self._live: dict[str, str] = {}
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = (
            # No limit: aiohttp's default of 100 connections would make a load test wait for itself.
            aiohttp.TCPConnector(limit=0)
            if self._socket is None
            else aiohttp.UnixConnector(self._socket, limit=0)
        )
        self._http = aiohttp.ClientSession(connector=connector)
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
    def http(self) -> aiohttp.ClientSession:
        """The session of all requests. Raises Refused before the block of this visit, and after it."""
        if self._http is None or self._http.closed:
            raise Refused(NOT_OPEN)
        return self._http

    @property
    def headers(self) -> dict[str, str]:
        """The headers of each request."""
        return {"Authorization": f"Bearer {self.bearer}"} if self.bearer else {}

    async def connected(self, path: str = "ws", *, client: str | None = None, **fields: Any) -> Peer:
        """Opens a WebSocket, which the caller has to close. `path`: on the server. `client`: the client's id.
        `fields`: others of aiohttp's `ws_connect`. Raises aiohttp's errors, TimeoutError."""
        headers = {**self.headers, **fields.pop("headers", {})}
        fields.setdefault("protocols", (PROTOCOL,))
        # autoclose=False: `Peer` notes the close code before it answers the close frame.
        # max_msg_size 0: the server's own limits hold, and a frame of output may be large.
        async with asyncio.timeout(ANSWER_SECONDS * self.slowness):
            socket = await self.http.ws_connect(
                self.url + path, headers=headers, max_msg_size=0, autoclose=False, **fields
            )
        self.reached = True
        peer = Peer(socket, client, slowness=self.slowness)
        peer.on_opened = self._remember
        return peer

    @contextlib.asynccontextmanager
    async def connect(self, path: str = "ws", **fields: Any) -> AsyncIterator[Peer]:
        """As `connected`; the WebSocket is closed at the end of the block."""
        peer = await self.connected(path, **fields)
        try:
            yield peer
        finally:
            await peer.disconnect()

    @contextlib.asynccontextmanager
    async def session(
        self,
        language: str = "python",
        *,
        patience: float = 0.0,
        delayed: Callable[[], None] | None = None,
        **fields: Any,
    ) -> AsyncIterator[Peer]:
        """Opens a session, of which the client has the control; it is ended with the block.

        `patience`: seconds for which retryable refusals are repeated. `delayed`: called each time that the
        server has no place yet: the request is in its queue, or is to be repeated. `fields`: others of
        `open`. Raises Unexpected.
        """
        async with contextlib.AsyncExitStack() as stack:
            peer = await self._opened(stack, language, time.monotonic() + patience, delayed, fields)
            try:
                yield peer
            finally:
                if peer.close_code is None:
                    with contextlib.suppress(ConnectionError, Unexpected):
                        await peer.send(m.Take())  # another socket of this visit may have it
                        await peer.send(m.Close())
                        if await peer.closed(10) == 1000:
                            self.forget(peer)

    async def _opened(
        self,
        stack: contextlib.AsyncExitStack,
        language: str,
        deadline: float,
        delayed: Callable[[], None] | None,
        fields: dict[str, Any],
    ) -> Peer:
        """Opens a session, repeating retryable refusals until `deadline` (monotonic clock). Raises
        Unexpected."""
        while True:
            peer = await stack.enter_async_context(self.connect())
            peer.on_queued = delayed
            await peer.send(m.Open(language, peer.client, **fields))
            try:
                await peer.wait(lambda one=peer: one.opened, 60, "session")  # type: ignore[misc]
                return peer
            except Unexpected:
                errors = [one for one in peer.messages if isinstance(one, m.ErrorMessage)]
                # As long as the server asks for; a second if it does not say.
                wait = ((errors and errors[-1].retry_after_ms) or 1000) / 1000
                if not errors or not errors[-1].retryable or time.monotonic() + wait > deadline:
                    raise
                if delayed is not None:
                    delayed()
                await asyncio.sleep(wait)

    @contextlib.asynccontextmanager
    async def attach(
        self,
        opened: m.Opened,
        *,
        client: str | None = None,
        role: str | None = None,
        go_on: Peer | None = None,
    ) -> AsyncIterator[Peer]:
        """Attaches another WebSocket to a session. `go_on`: continues from what this one has received."""
        async with self.connect(f"ws/{opened.session}", client=client) as peer:
            if go_on is not None:
                peer.channels = go_on.channels
            cursors = peer.cursors()
            await peer.send(m.Attach(opened.session, opened.token, peer.client, role=role, cursors=cursors))
            yield peer

    async def get(self, path: str) -> tuple[int, str]:
        """Sends a GET request; returns (status, body). Raises aiohttp's errors, TimeoutError."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS * self.slowness)
        async with self.http.get(self.url + path, headers=self.headers, timeout=timeout) as answer:
            return self._read(answer.status, await answer.text(errors="replace"))

    def _read(self, status: int, text: str) -> tuple[int, str]:
        """Returns an answer, after noting whether it is a CodeRunner's."""
        self.reached = self.reached or is_own(status, text)
        return status, text

    async def answers(self) -> bool:
        """Whether a CodeRunner answers now."""
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            return is_own(*await self.get("api/health"))
        return False

    async def delete(self, path: str) -> int:
        """Sends a DELETE request; returns the status."""
        async with self.http.delete(self.url + path, headers=self.headers) as answer:
            return answer.status

    async def post(self, path: str, document: Any, headers: dict[str, str]) -> tuple[int, str]:
        """(status, body) of a request whose answer may take as long as a program runs. Raises aiohttp's
        errors, and TimeoutError after SILENCE: the program runs, or no server is there any more."""
        asked = self.http.post(
            self.url + path,
            json=document,
            headers={**self.headers, **headers},
            # aiohttp's default is five minutes in all; a program may be allowed more.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=SILENCE),
        )
        async with asked as answer:
            return self._read(answer.status, await answer.text(errors="replace"))

    async def events(
        self, path: str, document: Any, headers: dict[str, str]
    ) -> AsyncGenerator[tuple[str, str, dict[str, Any]], None]:
        """Yields the events (name, id, data) of a request. Raises Answered for any other answer, aiohttp's
        errors, and Away for events that are none of a CodeRunner."""
        asked = self.http.post(
            self.url + path,
            json=document,
            headers={**self.headers, **headers},
            # aiohttp's default is five minutes in all; a batch may take an hour.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=SILENCE),
            # readline() refuses a line that is longer than the buffer.
            read_bufsize=LONGEST_EVENT,
        )
        async with asked as answer:
            if answer.status != 200 or answer.content_type != EVENTS:
                raise Answered(*self._read(answer.status, await answer.text(errors="replace")))
            # An empty line ends an event (HTML standard, server-sent events). This server sends each event's
            # data on one line.
            name, identity, data = "", "", ""
            while line := await self._line(answer):
                field, _, value = line.rstrip("\n").partition(": ")
                if field == "event":
                    name = value
                elif field == "id":
                    identity = value
                elif field == "data":
                    data = value
                elif not field and name:
                    yield name, identity, self._data(data)
                    name, identity, data = "", "", ""

    async def _line(self, answer: aiohttp.ClientResponse) -> str:
        """The next line of an answer, "" at its end. Raises Away for what is no text, or too long."""
        try:
            return (await answer.content.readline()).decode()
        except ValueError:
            raise Away(self.place, answer.status) from None

    def _data(self, text: str) -> dict[str, Any]:
        """An event's data. Raises Away for what is no object in JSON."""
        with contextlib.suppress(ValueError, RecursionError):
            data = json.loads(text)
            if isinstance(data, dict):
                return data
        raise Away(self.place, 200)

    async def document(self, path: str, kind: type[T]) -> T:
        """The answer of a route, as its model in `schema.answers`. Raises Unexpected for any other answer,
        and aiohttp's errors."""
        status, text = await self.get(path)
        if status == 200:
            with contextlib.suppress(msgspec.DecodeError):
                return msgspec.json.decode(text, type=kind)
        raise Unexpected(f"{self.url}{path} answers {status}: {text[:200]!r}")

    async def stats(self) -> QueueStatistics:
        """The server's figures. Raises as `document`."""
        return await self.document("api/queue-stats", QueueStatistics)

    # --- ending sessions ---------------------------------------------------------------------------------

    def _remember(self, opened: m.Opened) -> None:
        """Notes a session that was opened, to end it with the visit."""
        self._live[opened.session] = opened.token

    def own(self, place: tuple[str, str]) -> None:
        """Has a session ended with the visit. `place`: its id and token."""
        self._live[place[0]] = place[1]

    def leave(self, session: str) -> None:
        """Lets a session go on when the visit ends."""
        self._live.pop(session, None)

    def forget(self, peer: Peer) -> None:
        """Notes that the session has ended already."""
        if peer.opened is not None:
            self._live.pop(peer.opened.session, None)

    async def _end(self, session: str, token: str) -> None:
        """Ends a session by its token, on a new WebSocket. Does nothing if it has ended already."""
        with contextlib.suppress(Unexpected, ConnectionError, TimeoutError, aiohttp.ClientError):
            # Bounded: a server that is away must not keep a command from ending.
            async with asyncio.timeout(15), self.connect(f"ws/{session}") as peer:
                # Attaching takes over the control, without which `close` is refused.
                await peer.send(m.Attach(session, token, peer.client))
                await peer.send(m.Close())
                await peer.closed(10)
        self._live.pop(session, None)
