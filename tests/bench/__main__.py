"""`make bench`: prints a table of medians, with their spread, and how they compare.

Every figure is the time a client sees, over a real WebSocket to a server in a process of its own.  The
rows are taken in turn, round after round, so that a machine whose speed drifts drifts for all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from coderunner.schema import messages as m
from tests.harness import (
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
)

HELLO = "print('hello')"
ECHO = "import os, tty\ntty.setraw(0)\nos.write(1, b'!')\nwhile True:\n    os.write(1, os.read(0, 1000))\n"
FLOOD = "import sys\nblock = (b'x' * 99 + b'\\n') * 1000\nfor _ in range(200): sys.stdout.buffer.write(block)"
FLOOD_BYTES = 20_000_000
DOCKER_RUN = "the same, docker run"
LANGUAGES = ("python", "python-science")
IMPORTS = "import pandas, matplotlib.pyplot\nprint('hello')"
PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.title('A title')\nplt.show()"
EXECUTED = {"PYTHONPLAIN": "1"}  # a name in the environment with which a program is not forked from a preload


@dataclass
class Row:
    """Milliseconds (or MB/s) of each round.  ``target``: what the project promises, in the same unit."""

    title: str
    measure: Callable[[], Awaitable[float]]
    unit: str = "ms"
    target: float | None = None
    values: list[float] = field(default_factory=list)

    def line(self, reference: float | None) -> str:
        middle = statistics.median(self.values)
        low, high = min(self.values), max(self.values)
        ratio = "" if reference is None else f"{middle / reference:9.3f}"
        target = "" if self.target is None else f"< {self.target:g}"
        return (
            f"{self.title:<58}{middle:>10.2f}{low:>10.2f}{high:>10.2f}  {self.unit:<5}{target:>6}  {ratio:>9}"
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
        await eventually(lambda: self.server.stats()["queue"]["active"] == 3, 30, "the session's end")
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

    async def typed(self, typist: asyncio.subprocess.Process) -> float:
        assert typist.stdin is not None
        assert typist.stdout is not None
        typist.stdin.write(b"\n")
        async with asyncio.timeout(60):
            return float(await typist.stdout.readline())

    async def bulk(self, mode: str) -> float:
        number = self.next()
        began = time.perf_counter()
        await self.client.run(number, FLOOD, mode=mode)
        channel = await self.client.ended(number, 60)
        took = time.perf_counter() - began
        assert channel.end >= FLOOD_BYTES
        channel.data.clear()
        return FLOOD_BYTES / 1e6 / took

    async def command(self, *words: str) -> float:
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        async with asyncio.timeout(60):
            assert await process.stdout.read(1)
            took = (time.perf_counter() - began) * 1000
            await process.communicate()
        return took

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
            Row("open to opened, warm", self.opened, target=5),
            Row(
                "run of one line of Python to its first byte, tty", lambda: self.first_byte("tty"), target=20
            ),
            Row("the same, pipe", lambda: self.first_byte("pipe"), target=20),
            Row("the same, executed", lambda: self.first(self.client, HELLO, "pipe", EXECUTED)),
            Row("the same, docker exec", lambda: self.command("docker", "exec", self.container, *code)),
            Row(DOCKER_RUN, lambda: self.command("docker", "run", "--rm", self.image, *code)),
            Row("the interpreter alone, on the host", lambda: self.command("/usr/bin/python3", *code[1:])),
            Row("a keystroke's echo", lambda: self.typed(self.typists[0]), target=1),
            Row("the same, docker exec -it", lambda: self.typed(self.typists[1])),
            Row("20 MB of output, pipe", lambda: self.bulk("pipe"), unit="MB/s"),
            Row("20 MB of output, tty", lambda: self.bulk("tty"), unit="MB/s"),
            *self.science_rows(),
        ]


async def measure(server: Server, rounds: int) -> list[Row]:
    async with (
        session(server) as client,
        session(server, keep=True) as echoing,
        session(server, "python-science") as science,
    ):
        container = f"coderunner-{client.opened.session}"
        image = docker("inspect", "-f", "{{.Config.Image}}", container).strip()
        bench = Bench(server, client, science, image)
        bench.container = container
        await echoing.run(1, ECHO, mode="tty", entry="echo.py")
        await echoing.until(1, "!")
        opened = echoing.opened
        async with typist("websocket", server.url, opened.session, opened.token, "1") as websocket:
            async with typist("exec", f"coderunner-{opened.session}", "/workspace/echo.py") as exec_it:
                bench.typists = [websocket, exec_it]
                rows = await _rounds(bench.rows(), rounds)
        await echoing.send(m.Take())
        await echoing.send(m.Close())
        await echoing.closed()
        return rows


async def _rounds(rows: list[Row], rounds: int) -> list[Row]:
    for number in range(rounds + 1):  # the first is a warm-up
        for row in rows:
            value = await row.measure()
            if number:
                row.values.append(value)
    return rows


@contextlib.asynccontextmanager
async def typist(*words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.typist", *words,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "server")},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


async def blink(server: Server, folder: Path, count: int) -> float:
    """Milliseconds for which a deploy (SIGTERM while the pool fills, the next server) takes the output of
    live programs away, of the last of so many sessions."""
    code = "import time\nwhile True:\n    print(time.monotonic(), flush=True)\n    time.sleep(.02)"
    await asyncio.to_thread(wait_ready, server, LANGUAGES)
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(session(server, keep=True)) for _ in range(count)]
        for client in clients:
            await client.run(1, code)
            await client.wait(lambda one=client: one.channel(1).end > 100)
        stopping = asyncio.create_task(asyncio.to_thread(server.stop, signal.SIGTERM))
        await clients[0].closed(20)
        began = time.perf_counter()
        await stopping
        await asyncio.gather(*(client.closed(20) for client in clients))
    port = server.url.rsplit(":", 1)[1].strip("/")
    settings = {**server.environment, "PORT": port}
    again = await asyncio.to_thread(start_server, settings, folder / "again.log")
    server.process = again.process
    return max(await asyncio.gather(*(_seen_again(server, client) for client in clients))) - began * 1000


async def _seen_again(server: Server, client: Client) -> float:
    """When there is new output, in milliseconds."""
    async with attach(server, client.opened, client=client.client, channels=client.channels) as back:
        before = back.channel(1).end
        await back.wait(lambda: back.channel(1).end > before)
        at = time.perf_counter() * 1000
        await back.send(m.Close())
        await back.closed()
    return at


def deploy(server: Server, folder: Path, count: int, rounds: int) -> Row:
    title = f"a deploy: the last of {count} live sessions without its server"
    row = Row(title, lambda: blink(server, folder, count), target=1000)
    row.values = [asyncio.run(row.measure()) for _ in range(min(5, rounds))]
    return row


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
    arguments = parser.parse_args()
    settings = {
        "LANGUAGES": ",".join(LANGUAGES),
        "WARM_FLOOR": "2",
        "LOG_LEVEL": "info",
        "SESSIONS_PER_ADDRESS": "20",
    }
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        with running_server(Path(folder), ready=LANGUAGES, **settings) as server:
            waiting = {language: memory(server, language) for language in LANGUAGES}
            rows = asyncio.run(measure(server, arguments.rounds))
            deploys = [deploy(server, Path(folder), count, arguments.rounds) for count in (1, 10)]
    reference = statistics.median(next(row for row in rows if row.title == DOCKER_RUN).values)
    version = docker("version", "-f", "{{.Server.Version}}").strip()
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}"
    print(f"\n{machine}, Docker Engine {version}, load {os.getloadavg()[0]:.1f},")
    print(f"{arguments.rounds} rounds; the last column is the share of `docker run`\n")
    print(f"{'':<58}{'median':>10}{'min':>10}{'max':>10}  {'unit':<5}{'target':>6}  {'ratio':>9}")
    for row in rows:
        print(row.line(reference if row.unit == "ms" else None))
    for one in deploys:
        print(one.line(None))
    for (language, amount), target in zip(waiting.items(), ("< 12", ""), strict=True):
        title = f"memory of a waiting container, {language}"
        print(f"{title:<58}{amount:>10.2f}{'':>20}  {'MiB':<5}{target:>6}")
    print()


if __name__ == "__main__":
    main()
