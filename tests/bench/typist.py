"""Types, and measures the echo: over a WebSocket by hand, or into `docker exec -it`.

    python -m tests.bench.typist websocket URL SESSION TOKEN OFFSET
    python -m tests.bench.typist exec CONTAINER FILE

For each line on its standard input it types 50 keys, one after the other, and prints the median of their
echoes in milliseconds.  A process of its own that waits in `recv`: a client on an event loop, in Python,
adds a third of a millisecond of its own to every key.
"""

from __future__ import annotations

import json
import os
import pty
import secrets
import socket
import statistics
import struct
import sys
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from coderunner.core import codec
from coderunner.schema import messages as m

KEYS = 50
SECONDS = 20
_MASK = b"\0\0\0\0"  # of a client's frame; any will do


class WebSocket:
    """Attached to a session whose channel 1 echoes; ``key`` returns when its echo is there."""

    def __init__(self, url: str, session: str, token: str, offset: int) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port), SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        self._output = offset
        self._input = 0
        self._socket.sendall(
            f"GET /ws/{session} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
            "AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: coderunner.v1\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self._buffer:
            self._receive()
        del self._buffer[: self._buffer.index(b"\r\n\r\n") + 4]
        self._text(m.Attach(session, token, secrets.token_urlsafe(16), cursors={1: offset}))
        attached = self._until(lambda opcode, data: opcode == 1 and b'"attached"' in data)
        self._input = json.loads(attached)["channels"][0]["input_offset"]

    def key(self) -> None:
        self._send(2, codec.encode_input(1, self._input, b"k"))
        self._input += 1
        self._until(lambda opcode, _: opcode == 2)
        self._output += 1

    def rest(self) -> None:
        self._text(m.Ack(1, self._output))

    def _text(self, message: m.ClientMessage) -> None:
        self._send(1, codec.encode_client(message).encode())

    def _send(self, opcode: int, data: bytes) -> None:
        short = len(data) < 126
        length = bytes([0x80 | len(data)]) if short else b"\xfe" + struct.pack(">H", len(data))
        self._socket.sendall(bytes([0x80 | opcode]) + length + _MASK + data)

    def _receive(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise EOFError("the server closed the connection")
        self._buffer += data

    def _until(self, wanted: Callable[[int, bytes], bool]) -> bytes:
        while True:
            head, size = 2, self._buffer[1] & 127 if len(self._buffer) > 1 else 0
            if size == 126:
                head, size = 4, int.from_bytes(self._buffer[2:4])
            if len(self._buffer) < head + size:
                self._receive()
                continue
            opcode, data = self._buffer[0] & 15, bytes(self._buffer[head : head + size])
            del self._buffer[: head + size]
            if wanted(opcode, data):
                return data


class Exec:
    """The same program under `docker exec -it`, on a terminal of ours."""

    def __init__(self, container: str, file: str) -> None:
        pid, self._terminal = pty.fork()
        if pid == 0:
            os.execvp("docker", ["docker", "exec", "-it", container, "python3", file])
        while b"!" not in os.read(self._terminal, 1000):
            pass

    def key(self) -> None:
        os.write(self._terminal, b"k")
        os.read(self._terminal, 1000)

    def rest(self) -> None:
        pass


def main() -> None:
    kind, *words = sys.argv[1:]
    client = Exec(*words) if kind == "exec" else WebSocket(words[0], words[1], words[2], int(words[3]))
    for _ in sys.stdin:
        times = []
        for _ in range(KEYS):
            began = time.perf_counter()
            client.key()
            times.append((time.perf_counter() - began) * 1000)
            client.rest()
        print(statistics.median(times), flush=True)


if __name__ == "__main__":
    main()
