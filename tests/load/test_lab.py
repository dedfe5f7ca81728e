"""A lab: 50 students come into the room at once, each with a program that asks; a few of them are a nuisance.

The size that is promised (50 sessions in 4 GB on 4 cores), on whatever machine this is.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from pathlib import Path

import pytest

from coderunner.schema import messages as m
from tests.harness import Client, Server, connect, docker, running_server, session

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

STUDENTS = 50
NUISANCES = 5
MEMORY = 4 * 1024**3
ASKS = "name = input('name? ')\nprint('Hello,', name)\nwhile True:\n    print('again,', input())\n"
NUISANCE = {
    "flood": "while True: print('x' * 1000)\n",
    "memory": "x = []\nwhile True: x.append(bytearray(1 << 20))\n",
    "forks": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n",
    "cpu": "while True: pass\n",
    "disk": "while True:\n    try: open('full', 'ab').write(bytes(1 << 20))\n    except OSError: pass\n",
}


def available() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the kernel says nothing of its memory")


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def shims() -> int:
    """Bytes of all processes that the engine keeps beside containers."""
    found = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"containerd-shim" in (folder / "cmdline").read_bytes():
                found += resident(int(folder.name))
    return found


async def enter(server: Server, stack: contextlib.AsyncExitStack, seconds: list[float]) -> Client:
    began = time.monotonic()
    client = await stack.enter_async_context(session(server))
    await client.run(1, ASKS, mode="tty")
    await client.until(1, "name? ", 60)
    seconds.append(time.monotonic() - began)
    return client


async def typed(client: Client, text: str) -> float:
    """Milliseconds from a line typed to its answer."""
    began = time.perf_counter()
    await client.input(1, f"{text}\n".encode())
    await client.until(1, f", {text}\r\n", 20)
    return (time.perf_counter() - began) * 1000


def row(title: str, figures: list[float], unit: str) -> str:
    figures = sorted(figures)
    worst = figures[int(len(figures) * 0.99)]
    return f"{title:<58}{statistics.median(figures):>8.1f}{worst:>8.1f}  {unit}"


async def test_fifty_students_in_one_room(tmp_path, capsys):
    settings = {"LANGUAGES": "python", "MAX_CONCURRENT_SESSIONS": str(STUDENTS), "LOG_LEVEL": "info"}
    before, shims_before = available(), shims()
    with running_server(tmp_path, **{**settings, "WARM_MAX": "12"}) as server:
        async with contextlib.AsyncExitStack() as stack:
            came: list[float] = []
            students = await asyncio.gather(*(enter(server, stack, came) for _ in range(STUDENTS)))
            stats = server.stats()["queue"]
            assert (stats["active"], stats["queued"]) == (STUDENTS, 0)
            names = docker("ps", "-q", "--filter", "label=type=coderunner-session").split()
            assert len(names) >= STUDENTS

            quiet = await asyncio.gather(*(typed(one, f"student {n}") for n, one in enumerate(students)))
            used = before - available()

            for number, (name, code) in enumerate(NUISANCE.items(), 2):
                await students[number].run(2, code, mode="tty", entry=f"{name}.py")
                await students[number].wait(lambda one=students[number]: one.channel(2).states, 30, name)
            calm = [one for n, one in enumerate(students) if not 2 <= n < 2 + NUISANCES]
            loud = [await typed(one, f"line {n}") for n, one in enumerate(calm)]
            used_loud = before - available()

            # One more has to wait, is told so, and comes in when somebody leaves.
            async with connect(server.url) as late:
                await late.send(m.Open("python", late.client))
                assert (await late.message(m.Queued)).position == 1
                await students[0].send(m.Close())
                await students[0].closed()
                await late.wait(lambda: late.opened, 60, "a place")
                await late.send(m.Close())
                await late.closed()
            with capsys.disabled():
                print(f"\n\n{'50 sessions':<58}{'median':>8}{'p99':>8}")
                print(row("all at once: from nothing to the program's question", came, "s"))
                print(row("a line and its answer, all 50 in the same moment", quiet, "ms"))
                print(row(f"a line and its answer, beside {NUISANCES} nuisances", loud, "ms"))
                for title, size in (
                    ("memory of the machine in use for it, quiet", used),
                    ("the same with the nuisances at their limits", used_loud),
                    ("  of it the engine's process for each container", shims() - shims_before),
                    ("  of it the server", resident(server.process.pid)),
                ):
                    print(f"{title:<58}{size / 2**20:>16.0f}  MiB")
            assert max(used, used_loud) < MEMORY
        for one in students[1:]:
            assert one.close_code in (None, 1000)
