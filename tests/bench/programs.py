"""`scripts/bench.sh programs`: what programs as users get: an answer over HTTP, a batch, one-shot sessions.

Ours and the peer's are taken in turn, round after round.  `--write` puts the table into docs/performance.md.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiodocker
import aiohttp

from tests.bench import report
from tests.bench.__main__ import HELLO, Row
from tests.harness import ENGINE, MEASURED, ROOT, Server, docker, eventually, running_server, session

LANGUAGES = ("python", "cpp")
CASES = 1000
SUM = "#include <iostream>\nint main() { long a, b; std::cin >> a >> b; std::cout << a + b << '\\n'; }"
AT_ONCE, ONE_SHOTS = 4, 40  # one-shot sessions, and containers of the engine: at the same time, and in all
RUN, DOCKER_RUN = "POST /api/run of a Python hello, warm, to the whole answer", "docker run of the same"
BATCH = f"a batch of {CASES:,} inputs for one C++ program, with its compilation"
SESSIONS = f"one-shot sessions (POST /api/run), {AT_ONCE} at a time"
CONTAINERS = f"the engine's create, start and remove, {AT_ONCE} at a time"
# What no server gets below whose agent is in Python: an interpreter that does nothing, and the user's.
INTERPRETERS = f"the same of containers that start two interpreters and end, {AT_ONCE} at a time"
TWO = ["/usr/bin/python3 -I -S -c pass; python3 -c \"print('hello')\""]


class Bench:
    """The measurements. `config`: of a session's container, for the engine's own rate."""

    def __init__(
        self, server: Server, http: aiohttp.ClientSession, engine: aiodocker.Docker, config: dict[str, Any]
    ) -> None:
        self.server, self.http, self.engine, self.config = server, http, engine, config

    async def ask(self, path: str, document: dict[str, Any]) -> Any:
        async with self.http.post(self.server.url + path, json=document) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def hello(self) -> None:
        answer = await self.ask("api/run", {"language": "python", "source": HELLO})
        assert answer["stdout"] == "hello\n"

    async def run(self) -> float:
        await self.calm()
        began = time.perf_counter()
        await self.hello()
        return (time.perf_counter() - began) * 1000

    async def docker_run(self) -> float:
        await self.calm()
        words = ("run", "--rm", self.config["Image"], "python3", "-c", HELLO)
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec("docker", *words, stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
        assert out == b"hello\n"
        return (time.perf_counter() - began) * 1000

    async def batch(self) -> float:
        await self.calm()
        cases = [{"stdin": f"{n} 1\n", "expected": f"{n + 1}\n"} for n in range(CASES)]
        began = time.perf_counter()
        answer = await self.ask("api/batch", {"language": "cpp", "source": SUM, "cases": cases})
        took = time.perf_counter() - began
        assert answer["passed"] == CASES, answer["counts"]
        return CASES / took

    async def sessions(self) -> float:
        await self.calm()
        return await self.rate(self.hello)

    async def containers(self) -> float:
        await self.calm()
        return await self.rate(self.container)

    async def interpreters(self) -> float:
        await self.calm()
        return await self.rate(self.container_to_its_end)

    async def container_to_its_end(self) -> None:
        await self.container({"Entrypoint": ["sh", "-c"], "Cmd": TWO})

    async def container(self, ends: dict[str, Any] | None = None) -> None:
        """Makes and removes a container. `ends`: a configuration with which it ends by itself, first."""
        made = await self.engine.containers.create({**self.config, **(ends or {})})
        try:
            await made.start()
            if ends is not None:
                await made.wait()
        finally:
            await made.delete(force=True)

    async def rate(self, act: Callable[[], Awaitable[None]]) -> float:
        left = iter(range(ONE_SHOTS))

        async def worker() -> None:
            for _ in left:
                await act()

        began = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        return ONE_SHOTS / (time.perf_counter() - began)

    async def calm(self) -> None:
        """Nothing is left to be done of the measurement before: no session, and the shelves are full."""

        def still() -> bool:
            stats = self.server.stats()
            shelves = stats["warmPool"]["languages"].values()
            full = all(one["ready"] >= one["target"] and not one["starting"] for one in shelves)
            return full and stats["queue"]["active"] == 0

        await eventually(still, 60, "the shelves full")


async def like_a_session(server: Server, engine: aiodocker.Docker) -> dict[str, Any]:
    """The configuration of a session's container, without what makes it one of the server's."""
    async with session(server) as client:
        container = await engine.containers.get(f"coderunner-{client.opened.session}")
        told = await container.show()
    config = {name: told["Config"][name] for name in ("Image", "User", "WorkingDir")}
    host = {name: value for name, value in told["HostConfig"].items() if name not in ("Binds", "Mounts")}
    return {**config, "Entrypoint": ["sleep"], "Cmd": ["60"], "HostConfig": host}


async def measured(server: Server, rounds: int) -> list[Row]:
    timeout = aiohttp.ClientTimeout(total=300)
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        engine = await stack.enter_async_context(aiodocker.Docker(url=ENGINE))
        bench = Bench(server, http, engine, await like_a_session(server, engine))
        rows = [
            Row(RUN, bench.run, target=25, peer=DOCKER_RUN),
            Row(DOCKER_RUN, bench.docker_run),
            Row(BATCH, bench.batch, "/s", target=100),
            Row(SESSIONS, bench.sessions, "/s", peer=CONTAINERS),
            Row(CONTAINERS, bench.containers, "/s"),
            Row(INTERPRETERS, bench.interpreters, "/s", peer=CONTAINERS),
        ]
        for number in range(rounds + 1):  # the first is a warm-up
            for row in rows:
                value = await row.measure()
                if number:
                    row.values.append(value)
        return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench.sh programs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--write", action="store_true", help="write the table into docs/performance.md")
    arguments = parser.parse_args()
    settings = {"LANGUAGES": ",".join(LANGUAGES), "WARM_FLOOR": "2", **MEASURED, "SESSIONS_PER_ADDRESS": "60"}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        with running_server(Path(folder), ready=LANGUAGES, **settings) as server:
            rows = asyncio.run(measured(server, arguments.rounds))
    version = docker("version", "-f", "{{.Server.Version}}").strip()
    machine = (
        f"{os.cpu_count()} cores, Docker Engine {version}, load {os.getloadavg()[0]:.1f},"
        f" {arguments.rounds} rounds"
    )
    print("\n".join(report.programs(rows, machine)))
    if arguments.write:
        report.write_programs(rows, machine, ROOT / "docs")


if __name__ == "__main__":
    main()
