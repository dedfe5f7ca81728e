"""The agent's loop as a process of its own, outside of a container."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from coderunner.agent import frames
from tests.harness import ROOT, wait_until

COMMAND = "import sys; sys.path.insert(0, sys.argv[1]); from coderunner.agent.main import Agent; Agent().run()"
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
