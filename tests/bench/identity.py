"""What identity and quotas add to an opening, and what a scrape of `/metrics` takes beside many sessions.

An opening with a credential is compared with one without, on two servers in turns: on one, callers are known
by an API key and have quotas; the other knows nobody, and limits nothing. Both note what happens in the audit
log. All figures are processor time of the server's loop, and of a round's openings the least counts: other
work on the machine makes them dearer, never cheaper. The sessions beside a scrape are real ones, in which
nothing runs.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import aiohttp

from coderunner import config, declarations, lending
from coderunner.attack.run import known
from coderunner.schema import messages as m
from tests.bench.measures import processor
from tests.bench.wall import Figure
from tests.harness import MEASURED, Server, connect, eventually, running_server, session

OPENINGS = 8  # of each server in a round
SESSIONS = 200
SCRAPES = 10  # in a round
AT_ONCE = 4  # openings of those
ADMIN_KEY = "bench-0123456789-0123456789-0123456789"
QUOTAS = """
[user]
sessions = 1000
runs_per_minute = 100000
cpu_seconds_per_day = 100000
output_bytes_per_day = 100000000
languages = ["bash"]
memory_bytes = 1073741824
"""
COMMON = {**MEASURED, "LANGUAGES": "bash", "WARM_MAX": "4", "WARM_FLOOR": "4"}


async def figures(folder: Path, rounds: int, parent: str) -> list[Figure]:
    """(title, unit, target, title of the peer, values) of each, in milliseconds of the server's processor
    time: an opening, without and with identity and quotas, and by how much the least of each round differ; a
    scrape. `parent`: CGROUP_PARENT."""
    quotas = folder / "quotas.toml"
    quotas.write_text(QUOTAS)
    free = {**COMMON, "CGROUP_PARENT": parent, "SESSIONS_PER_ADDRESS": "0", "ADMIN_KEY": ADMIN_KEY,
            "MAX_CONCURRENT_SESSIONS": str(SESSIONS + 10)}  # fmt: skip
    strict = {**free, "ANONYMOUS": "no", "QUOTAS_FILE": str(quotas)}
    scrapes: list[float] = []
    with (
        running_server(folder, ready=("bash",), **free) as open_to_all,
        running_server(folder, ready=("bash",), **strict) as guarded,
    ):
        without, with_both, added = await _openings(open_to_all, guarded, rounds)
        async with contextlib.AsyncExitStack() as stack:
            gate = asyncio.Semaphore(AT_ONCE)

            async def one() -> None:
                async with gate:
                    await stack.enter_async_context(session(open_to_all, "bash"))

            await asyncio.gather(*(one() for _ in range(SESSIONS)))
            for _ in range(rounds):
                scrapes += [await _scrape(open_to_all) for _ in range(SCRAPES)]
    bare = "an opening, in the server's processor time"
    return [
        (bare, "ms", None, "", without),
        ("the same, with a key and quotas", "ms", None, bare, with_both),
        ("identity and quotas, in an opening", "ms", 0.3, "", added),
        (f"a scrape of /metrics beside {SESSIONS} sessions, the same", "ms", 20, "", scrapes),
    ]


async def _openings(
    open_to_all: Server, guarded: Server, rounds: int
) -> tuple[list[float], list[float], list[float]]:
    """Of each round the least milliseconds of both, and their difference."""
    without: list[float] = []
    with_both: list[float] = []
    added: list[float] = []
    settings = config.load(guarded.environment, None, languages=declarations.names())
    with contextlib.ExitStack() as stack:
        # In a thread: it has an event loop of its own.
        means = await asyncio.to_thread(stack.enter_context, lending.lent(settings))
        await known(guarded.url, means)
        key = {"Authorization": f"Bearer {means.user}"}
        for number in range(rounds + 1):  # the first is a warm-up
            now: tuple[list[float], list[float]] = ([], [])
            for _ in range(OPENINGS):
                now[0].append(await _opening(open_to_all, {}))
                now[1].append(await _opening(guarded, key))
            if number:
                without.append(min(now[0]))
                with_both.append(min(now[1]))
                added.append(with_both[-1] - without[-1])
        await asyncio.to_thread(stack.close)
    return without, with_both, added


async def _opening(server: Server, headers: dict[str, str]) -> float:
    def waiting() -> bool:
        shelf = server.stats()["warmPool"]["languages"]["bash"]
        return bool(shelf["ready"] == shelf["target"] and not shelf["starting"])

    await eventually(waiting, 30, "the shelf full")
    before = processor(server)
    async with connect(server.url, headers=headers) as one:
        await one.send(m.Open("bash", one.client))
        await one.wait(lambda: one.opened)
        took = processor(server) - before
        await one.send(m.Close())
        await one.closed()
    return took


async def _scrape(server: Server) -> float:
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    async with aiohttp.ClientSession() as http:
        before = processor(server)
        async with http.get(server.url + "metrics", headers=headers) as answer:
            text = await answer.text()
        took = processor(server) - before
    assert f"coderunner_sessions {SESSIONS}.0" in text
    return took
