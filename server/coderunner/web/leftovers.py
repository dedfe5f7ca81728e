"""Lingering close: sockets that are kept until their peers have read the last answer.

What a peer had still sent lies unread; closed at once, the kernel would answer that with a reset, which takes
from the peer what it has not read yet. So each is kept for some seconds as nothing but a socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections import OrderedDict

MAX_LEFTOVERS = 1024
SECONDS = 5.0
FEW, LOOK_SECONDS = 8, 0.01  # are looked at in a turn: to close one frees megabytes of the kernel's


class Leftovers:
    """Sockets that are kept open for some seconds, so that their peers can read the last answer."""

    def __init__(self) -> None:
        self._all: OrderedDict[socket.socket, float] = OrderedDict()  # until when
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._all)

    def keep(self, fd: int) -> None:
        """The descriptor of a connection to which all has been written; it may be closed afterwards."""
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
        """Nothing is taken: a peer that goes on sending stops when the kernel has enough of it."""
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
