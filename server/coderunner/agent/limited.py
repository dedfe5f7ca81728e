"""The limits of a channel's program that this agent enforces: time, CPU time, memory, disk; and its kill."""

from __future__ import annotations

import os
import time

from coderunner.wire import words
from coderunner.wire.journal import Journal

from . import cpu, halts, kernel, memory, tree
from .lean import signal, suppress
from .start import Start

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from collections.abc import Callable

    from coderunner.wire import typed

    from . import supervisor

SHELL_SECONDS = 2.0  # between two checks of what runs in a shell
DISK_SECONDS = 1.0  # between two checks whether the file systems are full
RETRY_SECONDS = 0.02  # between two attempts at killing a process tree
MIN_CPU_CHECK_SECONDS = 0.05  # between two readings of CPU time from /proc, at least
WEDGED_SECONDS = 1.0  # a supervisor that has not ended so long after a kill is killed itself
COMPILING, RUNNING, EXITED = words.PHASES


class Limited(Start):
    """The part of a channel that enforces its limits.  The other parts give it the attributes below."""

    limits: typed.ProgramLimits
    phase: str
    journal: Journal
    halts: halts.Halts
    intent: str | None
    main_pid: int | None
    _pending: supervisor.Record | None

    def _init_limits(self, now: float, count_unseen: Callable[[], None]) -> None:
        self._phase_began = now
        self._kill_until: float | None = None  # set when the tree is being killed
        self._count_unseen = count_unseen
        self.unseen_cpu = 0.0  # seconds that no process shows (cpu.Unseen)
        self._cpu_check = self._earliest_cpu_timeout(now)
        # The kernel counts for the whole container: a channel's share is what came since its beginning.
        self._oom_before = kernel.oom_kills()
        self._refusals_before = kernel.fork_refusals()
        self._full_of_processes = False  # was seen, where the kernel does not count refusals (gVisor)
        self._memory = memory.Memory(self.limits["memory_bytes"], now)
        self._disk_full = False
        self._disk_check = now + DISK_SECONDS
        self.occupied = True  # whether something runs in a shell; always true for a run
        self._occupied_check = now
        self._looked_at: tuple[int, int] | None = None  # (output, input) offsets at the last check of a shell
        self._looks = 0  # checks of a shell that are still due

    def _look_at_disk(self) -> bool:
        return kernel.full(self.spec["workspace"]) or kernel.full("/tmp")

    def _told_full(self) -> bool:
        """Whether the language's own script has found that the program wanted more room than there was, of
        which nothing is to be seen: a database gives back what a failed statement had taken.

        It leaves a file with its process id. A program could, too, and would tell of its own session
        alone."""
        try:
            os.unlink(f"/tmp/.disk-full.{self.main_pid}")
        except OSError:
            return False
        return True

    def stop(self, intent: str) -> None:
        """Kills the whole process tree.

        The first ``intent`` counts; the supervisor's report confirms the end."""
        if self.phase == EXITED:
            return
        self.intent = self.intent or intent
        self._kill()
        if self._kill_until is None:  # from when it was killed: to find all of a bomb may take a while
            self._kill_until = time.monotonic() + WEDGED_SECONDS

    def _kill(self) -> None:
        if self.supervisor is None:
            return
        tree.send(self.supervisor, signal.SIGCONT)  # a program may have stopped its own supervisor
        if self.main_pid is not None:
            # All at once, as few programs leave their group: beside a fork bomb that goes on, looking for its
            # processes takes long, on a slow machine longer than the server waits.
            with suppress(OSError):
                os.killpg(self.main_pid, signal.SIGSTOP)
        tree.kill(self.supervisor)

    def tick(self, now: float) -> float | None:
        """Enforces the limits; returns the moment at which it has to be called again, or None."""
        if self.phase == EXITED or self._pending is not None:
            return None
        if self._kill_until is not None:
            if now > self._kill_until and self.supervisor is not None:
                # It hangs: PID 1 inherits its processes and kills them.
                tree.send(self.supervisor, signal.SIGKILL)
            else:
                self._kill()
            return now + RETRY_SECONDS
        if now >= self._disk_check and not self._disk_full:
            self._disk_full = self._look_at_disk()
            self._disk_check = now + DISK_SECONDS
        deadline = self._phase_began + self.limits["wall_ms"] / 1000
        if now >= deadline:
            self.stop("wall_timeout")
            return now + RETRY_SECONDS
        if self._refusals_before is None and not self._full_of_processes:
            self._full_of_processes = kernel.full_of_processes()
        memory_look = self._memory.tick(now, self.supervisor, running=self.phase == RUNNING)
        moments: list[float] = [deadline, self._tick_cpu(now), memory_look]
        self.changed = self.halts.update(now) or self.changed
        if self.halts.due is not None:
            moments.append(self.halts.due)
        if self.spec.get("kind") == "shell":
            moments.append(self._tick_shell(now))
        # Once full is sufficient for the report, so the disk is not checked again.
        return min(moments if self._disk_full else [*moments, self._disk_check])

    def _earliest_cpu_timeout(self, now: float) -> float:
        """The earliest moment at which a phase that begins ``now`` can have used up its CPU time."""
        seconds: float = self.limits["cpu_ms"] / 1000 / self.limits["cpus"]
        return now + max(MIN_CPU_CHECK_SECONDS, seconds)

    def _tick_cpu(self, now: float) -> float:
        """Enforces the limit of CPU time; returns the moment of the next check.

        The process tree cannot use up the rest faster than all its CPUs can run, so /proc is not read before
        that, and a program that sleeps is checked rarely."""
        if now >= self._cpu_check and self.supervisor is not None:
            self._count_unseen()
            left = self.limits["cpu_ms"] / 1000 - cpu.seconds_below(self.supervisor) - self.unseen_cpu
            if left <= 0:
                self.stop("cpu_timeout")
                return now + RETRY_SECONDS
            self._cpu_check = now + max(MIN_CPU_CHECK_SECONDS, left / self.limits["cpus"])
        return self._cpu_check

    def _tick_shell(self, now: float) -> float:
        """Whether something runs in a shell, for the session's idle time; returns the moment of the next
        check.

        A command begins with input or output, or a moment after it: without these /proc is not read."""
        if now < self._occupied_check:
            return self._occupied_check
        self._occupied_check = now + SHELL_SECONDS
        moved = self.journal.end, self.input_offset
        if moved != self._looked_at:
            self._looked_at, self._looks = moved, 2  # the second check finds what began after the first
        if (self._looks or self.occupied) and self.main_pid is not None:
            self._looks = max(0, self._looks - 1)
            inside = set(tree.descendants(self.supervisor)) if self.supervisor else set()
            occupied = bool(inside - {self.main_pid})
            self.changed = self.changed or occupied != self.occupied
            self.occupied = occupied
        return self._occupied_check
