"""`scripts/bench.sh sizes`: what a session, a socket and a place in the queue cost, by how many there are.

Costs are processor time and memory of the server, which other work on the machine disturbs least; only the
echo is time.  `--write` puts the table and its plot into docs/performance.md.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from coderunner.schema import messages as m
from tests.bench import report
from tests.bench.__main__ import ECHO, typist
from tests.bench.measures import processor
from tests.bench.report import Series
from tests.harness import MEASURED, ROOT, Client, Server, connect, eventually, running_server, session
from tests.reference import BareTerminal

SESSIONS = (10, 25, 50, 100, 150, 200)
SOCKETS = (500, 1000, 1500, 2000)
WAITERS = (100, 200, 300, 400, 500)
TYPING, FLOODING, KEYS_A_SECOND, SECONDS = 45, 5, 5, 20
WARM = 8
WATCHERS = 125  # of one session
AT_ONCE = 4  # openings
PATIENCE = 300
IDLE_SECONDS, IDLE_TIMES = 1.0, 6
FLOOD_BYTES = 20_000_000


def resident(server: Server) -> float:
    """KiB of memory."""
    return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * 4.0


def settings(**more: str) -> dict[str, str]:
    return {
        **MEASURED, "LANGUAGES": "python", "CLEANUP_INTERVAL": "600000", "WARM_MAX": str(WARM),
        "SESSION_IDLE_TIMEOUT": "3600000", **more,
    }  # fmt: skip


class Used:
    """Processor time of the server since this was made, without what the sessions that just live take."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.idle = 0.0  # milliseconds a second

    async def rest(self) -> None:
        """Measures what the server uses while nothing is asked of it, and begins.

        The least of several times: the warm pool may still be filling."""
        found = []
        for _ in range(IDLE_TIMES):
            began, used = time.monotonic(), processor(self._server)
            await asyncio.sleep(IDLE_SECONDS)
            self._began = time.monotonic()
            self._used = processor(self._server)
            found.append((self._used - used) / (self._began - began))
        self.idle = min(found)

    def each(self, count: int) -> float:
        """Milliseconds for each of so many."""
        passed = time.monotonic() - self._began
        return (processor(self._server) - self._used - self.idle * passed) / count


# --- sessions ---------------------------------------------------------------------------------------------


async def sessions(server: Server, counts: Iterable[int]) -> list[Series]:
    """Each is opened, runs a program, and ends; with so many that live beside it."""
    begun = Series("a session, from `open` to its first program's end", "ms of the server's processor")
    ended = Series("a session's end", "ms of the server's processor")
    held = Series("a live session", "KiB of the server's memory")
    idle = Series("a live session in which nothing happens", "ms of the server's processor a second")
    used = Used(server)
    live: list[tuple[contextlib.AsyncExitStack, Client]] = []
    gate, before = asyncio.Semaphore(AT_ONCE), resident(server)

    async def one() -> None:
        async with gate, contextlib.AsyncExitStack() as stack:
            client = await stack.enter_async_context(connect(server.url))
            await client.send(m.Open("python", client.client))
            await client.wait(lambda: client.opened, PATIENCE, "session")
            await client.result(1, "print('hello')", 60)
            live.append((stack.pop_all(), client))

    async def end(stack: contextlib.AsyncExitStack, client: Client) -> None:
        await client.send(m.Close())
        await client.closed(60)
        await stack.aclose()

    for count in counts:
        await used.rest()
        new = count - len(live)
        await asyncio.gather(*(one() for _ in range(new)))
        begun.add(count, used.each(new))
        held.add(count, (resident(server) - before) / count)
        said(begun, held)
    for count in [*reversed(list(counts)[:-1]), 0]:
        await used.rest()
        gone = live[count:]
        idle.add(len(live), used.idle / len(live))
        del live[count:]
        await asyncio.gather(*(end(*pair) for pair in gone))
        # The engine is asked, and not the server, whose answers would be counted.
        await eventually(lambda most=count + WARM: len(server.containers()) <= most, 120, "the ends")
        ended.add(count + len(gone), used.each(len(gone)))
        said(ended, idle)
    ended.points.reverse()
    idle.points.reverse()
    return [begun, ended, held, idle]


# --- sockets ----------------------------------------------------------------------------------------------


async def sockets(server: Server, counts: Iterable[int]) -> list[Series]:
    """Sockets that watch a session in which nothing happens."""
    series, opened, before = Series("a socket that watches", "KiB of the server's memory"), 0, 0.0
    async with contextlib.AsyncExitStack() as stack:
        hosts: list[Client] = []
        for _ in range(-(-max(counts) // WATCHERS)):
            hosts.append(await stack.enter_async_context(session(server)))
        before = resident(server)
        for count in counts:
            for number in range(opened, count):
                host = hosts[number // WATCHERS].opened
                client = await stack.enter_async_context(connect(server.url, f"ws/{host.session}"))
                await client.send(m.Attach(host.session, host.token, client.client, role="watch"))
                await client.message(m.Attached)
            opened = count
            series.add(count, (resident(server) - before) / count)
            said(series)
    return [series]


# --- the queue --------------------------------------------------------------------------------------------


async def waiters(server: Server, counts: Iterable[int]) -> list[Series]:
    """Who comes when so many wait, and who leaves from the end."""
    came = Series("a place in the queue, taken", "ms of the server's processor")
    left = Series("a place in the queue, given up", "ms of the server's processor")
    waiting: list[tuple[contextlib.AsyncExitStack, Client]] = []

    async def one() -> None:
        async with contextlib.AsyncExitStack() as stack:
            client = await stack.enter_async_context(connect(server.url))
            await client.send(m.Open("python", client.client))
            await client.message(m.Queued, 60)
            waiting.append((stack.pop_all(), client))

    async def leave(stack: contextlib.AsyncExitStack, client: Client) -> None:
        await client.send(m.Close())
        await stack.aclose()

    async with session(server):
        for count in counts:
            new, used = count - len(waiting), processor(server)
            # At once: they are told together, and what else goes on meanwhile counts less.
            await asyncio.gather(*(one() for _ in range(new)))
            came.add(count, (processor(server) - used) / new)
            said(came)
        for count in [*reversed(list(counts)[:-1]), 0]:
            gone, used = waiting[count:], processor(server)
            del waiting[count:]
            for pair in reversed(gone):
                await leave(*pair)
            await eventually(lambda count=count: server.stats()["queue"]["queued"] == count, 60, "they leave")
            left.add(count + len(gone), (processor(server) - used) / len(gone))
            said(left)
    left.points.reverse()
    return [came, left]


# --- typing beside floods ---------------------------------------------------------------------------------


async def typing(server: Server) -> list[Series]:
    """Echoes of those who type at their own pace, while some others flood."""
    async with contextlib.AsyncExitStack() as stack:
        everybody = [await stack.enter_async_context(session(server)) for _ in range(TYPING + FLOODING)]
        for client in everybody:
            await client.run(1, ECHO, mode="tty", entry="echo.py")
            await client.until(1, "!", 60)
        bare = stack.enter_context(BareTerminal())
        began = time.monotonic()
        calm = await _typed(everybody[FLOODING:])
        flooding = []
        for client in everybody[:FLOODING]:
            words = (server.url, client.opened.session, client.opened.token, str(client.channel(1).end))
            flooding.append(await stack.enter_async_context(typist("websocket", *words)))
        floods = [asyncio.create_task(_flood(one)) for one in flooding]
        middle = time.monotonic()
        beside = await _typed(everybody[FLOODING:])
        for task in floods:
            task.cancel()
        await asyncio.gather(*floods, return_exceptions=True)
        reference = bare.p50(began, middle), bare.p50(middle, time.monotonic())
        for client in everybody[:FLOODING]:
            await client.send(m.Take())
    series = []
    cases = ((f"{TYPING} type", calm), (f"{TYPING} type, {FLOODING} flood", beside))
    for (title, found), machine in zip(cases, reference, strict=True):
        found.sort()
        series.append(Series(f"a bare terminal's echo, while {title}: p50", "ms", [(1, machine)]))
        for name, place in (("p50", len(found) // 2), ("p99", len(found) * 99 // 100)):
            series.append(Series(f"a key's echo, {title}: {name}", "ms", [(TYPING, found[place])]))
    said(*series)
    return series


async def _typed(clients: list[Client]) -> list[float]:
    found: list[float] = []

    async def one(client: Client, late: float) -> None:
        channel = client.channel(1)
        await asyncio.sleep(late)
        for _ in range(SECONDS * KEYS_A_SECOND):
            end, began = channel.end, time.perf_counter()
            await client.input(1, b"k")
            await client.wait(lambda end=end: channel.end > end, 60, "echo")
            found.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(1 / KEYS_A_SECOND)

    await asyncio.gather(*(one(client, n / len(clients) / KEYS_A_SECOND) for n, client in enumerate(clients)))
    return found


async def _flood(one: asyncio.subprocess.Process) -> None:
    assert one.stdin is not None
    assert one.stdout is not None
    while True:
        one.stdin.write(f"tty {FLOOD_BYTES}\n".encode())
        await one.stdout.readline()


# --- all of them ------------------------------------------------------------------------------------------


def said(*series: Series) -> None:
    """The last point of each."""
    for one in series:
        count, value = one.points[-1]
        print(f"{one.title:<58}{count:>6}{value:>10.2f}  {one.unit}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench.sh sizes", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/performance.md and its plot")
    parser.add_argument("names", nargs="*", choices=("sessions", "sockets", "waiters", "typing", []))
    arguments = parser.parse_args()
    names = arguments.names or ("waiters", "sockets", "typing", "sessions")
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    found: list[Series] = []
    with tempfile.TemporaryDirectory(prefix="sizes-") as name:
        folder = Path(name)
        for what in names:
            slots, places = {"waiters": ("1", str(max(WAITERS))), "sockets": ("40", "0")}.get(
                what, ("200", "0")
            )
            more = {"MAX_CONCURRENT_SESSIONS": slots, "MAX_QUEUE_SIZE": places, "QUEUE_TIMEOUT": "3600000"}
            with running_server(folder, **settings(**more)) as server:
                match what:
                    case "waiters":
                        found += asyncio.run(waiters(server, WAITERS))
                    case "sockets":
                        found += asyncio.run(sockets(server, SOCKETS))
                    case "typing":
                        found += asyncio.run(typing(server))
                    case _:
                        found += asyncio.run(sessions(server, SESSIONS))
    if arguments.write:
        machine = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
        report.write_sizes(found, machine, ROOT / "docs")


if __name__ == "__main__":
    sys.exit(main())
