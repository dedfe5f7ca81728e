"""Types, and measures the echo; or has a program flood, and measures how fast that comes.

    python -m tests.bench.typist websocket URL SESSION TOKEN OFFSET
    python -m tests.bench.typist terminado PORT
    python -m tests.bench.typist exec CONTAINER FILE

For each line on its standard input it prints a list of figures as JSON.  `keys`: 50 keys, one after the
other, and the milliseconds until the echo of each.  `again FILE`: runs of this file, which is there, one
after the other, and the milliseconds from the message to the exit of each (of a WebSocket only).  `tty N`,
`pipe N`: so many bytes of output, in MB a second (of `exec` and terminado the terminal only).  A process of
its own that waits in `recv`: a client on an event loop, in Python, adds a third of a millisecond of its own
to every key.
"""

from __future__ import annotations

import json
import os
import pty
import secrets
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

from coderunner.core import codec
from coderunner.core.codec import HEADER_SIZE
from coderunner.schema import messages as m

KEYS = 50
RUNS = 10
SECONDS = 60
ACK_BYTES = 32 * 1024  # half of what the page waits for: a client acknowledges early, when it floods
ACK_SECONDS = 0.05  # after which the page acknowledges little output (`static/core/channel.js`)
FLOOD = "head -c {count} /dev/zero | tr '\\0' a"
RUN = "import os\nos.execvp('bash', ['bash', '-c', {command!r}])"
_MASK = b"\0\0\0\0"  # of a client's frame; any will do


class Client(Protocol):
    """Something that echoes, and floods."""

    def key(self) -> None:
        """Returns when the key's echo is there."""

    def rest(self) -> None:
        """What is due behind it."""

    def flood(self, mode: str, count: int) -> None:
        """Returns when so many bytes of output have come."""


class Socket:
    """A WebSocket by hand."""

    def __init__(self, host: str, port: int, path: str, protocol: str = "") -> None:
        self._socket = socket.create_connection((host, port), SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        offer = f"Sec-WebSocket-Protocol: {protocol}\r\n" if protocol else ""
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
            f"AAAAAAAAAAAAAAAAAAAAAA==\r\n{offer}\r\n".encode()
        )
        while b"\r\n\r\n" not in self._buffer:
            self._receive()
        del self._buffer[: self._buffer.index(b"\r\n\r\n") + 4]

    def send(self, opcode: int, data: bytes) -> None:
        short = len(data) < 126
        length = bytes([0x80 | len(data)]) if short else b"\xfe" + struct.pack(">H", len(data))
        self._socket.sendall(bytes([0x80 | opcode]) + length + _MASK + data)

    def _receive(self) -> None:
        data = self._socket.recv(256 * 1024)
        if not data:
            raise EOFError("the server closed the connection")
        self._buffer += data

    def frame(self) -> tuple[int, bytes]:
        """(opcode, payload) of the next one."""
        while True:
            head, size = 2, self._buffer[1] & 127 if len(self._buffer) > 1 else 0
            if size >= 126:
                head = 4 if size == 126 else 10
                size = int.from_bytes(self._buffer[2:head])
            if len(self._buffer) >= max(2, head + size):
                opcode, data = self._buffer[0] & 15, bytes(self._buffer[head : head + size])
                del self._buffer[: head + size]
                return opcode, data
            self._receive()

    def pass_over(self) -> tuple[int, int]:
        """(opcode, size of the payload) of the next frame, whose bytes are not copied from the kernel.

        So the client takes little of the processors of the machine that is measured."""
        if self._buffer:
            opcode, data = self.frame()
            return opcode, len(data)
        head = self._exactly(2)
        size = head[1] & 127
        if size >= 126:
            size = int.from_bytes(self._exactly(2 if size == 126 else 8))
        left = size
        while left:
            left -= len(self._some(left, socket.MSG_TRUNC))
        return head[0] & 15, size

    def _exactly(self, size: int) -> bytes:
        return self._some(size, socket.MSG_WAITALL)

    def _some(self, size: int, flags: int) -> bytes:
        data = self._socket.recv(size, flags)
        if not data:
            raise EOFError("the server closed the connection")
        return data

    def until(self, wanted: Callable[[int, bytes], bool]) -> bytes:
        while True:
            opcode, data = self.frame()
            if wanted(opcode, data):
                return data

    def close(self) -> None:
        self._socket.close()


class WebSocket:
    """Attached to a session whose channel 1 echoes."""

    def __init__(self, url: str, session: str, token: str, offset: int) -> None:
        parts = urlsplit(url)
        self._socket = Socket(str(parts.hostname), int(parts.port or 80), f"/ws/{session}", "coderunner.v1")
        self._output = offset
        self._acked = 0.0  # when it acknowledged last
        self._channel = 100
        self._last = 0, 0  # the last run's channel, and the bytes of its output
        self._text(m.Attach(session, token, secrets.token_urlsafe(16), cursors={1: offset}))
        attached = self._socket.until(lambda opcode, data: opcode == 1 and b'"attached"' in data)
        self._input = json.loads(attached)["channels"][0]["input_offset"]

    def key(self) -> None:
        self._socket.send(2, codec.encode_input(1, self._input, b"k"))
        self._input += 1
        self._socket.until(lambda opcode, _: opcode == 2)
        self._output += 1

    def rest(self) -> None:
        if time.monotonic() - self._acked >= ACK_SECONDS:
            self._acked = time.monotonic()
            self._text(m.Ack(1, self._output))

    def flood(self, mode: str, count: int) -> None:
        self._channel += 1
        number, got, acked = self._channel, 0, 0
        code = RUN.format(command=FLOOD.format(count=count))
        self._text(m.Run(number, mode, files=(m.File("flood.py", code.encode()),), entry="flood.py"))
        while got < count:
            opcode, size = self._socket.pass_over()
            if opcode == 2:
                got += size - HEADER_SIZE
                if got - acked >= ACK_BYTES or got >= count:
                    acked = got
                    self._text(m.Ack(number, got))
        self._socket.until(lambda opcode, data: opcode == 1 and b'"exit"' in data)
        self._text(m.Ack(number, got, exit=True))

    def again(self, entry: str) -> None:
        """Runs a file of the workspace; returns when its exit has come."""
        self._channel += 1
        number, got = self._channel, 0
        exit_message = b'{"type":"exit","channel":%d,' % number
        self._text(m.Run(number, "pipe", entry=entry))
        while True:
            opcode, data = self._socket.frame()
            got += len(data) - HEADER_SIZE if opcode == 2 else 0
            if opcode == 1 and data.startswith(exit_message):
                break
        self._last = number, got

    def done(self) -> None:
        """Acknowledges the last run."""
        self._text(m.Ack(*self._last, exit=True))

    def _text(self, message: m.ClientMessage) -> None:
        self._socket.send(1, codec.encode_client(message).encode())


class Terminado:
    """A terminal of terminado's."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket = Socket("127.0.0.1", port, "/echo")
        self._socket.until(lambda _, data: b"!" in data)

    def key(self) -> None:
        self._socket.send(1, b'["stdin","k"]')
        self._socket.until(lambda _, data: b'"stdout"' in data)

    def rest(self) -> None:
        pass

    def flood(self, mode: str, count: int) -> None:
        one, got = Socket("127.0.0.1", self._port, "/flood"), 0
        while got < count:
            kind, *rest = json.loads(one.frame()[1])
            got += len(rest[0]) if kind == "stdout" else 0
        one.close()


class Exec:
    """The same program under `docker exec -it`, on a terminal of ours."""

    def __init__(self, container: str, file: str) -> None:
        self._container = container
        self._terminal = self._started("python3", file)
        while b"!" not in os.read(self._terminal, 1000):
            pass

    def _started(self, *command: str) -> int:
        pid, terminal = pty.fork()
        if pid == 0:
            os.execvp("docker", ["docker", "exec", "-it", self._container, *command])
        return terminal

    def key(self) -> None:
        os.write(self._terminal, b"k")
        os.read(self._terminal, 1000)

    def rest(self) -> None:
        pass

    def flood(self, mode: str, count: int) -> None:
        terminal, got = self._started("bash", "-c", FLOOD.format(count=count)), 0
        while got < count:
            got += len(os.read(terminal, 65536))
        os.close(terminal)


def figures(client: Client, what: str, *words: str) -> list[float]:
    """Of one line."""
    times: list[float] = []
    if what == "again":
        assert isinstance(client, WebSocket)
        for _ in range(RUNS):
            began = time.perf_counter()
            client.again(*words)
            times.append((time.perf_counter() - began) * 1000)
            client.done()
        return times
    if what != "keys":
        began = time.perf_counter()
        client.flood(what, int(words[0]))
        return [int(words[0]) / 1e6 / (time.perf_counter() - began)]
    for _ in range(KEYS):
        began = time.perf_counter()
        client.key()
        times.append((time.perf_counter() - began) * 1000)
        client.rest()
    return times


def main() -> None:
    kind, *words = sys.argv[1:]
    client: Client
    if kind == "exec":
        client = Exec(*words)
    elif kind == "terminado":
        client = Terminado(int(words[0]))
    else:
        client = WebSocket(words[0], words[1], words[2], int(words[3]))
    for line in sys.stdin:
        print(json.dumps(figures(client, *line.split())), flush=True)


if __name__ == "__main__":
    main()
