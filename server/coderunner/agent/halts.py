"""Why a program stands still: a signal stopped it, or its terminal holds back output."""

from __future__ import annotations

import fcntl
import os
import termios

from coderunner.wire import words

from . import terminal

TELL_SECONDS = 0.1  # what is shorter is not told, and nothing oftener than that
OUTPUT = words.STOPPED_BY[-1]
_PACKET_STOP, _PACKET_START = 4, 8  # TIOCPKT_STOP, TIOCPKT_START
_TIOCGPTPEER = 0x5441  # the module has no name for it


def watch(master: int) -> bool:
    """Have every read of a terminal's master begin with a byte of news; False where it cannot."""
    try:
        fcntl.ioctl(master, termios.TIOCPKT, b"\1\0\0\0")
    except OSError:  # not every kernel has it
        return False
    return True


class Halts:
    """``told``: the signal's name, OUTPUT or None, as the server is to know it."""

    def __init__(self) -> None:
        self.told: str | None = None
        self._signal: str | None = None
        self._held = False
        self._due: float | None = None  # when to tell

    def by_signal(self, name: str | None, now: float) -> None:
        """``name`` of the signal that stopped the program, None when it goes on."""
        self._signal = name
        self._differs(now)

    def news(self, status: int, now: float) -> None:
        """The first byte of a read."""
        if status & (_PACKET_STOP | _PACKET_START):
            self._held = bool(status & _PACKET_STOP)
            self._differs(now)

    def over(self) -> None:
        """The program has ended: nothing holds it any more."""
        self.told, self._signal, self._held, self._due = None, None, False, None

    def _now(self) -> str | None:
        return self._signal or (OUTPUT if self._held else None)

    def _differs(self, now: float) -> None:
        if self._now() == self.told:
            self._due = None
        elif self._due is None:
            self._due = now + TELL_SECONDS

    @property
    def due(self) -> float | None:
        """The moment at which ``update`` has something to tell, or None."""
        return self._due

    def update(self, now: float) -> bool:
        """Whether ``told`` has changed."""
        if self._due is None or now < self._due:
            return False
        self.told, self._due = self._now(), None
        return True

    def let_go(self, master: int) -> None:
        """The terminal lets its output through again, if it holds it."""
        if not self._held:
            return
        peer = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            terminal.start(peer)
        finally:
            os.close(peer)
