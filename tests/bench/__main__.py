"""`make bench`: prints a table of what clients see, beside their peers; writes docs/performance.md.

Every figure is the time a client sees, over a real WebSocket to a server in a process of its own.  The
rows are taken in turn, round after round, so that a machine whose speed drifts drifts for all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from coderunner.schema import messages as m
from tests.bench import identity, report, wall
from tests.bench.typist import FLOOD
from tests.harness import (
    MEASURED,
    ROOT,
    Client,
    Server,
    attach,
    connect,
    docker,
    eventually,
    running_server,
    session,
    start_server,
    wait_ready,
    wait_until,
)

HELLO = "print('hello')"
ECHO = "import os, tty\ntty.setraw(0)\nos.write(1, b'!')\nwhile True:\n    os.write(1, os.read(0, 1000))\n"
FLOOD_BYTES = 20_000_000
TYPIST_FLOOD = FLOOD.format(count=FLOOD_BYTES)
PEERS = ("CodeRunner", "terminado, no container", "docker exec -it")
BUSY, BUSY_BYTES = 20, 2_000_000  # processes that do nothing but keep the machine's processors busy
NOISE = "the machine's noise: 200,000 additions"
DOCKER_RUN = "the same, docker run"
INTERPRETER = "the interpreter alone, on the host"
TO_ITS_END = "the interpreter alone, to its end"
LANGUAGES = ("python", "python-science")
IMPORTS = "import pandas, matplotlib.pyplot\nprint('hello')"
PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.title('A title')\nplt.show()"
EXECUTED = {"PYTHONPLAIN": "1"}  # a name in the environment with which a program is not forked from a preload


@dataclass
class Row:
    """Milliseconds (or MB/s) of all rounds; a measurement may give one figure, or many.

    ``target``: what the project promises, in the same unit.  ``peer``: the title of the row to compare with.
    """

    title: str
    measure: Callable[[], Awaitable[float | list[float]]]
    unit: str = "ms"
    target: float | None = None
    peer: str = ""
    values: list[float] = field(default_factory=list)

    @property
    def p50(self) -> float:
        return statistics.median(self.values)

    @property
    def worst(self) -> float:
        """The 99th percentile towards what is worse: of rates the first."""
        ordered = sorted(self.values, reverse=self.unit == "MB/s")
        return ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]

    def ratio(self, rows: Sequence[Row]) -> float | None:
        """To its peer's, of the same rounds."""
        peers = [row for row in rows if row.title == self.peer]
        return self.p50 / peers[0].p50 if peers else None

    def line(self, rows: Sequence[Row]) -> str:
        ratio = self.ratio(rows)
        return (
            f"{self.title:<58}{self.p50:>10.2f}{self.worst:>10.2f}  {self.unit:<5}"
            f"{'' if self.target is None else f'< {self.target:g}':>6}"
            f"{'' if ratio is None else f'{ratio:9.2f} x {self.peer}'}"
        )


class Bench:
    def __init__(self, server: Server, client: Client, science: Client, image: str) -> None:
        self.server = server
        self.client = client
        self.science = science
        self.image = image
        self.number = 100
        self.container = ""
        self.typists: list[asyncio.subprocess.Process] = []
        self.again: Callable[[], Awaitable[list[float]]]  # of a file that is there, to the ends of the runs

    def next(self) -> int:
        self.number += 1
        return self.number

    async def opened(self) -> float:
        def waiting() -> bool:
            shelf = self.server.stats()["warmPool"]["languages"]["python"]
            return bool(shelf["ready"] == shelf["target"] and not shelf["starting"])

        async with connect(self.server.url) as one:
            await one.message(m.Hello)
            began = time.perf_counter()
            await one.send(m.Open("python", one.client))
            await one.wait(lambda: one.opened)
            took = (time.perf_counter() - began) * 1000
            await one.send(m.Close())
            await one.closed()
        # What it leaves to be done is not to disturb the next row.
        await eventually(lambda: self.server.stats()["queue"]["active"] == 4, 30, "the session's end")
        await eventually(waiting, 30, "the shelf full again")
        return took

    async def first_byte(self, mode: str) -> float:
        return await self.first(self.client, HELLO, mode)

    async def first(
        self, client: Client, code: str, mode: str, env: dict[str, str] | None = None, end: bytes = b""
    ) -> float:
        """Until the first byte of output, or until it has had `end`."""
        number = self.next()
        channel = client.channel(number)
        began = time.perf_counter()
        await client.run(number, code, mode=mode, env=env or {})
        await client.wait(lambda: channel.end and end in channel.data)
        took = (time.perf_counter() - began) * 1000
        await client.ended(number)
        return took

    async def asked(self, typist: asyncio.subprocess.Process, line: str) -> list[float]:
        """What a client that waits in `recv` measured."""
        assert typist.stdin is not None
        assert typist.stdout is not None
        typist.stdin.write(line.encode() + b"\n")
        async with asyncio.timeout(120):
            return list(json.loads(await typist.stdout.readline()))

    async def beside(self, typist: asyncio.subprocess.Process, line: str) -> list[float]:
        """As `asked`, while the machine is busy; each of those is a session of its own for the scheduler."""
        loop = ("sh", "-c", "while :; do :; done")
        busy = [await asyncio.create_subprocess_exec(*loop, start_new_session=True) for _ in range(BUSY)]
        try:
            return await self.asked(typist, line)
        finally:
            for one in busy:
                one.kill()
                await one.wait()

    async def command(self, *words: str, whole: bool = False) -> float:
        """Milliseconds until its first byte; ``whole``: until its end."""
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        async with asyncio.timeout(60):
            assert await process.stdout.read(1)
            took = (time.perf_counter() - began) * 1000
            await process.communicate()
        return (time.perf_counter() - began) * 1000 if whole else took

    def science_rows(self) -> list[Row]:
        """Each forked from the preload, and executed."""
        rows = []
        for title, target, code, mode, end in (
            ("Python (science): one line to its first byte, pipe", None, HELLO, "pipe", b""),
            ("import of pandas and Matplotlib to the first byte, pipe", 50, IMPORTS, "pipe", b""),
            ("a plotting program to its first picture, tty", 1500, PLOT, "tty", b"\a"),
        ):
            for what, env in ((title, {}), ("the same, executed", EXECUTED)):
                measure = partial(self.first, self.science, code, mode, env, end)
                rows.append(Row(what, measure, target=None if env else target))
        return rows

    def rows(self) -> list[Row]:
        code = ("python3", "-c", HELLO)
        return [
            Row("open to opened, warm", self.opened, target=3),
            Row(
                "run of one line of Python to its first byte, tty", lambda: self.first_byte("tty"), target=20
            ),
            Row("the same, pipe", lambda: self.first_byte("pipe"), target=20, peer=INTERPRETER),
            Row("the same, executed", lambda: self.first(self.client, HELLO, "pipe", EXECUTED)),
            Row("the same, docker exec", lambda: self.command("docker", "exec", self.container, *code)),
            Row(DOCKER_RUN, lambda: self.command("docker", "run", "--rm", self.image, *code)),
            Row(INTERPRETER, lambda: self.command("/usr/bin/python3", *code[1:])),
            Row("the same run again, to its end", self.again, target=8, peer=TO_ITS_END),
            Row(TO_ITS_END, lambda: self.command("/usr/bin/python3", *code[1:], whole=True)),
            *self.stream_rows(),
            *self.science_rows(),
            Row(NOISE, _turn),
        ]

    def stream_rows(self) -> list[Row]:
        """What goes through an open stream, of each of the typists; the first is ours."""
        rows = []
        for title, line, unit, target in (
            ("a keystroke's echo", "keys", "ms", 0.4),
            ("20 MB of output, tty", f"tty {FLOOD_BYTES}", "MB/s", None),
        ):
            peer = f"{title}: {PEERS[1]}"
            for name, one in zip(PEERS, self.typists, strict=True):
                ours = one is self.typists[0]
                row = Row(f"{title}: {name}", partial(self.asked, one, line), unit)
                row.target, row.peer = (target if ours else None), (peer if ours else "")
                rows.append(row)
        title = f"beside {BUSY} busy processes, 2 MB of output, tty"
        for name, one in zip(PEERS[:2], self.typists, strict=False):
            row = Row(f"{title}: {name}", partial(self.beside, one, f"tty {BUSY_BYTES}"), "MB/s")
            row.peer = f"{title}: {PEERS[1]}" if one is self.typists[0] else ""
            rows.append(row)
        pipe = partial(self.asked, self.typists[0], f"pipe {FLOOD_BYTES}")
        rows.append(Row(f"20 MB of output, pipe: {PEERS[0]}", pipe, "MB/s", peer=peer))
        return rows


async def _turn() -> float:
    """A piece of work that is always the same: what it takes more than its least is the machine's noise."""
    began = time.perf_counter()
    sum(range(200_000))
    await asyncio.sleep(0)
    return (time.perf_counter() - began) * 1000


async def measure(server: Server, rounds: int) -> list[Row]:
    async with (
        session(server) as client,
        session(server, "python-science") as science,
    ):
        container = f"coderunner-{client.opened.session}"
        image = docker("inspect", "-f", "{{.Config.Image}}", container).strip()
        bench = Bench(server, client, science, image)
        bench.container = container
        # Its socket is closed before the typist's comes: a second one would be served as well with each key.
        async with session(server, keep=True) as echoing:
            await echoing.run(1, ECHO, mode="tty", entry="echo.py")
            await echoing.until(1, "!")
            opened = echoing.opened
        async with session(server, keep=True) as ended:
            await ended.run(1, HELLO, mode="pipe")
            await ended.ended(1)
            known, has = ended.opened, str(ended.channel(1).end)
        async with (
            typist("websocket", server.url, opened.session, opened.token, "1") as websocket,
            bare() as port,
            typist("terminado", port) as terminado,
            typist("exec", f"coderunner-{opened.session}", "/workspace/echo.py") as exec_it,
            typist("websocket", server.url, known.session, known.token, has) as repeating,
        ):
            bench.typists = [websocket, terminado, exec_it]
            bench.again = partial(bench.asked, repeating, "again main.py")
            rows = await _rounds(bench.rows(), rounds)
        for one in (opened, known):
            async with attach(server, one) as last:
                await last.send(m.Close())
                await last.closed()
        return rows


async def _rounds(rows: list[Row], rounds: int) -> list[Row]:
    for number in range(rounds + 1):  # the first is a warm-up
        for row in rows:
            value = await row.measure()
            if number:
                row.values += value if isinstance(value, list) else [value]
    return rows


@contextlib.asynccontextmanager
async def bare() -> AsyncIterator[str]:
    """The port of a terminado with the same programs, on this machine itself."""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(ECHO)
        file.flush()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bench.terminado_server", file.name, TYPIST_FLOOD,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,  # it complains of who leaves before the end
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT / "server")},
        )  # fmt: skip
        assert process.stdout is not None
        try:
            yield (await process.stdout.readline()).decode().strip()
        finally:
            process.kill()
            await process.wait()


@contextlib.asynccontextmanager
async def typist(*words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.typist", *words,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "server")},
        # A scheduling group of its own: it must not share its measurer's part of the processor.
        start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


async def blink(server: Server, folder: Path, count: int, *, beside: bool) -> float:
    """Milliseconds for which a deploy takes the output of live programs away, of the last of so many.

    `beside`: the next server is loaded beside the one that runs (`serve --replace`), as `systemctl reload`
    does; else it is started after SIGTERM, which comes while the pool fills, as `systemctl restart` does."""
    # 500 lines a second of all together: five times as many keep 2 cores busy without any deploy.
    pause = max(0.02, count / 500)
    code = f"import time\nwhile True:\n    print(time.monotonic(), flush=True)\n    time.sleep({pause})"
    await asyncio.to_thread(wait_ready, server, LANGUAGES)
    settings = {**server.environment, "PORT": server.url.rsplit(":", 1)[1].strip("/")}
    words = ("--replace",) if beside else ()
    next_one = partial(asyncio.to_thread, start_server, settings, folder / "again.log", words=words)
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(session(server, keep=True)) for _ in range(count)]
        for client in clients:
            await client.run(1, code)
            await client.wait(lambda one=client: one.channel(1).end > 100)
        task = asyncio.create_task(
            next_one() if beside else asyncio.to_thread(server.stop, signal.SIGTERM), name="deploy"
        )
        await clients[0].closed(60)
        began = time.perf_counter()
        again = await task
        await asyncio.gather(*(client.closed(20) for client in clients))
    server.process.wait(20)
    server.process = (again or await next_one()).process
    seen = asyncio.Barrier(count)
    return max(await asyncio.gather(*(_seen_again(server, one, seen) for one in clients))) - began * 1000


async def _seen_again(server: Server, client: Client, seen: asyncio.Barrier) -> float:
    """When there is new output, in milliseconds.  No session ends before all have some."""
    async with attach(server, client.opened, client=client.client, channels=client.channels) as back:
        before = back.channel(1).end
        await back.wait(lambda: back.channel(1).end > before)
        at = time.perf_counter() * 1000
        await seen.wait()
        await back.send(m.Close())
        await back.closed()
    return at


def deploy(server: Server, folder: Path, count: int, rounds: int, *, beside: bool) -> Row:
    way = "reload" if beside else "restart"
    title = f"a deploy ({way}): the last of {count} live sessions without its server"
    row = Row(title, lambda: blink(server, folder, count, beside=beside), target=1000)
    row.values = [asyncio.run(row.measure()) for _ in range(min(5, rounds))]
    return row


def start(server: Server, folder: Path, rounds: int) -> Row:
    """From the command to the first answer that it is ready, with images and verdicts of before."""
    row = Row("a server's start, to ready", _turn, target=1500)
    for _ in range(min(5, rounds)):
        server.stop(signal.SIGTERM)
        began = time.perf_counter()
        server.process = start_server(server.environment, folder / "start.log").process
        server.url = re.findall(r"http://\S+", (folder / "start.log").read_text())[-1]
        wait_until(lambda: server.ask("api/ready")[0] == 200, 60, "ready")
        row.values.append((time.perf_counter() - began) * 1000)
    return row


def cgroup_parent() -> str:
    """As docs/deployment.md recommends it."""
    return "/" if docker("info", "-f", "{{.CgroupDriver}}").strip() == "cgroupfs" else ""


def memory(server: Server, language: str) -> float:
    """MB of a waiting container, as the kernel counts it."""
    labels = (f"coderunner.instance={server.instance}", f"coderunner.language={language}")
    filters = [word for label in labels for word in ("--filter", f"label={label}")]
    container = docker("ps", "-q", *filters).split()[0]
    text = docker("stats", "--no-stream", "--format", "{{.MemUsage}}", container).split("/")[0].strip()
    number = float("".join(part for part in text if part.isdigit() or part == "."))
    return number / 1024 if "KiB" in text else number


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", action="store_true", help="write docs/performance.md and its plots")
    arguments = parser.parse_args()
    settings = {
        "LANGUAGES": ",".join(LANGUAGES),
        "WARM_FLOOR": "2",
        **MEASURED,
        "SESSIONS_PER_ADDRESS": "60",
        "CGROUP_PARENT": cgroup_parent(),
    }
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        with running_server(Path(folder), ready=LANGUAGES, **settings) as server:
            waiting = {language: memory(server, language) for language in LANGUAGES}
            rows = asyncio.run(measure(server, arguments.rounds))
            deploys = [
                deploy(server, Path(folder), count, arguments.rounds, beside=beside)
                for beside in (False, True)
                for count in (1, 10, 50)
            ]
            deploys.append(start(server, Path(folder), arguments.rounds))
    with tempfile.TemporaryDirectory(prefix="bench-wall-") as folder:
        walls = asyncio.run(wall.figures(Path(folder), min(5, arguments.rounds), cgroup_parent()))
    with tempfile.TemporaryDirectory(prefix="bench-identity-") as folder:
        known = asyncio.run(identity.figures(Path(folder), arguments.rounds, cgroup_parent()))
    deploys += [Row(title, _turn, *rest) for title, *rest in (*walls, *known)]
    rows += deploys
    for (language, amount), target in zip(waiting.items(), (12.0, None), strict=True):
        title = f"memory of a waiting container, {language}"
        rows.append(Row(title, _turn, "MiB", target, values=[amount]))
    version = docker("version", "-f", "{{.Server.Version}}").strip()
    machine = (
        f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}, Docker Engine {version},"
        f" load {os.getloadavg()[0]:.1f}, {arguments.rounds} rounds"
    )
    print(f"\n{machine}\n\n{'':<58}{'p50':>10}{'p99':>10}  {'unit':<5}{'target':>6}")
    for row in rows:
        print(row.line(rows))
    print()
    if arguments.write:
        report.write(rows, machine, ROOT / "docs")


if __name__ == "__main__":
    main()
