"""Attacks by clients without a session and a credential, a hundred at a time."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit

from coderunner.attack import raw
from coderunner.attack.case import Group
from coderunner.attack.clients.crowds import served
from coderunner.attack.stage import Stage
from coderunner.client.peer import Unexpected

GROUP = Group("strangers")
CROWD = 100
SERVED = "exited 0: served"
SECONDS = 6.0
"""How long an attack without an end is kept up."""
_OVER = (OSError, Unexpected, TimeoutError, asyncio.IncompleteReadError)


def http(stage: Stage, method: str, path: str, headers: dict[str, str]) -> bytes:
    """The head of an HTTP/1.1 request. `path`: below the server's address."""
    parts = urlsplit(stage.url)
    lines = [f"{method} {parts.path}{path} HTTP/1.1", f"Host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def crowd(act: Callable[[], Awaitable[str]], seconds: float) -> Counter[str]:
    """Calls `act` in CROWD tasks, each repeatedly, for `seconds`. Returns how often each answer or error
    came."""
    seen: Counter[str] = Counter()
    end = time.monotonic() + seconds

    async def one() -> None:
        """One client of the crowd."""
        while time.monotonic() < end:
            try:
                async with asyncio.timeout(max(0.1, end - time.monotonic())):
                    seen[await act()] += 1
            except _OVER as error:
                seen[type(error).__name__] += 1
                await asyncio.sleep(0.01)

    await asyncio.gather(*(one() for _ in range(CROWD)))
    return seen


@contextlib.asynccontextmanager
async def held(stage: Stage, first: bytes, *, socket: bool) -> AsyncIterator[list[raw.Raw]]:
    """Yields CROWD connections that have sent `first` and stay open; those that are refused are left out.
    `socket`: whether they are WebSockets."""
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for _ in range(CROWD):
            with contextlib.suppress(*_OVER):
                made = raw.websocket(stage.url) if socket else raw.connect(stage.url)
                one = await stack.enter_async_context(made)
                await one.send(first)
                found.append(one)
        yield found


async def _all_ended(connections: list[raw.Raw], seconds: float) -> str:
    """Whether the server closes all connections within `seconds`, as a text."""

    async def one(connection: raw.Raw) -> bool:
        try:
            await connection.ended(seconds)
        except TimeoutError:
            return False
        return True

    ended = await asyncio.gather(*(one(connection) for connection in connections))
    return "all ended" if all(ended) else f"{ended.count(False)} of {len(ended)} live on"


@GROUP.case("packed-bodies", "the event loop, by 100 bodies that unpack to 4 MB each", SERVED)
async def _packed(stage: Stage) -> str:
    # 4 kB that become 4 MB: aiohttp would unpack a body by itself.
    body = gzip.compress(bytes(4_000_000))
    paths = iter(range(1_000_000))

    async def act() -> str:
        """Sends the body to one of three routes, in turn. Returns the status."""
        method, path = (("POST", "nowhere"), ("PUT", "api/health"), ("PUT", "api/sessions/x/files/y"))[
            next(paths) % 3
        ]
        async with raw.connect(stage.url) as one:
            headers = {"Content-Encoding": "gzip", "Content-Length": str(len(body))}
            await one.send(http(stage, method, path, headers) + body)
            return str(await one.status())

    await crowd(act, SECONDS)
    return await served(stage)


@GROUP.case("nested-texts", "the event loop, by 100 first texts of a million lists each", SERVED)
async def _nested(stage: Stage) -> str:
    text = b"[" + b",".join([b"[]"] * 1_000_000) + b"]"
    whole = raw.frame(raw.TEXT, text)

    async def act() -> str:
        async with raw.websocket(stage.url) as one:
            await one.send(whole)
            return str(await one.close_code())

    await crowd(act, SECONDS)
    return await served(stage)


@GROUP.case("small-nested-texts", "the event loop, by 100 clients that endlessly send lists of 60 KB", SERVED)
async def _small_nested(stage: Stage) -> str:
    frame = raw.frame(raw.TEXT, b"[" + b",".join([b"[]"] * 20_000) + b"]")

    async def act() -> str:
        async with raw.websocket(stage.url) as one:
            while not one.over:
                await one.send(frame)
            return "closed"

    await crowd(act, SECONDS)
    return await served(stage)


@GROUP.case(
    "unfinished-messages", "memory and sockets, by 100 messages of which the end never comes",
    f"all ended, then {SERVED}",
)  # fmt: skip
async def _unfinished(stage: Stage) -> str:
    part = raw.frame(raw.TEXT, b'{"type":"ping","t":1}') + raw.frame(raw.TEXT, b"x" * 60_000, fin=False)
    async with held(stage, part, socket=True) as connections:
        during = await served(stage)
        # 40 s here and below: longer than the server's deadlines for the rest of a head (10 s), of a message
        # (15 s, `web.tcp`) and of a body (30 s, `web.files`).
        return f"{await _all_ended(connections, 40)}, then {during}"


@GROUP.case("unfinished-heads", "sockets, by 100 requests whose head never ends", f"all ended, then {SERVED}")
async def _heads(stage: Stage) -> str:
    # Without the empty line that ends a head.
    part = http(stage, "GET", "api/health", {})[:-2] + b"X-Filler: " + b"x" * 4000
    async with held(stage, part, socket=False) as connections:
        during = await served(stage)
        return f"{await _all_ended(connections, 40)}, then {during}"


@GROUP.case(
    "half-requests-behind-whole-ones", "sockets, by 100 connections that were answered once",
    f"all ended, then {SERVED}",
)  # fmt: skip
async def _behind(stage: Stage) -> str:
    first = http(stage, "GET", "api/health", {})
    async with held(stage, first, socket=False) as connections:
        for one in connections:
            await one.status()
            await one.send(first[:-2])
        during = await served(stage)
        return f"{await _all_ended(connections, 40)}, then {during}"


@GROUP.case(
    "slow-bodies", "memory and sockets, by 100 bodies that come a byte at a time", f"all ended, then {SERVED}"
)
async def _bodies(stage: Stage) -> str:
    head = http(stage, "PUT", "api/sessions/x/files/y", {"Content-Length": "60000"})
    async with held(stage, head + b"x" * 30_000, socket=False) as connections:
        during = await served(stage)

        async def drip(one: raw.Raw) -> None:
            """Sends a body a byte at a time, as long as the server lets it."""
            while not one.over:
                await one.send(b"x")
                await asyncio.sleep(0.5)

        drips = [asyncio.create_task(drip(one)) for one in connections]
        try:
            return f"{await _all_ended(connections, 40)}, then {during}"
        finally:
            for task in drips:
                task.cancel()
            await asyncio.gather(*drips, return_exceptions=True)


@GROUP.case("answers-not-read", "memory, by 200 clients that request 94 MB each and read nothing", SERVED)
async def _answers(stage: Stage) -> str:
    program = "import sys; sys.stdout.write(8 * 1024 * 1024 * chr(1))"  # six characters each in JSON, twice
    wanted = {"language": "python", "source": program, "limits": {"output_bytes": 8 * 1024 * 1024}}
    body = json.dumps(wanted).encode()
    headers = stage.headers | {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Idempotency-Key": secrets.token_urlsafe(24),
    }
    whole = http(stage, "POST", "api/run", headers) + body
    events = http(stage, "POST", "api/run", headers | {"Accept": "text/event-stream"}) + body
    async with raw.connect(stage.url) as one:
        await one.send(whole)
        if (status := await one.status(60)) != 200:
            return f"the run was answered with {status}"
    async with held(stage, whole, socket=False), held(stage, events, socket=False):
        await asyncio.sleep(SECONDS)
        return await served(stage)


@GROUP.case("pings-without-end", "the event loop, by 100 clients that ping as fast as they can", SERVED)
async def _pings(stage: Stage) -> str:
    pings = raw.frame(raw.PING, b"x") * 500
    return await _without_end(stage, pings, pings, socket=True)


@GROUP.case(
    "comings-and-goings",
    "the event loop, by 100 clients that connect and disconnect endlessly",
    SERVED,
)
async def _churn(stage: Stage) -> str:
    async def act() -> str:
        async with raw.connect(stage.url):
            return "connected"

    await crowd(act, SECONDS)
    return await served(stage)


@GROUP.case("refused-without-end", "the event loop, by 100 clients that request unknown addresses", SERVED)
async def _refused(stage: Stage) -> str:
    ask = http(stage, "GET", "api/sessions/x/files", {"Authorization": "Bearer nobody"})

    async def act() -> str:
        async with raw.connect(stage.url) as one:
            await one.send(ask)
            while await one.status():
                await one.send(ask)
            return "closed"

    await crowd(act, SECONDS)
    return await served(stage)


async def _without_end(stage: Stage, first: bytes, again: bytes, *, socket: bool) -> str:
    """CROWD clients that send `first`, and then `again` until they are cut off. Returns whether a newcomer is
    served."""

    async def act() -> str:
        """One client, until it is cut off."""
        made = raw.websocket(stage.url) if socket else raw.connect(stage.url)
        async with made as one:
            await one.send(first)
            while not one.over:
                await one.send(again)
            return "closed"

    await crowd(act, SECONDS)
    return await served(stage)


@GROUP.case("messages-of-empty-pieces", "the event loop, by 100 messages of empty fragments", SERVED)
async def _fragments(stage: Stage) -> str:
    first = raw.frame(raw.TEXT, b"x", fin=False)
    return await _without_end(stage, first, raw.frame(raw.CONTINUATION, fin=False) * 2000, socket=True)


@GROUP.case(
    "pipelined-requests",
    "the event loop, by 100 clients that send requests without waiting for answers",
    SERVED,
)
async def _pipelined(stage: Stage) -> str:
    return await _without_end(stage, b"", http(stage, "GET", "api/health", {}) * 200, socket=False)


@GROUP.case(
    "chunk-extensions",
    "the event loop, by 100 bodies with 8 KB of chunk extensions for each byte",
    SERVED,
)
async def _extensions(stage: Stage) -> str:
    head = http(stage, "PUT", "api/sessions/x/files/y", {"Transfer-Encoding": "chunked"})
    return await _without_end(stage, head, b"1;" + b"e" * 8000 + b"\r\nx\r\n", socket=False)


@GROUP.case("chunk-trailers", "memory, by 100 bodies of one byte with an endless trailer", SERVED)
async def _trailers(stage: Stage) -> str:
    headers = {"Transfer-Encoding": "chunked", "Content-Type": "application/json"}
    first = http(stage, "POST", "api/run", stage.headers | headers) + b"1\r\n{\r\n0\r\n"
    return await _without_end(stage, first, b"X-Y: " + b"y" * 8000 + b"\r\n", socket=False)


@GROUP.case("chunk-trailers-of-one-line", "memory, by 100 trailers of a line that never ends", SERVED)
async def _trailer(stage: Stage) -> str:
    headers = {"Transfer-Encoding": "chunked", "Content-Type": "application/json"}
    first = http(stage, "POST", "api/run", stage.headers | headers) + b"1\r\n{\r\n0\r\n"
    return await _without_end(stage, first, b"y" * 16000, socket=False)
