"""A channel: one program with its terminal or pipes, its journal, its input, its limits and its end."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios
import time

from coderunner.wire import compact, flow, words
from coderunner.wire.journal import STDERR, STDOUT, Journal

from . import halts, kernel, supervisor, tree
from .lean import signal, suppress
from .limited import COMPILING, EXITED, RUNNING, Limited
from .modes import Modes

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from coderunner.wire import typed

    from .preload import Preload

# Kept until the supervisor reports the program's start; the oldest are dropped.
MAX_EARLY_SIGNALS = 16
TTY, PIPE = words.MODES
TIMEOUTS = ("wall_timeout", "cpu_timeout")


class Channel(Limited):
    """One program, or the compiler and the program after it.

    The agent's loop calls ``read_*`` and ``write_input`` when descriptors are ready, ``finish_phase`` and
    ``tick`` in each turn, and sends the state when ``changed`` is set.  ``number``: of the channel.
    ``spec``: of the call `run`.  ``now``: seconds of the monotonic clock.  ``source``: descriptor of the file
    for standard input, or -1.  ``count_unseen()``: brings ``unseen_cpu`` up to date.  Raises OSError.
    """

    def __init__(
        self,
        number: int,
        spec: typed.ProgramSpec,
        now: float,
        source: int = -1,
        preload: Preload | None = None,
        count_unseen: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self.number = number
        # The container's own environment is every program's; the language and the run add to it.
        self.spec = {**supervisor.with_variant(spec), "env": {**os.environ, **spec["env"]}}
        self.tty = spec["mode"] == TTY
        self.cols, self.rows = spec["cols"], spec["rows"]
        self.limits = spec["limits"]
        self.phase = COMPILING if spec["compile"] else RUNNING
        self.phase_offset = 0
        # Where the program's output begins, after the compiler's; None while the compiler runs.
        self.run_offset: int | None = None if self.phase == COMPILING else 0
        self.end: int | None = None  # offset of the end of output, once all of it has been read
        self.evidence: typed.Evidence = {}  # of the program's end, for the server to judge by
        self.intent: str | None = None  # why this agent killed the program, recorded before it did
        self.main_pid: int | None = None
        self.halts = halts.Halts()
        self.changed = True  # the server is to be sent the state
        # Record of a phase that ended, while its output is read.
        self._pending: supervisor.Record | None = None
        self._reports = bytearray()  # of the supervisor, an incomplete line
        self._early_signals: list[str] = []
        self._init_output()
        self._init_limits(now, count_unseen)
        self._init_descriptors()
        self._start(source, preload)
        if source >= 0 and not self.tty:
            self._close_input()  # its input is the file

    def _init_output(self) -> None:
        self.journal = Journal(flow.JOURNAL_BYTES, tagged=not self.tty)
        self.modes = Modes()
        self.pace = flow.Pace()
        self.released = 0  # acknowledged by the control client
        self.credit = 0  # output below this offset may be sent
        self.sent = 0  # offset up to which output was sent to the server
        self.gap_reported = False  # the server knows that output it may be sent has been dropped
        self.controlled = False
        self.exit_acked = False  # the control client has the exit message
        self._packets = False  # each read of the terminal begins with a status byte

    def _init_descriptors(self) -> None:
        self.supervisor: int | None = None
        self.answer_due: float | None = None  # when the preload must have made the supervisor
        # The descriptors for the supervisor, kept until the preload has answered.
        self._offered: tuple[tuple[int, int, int], int] | None = None
        self.out = self.err = self.inp = -1
        self.report = self.go = -1

    # --- output ------------------------------------------------------------------------------------

    def room(self) -> int:
        """How many bytes of output may be read from the program now."""
        bound = flow.readable_until(self.released, self.credit, controlled=self.controlled, tty=self.tty)
        most = flow.READ_SIZE if bound is None else bound - self.journal.end
        return max(0, min(most, flow.READ_SIZE))

    def wants_output(self) -> bool:
        """Whether the program's output is to be polled: it may print more, and there is room for it."""
        return self.out >= 0 and self.end is None and self.room() > 0

    def read_output(self, descriptor: int) -> int:
        """Reads once; returns the number of bytes, 0 for none.  Raises OSError."""
        room = self.room()
        if not room:
            return 0
        try:
            # In packet mode a status byte comes before the data, and needs room beside it.
            data = os.read(descriptor, room + self._packets)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno != errno.EIO:  # EIO: a terminal whose other side is closed
                raise
            data = b""
        if not data:
            self._close_output(descriptor)
            return 0
        count = len(data)
        if self._packets:
            if data[0]:  # a status byte alone
                self.halts.on_packet(data[0], time.monotonic())
                return count
            data = data[1:]
        self._record(STDERR if descriptor == self.err else STDOUT, data)
        return count

    def _record(self, stream: int, data: bytes) -> None:
        """Appends output to the journal, up to the output limit, which ends the program."""
        # The limit counts all output, including what the journal has dropped.
        left = self.limits["output_bytes"] - self.journal.end
        if len(data) > left:
            data = data[: max(0, left)]
            self.stop("output_limit")
        if data:
            # Only what is dropped: `modes` is the state at the journal's beginning.
            if self.tty and (fallen := self.journal.would_drop(data)):
                self.modes.feed(fallen)
            self.journal.append(stream, data)
            # Dropped output cannot be sent any more; the server fetches it, and learns of the gap.
            self.sent = max(self.sent, self.journal.start)

    def _close_output(self, descriptor: int) -> None:
        if self.tty:
            return  # kept open: the supervisor holds the other side until it has been drained
        os.close(descriptor)
        if descriptor == self.out:
            self.out = -1
        else:
            self.err = -1

    def output_descriptors(self) -> list[int]:
        """Descriptors from which output can still come."""
        return [number for number in (self.out, self.err) if number >= 0]

    def next_output(self, now: float) -> tuple[int, int, bytes] | None:
        """(stream, offset, bytes) that may be sent now, or None."""
        if self.sent > self.credit and not self.gap_reported:
            # All output that the credit allows has been dropped: the state tells the server where the journal
            # begins now. It is sent at most once for each FLOW frame.
            self.gap_reported = self.changed = True
        upto = min(self.credit, self.journal.end)
        if self.sent >= upto:
            self.pace.due = None
            return None
        # Only held back while more can come: not after the program's end, and not at the end of the credit.
        more = upto == self.journal.end and self.phase != EXITED and self._pending is None
        if more and self.pace.holds_back(upto - self.sent, now):
            return None
        stream, data = self.journal.read(self.sent, min(flow.SEND_SIZE, upto - self.sent))
        offset = self.sent
        self.sent += len(data)
        self.pace.on_sent(upto - self.sent if more else 0, now)
        return stream, offset, data

    # --- control -----------------------------------------------------------------------------------

    def resize(self, cols: int, rows: int) -> None:
        """Sets the terminal's size, in cells; the program gets a SIGWINCH."""
        self.cols, self.rows = cols, rows
        if self.tty and self.out >= 0:
            self._set_size(rows)
        self.changed = True

    def repaint(self) -> None:
        """Makes a full-screen program paint its screen anew, by two changes of the size.

        One change to the size that it already has would be ignored."""
        if self.tty and self.out >= 0:
            for rows in (max(1, self.rows - 1), self.rows):
                self._set_size(rows)

    def _set_size(self, rows: int) -> None:
        fcntl.ioctl(self.out, termios.TIOCSWINSZ, struct.pack("HHHH", rows, self.cols, 0, 0))
        if self._foreground() is None and self.supervisor is not None:
            # gVisor's terminals tell nobody of a size. Who does not wait for this signal ignores it.
            for pid in tree.descendants(self.supervisor):
                tree.send(pid, signal.SIGWINCH)

    def _foreground(self) -> int | None:
        """The terminal's foreground process group; None when its kernel does not say, as gVisor."""
        with suppress(OSError):
            return os.tcgetpgrp(self.out)
        return None

    def signal(self, name: str) -> bool:
        """Sends a signal (a name without SIG) to the foreground process group; False when there was none."""
        if self.phase == EXITED or self._pending is not None:
            return False
        if self.main_pid is None:
            # The supervisor has not reported the start yet, but the client may have seen the first output.
            self._early_signals = [*self._early_signals[1 - MAX_EARLY_SIGNALS :], name]
            return True
        group = self.main_pid
        if name == "CONT":
            self._continue()
        if self.tty:
            # As the terminal does it for Ctrl-C: the foreground group, which a shell may have given to a job.
            group = self._foreground() or group
        if name == "KILL" and group == self.main_pid:
            # Recorded before the signal, so that the end is reported as a kill by the user and not as a
            # crash.
            self.intent = self.intent or "killed"
        try:
            os.killpg(group, getattr(signal, "SIG" + name))
        except OSError:
            return False
        return True

    def _continue(self) -> None:
        """Continues a stopped program, also one in the background, or one whose terminal holds back
        output."""
        with suppress(OSError):
            if self.tty:
                self.halts.release_output(self.out)
            if self.main_pid is not None:
                os.killpg(self.main_pid, signal.SIGCONT)

    # --- supervisor's reports ----------------------------------------------------------------------

    def read_reports(self) -> None:
        """Reads the supervisor's reports, which are JSON lines, and acts on those that are complete."""
        try:
            # One read is sufficient: the lines are short, and epoll reports what is left.
            data = os.read(self.report, 65536)
        except BlockingIOError:
            return
        if not data:
            # The end of the pipe. The supervisor's own end is handled when it is waited for
            # (`supervisor_died`).
            return
        self._reports += data
        while True:
            line, newline, rest = self._reports.partition(b"\n")
            if not newline:
                return
            self._reports = rest
            self._on_report(compact.loads(line))

    def _on_report(self, message: Any) -> None:
        now = time.monotonic()
        if message["event"] == "began":
            self.main_pid = message["pid"]
            early, self._early_signals = self._early_signals, []
            for name in early:
                self.signal(name)
            self._phase_began = now
            # After a compiler the time already used is not known here, so it is read at once.
            self._cpu_check = now if "compile" in self.evidence else self._earliest_cpu_timeout(now)
            if message["phase"] == "run":
                # Not the journal's present end: the first output may have been read before this report.
                self.phase, self.phase_offset = RUNNING, self.run_offset or 0
            self.changed = True
        elif message["event"] == "stopped":
            if self._kill_until is None:  # killing stops the processes first, which is not reported
                self.halts.by_signal(message["by"], now)
        else:
            self.halts.clear()
            # The next phase begins when the output of this one has been read (`finish_phase`).
            self._pending = message
            if message["last"]:
                self._exited(message)
            self.main_pid = None

    def _exited(self, record: supervisor.Record) -> None:
        """The process tree has ended: reported at once, also while output is still to be read."""
        # Otherwise a program could hide CPU time in children for which nobody waits.
        self._count_unseen()
        record["cpu_ms"] = (record["cpu_ms"] or 0) + round(self.unseen_cpu * 1000)
        oom, refusals = kernel.oom_kills(), kernel.fork_refusals()
        compiled = record if record["phase"] == "compile" else self.evidence.get("compile")
        self.evidence = {
            "compile": compiled,
            "main": record if record["phase"] == "run" else None,
            "intent": self.intent,
            "oom_kills": (0 if oom is None else oom - (self._oom_before or 0)) + self._memory.kills,
            "thrashed": self._memory.thrashed(time.monotonic(), timed_out=self.intent in TIMEOUTS),
            "fork_refusals": (
                int(self._full_of_processes) if refusals is None else refusals - (self._refusals_before or 0)
            ),
            "disk_full": self._told_full() or self._disk_full or self._look_at_disk(),
            "supervisor_lost": bool(record.get("supervisor_lost")),
        }
        self.halts.clear()
        self.phase, self.phase_offset = EXITED, self.journal.end
        self.changed = True

    def supervisor_died(self, used: Callable[[], float] = lambda: 0.0) -> None:
        """The supervisor has ended.  ``used()``: seconds of CPU time of everything that it ran.

        If it has not reported an end, a program has killed it: its processes are orphans of PID 1 now, and
        how the program ended is not known."""
        self.supervisor = None
        if self.end is not None:
            return
        # What it reported before it died is still in the pipe.
        self.read_reports()
        if self._pending is None and self.phase != EXITED:
            phase = "compile" if self.phase == COMPILING else "run"
            record: supervisor.Record = {
                "event": "ended", "phase": phase, "code": None, "signal": None, "left_behind": 0,
                "cpu_ms": round(used() * 1000), "memory_peak_bytes": 0, "last": True, "supervisor_lost": True,
                "wall_ms": round((time.monotonic() - self._phase_began) * 1000),
            }  # fmt: skip
            self._pending = record
            self._exited(record)
            self.main_pid = None

    # --- the loop's turn ---------------------------------------------------------------------------

    def finish_phase(self) -> None:
        """Once a phase has ended and its output is read to the end: starts the next phase, or finishes."""
        if self._pending is None or self.end is not None:
            return
        for descriptor in self.output_descriptors():
            while self.read_output(descriptor):
                pass
            if descriptor in self.output_descriptors() and not self.room():
                return  # flow control: the rest is read when the client has acknowledged more
        record, self._pending = self._pending, None
        if record["last"]:
            self._finish()
        else:
            self.evidence["compile"] = record
            self._phase_began = time.monotonic()
            self.run_offset = self.journal.end
            if self.tty:
                self.resize(self.cols, self.rows)  # the compiler may have changed it
            # The supervisor waits for this byte before it goes on to the program.
            os.write(self.go, b"g")

    def _finish(self) -> None:
        self.end = self.journal.end
        self.changed = True
        self._close_input()
        for number in {self.out, self.err, self.report, self.go} - {-1}:
            os.close(number)
        self.out = self.err = self.report = self.go = -1
        # Now that the descriptors are closed, the input that is left counts as written.
        self.write_input()

    def state(self) -> typed.ChannelState:
        """The complete state, as JSON for a STATE frame or the greeting."""
        return {
            "channel": self.number,
            "mode": self.spec["mode"],
            "kind": self.spec.get("kind", "run"),
            "occupied": self.occupied,
            "stopped": self.halts.reported,
            "phase": self.phase,
            "phase_offset": self.phase_offset,
            "run_offset": self.run_offset,
            "from": self.journal.start,
            "to": self.journal.end,
            "sent": self.sent,
            "released": self.released,
            "in_acked": self.in_acked,
            "input_offset": self.input_offset,
            "input_eof": self.input_closed,
            "cols": self.cols,
            "rows": self.rows,
            "wall_ms": self.limits["wall_ms"],
            "end": self.end,
            "evidence": self.evidence if self.phase == EXITED else None,
        }
