"""An ordinary user during the attacks: types a key every 20 ms, and measures the latency of each echo.

It is a separate process, so that the attacking client's own work does not count as the server's latency. It
prints lines of JSON: {} when it is ready, then [time of the key, seconds until its echo], in the monotonic
clock that all processes of a machine share; {"lost": why} if its session is lost.
It ends when its standard input is closed.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

from coderunner.attack.stage import Stage
from coderunner.client.peer import Unexpected
from coderunner.core.codec import OutputFrame

# 50 keys a second: faster than anybody types, so that a short stall does not fall between two keys.
INTERVAL = 0.02  # seconds between keys
PROGRAM = """
import os, tty
tty.setraw(0)
os.write(1, b'ready')
while data := os.read(0, 4096):
    os.write(1, data)
"""
READY = len("ready")
HOUR_MS = 3_600_000  # the wall limit of its program, longer than the suite takes


async def _type(stage: Stage) -> None:
    """Types keys and prints their latencies until standard input is closed. Raises Unexpected for a lost
    session."""
    typed: list[float] = []  # when each key was sent, by its offset in the input

    def on_output(frame: OutputFrame) -> None:
        """Prints the latency of each key that a frame echoes."""
        now = time.monotonic()
        # The echo has exactly the keys' bytes, so an offset tells which key it belongs to.
        for number in range(frame.offset - READY, frame.offset - READY + len(frame.payload)):
            if 0 <= number < len(typed):
                print(json.dumps([typed[number], now - typed[number]]), flush=True)

    async with stage.session("python") as peer:
        peer.on_output = on_output
        await peer.run(1, PROGRAM, mode="tty", limits={"wall_ms": HOUR_MS})
        await peer.until(1, "ready")
        peer.keep = False  # the output is not needed, and would grow all the time
        print("{}", flush=True)
        # The parent closes standard input to end this process; a blocking read notices that at once.
        stopped = asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
        while not stopped.done():
            if peer.close_code is not None or peer.channel(1).exit is not None:
                raise Unexpected(f"closed with {peer.close_code}, ended with {peer.channel(1).exit}")
            typed.append(time.monotonic())
            # With an offset the frame is sent at once, and does not wait for the window.
            await peer.input(1, b"k", offset=len(typed) - 1)
            await asyncio.wait({stopped}, timeout=INTERVAL)


async def _run(url: str, bearer: str, slowness: float) -> None:
    """The process: types until standard input is closed, and reports a lost session on standard output."""
    try:
        async with Stage(url, bearer, slowness=slowness) as stage:
            await _type(stage)
    except (Unexpected, OSError) as error:
        print(json.dumps({"lost": str(error)}), flush=True)


@dataclass(frozen=True, slots=True)
class Echo:
    """Echo latencies in milliseconds."""

    count: int
    p50: float
    p99: float
    worst: float


class Bystander:
    """Starts the bystander's process, and collects its measurements. A context manager that can be used from
    any event loop, as a thread reads the process. `slowness`: how many times longer it waits for anything.
    `lost`: why its session ended, None while it goes on."""

    def __init__(self, url: str, bearer: str = "", *, slowness: float = 1.0) -> None:
        self.lost: str | None = None
        self._slowness = slowness
        self._samples: list[tuple[float, float]] = []
        self._news = threading.Condition()
        self._ready = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "coderunner.attack.bystander"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdin is not None
        # Not as arguments, which every user of the machine can read: `bearer` is a credential.
        self._process.stdin.write(json.dumps([url, bearer, slowness]).encode() + b"\n")
        self._process.stdin.flush()
        # A thread: each case has an event loop of its own, and none of them reads all the time.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Bystander:
        with self._news:
            self._news.wait_for(lambda: self._ready or self.lost, 60 * self._slowness)
        if not self._ready:
            self.__exit__()
            raise Unexpected(f"the bystander has no session: {self.lost}")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(15 * self._slowness)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            value = json.loads(line)
            with self._news:
                if isinstance(value, list):
                    self._samples.append((value[0], value[1]))
                elif "lost" in value:
                    self.lost = value["lost"]
                else:
                    self._ready = True
                self._news.notify_all()
        with self._news:
            self.lost = self.lost or "its process ended"
            self._news.notify_all()

    async def between(self, begin: float, end: float, *, patience: float = 10.0) -> Echo | None:
        """The latencies of keys typed between two times of the monotonic clock; None if echoes have stopped.

        Waits up to `patience` seconds for the echo of a later key, which shows that all before have come.
        """
        await asyncio.to_thread(self._wait, end, patience)
        with self._news:
            late = sorted(seconds * 1000 for typed, seconds in self._samples if begin <= typed <= end)
            answered = bool(self._samples) and self._samples[-1][0] > end
            # What belongs to earlier cases is dropped: the suite lasts for many minutes.
            self._samples = [one for one in self._samples if one[0] > end]
        if not late or not answered:
            return None
        return Echo(
            len(late), late[len(late) // 2], late[min(len(late) - 1, len(late) * 99 // 100)], late[-1]
        )

    def _wait(self, end: float, patience: float) -> None:
        with self._news:
            self._news.wait_for(lambda: self.lost or (self._samples and self._samples[-1][0] > end), patience)


if __name__ == "__main__":
    asyncio.run(_run(*json.loads(sys.stdin.readline())))
