"""The modes of terminals and pipes: set for a new program, and restored for the next one."""

from __future__ import annotations

import fcntl
import termios

from .lean import suppress

_IUTF8 = 0o40000  # `termios` has no constant for it


def set_utf8(terminal: int) -> None:
    """Makes Backspace remove a whole UTF-8 character: all programs have a UTF-8 locale.

    Raises termios.error."""
    modes = termios.tcgetattr(terminal)
    modes[0] |= _IUTF8
    termios.tcsetattr(terminal, termios.TCSANOW, modes)


def resume_output(terminal: int) -> None:
    """Resumes a terminal's output, whether a program stopped it by `tcflow` or the user by Ctrl-S."""
    with suppress(termios.error):  # gVisor's terminals cannot be stopped so
        termios.tcflow(terminal, termios.TCOON)
    modes = termios.tcgetattr(terminal)
    if modes[0] & termios.IXON:
        # Clearing the mode that gives Ctrl-S its meaning makes the kernel forget a Ctrl-S.
        without = [modes[0] & ~termios.IXON, *modes[1:]]
        termios.tcsetattr(terminal, termios.TCSANOW, without)
        termios.tcsetattr(terminal, termios.TCSANOW, modes)


class Streams:
    """Remembers the modes of ``descriptors``, which the programs of a channel share.

    ``terminal``: the one of them that is a terminal, or -1.
    """

    def __init__(self, descriptors: set[int], terminal: int) -> None:
        self._flags = {number: fcntl.fcntl(number, fcntl.F_GETFL) for number in descriptors}
        self._terminal = terminal
        self._modes = termios.tcgetattr(terminal) if terminal >= 0 else []

    def restore(self) -> None:
        """Undoes what a program left for the next one:

        O_NONBLOCK, raw mode, stopped output, exclusive use."""
        for number, flags in self._flags.items():
            fcntl.fcntl(number, fcntl.F_SETFL, flags)
        if self._terminal >= 0:
            with suppress(OSError):  # nor be used exclusively
                fcntl.ioctl(self._terminal, termios.TIOCNXCL)
            termios.tcsetattr(self._terminal, termios.TCSANOW, self._modes)
            resume_output(self._terminal)
