"""The agent's loop as a process of its own, outside of a container."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from coderunner.agent import frames
from tests.harness import ROOT, wait_until

COMMAND = "import sys; sys.path.insert(0, sys.argv[1]); from coderunner.agent import main; main.Agent().run()"
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@pytest.fixture
def agent(tmp_path):
    """(process, path of the FIFO that is its standard input)"""
    fifo = tmp_path / "stdin"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(ROOT / "server")], stdin=reading, stdout=subprocess.PIPE
    )
    os.close(reading)
    yield process, fifo
    process.kill()
    process.wait()
    process.stdout.close()


class Server:
    """The other end of the agent's streams."""

    def __init__(self, process: subprocess.Popen, fifo: Path, workspace: Path) -> None:
        self._output = process.stdout.fileno()
        self._input = fifo.open("wb", buffering=0)
        self._workspace = workspace
        self._decoder = frames.Decoder(7)
        self._waiting: list[frames.Frame] = []
        self.say(frames.ATTACH, json.dumps({"seed": 7, "have": {}}).encode())

    def say(self, kind: int, payload: bytes = b"", **fields: int) -> None:
        self._input.write(frames.encode(kind, 1, payload, **fields))

    def call(self, op: str, **body: object) -> dict:
        self._input.write(frames.encode_message(frames.CALL, 1, {"op": op, "id": 1, **body}))
        return frames.decode_message(self.hear(lambda one: one.kind == frames.REPLY).payload)[0]

    def hear(self, wanted: Callable[[frames.Frame], bool]) -> frames.Frame:
        """The next frame that is wanted; the others are dropped."""
        while True:
            while self._waiting:
                frame = self._waiting.pop(0)
                if wanted(frame):
                    return frame
            self._waiting += self._decoder.feed(os.read(self._output, 65536))

    def run(self, channel: int, *command: str) -> dict:
        folder = str(self._workspace)
        spec = {
            "mode": "pipe", "cols": 80, "rows": 24, "workspace": folder, "build": folder, "entry": "",
            "args": [], "sources": [], "compile": [], "run": list(command), "env": {"TMPDIR": folder},
            "limits": {"wall_ms": 10_000, "cpu_ms": 10_000, "output_bytes": 1 << 20, "cpus": 1},
        }  # fmt: skip
        return self.call("run", channel=channel, spec=spec, controlled=True)

    def ended(self, channel: int) -> dict:
        def end(frame: frames.Frame) -> bool:
            return frame.kind == frames.STATE and json.loads(frame.payload)["end"] is not None

        state = json.loads(self.hear(end).payload)
        assert state["channel"] == channel
        return state

    def acknowledge(self, channel: int, offset: int) -> None:
        flags = frames.CONTROLLED | frames.EXIT_ACKED
        self.say(frames.FLOW, frames.FLOW_BODY.pack(offset + 9, flags), channel=channel, offset=offset)


def greet(fifo: Path, generation: int) -> None:
    """As a server does that attaches: it opens, writes and goes."""
    with fifo.open("wb") as stdin:
        greeting = json.dumps({"seed": 7, "have": {}}).encode()
        stdin.write(frames.encode(frames.ATTACH, generation, greeting))


def hear(process: subprocess.Popen) -> list[frames.Frame]:
    return frames.Decoder(7).feed(os.read(process.stdout.fileno(), 65536))


def test_an_input_without_a_writer_costs_no_time_and_is_heard_again(agent):
    process, fifo = agent
    greet(fifo, 1)
    assert hear(process)[0].kind == frames.HELLO
    # Nobody has the other end open now: the agent reads an end of file.
    before, began = cpu_seconds(process.pid), time.monotonic()
    wait_until(lambda: time.monotonic() - began > 1, 5, "a second of it")
    assert cpu_seconds(process.pid) - before < 0.2
    greet(fifo, 2)
    assert hear(process)[0].generation == 2


def test_a_number_is_used_once_whatever_is_forgotten(agent, tmp_path):
    server = Server(*agent, tmp_path)
    forgotten: list[int] = []
    number = -1
    while not forgotten:
        number += 1
        forgotten = server.run(number, "true")["forgotten"]
        state = server.ended(number)
        assert state["evidence"]["main"]["code"] == 0
        server.acknowledge(number, state["end"])
    assert forgotten == [0]
    assert server.run(0, "true")["error"]["code"] == "channel_used"
    assert server.run(number, "true")["existed"]
