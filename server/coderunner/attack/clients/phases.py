"""Clients that disconnect in every phase of a session: nothing is left behind, and others are not
affected."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from coderunner.attack import raw
from coderunner.attack.case import UNTRIED, Group
from coderunner.attack.programs import aftermath, describe
from coderunner.attack.stage import Stage, sessions_at_once
from coderunner.client.peer import Peer, Unexpected, random_id
from coderunner.core import codec
from coderunner.schema import messages as m

GROUP = Group("phases")
_MAX_SLOTS = 24  # a server with more of them is not filled up for one case


@GROUP.case("vanish-before-the-greeting", "the server, by 100 connections that are closed at once", "pong")
async def _greeting(stage: Stage) -> str:
    async def one() -> None:
        async with raw.connect(stage.url) as connection:
            await connection.send(raw.request(stage.url, "ws", stage.headers))

    await asyncio.gather(*(one() for _ in range(100)))
    async with stage.connect() as peer:
        await peer.send(m.Ping(1))
        await peer.message(m.Pong)
        return "pong"


@GROUP.case(
    "vanish-while-opening",
    "the slots, by clients that disconnect before their session is open",
    "all given back",
)
async def _opening(stage: Stage) -> str:
    before = (await stage.stats()).queue.active
    for _ in range(5):
        async with stage.connect() as peer:
            await peer.send(m.Open("python", peer.client, limits={"pids": 64}))  # not as the warm ones
            # A container takes longer to be made, so the client leaves while the session is being opened.
            await asyncio.sleep(0.002)
            peer.drop()
            await peer.closed()
    back = await stage.settled(lambda queue: queue.active <= before and queue.queued == 0, 20)
    return "all given back" if back else f"{(await stage.stats()).queue}"


@GROUP.case(
    "vanish-while-queued",
    "the queue, by clients that disconnect while they wait",
    "place lost, the next is served",
)
async def _queued(stage: Stage) -> str:
    queue = (await stage.stats()).queue
    if queue.max_concurrent > _MAX_SLOTS:
        return f"{UNTRIED}the server has {queue.max_concurrent} slots, too many to fill"
    async with contextlib.AsyncExitStack() as stack:
        holders = await sessions_at_once(stage, stack, queue.max_concurrent - queue.active)
        if len(holders) < queue.max_concurrent - queue.active:
            return f"{UNTRIED}the server gives {len(holders)} more sessions to one client, too few to fill it"
        async with stage.connect() as lost:
            await lost.send(m.Open("python", lost.client))
            await lost.message(m.Queued)
            async with stage.connect() as patient:
                await patient.send(m.Open("python", patient.client))
                second = await patient.message(m.Queued)
                lost.drop()
                await lost.closed()
                await patient.wait(lambda: _first(patient), 10, "the first place")
                if second.position != 2:
                    raise Unexpected(f"queued at {second.position}")
                await holders[0].send(m.Close())
                await patient.wait(lambda: patient.opened, 30, "session")
                await patient.send(m.Close())
                await patient.closed()
    return "place lost, the next is served"


def _first(peer: Peer) -> bool:
    """Whether the client was told that it is the next in the queue."""
    return any(isinstance(one, m.Queued) and one.position == 1 for one in peer.messages)


async def _vanish(stage: Stage, code: str, ready: Callable[[Peer], bool], **fields: Any) -> str:
    """Drops the connection once `ready` holds, and attaches again. Returns how the program ended. `fields`:
    of `Peer.run`, and the session's `language`."""
    language = fields.pop("language", "python")
    async with stage.session(language) as peer:
        assert peer.opened
        await peer.run(1, code, **fields)
        await peer.wait(lambda: ready(peer), 20, "the moment")
        peer.drop()
        await peer.closed()
        async with stage.attach(peer.opened, client=peer.client, go_on=peer) as other:
            return describe(await other.ended(1)) + await aftermath(other, language)


@GROUP.case("vanish-while-running", "a program, by the loss of its client", "exited 4: whole")
async def _running(stage: Stage) -> str:
    code = "import time; print('up', flush=True); time.sleep(.3); print('whole'); raise SystemExit(4)"
    return await _vanish(stage, code, lambda peer: "up" in peer.channel(1).text)


@GROUP.case("vanish-while-compiling", "a compilation, by the loss of its client", "exited 4: whole")
async def _compiling(stage: Stage) -> str:
    code = '#include <stdio.h>\nint main(void) { puts("whole"); return 4; }'
    return await _vanish(stage, code, lambda peer: bool(peer.channel(1).states), language="c", entry="main.c")


@GROUP.case(
    "vanish-after-the-end",
    "the record of an end, by a client that disconnects before it",
    "exited 4: whole",
)
async def _exited(stage: Stage) -> str:
    def ended(peer: Peer) -> bool:
        return any(state.phase == "exited" for state in peer.channel(1).states)

    return await _vanish(stage, "print('whole'); raise SystemExit(4)", ended)


@GROUP.case("vanish-in-mid-upload", "the workspace, by half of a message with files", "exited 0: old")
async def _upload(stage: Stage) -> str:
    async with stage.session(files=(m.File("main.py", b"print('old')"),)) as peer:
        assert peer.opened
        opened = peer.opened
        async with stage.raw(f"ws/{opened.session}") as one:
            attach = codec.encode_client(m.Attach(opened.session, opened.token, random_id()))
            await one.send(raw.frame(raw.TEXT, attach.encode()))
            await one.until(b'"attached"')
            run = (
                b'{"type":"run","channel":1,"mode":"pipe","files":[{"path":"main.py","content":"'
                + b"x" * 100_000
            )
            await one.send(raw.frame(raw.TEXT, run, length=200_000))
        await peer.send(m.Take())
        await peer.send(m.Run(2, "pipe"))
        return describe(await peer.ended(2)) + await aftermath(peer)


@GROUP.case(
    "close-while-opening", "the slots, by `close` before the session is open", "client, closed with 1000"
)
async def _close_opening(stage: Stage) -> str:
    before = (await stage.stats()).queue.active
    async with stage.connect() as peer:
        await peer.send(m.Open("python", peer.client, limits={"pids": 64}))
        await peer.send(m.Close())
        closed = await peer.message(m.Closed)
        code = await peer.closed()
    if not await stage.settled(lambda queue: queue.active <= before, 20):
        raise Unexpected("the slot was not given back")
    return f"{closed.reason}, closed with {code}"


@GROUP.case(
    "close-twice-in-a-flood",
    "the end of a session, by repeated requests for it during a flood",
    "client, closed with 1000",
)
async def _close_twice(stage: Stage) -> str:
    async with stage.session() as peer:
        peer.keep = False
        await peer.run(1, "while True: print('x' * 1000)")
        await peer.wait(lambda: peer.channel(1).end > 100_000, 15, "a flood")
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                await peer.send(m.Close())
        code = await peer.closed()
        reasons = {one.reason for one in peer.messages if isinstance(one, m.Closed)}
        return f"{' '.join(sorted(reasons))}, closed with {code}"
