"""Why a program is stopped: by a signal, or because its terminal holds back output (Ctrl-S)."""

from __future__ import annotations

import fcntl
import os
import termios

from coderunner.wire import words

from . import terminal

REPORT_SECONDS = 0.1  # shorter stops are not reported
OUTPUT = words.STOPPED_BY[-1]
_PACKET_STOP, _PACKET_START = 4, 8  # TIOCPKT_STOP, TIOCPKT_START
_TIOCGPTPEER = 0x5441  # `termios` has no constant for it


def watch(master: int) -> bool:
    """Turns on packet mode: each read of a terminal's master then begins with a status byte.

    False when the kernel has none."""
    try:
        fcntl.ioctl(master, termios.TIOCPKT, b"\1\0\0\0")
    except OSError:  # some sandboxes' kernels lack it
        return False
    return True


class Halts:
    """Follows the stops of one program.

    ``reported``: what the server is told: the signal's name, OUTPUT, or None while it is not stopped."""

    def __init__(self) -> None:
        self.reported: str | None = None
        self._signal: str | None = None
        self._held = False
        self._due: float | None = None  # when `reported` is to be updated

    def by_signal(self, name: str | None, now: float) -> None:
        """A signal has stopped the program (``name`` without SIG), or it was continued (None)."""
        self._signal = name
        self._differs(now)

    def on_packet(self, status: int, now: float) -> None:
        """``status``: the first byte of a read in packet mode."""
        if status & (_PACKET_STOP | _PACKET_START):
            self._held = bool(status & _PACKET_STOP)
            self._differs(now)

    def clear(self) -> None:
        """The program has ended, so nothing stops it."""
        self.reported, self._signal, self._held, self._due = None, None, False, None

    def _now(self) -> str | None:
        # The signal comes first: resumed output alone would not let the program continue.
        return self._signal or (OUTPUT if self._held else None)

    def _differs(self, now: float) -> None:
        if self._now() == self.reported:
            self._due = None
        elif self._due is None:
            self._due = now + REPORT_SECONDS

    @property
    def due(self) -> float | None:
        """The moment at which ``update`` is to be called, or None."""
        return self._due

    def update(self, now: float) -> bool:
        """Updates ``reported`` if that is due; returns whether it has changed."""
        if self._due is None or now < self._due:
            return False
        self.reported, self._due = self._now(), None
        return True

    def release_output(self, master: int) -> None:
        """Makes the terminal of this ``master`` pass on its output again, if it holds it back.

        Raises OSError."""
        if not self._held:
            return
        # The master cannot undo a Ctrl-S; the other side is open in programs only, so it is opened for a
        # moment.
        peer = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            terminal.resume_output(peer)
        finally:
            os.close(peer)
