"""A channel in the agent: one program's terminal or pipes, its journal, its input, its end."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
import struct
import termios
import time

from coderunner.wire import flow, words
from coderunner.wire.journal import STDERR, STDOUT, Journal

from . import cpu, halts, kernel, memory, supervisor, tree
from .modes import Modes
from .start import Start

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .preload import Preload

SHELL_SECONDS = 2.0  # between two looks at what runs in a shell
COMPILING, RUNNING, EXITED = words.PHASES
TTY, PIPE = words.MODES


class Channel(Start):
    """Knows nothing of frames.  The agent's loop calls ``read_*``/``write_input`` when descriptors are
    ready, and takes what changed from ``changed`` (state) and ``in_acked`` (input offset)."""

    def __init__(
        self,
        number: int,
        spec: dict[str, Any],
        now: float,
        source: int = -1,
        preload: Preload | None = None,
        count_unseen: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self.number = number
        # The container's own environment is every program's; the language and the run add to it.
        self.spec = {**supervisor.chosen(spec), "env": {**os.environ, **spec["env"]}}
        self.tty = spec["mode"] == TTY
        self.cols, self.rows = spec["cols"], spec["rows"]
        self.limits = spec["limits"]
        self.journal = Journal(flow.JOURNAL, tagged=not self.tty)
        self.modes = Modes()
        self.released = 0
        self.credit = 0
        self.pace = flow.Pace()
        self.sent = 0  # output offset up to which the server was sent output
        self.lead_told = False  # the server knows that what its credit allows has fallen off
        self.controlled = False
        self.exit_acked = False
        self.phase = COMPILING if spec["compile"] else RUNNING
        self.phase_offset = 0
        # Where the program's output begins, behind the compiler's.
        self.run_offset: int | None = None if self.phase == COMPILING else 0
        self.end: int | None = None  # offset of the end of output, once drained
        self.evidence: dict[str, Any] = {}
        self.intent: str | None = None  # why we killed it, recorded before we did
        self.main_pid: int | None = None
        self.halts = halts.Halts()
        self._packets = False  # reads of the terminal begin with a byte of news
        self._early_signals: list[str] = []
        self.changed = True
        self._pending: dict[str, Any] | None = None  # a phase that ended and is being drained: its record
        self._kill_until: float | None = None
        self._phase_began = now
        self._count_unseen = count_unseen  # brings `unseen_cpu` up to date
        self.unseen_cpu = 0.0  # seconds that no process shows (cpu.Unseen)
        self._cpu_check = self._soonest(now)
        self._oom_before = kernel.oom_kills()
        self._refusals_before = kernel.fork_refusals()
        self._memory = memory.Memory(self.limits["memory_bytes"], now)
        self._disk_full = False
        self._disk_check = now + 1.0
        self._reports = bytearray()
        self.occupied = True  # a shell in which something runs; of a run, always
        self._occupied_check = now
        self._looked_at: tuple[int, int] | None = None
        self._looks = 0
        self.supervisor: int | None = None
        self.answer_due: float | None = None  # when the preload has made its supervisor, or is broken
        # What the supervisor is to have, as long as the preload has not answered.
        self._offered: tuple[tuple[int, int, int], int] | None = None
        self.out = self.err = self.inp = -1
        self.report = self.go = -1
        self._start(source, preload)
        if source >= 0 and not self.tty:
            self._close_input()

    # --- output ------------------------------------------------------------------------------------

    def room(self) -> int:
        """How many bytes may be read from the program now."""
        bound = flow.readable_until(self.released, self.credit, controlled=self.controlled, tty=self.tty)
        most = flow.READ_SIZE if bound is None else bound - self.journal.end
        return max(0, min(most, flow.READ_SIZE))

    def wants_output(self) -> bool:
        """Whether to wait for output of the program: there may be some, and there is room for it."""
        return self.out >= 0 and self.end is None and self.room() > 0

    def read_output(self, descriptor: int) -> int:
        """Read what is there, once; how many bytes that were, 0 for none."""
        room = self.room()
        if not room:
            return 0
        try:
            data = os.read(descriptor, room + self._packets)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno != errno.EIO:  # a terminal whose other side is closed
                raise
            data = b""
        if not data:
            self._close_output(descriptor)
            return 0
        count = len(data)
        if self._packets:
            if data[0]:
                self.halts.news(data[0], time.monotonic())
                return count
            data = data[1:]
        self._record(STDERR if descriptor == self.err else STDOUT, data)
        return count

    def _record(self, stream: int, data: bytes) -> None:
        left = self.limits["output_bytes"] - self.journal.end
        if len(data) > left:
            data = data[: max(0, left)]
            self.stop("output_limit")
        if data:
            fallen = self.journal.append(stream, data)
            if self.tty and fallen:
                self.modes.feed(fallen)
            # What fell off cannot be sent any more; the server asks for it and is told of the gap.
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
        """Those from which output can still come."""
        return [number for number in (self.out, self.err) if number >= 0]

    def next_output(self, now: float) -> tuple[int, int, bytes] | None:
        """(stream, offset, bytes) that may be sent now, or None."""
        if self.sent > self.credit and not self.lead_told:
            # What the server may still be sent has fallen off: it learns where the journal begins, and
            # each of its answers to that (new credit) brings it the news at most once.
            self.lead_told = self.changed = True
        upto = min(self.credit, self.journal.end)
        if self.sent >= upto:
            self.pace.due = None
            return None
        more = upto == self.journal.end and self.phase != EXITED and self._pending is None
        if more and self.pace.holds(upto - self.sent, now):
            return None
        stream, data = self.journal.read(self.sent, min(flow.SEND_SIZE, upto - self.sent))
        offset = self.sent
        self.sent += len(data)
        self.pace.sent(upto - self.sent if more else 0, now)
        return stream, offset, data

    # --- control -----------------------------------------------------------------------------------

    def resize(self, cols: int, rows: int) -> None:
        """Sets the terminal's size, in cells; the program gets a SIGWINCH."""
        self.cols, self.rows = cols, rows
        if self.tty and self.out >= 0:
            fcntl.ioctl(self.out, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
        self.changed = True

    def repaint(self) -> None:
        """Two changes of size: a full-screen program that sees the same size again paints nothing."""
        if self.tty and self.out >= 0:
            for rows in (max(1, self.rows - 1), self.rows):
                fcntl.ioctl(self.out, termios.TIOCSWINSZ, struct.pack("HHHH", rows, self.cols, 0, 0))

    def signal(self, name: str) -> bool:
        """Send to the foreground process group; whether there was one."""
        if self.phase == EXITED or self._pending is not None:
            return False
        if self.main_pid is None:
            # Its supervisor has not told yet that it began, but the client may have seen its first output.
            self._early_signals = [*self._early_signals[-15:], name]
            return True
        group = self.main_pid
        if name == "CONT":
            self._go_on()
        if self.tty:
            try:
                group = os.tcgetpgrp(self.out)
            except OSError:
                return False
        if name == "KILL" and group == self.main_pid:
            self.intent = self.intent or "killed"
        try:
            os.killpg(group, getattr(signal, "SIG" + name))
        except OSError:
            return False
        return True

    def _go_on(self) -> None:
        """Whatever holds it, also where it is not in the foreground, and where its terminal holds output."""
        with contextlib.suppress(OSError):
            if self.tty:
                self.halts.let_go(self.out)
            if self.main_pid is not None:
                os.killpg(self.main_pid, signal.SIGCONT)

    def stop(self, intent: str) -> None:
        """Kill the whole tree.  The first intent stays; the end is confirmed by the supervisor's report."""
        if self.phase == EXITED:
            return
        self.intent = self.intent or intent
        if self._kill_until is None:
            self._kill_until = time.monotonic() + 1.0
        self._kill()

    def _kill(self) -> None:
        if self.supervisor is None:
            return
        tree.send(self.supervisor, signal.SIGCONT)  # a program may have stopped its own supervisor
        tree.kill(self.supervisor)

    # --- supervisor's reports ----------------------------------------------------------------------

    def read_reports(self) -> None:
        """What the supervisor has said since: JSON lines, as many as are complete."""
        try:
            data = os.read(self.report, 65536)
        except BlockingIOError:
            return
        if not data:
            return
        self._reports += data
        while True:
            line, newline, rest = self._reports.partition(b"\n")
            if not newline:
                return
            self._reports = rest
            self._take(json.loads(line))

    def _take(self, message: dict[str, Any]) -> None:
        now = time.monotonic()
        if message["event"] == "began":
            self.main_pid = message["pid"]
            early, self._early_signals = self._early_signals, []
            for name in early:
                self.signal(name)
            self._phase_began = now
            self._cpu_check = now if "compile" in self.evidence else self._soonest(now)
            if message["phase"] == "run":
                # Not where the journal ends now: its first output may have been read before this report.
                self.phase, self.phase_offset = RUNNING, self.run_offset or 0
            self.changed = True
        elif message["event"] == "stopped":
            if self._kill_until is None:  # what is to die is stopped first
                self.halts.by_signal(message["by"], now)
        else:
            self.halts.over()
            self.main_pid = None
            self._pending = message
            if message["last"]:
                self._exited(message)

    def _exited(self, record: dict[str, Any]) -> None:
        """The tree is gone: said at once, whatever output is still on its way."""
        self._count_unseen()
        record["cpu_ms"] += round(self.unseen_cpu * 1000)
        oom, refusals = kernel.oom_kills(), kernel.fork_refusals()
        compiled = record if record["phase"] == "compile" else self.evidence.get("compile")
        self.evidence = {
            "compile": compiled,
            "main": record if record["phase"] == "run" else None,
            "intent": self.intent,
            "oom_kills": (0 if oom is None else oom - (self._oom_before or 0)) + self._memory.kills,
            "thrashed": self._memory.thrashed,
            "fork_refusals": None if refusals is None else refusals - (self._refusals_before or 0),
            "disk_full": self._disk_full or self._look_at_disk(),
            "supervisor_lost": bool(record.get("supervisor_lost")),
        }
        self.halts.over()
        self.phase, self.phase_offset = EXITED, self.journal.end
        self.changed = True

    def _look_at_disk(self) -> bool:
        return kernel.full(self.spec["workspace"]) or kernel.full("/tmp")

    def supervisor_died(self, used: Callable[[], float] = lambda: 0.0) -> None:
        """Reaped by PID 1.  Without an 'ended' before, a program killed its supervisor: what it ran has
        become ours, and nobody can say any more how it ended.  ``used()``: seconds of CPU time of it all."""
        self.supervisor = None
        if self.end is not None:
            return
        self.read_reports()
        if self._pending is None and self.phase != EXITED:
            phase = "compile" if self.phase == COMPILING else "run"
            self._pending = {
                "event": "ended", "phase": phase, "code": None, "signal": None, "left_behind": 0,
                "cpu_ms": round(used() * 1000), "memory_peak_bytes": 0, "last": True, "supervisor_lost": True,
                "wall_ms": round((time.monotonic() - self._phase_began) * 1000),
            }  # fmt: skip
            self.main_pid = None
            self._exited(self._pending)

    # --- the loop's turn ---------------------------------------------------------------------------

    def settle(self) -> None:
        """When a phase has ended and its output is read to the end: let the next begin, or finish."""
        if self._pending is None or self.end is not None:
            return
        for descriptor in self.output_descriptors():
            while self.read_output(descriptor):
                pass
            if descriptor in self.output_descriptors() and not self.room():
                return  # the client is behind: the rest is read when it has caught up
        record, self._pending = self._pending, None
        if record["last"]:
            self._finish()
        else:
            self.evidence["compile"] = record
            self._phase_began = time.monotonic()
            self.run_offset = self.journal.end
            if self.tty:
                self.resize(self.cols, self.rows)  # the compiler may have set another
            os.write(self.go, b"g")

    def _finish(self) -> None:
        self.end = self.journal.end
        self.changed = True
        self._close_input()
        for number in {self.out, self.err, self.report, self.go} - {-1}:
            os.close(number)
        self.out = self.err = self.report = self.go = -1
        self.write_input()

    def tick(self, now: float) -> float | None:
        """Limits in time; the moment at which to look again, or None."""
        if self.phase == EXITED or self._pending is not None:
            return None
        if self._kill_until is not None:
            if now > self._kill_until and self.supervisor is not None:
                tree.send(self.supervisor, signal.SIGKILL)  # wedged: PID 1 inherits and kills the rest
            else:
                self._kill()
            return now + 0.02
        if now >= self._disk_check and not self._disk_full:
            self._disk_full = self._look_at_disk()
            self._disk_check = now + 1.0
        deadline = self._phase_began + self.limits["wall_ms"] / 1000
        if now >= deadline:
            self.stop("wall_timeout")
            return now + 0.02
        memory_look = self._memory.tick(now, self.supervisor, running=self.phase == RUNNING)
        moments: list[float] = [deadline, self._tick_cpu(now), memory_look]
        self.changed = self.halts.update(now) or self.changed
        if self.halts.due is not None:
            moments.append(self.halts.due)
        if self.spec.get("kind") == "shell":
            moments.append(self._tick_shell(now))
        return min(moments if self._disk_full else [*moments, self._disk_check])

    def _soonest(self, now: float) -> float:
        """When what begins now may have used up its CPU time."""
        seconds: float = self.limits["cpu_ms"] / 1000 / self.limits["cpus"]
        return now + max(0.05, seconds)

    def _tick_cpu(self, now: float) -> float:
        """A tree cannot use up what is left of its CPU time sooner than all CPUs together can give it,
        so a program that sleeps costs no look at /proc."""
        if now >= self._cpu_check and self.supervisor is not None:
            self._count_unseen()
            left = self.limits["cpu_ms"] / 1000 - cpu.of(self.supervisor) - self.unseen_cpu
            if left <= 0:
                self.stop("cpu_timeout")
                return now + 0.02
            self._cpu_check = now + max(0.05, left / self.limits["cpus"])
        return self._cpu_check

    def _tick_shell(self, now: float) -> float:
        """A shell at its prompt is no live program.  What runs in it began with input or output, or a moment
        behind that: without these nothing new is looked for."""
        if now < self._occupied_check:
            return self._occupied_check
        self._occupied_check = now + SHELL_SECONDS
        moved = self.journal.end, self.input_offset
        if moved != self._looked_at:
            self._looked_at, self._looks = moved, 2
        if (self._looks or self.occupied) and self.main_pid is not None:
            self._looks = max(0, self._looks - 1)
            inside = set(tree.descendants(self.supervisor)) if self.supervisor else set()
            occupied = bool(inside - {self.main_pid})
            self.changed = self.changed or occupied != self.occupied
            self.occupied = occupied
        return self._occupied_check

    def state(self) -> dict[str, Any]:
        """The whole state, absolute, as JSON."""
        return {
            "channel": self.number,
            "mode": self.spec["mode"],
            "kind": self.spec.get("kind", "run"),
            "occupied": self.occupied,
            "stopped": self.halts.told,
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
