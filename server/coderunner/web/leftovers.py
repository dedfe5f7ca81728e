"""Lingering close: keeps refused sockets open until their peers have read the last answer.

Closing a socket with unread input makes the kernel send a reset, and that discards what the peer has not read
yet. So each socket is shut down for writing and kept for some seconds, without the objects of its connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections import OrderedDict

MAX_LEFTOVERS = (
    1024  # sockets, so that refused clients cannot use up descriptors; the oldest are closed first
)
SECONDS = 5.0  # that a socket is kept at most
FEW, LOOK_SECONDS = 8, 0.01  # sockets per check: closing one may free megabytes in the kernel


class Leftovers:
    """The sockets that are kept open for some seconds."""

    def __init__(self) -> None:
        self._all: OrderedDict[socket.socket, float] = OrderedDict()  # socket -> when to close it, loop time
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._all)

    def keep(self, fd: int) -> None:
        """Keeps a duplicate of the descriptor `fd`, whose output must all have been written."""
        with contextlib.suppress(OSError):  # out of descriptors, or the peer has reset the connection
            # A duplicate: the transport closes its own descriptor, and the connection lives on in this one.
            one = socket.socket(fileno=socket.dup(fd))
            one.shutdown(socket.SHUT_WR)
            self._all[one] = asyncio.get_running_loop().time() + SECONDS
        # The oldest have had the most time to read.
        if len(self._all) > MAX_LEFTOVERS:
            self._all.popitem(last=False)[0].close()
        if self._timer is None:
            self._look_later()

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        # A few each time, in turn.
        for one, until in list(itertools.islice(self._all.items(), FEW)):
            if until < now or self._hung_up(one):
                del self._all[one]
                one.close()
            else:
                self._all.move_to_end(one)
        self._timer = None
        if self._all:
            self._look_later()

    @staticmethod
    def _hung_up(one: socket.socket) -> bool:
        """Whether the peer has closed. Input is only peeked at, so a peer that sends fills its buffer."""
        try:
            return not one.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        """Closes all sockets now."""
        for one in self._all:
            one.close()
        self._all.clear()
        if self._timer is not None:
            self._timer.cancel()
