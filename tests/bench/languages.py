"""How soon a language's `hello` says so: a table in the form of docs/languages.md.

    scripts/bench.sh languages [--rounds 7] [LANGUAGE...]

Every figure is the time a client sees, from the run's request to the program's first byte, compile phase and
all, over a real WebSocket.  `first` is the first run in a session whose container waited; `again` a later one
in it, of a changed source, so that no tool finds its last result; `plain` the same by the plain tools, typed
into the session's shell; `memory` that of the container that waited.  Both ways' tools were used just before,
in another session: the kernel has their files in memory.  `from disk` is a first run, and the plain tools,
each after the kernel has dropped its copies of files (as root).  The rows are taken in turn, so that a
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
    """`first`, `again`, `by_hand`, `disk`, `disk_by_hand`: milliseconds of each round."""

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
    disk: list[float] = field(default_factory=list)
    disk_by_hand: list[float] = field(default_factory=list)

    def line(self) -> str:
        figures = (self.first, self.again, self.by_hand)
        target = f"< {self.target_ms}" if self.target_ms else ""
        warm = [*map(_told, figures), _share(self.first, self.by_hand), target, self.waiting]
        cold = [_told(self.disk), _told(self.disk_by_hand), _share(self.disk, self.disk_by_hand)]
        return _cells(self.title, *warm, *cold)


def _cells(*words: str) -> str:
    return f"| {' | '.join(words)} |"


def _share(ours: list[float], theirs: list[float]) -> str:
    return f"{statistics.median(ours) / statistics.median(theirs):.2f}"


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


async def one_waiting(server: Server, row: Row, path: str, source: str = "") -> None:
    """Where none waits unasked, one does for half a minute after a session; a busy machine needs longer.

    `source`: a program that is run in that session, and by the plain tools."""

    def waits() -> bool:
        return bool(server.stats()["warmPool"]["languages"][row.language]["ready"])

    for _ in range(TRIES):
        async with session(server, row.language) as client:
            if source:
                await run(client, RUN, path, source)
                await by_hand(client, row.plain)
        with contextlib.suppress(AssertionError):
            await eventually(waits, DEMAND_SECONDS, "a waiting container")
            return
    raise AssertionError(f"no container of {row.language} waits")


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
    sources = [f"{text}\n{row.comment} {number}.{turn}\n" for turn in range(4)]
    await one_waiting(server, row, path, sources[3])
    await quiet(server)
    with contextlib.suppress(subprocess.CalledProcessError):  # it has just gone: another round will see one
        row.waiting = row.waiting or memory(server, row.language)
    async with session(server, row.language) as client:
        assert client.opened.warm
        first = await run(client, RUN, path, sources[0])
        await asyncio.sleep(PAUSE_SECONDS)  # then the shelf is filled again
        await quiet(server)
        again = await run(client, AGAIN, path, sources[1])
        plain = await by_hand(client, f"echo '{row.comment} plain' >> {path}; {row.plain}")
    if not number:  # a warm-up
        return
    row.first.append(first)
    row.again.append(again)
    row.by_hand.append(plain)
    await one_waiting(server, row, path)
    await quiet(server)
    async with session(server, row.language) as client:
        forget_files()
        row.disk.append(await run(client, RUN, path, sources[2]))
        forget_files()
        row.disk_by_hand.append(await by_hand(client, f"echo '{row.comment} plain' >> {path}; {row.plain}"))


def forget_files() -> None:
    """The kernel drops its copies of the files that nobody has open."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


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
    ours = ("program", "first", "again", "plain tools", "first : plain", "target", "memory")
    titles = (*ours, "from disk", "plain tools", "ratio")
    print(_cells(*titles))
    print(_cells(*("---" for _ in titles)))
    print("\n".join(row.line() for row in wanted))


if __name__ == "__main__":
    main()
