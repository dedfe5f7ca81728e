"""The start of a channel: its terminal or pipes, and its supervisor, forked here or by the preload."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import time

from . import halts, supervisor, terminal
from .input import Input
from .preload import ANSWER_SECONDS

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from coderunner.wire import typed

    from .preload import Preload


class Start(Input):
    """The part of a channel that opens its descriptors and starts its supervisor.

    ``out``, ``err``: the program's output.  ``inp``: its input.  ``report``, ``go``: pipes to its supervisor.
    ``answer_due``: when the preload must have answered, None when it is not asked."""

    number: int
    spec: typed.ProgramSpec
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
        """The supervisor has ended, or could not be started."""
        raise NotImplementedError

    def _start(self, source: int, preload: Preload | None) -> None:
        """Opens the descriptors and starts the supervisor.

        ``source``: the file for the program's standard input, or -1; it is closed here.  Raises OSError, with
        everything closed."""
        opened = [] if source < 0 else [source]
        try:
            if self.tty:
                master, slave = os.openpty()
                opened += [master, slave]
                fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", self.rows, self.cols, 0, 0))
                terminal.set_utf8(slave)
                self._packets = halts.watch(master)
                # (output, errors, input) of the agent, and (input, output, errors) of the program.
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
        """Forks the supervisor, or asks ``preload`` to; then closes the descriptors that only it needs.

        ``theirs``: the program's standard streams.  Raises OSError."""
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
        # Never returns in the child.
        if pid == 0:
            supervisor.supervise(self.spec, theirs, report[1], go[0], source)
        self.supervisor = pid
        self.report, self.go = report[0], go[1]
        os.set_blocking(self.report, False)
        for number in (report[1], go[0]):
            os.close(number)
        if asked:
            # Kept until the preload has answered: if it fails, the supervisor is forked here after all.
            self._offered, self.answer_due = (theirs, source), time.monotonic() + ANSWER_SECONDS
        else:
            for number in {*theirs, source} - {-1}:
                os.close(number)

    def preloaded(self, pid: int | None) -> None:
        """The preload has answered.  ``pid``: of the supervisor that it forked; None when it could not."""
        if self._offered is None:
            return
        (theirs, source), self._offered, self.answer_due = self._offered, None, None
        try:
            if pid is not None:
                os.kill(pid, 0)  # whether it lives
                os.write(self.go, b"b")  # which it waits for
                self.supervisor = pid
        except OSError:  # it was killed meanwhile
            self.supervisor = None
        if self.supervisor is not None:
            for number in {*theirs, source} - {-1}:
                os.close(number)
            return
        os.close(self.report)
        os.close(self.go)  # a supervisor that exists all the same ends when it reads this pipe's end
        try:
            self._supervise(theirs, source)
        except OSError:
            self.report, self.go = os.pipe()  # placeholders: nothing will be read from them
            for number in {*theirs, source} - {-1}:
                os.close(number)
            self.supervisor_died()
