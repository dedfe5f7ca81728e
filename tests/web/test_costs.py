"""The costs of a key, a megabyte and a run as counts, which do not depend on the clock or on load.

Each bound is about twice the measured value; exceeding it means a large regression.
"""

from __future__ import annotations

import contextlib
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from coderunner.schema import messages as m
from tests.bench.__main__ import ECHO
from tests.harness import Client, Server, connect, docker, eventually, preloaded, running_server, session

ADMIN_KEY = "counts-0123456789-0123456789-0123456789"
KEYS, RUNS, MEGABYTES = 100, 20, 20
FLOOD = f"head -c {MEGABYTES}000000 /dev/zero | tr '\\0' a"


class Costs:
    """Counts of the server, of a session's agent, and of what the client was sent."""

    def __init__(self, server: Server, client: Client) -> None:
        assert client.opened is not None
        name = f"coderunner-{client.opened.session}"
        self._server = server
        self._agent = int(docker("inspect", "-f", "{{.State.Pid}}", name))
        self._client = client
        self._frames = self._bytes = 0
        client.on_output = self._came
        self.all: dict[str, float] = {}

    def _came(self, frame) -> None:
        self._frames += 1
        self._bytes += len(frame.payload)

    def _now(self) -> dict[str, float]:
        return {
            "agent's reads and writes": _counted(self._agent, "io", "syscr", "syscw"),
            "agent's sleeps": _counted(self._agent, "status", "voluntary_ctxt_switches"),
            "page faults": _faults(self._agent),
            "server's sleeps": _counted(self._server.process.pid, "status", "voluntary_ctxt_switches"),
            "frames of output": self._frames,
            "frames": self._frames + len(self._client.messages),
            "bytes": _metric(self._server, r'coderunner_websocket_bytes_total{direction="out"}'),
            "engine calls": _metric(self._server, "coderunner_engine_call_seconds_count"),
        }

    @contextlib.contextmanager
    def each(self, count: int) -> Iterator[dict[str, float]]:
        """Counts by name, divided by `count`; filled at the end of the block."""
        before = self._now()
        yield self.all
        after = self._now()
        self.all.update({name: (after[name] - before[name]) / count for name in after})

    def are_at_most(self, **ceilings: float) -> None:
        above = {
            name: (value, ceilings[name.replace(" ", "_").replace("'", "")])
            for name, value in self.all.items()
            if value > ceilings.get(name.replace(" ", "_").replace("'", ""), float("inf"))
        }
        assert not above, f"above the ceiling: {above}; all: {self.all}"


def _counted(pid: int, file: str, *names: str) -> float:
    # Of its only thread that counts: a process's own figures have those of its children, too.
    text = Path(f"/proc/{pid}/task/{pid}/{file}").read_text()
    lines = dict(line.split(":") for line in text.splitlines())
    return float(sum(int(lines[name]) for name in names))


def _faults(agent: int) -> float:
    """Page faults of all processes that ever ran in the container."""
    folder = Path(f"/proc/{agent}/root/sys/fs/cgroup")
    file = next(one for one in (folder / "memory.stat", folder / "memory/memory.stat") if one.exists())
    return float(dict(line.split() for line in file.read_text().splitlines())["pgfault"])


def _metric(server: Server, name: str) -> float:
    request = urllib.request.Request(server.url + "metrics", headers={"Authorization": f"Bearer {ADMIN_KEY}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    found = [line for line in lines if line.startswith(name)]
    return sum(float(re.split(r"\s", line)[-1]) for line in found)


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("costs")
    with running_server(folder, LANGUAGES="python", ADMIN_KEY=ADMIN_KEY, WARM_MAX="2") as one:
        yield one


async def test_a_key(server):
    async with session(server) as client:
        await client.run(1, ECHO, mode="tty")
        channel = client.channel(1)
        await client.wait(lambda: channel.text == "!")
        costs = Costs(server, client)
        with costs.each(KEYS):
            for number in range(KEYS):
                await client.input(1, b"k")
                await client.wait(lambda count=number + 2: channel.end == count)
        assert channel.text == "!" + KEYS * "k"
        costs.are_at_most(
            agents_reads_and_writes=7, agents_sleeps=4, servers_sleeps=6, frames=3, bytes=110,
            engine_calls=0.3,
        )  # fmt: skip


@pytest.mark.parametrize(("mode", "reads"), [("tty", 1200), ("pipe", 700)])
async def test_a_megabyte(server, mode, reads):
    async with session(server) as client:
        client.keep = False
        costs = Costs(server, client)
        with costs.each(MEGABYTES):
            await client.run(1, f"import os\nos.execvp('bash', ['bash', '-c', {FLOOD!r}])", mode=mode)
            await client.ended(1, 60)
        assert client.channel(1).end == MEGABYTES * 1_000_000
        costs.are_at_most(
            agents_reads_and_writes=reads, agents_sleeps=1200, servers_sleeps=150, frames=45, bytes=1_010_000,
            engine_calls=2,
        )  # fmt: skip


def _written(server: Server) -> dict[str, tuple[int, int]]:
    """When each file of the server's folder was written last, and its size."""
    folder = Path(server.environment["STATE_DIR"])
    looked = {str(one): one.stat() for one in folder.rglob("*") if one.is_file()}
    return {name: (one.st_mtime_ns, one.st_size) for name, one in looked.items()}


async def test_an_opening_from_the_pool_calls_no_engine_and_writes_no_file(server):
    calls = "coderunner_engine_call_seconds_count"

    def waiting() -> bool:
        stats = server.stats()
        shelf = stats["warmPool"]["languages"]["python"]
        return shelf["ready"] == shelf["target"] and not shelf["starting"] and not stats["queue"]["active"]

    seen = []
    for _ in range(5):  # what a session before leaves to be written or removed may come in between
        await eventually(waiting, 30, "the pool full")
        async with connect(server.url) as one:
            await one.message(m.Hello)
            files, before = _written(server), _metric(server, calls)
            await one.send(m.Open("python", one.client))
            await one.wait(lambda one=one: one.opened)
            wrote = {name for name, at in _written(server).items() if files.get(name) != at}
            seen.append((_metric(server, calls) - before, wrote))
            await one.send(m.Close())
            await one.closed()
    assert (0.0, set()) in seen, seen


async def test_a_run(server):
    async with session(server) as client:
        await preloaded(client)
        await client.run(1, "print('hello')")
        await client.ended(1)
        costs = Costs(server, client)
        with costs.each(RUNS):
            for number in range(RUNS):
                await client.run(number + 2)
                await client.ended(number + 2)
                assert client.channel(number + 2).text == "hello\n"
        costs.are_at_most(
            agents_reads_and_writes=60, agents_sleeps=15, servers_sleeps=20, frames=6, bytes=650,
            engine_calls=1, page_faults=1600,
        )  # fmt: skip
