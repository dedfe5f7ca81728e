"""One way to a server: standard input and output, or a socket of the server's to which we connected."""

from __future__ import annotations

import os
import socket

from coderunner.wire import SOCKET_NAME, frames

IN, OUT = 0, 1
READ_SIZE = 65536


class Stream:
    """``inp``, ``out``: its descriptors, which never block; the same one for a socket.  ``pending``: what it
    has not taken yet, the frames of one turn, never more."""

    def __init__(self, inp: int, out: int) -> None:
        self.inp = inp
        self.out = out
        self.pending = bytearray()
        self._decoder = frames.Decoder()

    @property
    def is_socket(self) -> bool:
        """Its end is the server's; that of standard input is the engine's alone."""
        return self.inp == self.out

    def read(self) -> list[frames.Frame] | None:
        """The frames that have come; None at the end of the stream."""
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
        """Writes what is pending; False where not all of it was taken. Raises OSError where it is broken."""
        while self.pending:
            try:
                count = os.write(self.out, self.pending)
            except BlockingIOError:
                return False
            del self.pending[:count]
        return True

    def close(self) -> None:
        """Of a socket."""
        os.close(self.inp)


def connect(folder: str) -> Stream | None:
    """To the server's socket in ``folder``; None where nobody listens there, or too many wait already."""
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        one.connect(os.path.join(folder, SOCKET_NAME))
    except OSError:
        one.close()
        return None
    number = one.detach()
    return Stream(number, number)
