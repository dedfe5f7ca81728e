"""`scripts/bench.sh runtimes [RUNTIME...]`: what a container runtime costs beside runc, in turns.

The engine must have them (`docker info`); without names, gVisor's (`runsc`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from coderunner.schema import messages as m
from tests.bench.__main__ import ECHO, FLOOD_BYTES, Bench, memory, typist
from tests.harness import MEASURED, Server, connect, eventually, running_server, session

Measure = Callable[[], Awaitable[list[float]]]


class Costs:
    """What one server's containers cost. `typing`: a typist in a terminal of one of them."""

    def __init__(self, server: Server, cold: Server, bench: Bench) -> None:
        self.server, self.cold, self.bench = server, cold, bench

    async def _open(self, server: Server) -> list[float]:
        async with connect(server.url) as one:
            await one.message(m.Hello)
            began = time.perf_counter()
            await one.send(m.Open("python", one.client))
            await one.wait(lambda: one.opened, 60)
            took = (time.perf_counter() - began) * 1000
            await one.send(m.Close())
            await one.closed()
        return [took]

    async def warm(self) -> list[float]:
        """Milliseconds of an opening with a container that waits."""

        def waiting() -> bool:
            shelf = self.server.stats()["warmPool"]["languages"]["python"]
            return bool(shelf["ready"] == shelf["target"] and not shelf["starting"])

        await eventually(waiting, 60, "the shelf full again")
        return await self._open(self.server)

    async def unprepared(self) -> list[float]:
        """Milliseconds of an opening for which a container has to be made."""
        return await self._open(self.cold)

    async def hello(self) -> list[float]:
        """Milliseconds to the first byte of a program."""
        return [await self.bench.first_byte("pipe")]

    async def echo(self) -> list[float]:
        """Milliseconds of a keystroke's echo."""
        return await self.bench.asked(self.bench.typists[0], "keys")

    async def output(self) -> list[float]:
        """MB/s of a terminal's output."""
        return await self.bench.asked(self.bench.typists[0], f"tty {FLOOD_BYTES}")

    async def waiting(self) -> list[float]:
        """MB of a container that waits."""
        return [memory(self.server, "python")]

    def rows(self) -> dict[str, Measure]:
        return {
            "open, a container waits (ms)": self.warm,
            "open, a container is made (ms)": self.unprepared,
            "hello, to its first byte (ms)": self.hello,
            "a keystroke's echo (ms)": self.echo,
            "20 MB of output, tty (MB/s)": self.output,
            "memory of a waiting container (MB)": self.waiting,
        }


async def begun(stack: contextlib.AsyncExitStack, runtime: str, folder: Path) -> Costs:
    """Servers whose containers are in this runtime, and a typist in one of them."""
    settings = {**MEASURED, "LANGUAGES": "python", "DOCKER_RUNTIME": runtime}
    server, cold = (
        stack.enter_context(running_server(folder, ready=("python",), WARM_MAX=most, **settings))
        for most in ("2", "0")
    )
    client = await stack.enter_async_context(session(server))
    async with session(server, keep=True) as echoing:
        await echoing.run(1, ECHO, mode="tty", entry="echo.py")
        await echoing.until(1, "!", 60)
        opened = echoing.opened
    assert opened is not None
    bench = Bench(server, client, client, "")
    words = ("websocket", server.url, opened.session, opened.token, "1")
    bench.typists = [await stack.enter_async_context(typist(*words))]
    return Costs(server, cold, bench)


async def table(runtimes: list[str], rounds: int, folder: Path) -> None:
    """Measures in turns, and prints medians, and their multiples of the first runtime's."""
    async with contextlib.AsyncExitStack() as stack:
        costs = [await begun(stack, runtime, folder) for runtime in runtimes]
        rows = [one.rows() for one in costs]
        found: dict[tuple[str, int], list[float]] = {}
        for number in range(rounds + 1):  # the first is a warm-up
            for title in rows[0]:
                for place, row in enumerate(rows):
                    values = await row[title]()
                    if number:
                        found.setdefault((title, place), []).extend(values)
    print(f"{'':36}" + "".join(f"{runtime:>16}" for runtime in runtimes))
    for title in rows[0]:
        medians = [statistics.median(found[title, place]) for place in range(len(runtimes))]
        cells = (f"{value:9.4g} ({value / medians[0]:4.1f})" for value in medians)
        print(f"{title:36}" + "".join(f"{cell:>16}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench.sh runtimes", description=__doc__)
    parser.add_argument("runtimes", nargs="*", default=["runsc"], help="the engine's names for them")
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        asyncio.run(table(["runc", *given.runtimes], given.rounds, Path(folder)))


if __name__ == "__main__":
    main()
