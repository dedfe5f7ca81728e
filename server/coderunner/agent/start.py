"""How a channel's program begins: its terminal or pipes, and a supervisor, forked here or by the preload."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import time

from . import halts, supervisor, terminal
from .input import Input
from .preload import PATIENCE_SECONDS

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from typing import Any

    from .preload import Preload


class Start(Input):
    """The part of a channel that begins it, and opens its descriptors: ``out``, ``err`` (what it prints),
    ``inp`` (its input), ``report`` and ``go`` (its supervisor)."""

    number: int
    spec: dict[str, Any]
    cols: int
    rows: int
    err: int
    report: int
    go: int
    supervisor: int | None
    answer_due: float | None
    _packets: bool
    _offered: tuple[tuple[int, int, int], int] | None

    def supervisor_died(self) -> None:
        """Reaped, or never begun."""
        raise NotImplementedError

    def _start(self, source: int, preload: Preload | None) -> None:
        """``source``: the file that is the program's standard input, or -1; it is closed here."""
        opened = [] if source < 0 else [source]
        try:
            if self.tty:
                master, slave = os.openpty()
                opened += [master, slave]
                fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", self.rows, self.cols, 0, 0))
                terminal.take_utf8(slave)
                self._packets = halts.watch(master)
                ours, theirs = (master, -1, master), (slave, slave, slave)
            else:
                stdin, stdout, stderr = os.pipe(), os.pipe(), os.pipe()
                opened += [*stdin, *stdout, *stderr]
                ours, theirs = (stdout[0], stderr[0], stdin[1]), (stdin[0], stdout[1], stderr[1])
            self._supervise(theirs, source, preload)
        except OSError:
            for number in opened:
                os.close(number)
            raise
        self.out, self.err, self.inp = ours
        for number in (self.out, self.err, self.inp):
            if number >= 0:
                os.set_blocking(number, False)

    def _supervise(self, theirs: tuple[int, int, int], source: int, preload: Preload | None = None) -> None:
        """Make a supervisor, or have ``preload`` make it; what is its is closed where that is done with."""
        report: tuple[int, ...] = ()
        go: tuple[int, ...] = ()
        try:
            report, go = os.pipe(), os.pipe()
            given = (*theirs, report[1], go[0]) if source < 0 else (*theirs, report[1], go[0], source)
            asked = preload is not None and preload.ask(self.number, self.spec, given)
            pid = None if asked else os.fork()
        except OSError:
            for number in (*report, *go):
                os.close(number)
            raise
        if pid == 0:
            supervisor.supervise(self.spec, theirs, report[1], go[0], source)
        self.supervisor = pid
        self.report, self.go = report[0], go[1]
        os.set_blocking(self.report, False)
        for number in (report[1], go[0]):
            os.close(number)
        if asked:
            # Kept until it is certain that they have arrived: it may have to be done plainly after all.
            self._offered, self.answer_due = (theirs, source), time.monotonic() + PATIENCE_SECONDS
        else:
            for number in {*theirs, source} - {-1}:
                os.close(number)

    def preloaded(self, pid: int | None) -> None:
        """The preload's answer: the supervisor that it made, None where there is none."""
        if self._offered is None:
            return
        (theirs, source), self._offered, self.answer_due = self._offered, None, None
        try:
            if pid is not None:
                os.kill(pid, 0)
                os.write(self.go, b"b")
                self.supervisor = pid
        except OSError:  # it was killed on the spot
            self.supervisor = None
        if self.supervisor is not None:
            for number in {*theirs, source} - {-1}:
                os.close(number)
            return
        os.close(self.report)
        os.close(self.go)  # were there one all the same, it would end before it began
        try:
            self._supervise(theirs, source)
        except OSError:
            self.report, self.go = os.pipe()  # nothing will come
            for number in {*theirs, source} - {-1}:
                os.close(number)
            self.supervisor_died()
