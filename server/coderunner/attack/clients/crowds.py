"""Attacks by very many clients at once, most of them idle."""

from __future__ import annotations

import asyncio
import contextlib
import resource

import aiohttp

from coderunner.attack import raw
from coderunner.attack.case import UNTRIED, Group
from coderunner.attack.programs import describe
from coderunner.attack.stage import Stage, sessions_at_once
from coderunner.client.peer import Peer, Unexpected, random_id
from coderunner.core import codec
from coderunner.schema import messages as m

GROUP = Group("crowds")
_SERVED = "exited 0: served"
WATCHERS, SECONDS = 100, 6.0  # SECONDS: for which an attack without an end is kept up
PATIENCE_SECONDS = 10.0  # for which a newcomer tries to get a session


async def served(stage: Stage) -> str:
    """A newcomer gets a session and runs a program.

    It comes from the attackers' own address, so its connection may be one too many of that; it tries again.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_SECONDS
    while True:
        try:
            async with stage.session() as peer:
                return describe(await peer.result(1, "print('served')"))
        except (aiohttp.ClientError, ConnectionError):
            if loop.time() > deadline:
                raise
            await asyncio.sleep(0.2)


def _descriptors_missing(wanted: int) -> str:
    """Raises this process's limit of open files for `wanted` sockets. Returns why that is not possible, "" if
    it is."""
    # 100 more than the sockets, for the files and connections that this process has open besides.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The soft limit may be raised up to the hard one by any process (setrlimit(2)).
    if soft < wanted + 100 <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted + 100, hard))
        soft = wanted + 100
    return "" if soft >= wanted + 100 else f"{UNTRIED}at most {soft} open files here"


@GROUP.case("idle-connections", "the server, by 1,000 connections that send nothing", _SERVED)
async def _idle(stage: Stage) -> str:
    if short := _descriptors_missing(1000):
        return short
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(10):
            # In portions: a backlog that overflows would delay the attack, and test the kernel.
            opening = [_upgrade(stage, stack) for _ in range(100)]
            await asyncio.gather(*opening)
        return await served(stage)


async def _upgrade(stage: Stage, stack: contextlib.AsyncExitStack) -> None:
    """Opens a WebSocket that `stack` closes. Raises Unexpected for a status that is neither 101 nor a
    refusal."""
    connection = await stack.enter_async_context(raw.connect(stage.url))
    await connection.send(raw.request(stage.url, "ws", stage.headers))
    status = await connection.status(20)
    # 429 and 503 are the defence.
    if status not in (101, 429, 503):
        raise Unexpected(f"HTTP {status}")


@GROUP.case("half-open-handshakes", "the server, by 500 handshakes that never end", _SERVED)
async def _half_open(stage: Stage) -> str:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(500):
            connection = await stack.enter_async_context(raw.connect(stage.url))
            # Without the empty line that ends a head.
            await connection.send(raw.request(stage.url, "ws", stage.headers)[:-2])
        return await served(stage)


@GROUP.case("nothing-but-connections", "the server, by 500 connections without a request", _SERVED)
async def _connections(stage: Stage) -> str:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(500):
            await stack.enter_async_context(raw.connect(stage.url))
        return await served(stage)


@GROUP.case(
    "opens-at-once", "slots and queue, by 300 openings at once", "300 answered, then exited 0: served"
)
async def _opens(stage: Stage) -> str:
    before = (await stage.stats()).queue
    peers: list[Peer] = []
    try:
        for _ in range(300):
            peer = await stage.connected()
            peers.append(peer)
            # With a limit of its own no warm container fits: each opening has to make one.
            await peer.send(m.Open("python", peer.client, limits={"pids": 64}))

        async def answer(peer: Peer) -> bool:
            """Waits until an opening is queued, opened or refused. Raises Unexpected."""
            kinds = (m.Queued, m.Opened, m.ErrorMessage)
            await peer.wait(lambda: any(isinstance(one, kinds) for one in peer.messages), 30, "an answer")
            return True

        answered = sum(await asyncio.gather(*(answer(peer) for peer in peers)))
        for peer in peers:
            with contextlib.suppress(ConnectionError):
                await peer.send(m.Close())
    finally:
        await asyncio.gather(*(peer.disconnect() for peer in peers))
    await stage.settled(lambda queue: queue.active <= before.active, 30)
    return f"{answered} answered, then {await served(stage)}"


@GROUP.case(
    "watchers", "a session, by 100 watchers of its flood that acknowledge nothing", "every byte as it was"
)
async def _watchers(stage: Stage) -> str:
    code = "for i in range(60_000): print('%07d' % i)"
    async with stage.session() as peer, contextlib.AsyncExitStack() as stack:
        assert peer.opened
        for _ in range(100):
            watcher = await stack.enter_async_context(stage.attach(peer.opened, role="watch"))
            watcher.acks = watcher.keep = False
        stream = await peer.result(1, code, 40)
        exact = bytes(stream.data) == b"".join(b"%07d\n" % number for number in range(60_000))
        return "every byte as it was" if exact else f"{len(stream.data)} bytes"


async def _served_beside_watchers(stage: Stage, again: bytes) -> str:
    """Has WATCHERS watchers of one session send `again` repeatedly, each until it is cut off. Returns whether
    a newcomer is served meanwhile."""
    async with stage.session() as peer, contextlib.AsyncExitStack() as stack:
        assert peer.opened
        token, path = peer.opened.token, f"ws/{peer.opened.session}"
        ones = []
        for _ in range(WATCHERS):
            one = await stack.enter_async_context(stage.raw(path))
            attach = m.Attach(peer.opened.session, token, random_id(), role="watch")
            await one.send(raw.frame(raw.TEXT, codec.encode_client(attach).encode()))
            await one.until(b'"attached"')
            ones.append(one)

        async def act(one: raw.Raw) -> None:
            while not one.over:
                await one.send(again)

        acts = [asyncio.create_task(act(one)) for one in ones]
        try:
            await asyncio.wait(acts, timeout=SECONDS)
            return await served(stage)
        finally:
            for task in acts:
                task.cancel()
            await asyncio.gather(*acts, return_exceptions=True)


@GROUP.case(
    "pings-of-watchers",
    "the event loop, by 100 watchers of a session that send pings as fast as they can",
    _SERVED,
)
async def _pings(stage: Stage) -> str:
    return await _served_beside_watchers(stage, raw.frame(raw.TEXT, b'{"type":"ping","t":1}') * 100)


@GROUP.case("texts-of-watchers", "memory, by 100 watchers of a session that send texts of 1.6 MB", _SERVED)
async def _texts(stage: Stage) -> str:
    files = tuple(m.File(f"p{number}", b"x" * 350) for number in range(4000))
    text = codec.encode_client(m.Open("python", random_id(), files=files))
    return await _served_beside_watchers(stage, raw.frame(raw.TEXT, text.encode()))


@GROUP.case(
    "frames-of-sessions",
    "the event loop, by six sessions of one address that send pings endlessly",
    _SERVED,
)
async def _pings_of_sessions(stage: Stage) -> str:
    again = raw.frame(raw.TEXT, b'{"type":"ping","t":1}') * 100

    async def act(peer: Peer) -> None:
        """Sends pings to a session endlessly, on a new connection whenever one was cut off."""
        assert peer.opened
        attach = m.Attach(peer.opened.session, peer.opened.token, random_id(), role="control")
        while True:  # one that was cut off comes again
            with contextlib.suppress(OSError, Unexpected, TimeoutError):
                async with stage.raw(f"ws/{peer.opened.session}") as one:
                    await one.send(raw.frame(raw.TEXT, codec.encode_client(attach).encode()))
                    while not one.over:
                        await one.send(again)

    async with contextlib.AsyncExitStack() as stack:
        peers = await sessions_at_once(stage, stack, 6)
        acts = [asyncio.create_task(act(peer)) for peer in peers]
        try:
            await asyncio.sleep(SECONDS)
            return await served(stage)
        finally:
            for task in acts:
                task.cancel()
            await asyncio.gather(*acts, return_exceptions=True)


@GROUP.case(
    "questions", "the server, by 2,000 requests for its figures", "2000 answered, then exited 0: served"
)
async def _questions(stage: Stage) -> str:
    answered = 0
    for _ in range(20):
        answers = await asyncio.gather(*(stage.get("api/queue-stats") for _ in range(100)))
        answered += sum(status in (200, 429, 503) for status, _ in answers)
    return f"{answered} answered, then {await served(stage)}"
