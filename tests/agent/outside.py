"""The agent's loop as a process of its own, outside of a container, and a server for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coderunner.agent import tree
from coderunner.wire import frames
from tests.harness import ROOT

COMMAND = "import sys; sys.path.insert(0, sys.argv[1]); from coderunner.agent import main; main.Agent().run()"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """(process, path of the FIFO that is its standard input)"""
    with started(tmp_path, COMMAND) as one:
        yield one


@contextmanager
def started(
    folder: Path, command: str, *arguments: str, **environment: str
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """An agent, as of `agent`, by a program that finds its packages in the first argument."""
    fifo = folder / "stdin"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    process = subprocess.Popen(
        [sys.executable, "-c", command, str(ROOT / "server"), *arguments],
        stdin=reading, stdout=subprocess.PIPE, env={**os.environ, **environment},
    )  # fmt: skip
    os.close(reading)
    yield process, fifo
    tree.kill(process.pid)
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
        self.ask(op, 1, **body)
        return self.answer(1)

    def ask(self, op: str, number: int, **body: object) -> None:
        self._input.write(frames.encode_message(frames.CALL, 1, {"op": op, "id": number, **body}))

    def whole(self, op: str, **body: object) -> tuple[dict, bytes]:
        """An answer with the bytes that come with it."""
        self.ask(op, 2, **body)
        frame = self.hear(lambda one: one.kind == frames.REPLY)
        return frames.decode_message(frame.payload)

    def answer(self, number: int) -> dict:
        """The answer to this call; those that came before it and were not asked for are dropped."""
        while True:
            frame = self.hear(lambda one: one.kind == frames.REPLY)
            reply: dict = frames.decode_message(frame.payload)[0]
            if reply["id"] == number:
                return reply

    def hear(self, wanted: Callable[[frames.Frame], bool]) -> frames.Frame:
        """The next frame that is wanted; the others are dropped."""
        while True:
            while self._waiting:
                frame = self._waiting.pop(0)
                if wanted(frame):
                    return frame
            data = os.read(self._output, 65536)
            assert data, "the agent has ended"
            self._waiting += self._decoder.feed(data)

    def run(self, channel: int, *command: str, mode: str = "pipe") -> dict:
        folder = str(self._workspace)
        spec = {
            "mode": mode, "cols": 80, "rows": 24, "workspace": folder, "build": folder, "entry": "",
            "args": [], "sources": [], "compile": [], "run": list(command), "env": {"TMPDIR": folder},
            "limits": {"wall_ms": 10_000, "cpu_ms": 10_000, "output_bytes": 1 << 20, "cpus": 1,
                       "memory_bytes": 1 << 40},
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
