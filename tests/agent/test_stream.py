"""The agent between two ways to a server: its standard streams, and a socket to which it connects."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coderunner.agent import tree
from coderunner.wire import SOCKET_NAME, flow, frames
from tests.harness import ROOT

COMMAND = (
    "import sys; sys.path.insert(0, sys.argv[1])\n"
    "from coderunner.agent import main; main.SOCKET_FOLDER = sys.argv[2]; main.main()"
)


class Place:
    """An agent, the folder of its socket, and servers on either way."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, str(ROOT / "server"), str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def listen(self) -> socket.socket:
        path = self.folder / SOCKET_NAME
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.settimeout(5)
        listener.bind(str(path))
        listener.listen(8)
        return listener

    def come(self) -> End:
        with self.listen() as listener:
            one, _ = listener.accept()
        one.settimeout(5)
        return End(lambda: one.recv(65536), one.sendall, one.close)

    def standard(self) -> End:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None

        def send(data: bytes) -> None:
            stdin.write(data)
            stdin.flush()

        return End(lambda: os.read(stdout.fileno(), 65536), send, lambda: None)


class End:
    """A server's end of one of the two."""

    def __init__(
        self, read: Callable[[], bytes], send: Callable[[bytes], object], close: Callable[[], None]
    ) -> None:
        self.close = close
        self._read = read
        self.send = send
        self._generation = 0
        self._decoder = frames.Decoder(7)
        self._waiting: list[frames.Frame] = []

    def attach(self, generation: int, have: dict[str, int] | None = None) -> dict[str, object]:
        self._generation = generation
        self.say(frames.ATTACH, json.dumps({"seed": 7, "have": have or {}}).encode())
        hello: dict[str, object] = json.loads(self.hear(frames.HELLO).payload)
        return hello

    def say(self, kind: int, payload: bytes = b"", **fields: int) -> None:
        self.send(frames.encode(kind, self._generation, payload, **fields))

    def call(self, op: str, **body: object) -> None:
        self.send(frames.encode_message(frames.CALL, self._generation, {"op": op, "id": 1, **body}))
        self.hear(frames.REPLY)

    def hear(self, kind: int) -> frames.Frame:
        while True:
            while self._waiting:
                frame = self._waiting.pop(0)
                if frame.kind == kind:
                    return frame
            data = self._read()
            assert data, "an end"
            self._waiting += self._decoder.feed(data)

    def beat(self) -> None:
        self.say(frames.BEAT)
        self.hear(frames.BEAT)

    def output(self, upto: int, whole: bytearray) -> None:
        """Reads the output of channel 1 until there is so much of it; no byte is missing before."""
        while len(whole) < upto:
            frame = self.hear(frames.OUTPUT)
            assert frame.offset <= len(whole)
            whole[frame.offset :] = frame.payload

    def ended(self) -> bool:
        try:
            while self._read():
                pass
        except ConnectionResetError:
            pass
        return True


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    one = Place(tmp_path)
    yield one
    tree.kill(one.process.pid)
    one.process.kill()
    one.process.wait()
    for pipe in (one.process.stdin, one.process.stdout):
        assert pipe is not None
        pipe.close()


def spec(folder: Path, code: str, mode: str = "tty") -> dict[str, object]:
    return {
        "mode": mode, "cols": 80, "rows": 24, "workspace": str(folder), "build": str(folder), "entry": "",
        "args": [], "sources": [], "compile": [], "run": [sys.executable, "-c", code],
        "env": {"TMPDIR": str(folder)},
        "limits": {"wall_ms": 60_000, "cpu_ms": 60_000, "output_bytes": 1 << 30, "cpus": 1,
                   "memory_bytes": 1 << 40},
    }  # fmt: skip


COUNT = "i = 0\nwhile True:\n    print('%07d' % i, flush=True)\n    i += 1"


def test_the_highest_generation_wins_wherever_it_attached(place):
    standard = place.standard()
    standard.attach(1)
    direct = place.come()
    standard.beat()  # who is connected and has not attached is nobody yet
    direct.attach(2)
    direct.beat()
    standard.say(frames.BEAT)  # of a server that was replaced
    direct.beat()
    standard.attach(3)
    standard.beat()
    direct.say(frames.ATTACH, json.dumps({"seed": 7, "have": {}}).encode())
    assert direct.hear(frames.REFUSED).offset == 3
    standard.beat()


def test_who_listens_on_the_standard_streams_hears_that_a_server_is_there(place):
    direct = place.come()
    direct.attach(1)
    direct.beat()
    assert place.standard().hear(frames.BEAT).generation == 1


def test_an_end_of_the_socket_is_no_detach(place, tmp_path):
    """A server that dies leaves everything as it was, for as long as one that is silent."""
    direct = place.come()
    direct.attach(1)
    direct.call("run", channel=1, spec=spec(tmp_path, COUNT), controlled=True)
    direct.say(frames.FLOW, frames.FLOW_BODY.pack(1 << 20, frames.CONTROLLED), channel=1, offset=0)
    whole = bytearray()
    direct.output(50_000, whole)
    direct.close()
    time.sleep(0.3)  # a terminal that nobody controls would run on, past the window
    direct = place.come()
    hello = direct.attach(2, {"1": len(whole)})
    (state,) = hello["channels"]
    assert state["from"] == 0
    assert state["to"] <= flow.MAX_WINDOW
    direct.say(frames.FLOW, frames.FLOW_BODY.pack(1 << 30, frames.CONTROLLED), channel=1, offset=len(whole))
    direct.output(len(whole) + 100_000, whole)
    lines = bytes(whole).split(b"\r\n")[:-1]
    assert lines == [b"%07d" % number for number in range(len(lines))]


def test_it_comes_back_soon_and_costs_little_while_nobody_listens(place):
    direct = place.come()
    direct.attach(1)
    direct.close()
    before = _cpu_seconds(place.process.pid)
    time.sleep(1)
    assert _cpu_seconds(place.process.pid) - before < 0.2
    with place.listen() as listener:
        listener.accept()[0].close()


def test_a_server_that_is_heard_elsewhere_is_left_for_nobody(place):
    """Connections that nobody greets come and go."""
    standard = place.standard()
    standard.attach(1)
    for _ in range(2):
        place.come().close()
    standard.beat()


def test_what_one_wrote_half_is_not_the_beginning_of_anothers(place):
    direct = place.come()
    whole = frames.encode(frames.ATTACH, 5, json.dumps({"seed": 7, "have": {}}).encode())
    direct.send(whole[:-1])
    direct.close()
    again = place.come()
    again.attach(6)
    again.beat()


def test_a_server_behind_a_full_stream_is_replaced(place, tmp_path):
    """It reads nothing: neither the agent nor its program turns round and round, and another is heard."""
    direct = place.come()
    direct.attach(1)
    direct.call("run", channel=1, spec=spec(tmp_path, COUNT), controlled=True)
    direct.say(frames.FLOW, frames.FLOW_BODY.pack(1 << 40, frames.CONTROLLED), channel=1, offset=0)
    direct.hear(frames.OUTPUT)
    for step in range(1, 30):  # its client is always there
        offset = step * 100_000
        direct.say(frames.FLOW, frames.FLOW_BODY.pack(1 << 40, frames.CONTROLLED), channel=1, offset=offset)
        time.sleep(0.01)
    before = _cpu_seconds(place.process.pid)
    time.sleep(1)
    assert _cpu_seconds(place.process.pid) - before < 0.3
    standard = place.standard()
    standard.attach(2)
    standard.beat()


def test_a_fault_of_its_own_is_told_before_the_end(place, tmp_path):
    direct = place.come()
    direct.attach(1)
    direct.call("run", channel=1, spec=spec(tmp_path, "input()"), controlled=True)
    direct.say(frames.FLOW, b"no body of a FLOW frame", channel=1)
    assert b"struct.error" in direct.hear(frames.FATAL_ERROR).payload
    assert place.process.wait(5) == 1


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
