"""Terminals and pipes as programs find them: how they are when new, and are again for the next program."""

from __future__ import annotations

import fcntl
import termios

_IUTF8 = 0o40000  # the module has no name for it


def take_utf8(terminal: int) -> None:
    """Backspace removes a character, not a byte of it: all our programs' locale is UTF-8."""
    modes = termios.tcgetattr(terminal)
    modes[0] |= _IUTF8
    termios.tcsetattr(terminal, termios.TCSANOW, modes)


def start(terminal: int) -> None:
    """Its output goes on, whatever stopped it: a program by `tcflow`, or the user by Ctrl-S."""
    termios.tcflow(terminal, termios.TCOON)
    modes = termios.tcgetattr(terminal)
    if modes[0] & termios.IXON:
        # The kernel forgets a Ctrl-S with the mode that gives it its meaning.
        without = [modes[0] & ~termios.IXON, *modes[1:]]
        termios.tcsetattr(terminal, termios.TCSANOW, without)
        termios.tcsetattr(terminal, termios.TCSANOW, modes)


class Streams:
    """The descriptors that the programs of a channel share, as they are now.

    ``terminal``: the one of them that is a terminal, or -1.
    """

    def __init__(self, descriptors: set[int], terminal: int) -> None:
        self._flags = {number: fcntl.fcntl(number, fcntl.F_GETFL) for number in descriptors}
        self._terminal = terminal
        self._modes = termios.tcgetattr(terminal) if terminal >= 0 else []

    def restore(self) -> None:
        """What a program left behind (O_NONBLOCK, raw mode, output held back) is not the next one's."""
        for number, flags in self._flags.items():
            fcntl.fcntl(number, fcntl.F_SETFL, flags)
        if self._terminal >= 0:
            fcntl.ioctl(self._terminal, termios.TIOCNXCL)
            termios.tcsetattr(self._terminal, termios.TCSANOW, self._modes)
            start(self._terminal)
