"""What a room's wall of 50 tiles costs the server, and those who type beside it.

Every session prints a screen between any two looks of the wall, so that all of its tiles change each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from tests.harness import MEASURED, Client, Server, running_server, session
from tests.web.test_rooms import SETTINGS, tina, who

TILES = 50
SECONDS = 10.0  # of each measurement, with the wall and without
KEYS = 100
LOOKS = 2  # of a wall, in a second
# Without a process for each screen: only the server's work is to be seen.
PRINTS = (
    "for i in {1..24}; do screen+=$'a line of a program that prints as many as a terminal shows\\n'; done\n"
    'while true; do read -t 0.4 line; echo "$screen$((n += 1))"; done'
)
ECHO = "stty raw -echo; printf '!'; while IFS= read -r -n1 key; do printf '%s' \"$key\"; done"


Figure = tuple[str, str, float | None, str, list[float]]


async def figures(folder: Path, rounds: int, parent: str) -> list[Figure]:
    """(title, unit, target, title of the peer, values) of each: percent of one core that the wall takes,
    which are those of the server's process with it, less without; milliseconds of a keystroke's echo without
    it, and with it. `parent`: CGROUP_PARENT."""
    settings = {**SETTINGS, **MEASURED, "MAX_CONCURRENT_SESSIONS": "60", "CGROUP_PARENT": parent}
    shares: list[float] = []
    alone: list[float] = []
    beside: list[float] = []
    with running_server(folder, ready=("bash",), **settings) as server:
        async with contextlib.AsyncExitStack() as stack:
            for number in range(TILES):
                headers = who(f"student-{number}", "algebra")
                client = await stack.enter_async_context(session(server, "bash", headers=headers))
                await client.run(1, ECHO if not number else PRINTS, mode="tty", entry="main.sh")
                if not number:
                    typist = client
            await typist.until(1, "!")
            for _ in range(rounds):
                without = await _round(server, typist, alone)
                async with _wall(server) as told:
                    shares.append(await _round(server, typist, beside) - without)
                # All but the typist's tile, and a look less.
                assert sum(told) > TILES + (LOOKS * SECONDS / 2) * (TILES - 1), told
    echo = f"a keystroke's echo beside {TILES - 1} sessions that print"
    return [
        (f"a room's wall of {TILES} tiles: of one core", "%", 10, "", shares),
        (echo, "ms", None, "", alone),
        ("the same, with their wall", "ms", None, echo, beside),
    ]


async def _round(server: Server, typist: Client, echoes: list[float]) -> float:
    """The percentage of one core that the server takes for SECONDS, in which KEYS are typed."""
    before, began = _cpu(server), time.perf_counter()
    for _ in range(KEYS):
        at, end = time.perf_counter(), typist.channel(1).end
        await typist.input(1, b"x")
        await typist.wait(lambda end=end: typist.channel(1).end > end)
        echoes.append((time.perf_counter() - at) * 1000)
        await asyncio.sleep(SECONDS / KEYS)
    return 100 * (_cpu(server) - before) / (time.perf_counter() - began)


def _cpu(server: Server) -> float:
    """Seconds of processor time of the server's process."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.asynccontextmanager
async def _wall(server: Server) -> AsyncIterator[list[int]]:
    """A wall that is looked at, once it has all tiles: how many each of its events had."""
    seen = asyncio.Event()
    told: list[int] = []

    async def read(answer: aiohttp.ClientResponse) -> None:
        async for line in answer.content:
            if line.startswith(b"data: "):
                told.append(line.count(b'"session"'))
                seen.set()

    address = server.url + "api/rooms/algebra/wall"
    async with (
        aiohttp.ClientSession(read_bufsize=1024 * 1024) as http,
        http.get(address, headers=tina(), timeout=aiohttp.ClientTimeout()) as answer,
    ):
        assert answer.status == 200
        task = asyncio.create_task(read(answer), name="wall")
        try:
            async with asyncio.timeout(20):
                await seen.wait()
            yield told
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
