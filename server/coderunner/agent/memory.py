"""Enforces a program's memory limit, and ends programs that make the container thrash.

A container's memory limit is fixed when it is made: the greater of the limits for compilers and for programs
of its language.  The kernel enforces that one.  A program's own limit, if it is lower, is enforced here: the
container's statistics are read as often as a program could exceed it.  (Control groups are read-only in the
container, so a program cannot have its own; a limit of the address space would also count reserved memory.)
As the kernel does, the process with the most memory is killed.

A container thrashes when its programs use nearly all of its memory, so that pages of their own files are
dropped and read again all the time.  The kernel does not end that, as it is only slow.
"""

from __future__ import annotations

import signal

from . import kernel, tree

ALLOCATION_SPEED = 1 << 30  # bytes a second that a program allocates at most, about
MIN_LOOK_SECONDS = 0.02  # between two readings of the statistics, at least
MAX_LOOK_SECONDS = 1.0  # and at most
FULL_SHARE = 0.95  # of the container's memory: in use, and it may thrash
UNRECLAIMABLE_SHARE = 0.8  # of the container's memory: of programs and files in memory, and it may thrash
FAULTS_PER_SECOND = 50  # pages that had to be read again
REPORT_SECONDS = 2.0  # of thrashing, until the program's end reports it
END_SECONDS = 10.0  # of thrashing, until the program is killed


class Memory:
    """The memory of one channel's program.

    ``share``: its limit in bytes.  ``now``: seconds of the monotonic clock.  ``kills``: processes that were
    killed for their memory.  ``thrashed``: whether it thrashed for REPORT_SECONDS."""

    def __init__(self, share: int, now: float) -> None:
        self.kills = 0
        self.thrashed = False
        limit = kernel.memory_limit()
        self._limit = limit or 0
        self._share = share
        self._held = limit is not None and share < limit
        self._due = now + MIN_LOOK_SECONDS  # most programs end before, and cost no reading
        self._running = False
        self._faults: tuple[float, int] | None = None  # (when, page faults until then)
        self._bad = 0.0  # seconds of thrashing without a pause

    def tick(self, now: float, supervisor: int | None, *, running: bool) -> float:
        """Enforces the limit if that is due; returns the moment at which it has to be called again.

        ``running``: the program and not its compiler, whose limit is the container's."""
        if not self._limit or supervisor is None:
            return now + MAX_LOOK_SECONDS
        if running and not self._running:
            self._running, self._due = True, now + MIN_LOOK_SECONDS
        if now >= self._due:
            self._due = now + self._look(now, supervisor, held=running and self._held)
        return self._due

    def _look(self, now: float, supervisor: int, *, held: bool) -> float:
        """Seconds until the next look.  ``held``: the program's limit is below the container's.

        From the cheap to the expensive: one number, then the statistics, then the sizes of all processes."""
        used = kernel.memory_used()
        if used is None:
            return MAX_LOOK_SECONDS
        bound = self._limit * FULL_SHARE if not held else min(self._share, self._limit * FULL_SHARE)
        if used <= bound:
            # Neither the limit nor thrashing is possible below this, so one reading was sufficient.
            self._faults, self._bad = None, 0.0
            return _pause(self._share - used) if held else MAX_LOOK_SECONDS
        account = kernel.memory_account()
        # The kernel can drop pages of files, so they are not held against a program.
        taken = used - account.get("active_file", 0) - account.get("inactive_file", 0)
        if self._thrashes(now, used, taken, account.get("pgmajfault", 0)):
            self._end_largest(supervisor)
        if not held:
            return MAX_LOOK_SECONDS
        if taken <= self._share:
            return _pause(self._share - taken)
        # Shells and the service use the container's memory, too, so only the program's processes are summed
        # up. Files in memory have no owner, and count in full.
        sizes = tree.sizes(supervisor)
        over = sum(sizes.values()) + account.get("shmem", 0) - self._share
        if over <= 0:
            return _pause(-over)
        self._end(sizes)
        return MIN_LOOK_SECONDS

    def _thrashes(self, now: float, used: int, taken: int, faults: int) -> bool:
        """Whether it has thrashed for END_SECONDS."""
        if used < self._limit * FULL_SHARE or taken < self._limit * UNRECLAIMABLE_SHARE:
            self._faults, self._bad = None, 0.0
            return False
        if self._faults is None:
            self._faults = now, faults
            return False
        since, before = self._faults
        if now - since < MAX_LOOK_SECONDS:
            return False
        self._bad = self._bad + now - since if faults - before >= FAULTS_PER_SECOND * (now - since) else 0.0
        self._faults = now, faults
        self.thrashed = self.thrashed or self._bad >= REPORT_SECONDS
        return self._bad >= END_SECONDS

    def _end_largest(self, supervisor: int) -> None:
        # If this was not enough, the next process is killed after another END_SECONDS.
        self._bad = 0.0
        self._end(tree.sizes(supervisor))

    def _end(self, sizes: dict[int, int]) -> None:
        if sizes:
            tree.send(max(sizes, key=lambda pid: sizes[pid]), signal.SIGKILL)
            self.kills += 1


def _pause(left: float) -> float:
    """Seconds until a program can have allocated ``left`` more bytes."""
    return min(MAX_LOOK_SECONDS, max(MIN_LOOK_SECONDS, left / ALLOCATION_SPEED))
