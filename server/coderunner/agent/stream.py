"""A byte stream to a server: standard input and output, or a socket to which this process has connected."""

from __future__ import annotations

import os

from coderunner.wire import SOCKET_NAME, frames

from .lean import socket

IN, OUT = 0, 1
READ_SIZE = 65536


class Stream:
    """``inp``, ``out``: non-blocking descriptors; for a socket both are the same one.

    ``pending``: encoded frames that are not written yet, at most those of one turn of the loop."""

    def __init__(self, inp: int, out: int) -> None:
        self.inp = inp
        self.out = out
        self.pending = bytearray()
        self._decoder = frames.Decoder()

    @property
    def is_socket(self) -> bool:
        """Whether it is a socket, whose other end is the server; that of standard input is the engine."""
        return self.inp == self.out

    def read(self) -> list[frames.Frame] | None:
        """The frames that have arrived; None at the end of the stream.  Raises OSError for standard input."""
        try:
            data = os.read(self.inp, READ_SIZE)
        except BlockingIOError:
            return []
        except OSError:
            if not self.is_socket:
                raise
            return None
        return self._decoder.feed(data) if data else None

    def write(self) -> bool:
        """Writes the pending bytes; False when some are left.  Raises OSError when the stream is broken."""
        while self.pending:
            try:
                count = os.write(self.out, self.pending)
            except BlockingIOError:
                return False
            del self.pending[:count]
        return True

    def close(self) -> None:
        """Closes a socket; standard input and output stay open."""
        os.close(self.inp)


def connect(folder: str) -> Stream | None:
    """Connects to the server's socket in ``folder``; None when nobody listens, or its backlog is full."""
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        one.connect(os.path.join(folder, SOCKET_NAME))
    except OSError:
        one.close()
        return None
    number = one.detach()
    return Stream(number, number)
