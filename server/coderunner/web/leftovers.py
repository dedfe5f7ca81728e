"""Lingering close: sockets that are kept until their peers have read the last answer.

Closing a socket that has unread input makes the kernel send a reset, which discards what the peer has not
read yet. So each is shut down for writing and kept for some seconds, without any of its connection's objects.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections import OrderedDict

MAX_LEFTOVERS = 1024
SECONDS = 5.0
FEW, LOOK_SECONDS = 8, 0.01  # sockets checked in one turn: closing one may free megabytes in the kernel


class Leftovers:
    """Sockets that are kept open for some seconds, so that their peers can read the last answer."""

    def __init__(self) -> None:
        self._all: OrderedDict[socket.socket, float] = OrderedDict()  # until when
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._all)

    def keep(self, fd: int) -> None:
        """Keeps a duplicate of the descriptor, to which all has been written; the caller closes its own."""
        with contextlib.suppress(OSError):
            one = socket.socket(fileno=socket.dup(fd))
            one.shutdown(socket.SHUT_WR)
            self._all[one] = asyncio.get_running_loop().time() + SECONDS
        if len(self._all) > MAX_LEFTOVERS:
            self._all.popitem(last=False)[0].close()
        if self._timer is None:
            self._look_later()

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
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
        """Whether the peer has closed. Nothing is read: the full buffer stops a peer that goes on sending."""
        try:
            return not one.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        """Closes all of them at once."""
        for one in self._all:
            one.close()
        self._all.clear()
        if self._timer is not None:
            self._timer.cancel()
