"""How soon a language's `hello` says so: a table in the form of docs/languages.md.

    scripts/bench.sh languages [--rounds 7] [LANGUAGE...]

Every figure is the time a client sees, from the run's request to the program's first byte, compile phase and
all, over a real WebSocket.  `first` is the first run in a session whose container waited; `again` a later one
in it, of a changed source, so that no tool finds its last result; `plain` the same by the plain tools, typed
into the session's shell; `memory` that of the container that waited.  The rows are taken in turn, so that a
machine whose speed drifts drifts for all.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import tempfile
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from coderunner import declarations
from coderunner.fleet.warm import PAUSE_SECONDS
from coderunner.schema import messages as m
from tests.harness import MEASURED, Client, Server, docker, eventually, running_server, session

SAID = "Hello, world!"
SECONDS = 60.0
TRIES, DEMAND_SECONDS = 5, 25.0
RUN, SHELL, AGAIN = 1, 2, 3


@dataclass
class Row:
    """`first`, `again`, `plain`: milliseconds of each round."""

    title: str
    language: str
    comment: str
    plain: str
    source: str | None = None
    target_ms: int | None = None
    waiting: str = ""
    first: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    by_hand: list[float] = field(default_factory=list)

    def line(self) -> str:
        first, again, plain = (_told(values) for values in (self.first, self.again, self.by_hand))
        share = statistics.median(self.first) / statistics.median(self.by_hand)
        target = f"< {self.target_ms}" if self.target_ms else ""
        return f"| {self.title} | {first} | {again} | {plain} | {share:.2f} | {target} | {self.waiting} |"


def _told(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f}–{max(values):.0f})"


def rows(names: list[str]) -> list[Row]:
    document = tomllib.loads((Path(__file__).parent / "languages.toml").read_text("utf-8"))
    return [Row(**row) for row in document["rows"] if not names or row["language"] in names]


async def run(client: Client, channel: int, path: str, text: str) -> float:
    began = time.perf_counter()
    await client.run(channel, text, entry=path, mode="pipe")
    await client.until(channel, SAID, SECONDS)
    took = (time.perf_counter() - began) * 1000
    ended = await client.ended(channel, SECONDS)
    assert ended.exit.code == 0, ended.text
    return took


async def by_hand(client: Client, command: str) -> float:
    await client.send(m.Shell(SHELL, 80, 24))
    await client.input(SHELL, b"stty -echo; echo re''ady\n")
    await client.until(SHELL, "ready", SECONDS)
    began = time.perf_counter()
    await client.input(SHELL, command.encode() + b"\n")
    await client.until(SHELL, SAID, SECONDS)
    return (time.perf_counter() - began) * 1000


async def one_waiting(server: Server, language: str) -> None:
    """Where none waits unasked, one does for half a minute after a session; a busy machine needs longer."""

    def waits() -> bool:
        return bool(server.stats()["warmPool"]["languages"][language]["ready"])

    for _ in range(TRIES):
        async with session(server, language):
            pass
        with contextlib.suppress(AssertionError):
            await eventually(waits, DEMAND_SECONDS, "a waiting container")
            return
    raise AssertionError(f"no container of {language} waits")


async def quiet(server: Server) -> None:
    """Until nothing is made ahead or thrown away: what others left to be done disturbs no figure."""

    def idle() -> bool:
        stats = server.stats()
        pool = stats["workerPool"]
        shelves = stats["warmPool"]["languages"].values()
        full = all(one["ready"] >= one["target"] and not one["starting"] for one in shelves)
        return full and not pool["activeWorkers"] and not pool["queuedTasks"]

    await eventually(idle, SECONDS, "a quiet server")


async def measure(server: Server, row: Row, text: str, path: str, number: int) -> None:
    await one_waiting(server, row.language)
    await quiet(server)
    with contextlib.suppress(subprocess.CalledProcessError):  # it has just gone: another round will see one
        row.waiting = row.waiting or memory(server, row.language)
    sources = [f"{text}\n{row.comment} {number}.{turn}\n" for turn in range(2)]
    async with session(server, row.language) as client:
        assert client.opened.warm
        first = await run(client, RUN, path, sources[0])
        await asyncio.sleep(PAUSE_SECONDS)  # then the shelf is filled again
        await quiet(server)
        again = await run(client, AGAIN, path, sources[1])
        plain = await by_hand(client, f"echo '{row.comment} plain' >> {path}; {row.plain}")
    if number:  # the first is a warm-up
        row.first.append(first)
        row.again.append(again)
        row.by_hand.append(plain)


async def table(server: Server, wanted: list[Row], rounds: int) -> None:
    declared = declarations.load()
    for number in range(rounds + 1):
        for row in wanted:
            language = declared.languages[row.language]
            hello = declared.samples(language)["hello"][language.entry].decode()
            await measure(server, row, row.source or hello, language.entry, number)


def memory(server: Server, language: str) -> str:
    """MiB of a waiting container, as the kernel counts it."""
    instance = f"label=coderunner.instance={server.instance}"
    waiting = docker("ps", "-q", "--filter", instance, "--filter", f"label=coderunner.language={language}")
    text = docker("stats", "--no-stream", "--format", "{{.MemUsage}}", waiting.split()[0])
    return text.split("/")[0].strip()


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench.sh languages", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="LANGUAGE")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    wanted = rows(arguments.names)
    names = tuple(dict.fromkeys(row.language for row in wanted))
    settings = {"LANGUAGES": ",".join(names), "WARM_FLOOR": "1", "WARM_MAX": str(len(names) + 2)}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        with running_server(Path(folder), ready=names, **MEASURED, **settings) as server:
            asyncio.run(table(server, wanted, arguments.rounds))
    machine = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"\n{machine}, {arguments.rounds} rounds; milliseconds: median (least\N{EN DASH}greatest)\n")
    print("| program | first | again | plain tools | first : plain | target | memory |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(row.line() for row in wanted))


if __name__ == "__main__":
    main()
