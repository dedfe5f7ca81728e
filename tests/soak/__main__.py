"""`make soak`: visitors come and go for a bounded time, while everything between them and the engine breaks.

Ends with a balance, and with exit code 1 where it does not balance.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.harness import Server, Unexpected, eventually, running_server, start_server
from tests.proxy import Proxy
from tests.soak.visitor import Balance, Visitor

VISITORS = 6
SLOTS = 8


def descriptors(server: Server) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def resident(server: Server) -> float:
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


async def visit(url: str, balance: Balance, chance: random.Random, until: float) -> None:
    while time.monotonic() < until:
        visitor = Visitor(url, balance, chance)
        if not await visitor.open():
            balance.faults.append("open: no answer in time")
            return
        acts = [visitor.count, visitor.flood, visitor.endless, visitor.bomb, visitor.type]
        for number in range(1, chance.randrange(2, 6)):
            try:
                await chance.choice(acts)(number)
            except (AssertionError, Unexpected) as error:
                balance.faults.append(str(error))
                break
        await visitor.close()


async def disturb(
    server: Server, folder: Path, proxy: Proxy, chance: random.Random, until: float
) -> tuple[int, int]:
    """Cuts, deaths and deploys; how many restarts, and connections that were cut beside the proxy's own."""
    restarts = cuts = 0
    while (left := until - time.monotonic()) > 0:
        try:
            async with asyncio.timeout(min(left, chance.uniform(6, 12))):
                while True:
                    await asyncio.sleep(chance.uniform(0.1, 1.0))
                    cuts += proxy.cut()
        except TimeoutError:
            pass
        if until - time.monotonic() < 4:
            break
        how = chance.choice([signal.SIGKILL, signal.SIGTERM])
        await asyncio.to_thread(server.stop, how)
        port = server.url.rsplit(":", 1)[1].strip("/")
        settings = {**server.environment, "PORT": port}
        again = await asyncio.to_thread(start_server, settings, folder / f"again{restarts}.log")
        server.process = again.process
        restarts += 1
    return restarts, cuts


async def soak(
    server: Server, folder: Path, proxy: Proxy, seconds: float, seed: int
) -> tuple[Balance, int, int]:
    balance = Balance()
    chance = random.Random(seed)
    until = time.monotonic() + seconds
    url = f"http://127.0.0.1:{proxy.listen}/"
    visitors = [visit(url, balance, random.Random(seed + n), until) for n in range(VISITORS)]
    (restarts, cuts), *_ = await asyncio.gather(disturb(server, folder, proxy, chance, until), *visitors)
    proxy.cut_after = None
    await eventually(lambda: server.stats()["queue"]["active"] == 0, 60, "no live session")
    return balance, restarts, cuts


async def settle(server: Server) -> None:
    def calm() -> bool:
        stats = server.stats()
        warm = stats["warmPool"]
        return (
            not warm["starting"]
            and len(server.containers()) == warm["ready"]
            and not stats["workerPool"]["activeWorkers"]
        )

    await eventually(calm, 60, "only waiting containers")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    print(f"{arguments.seconds:g} s, {VISITORS} visitors, seed {arguments.seed}", flush=True)
    settings = {
        "LANGUAGES": "python",
        "MAX_CONCURRENT_SESSIONS": str(SLOTS),
        "WARM_MAX": "3",
        "LOG_LEVEL": "info",
        "SESSION_RESUME_MIN": "10000",
        "SESSION_RESUME_MAX": "10000",
    }
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        with running_server(folder, **settings) as server:
            port = int(server.url.rsplit(":", 1)[1].strip("/"))
            before = (descriptors(server), resident(server))
            with Proxy(port, seed=arguments.seed) as proxy:
                proxy.cut_after = (2_000, 2_000_000)
                balance, restarts, cuts = asyncio.run(
                    soak(server, folder, proxy, arguments.seconds, arguments.seed)
                )
                cuts += proxy.cuts
            asyncio.run(settle(server))
            after = (descriptors(server), resident(server))
    except BaseException:
        print(f"the logs of the servers are kept in {folder}", flush=True)
        raise
    show(balance, restarts, cuts, before, after)
    if after[0] > before[0] + 5:
        balance.faults.append(f"descriptors: {before[0]} before, {after[0]} after")
    if after[1] > before[1] + 60:
        balance.faults.append(f"memory: {before[1]:.0f} MiB before, {after[1]:.0f} after")
    if balance.begun != balance.ended or balance.programs != balance.exits:
        balance.faults.append("not everything that began has ended")
    if balance.lost > cuts + VISITORS * restarts:
        balance.faults.append("the server cut connections that nobody else did")
    for fault in balance.faults:
        print(f"FAULT {fault}")
    print(f"{balance.exits} passed, {len(balance.faults)} failed")
    if balance.faults:
        print(f"the logs of the servers are kept in {folder}")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def show(balance: Balance, restarts: int, cuts: int, before: tuple, after: tuple) -> None:
    rows = [
        ("sessions begun / ended", f"{balance.begun} / {balance.ended}"),
        ("programs begun / ended", f"{balance.programs} / {balance.exits}"),
        ("bytes written by programs", f"{balance.written:,}"),
        ("  received + told as gaps", f"{balance.received:,} + {balance.gaps:,}"),
        ("bytes typed", f"{balance.typed:,}"),
        ("endings", ", ".join(f"{name} {count}" for name, count in sorted(balance.reasons.items()))),
        ("connections cut / lost while attached", f"{cuts} / {balance.lost}"),
        ("tries to connect that failed", str(balance.tries)),
        ("restarts of the server", str(restarts)),
        ("server's descriptors, before / after", f"{before[0]} / {after[0]}"),
        ("server's memory in MiB, before / after", f"{before[1]:.0f} / {after[1]:.0f}"),
    ]
    print()
    for title, value in rows:
        print(f"{title:<46}{value}")


if __name__ == "__main__":
    sys.exit(main())
