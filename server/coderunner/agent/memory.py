"""Enforces a program's memory limit, and ends programs that make the container thrash.

A container's memory limit is fixed when it is made: the greater of the limits for compilers and for programs
of its language.  The kernel enforces that one.  A program's own limit, if it is lower, is enforced here: the
container's statistics are read as often as a program could exceed it.  (Control groups are read-only in the
container, so a program cannot have its own; a limit of the address space would also count reserved memory.)
As the kernel does, the process with the most memory is killed.

A container thrashes when its programs use nearly all of its memory, so that pages of files that they need are
dropped and read again all the time.  The kernel does not end that, as it is only slow: the time goes into
reclaiming pages and reading files, and a limit of time ends the program.  Control groups of version 1 and 2
count pages that were read again (refaults) and page faults that had to read (a program that reads a file by
`read` has none); version 2 also the time that processes waited for memory (pressure).  The kernel also counts
a page as read again if another container has dropped it, so a program that maps a large file and reads it
once shows the same rates.  It cannot have more refaults than mapped pages: what exceeds these is thrashing.
"""

from __future__ import annotations

from . import kernel, tree
from .lean import signal

ALLOCATION_SPEED = 1 << 30  # bytes a second that a program allocates at most, about
MIN_LOOK_SECONDS = 0.02  # between two readings of the statistics, at least
MAX_LOOK_SECONDS = 1.0  # and at most
FULL_LOOK_SECONDS = 0.5  # between two readings while the container is full
FULL_SHARE = 0.95  # of the container's memory: in use, and it may thrash
UNRECLAIMABLE_SHARE = 0.8  # of the container's memory: of programs and files in memory, and it may be ended
FAULTS_PER_SECOND = 50  # page faults that read, where little memory is left for files
# The other signs are for memory that is full of files.  Measured with 300 MB of mapped files in 64 MiB, of
# which 45 were kept: 40 to 250 page faults and 190,000 to 460,000 pages read again in a second, all that was
# kept 12 times over; in a container, beside others that kept the disk busy, 10 page faults and 14,000 pages.
MAPPED_FAULTS_PER_SECOND = 5  # page faults that read
REFAULTS_PER_SECOND = 2048  # pages that were read again, at least
KEPT_SHARE = 0.25  # of the files that are kept: read again in a second
STALLED_SHARE = 0.25  # of the time: some process waited for memory
REPORT_SECONDS = 2.0  # of thrashing, until the program's end reports it
TIMED_OUT_SHARE = 0.5  # of the time of a program that a limit of time ended: is reported, too
END_SECONDS = 10.0  # of thrashing, until the program is killed
PAGE = 4096  # bytes; refaults are counted in pages


class Memory:
    """The memory of one channel's program.

    ``share``: its limit in bytes.  ``now``: seconds of the monotonic clock.  ``kills``: processes that were
    killed for their memory."""

    def __init__(self, share: int, now: float) -> None:
        self.kills = 0
        limit = kernel.memory_limit()
        self._limit = limit or 0
        # A kernel without statistics, as gVisor, counts mapped files as everybody's memory: what there is
        # before the program begins is not the program's.
        self._idle = 0 if kernel.memory_account() else kernel.memory_used() or 0
        self._share = share
        self._held = limit is not None and share < limit
        self._began = now
        self._due = now + MIN_LOOK_SECONDS  # most programs end before, and cost no reading
        self._running = False
        self._thrashed = False  # for REPORT_SECONDS
        self._before: _Counts | None = None
        self._first: int | None = None  # refaults that there were when the container was first full
        self._noted = now
        # Seconds of thrashing, less those without: a short peak, such as a program's start, is forgotten.
        self._bad = 0.0
        self._starved = 0.0  # those of them in which hardly any memory was left for files

    def thrashed(self, now: float, *, timed_out: bool) -> bool:
        """Whether the container thrashed while the program ran: for REPORT_SECONDS, or, if a limit of time
        has ended the program, for TIMED_OUT_SHARE of its time."""
        return self._thrashed or (timed_out and self._bad >= TIMED_OUT_SHARE * (now - self._began) > 0)

    def tick(self, now: float, supervisor: int | None, *, running: bool) -> float:
        """Enforces the limit if that is due; returns the moment at which it has to be called again.

        ``running``: the program and not its compiler, whose limit is the container's."""
        if not self._limit or supervisor is None:
            return now + MAX_LOOK_SECONDS
        if running and not self._running:
            self._running, self._due, self._first = True, now + MIN_LOOK_SECONDS, None
        if now >= self._due:
            self._due = now + self._look(now, supervisor, held=running and self._held)
        return self._due

    def _look(self, now: float, supervisor: int, *, held: bool) -> float:
        """Seconds until the next look.  ``held``: the program's limit is below the container's.

        From the cheap to the expensive: one number, then the statistics, then the sizes of all processes."""
        used = kernel.memory_used()
        if used is None:
            return MAX_LOOK_SECONDS
        used -= self._idle
        bound = self._limit * FULL_SHARE if not held else min(self._share, self._limit * FULL_SHARE)
        if used <= bound:
            # Neither the limit nor thrashing is possible below this, so one reading was sufficient.
            self._note(now, supervisor, None)
            return _pause(self._share - used) if held else MAX_LOOK_SECONDS
        account = kernel.memory_account()
        # The kernel can drop pages of files, so they are not held against a program.
        taken = used - account.get("active_file", 0) - account.get("inactive_file", 0)
        full = used >= self._limit * FULL_SHARE
        self._note(now, supervisor, _Counts(now, account, taken / self._limit) if full else None)
        if self._starved >= END_SECONDS:
            self._end_largest(supervisor)
        if not held:
            return FULL_LOOK_SECONDS
        if taken <= self._share:
            return _pause(self._share - taken)
        # Shells and the service use the container's memory, too, so only the program's processes are summed
        # up. Files in memory have no owner, and count in full.
        sizes = tree.sizes(supervisor)
        over = (sum(sizes.values()) + account.get("shmem", 0) if account else taken) - self._share
        if over <= 0:
            return _pause(-over)
        self._end(sizes)
        return MIN_LOOK_SECONDS

    def _note(self, now: float, supervisor: int, counts: _Counts | None) -> None:
        """Adds the time since the last reading to the seconds of thrashing, or takes it off.

        ``counts``: None while the container is not full."""
        passed = now - self._noted
        if passed < FULL_LOOK_SECONDS / 2:
            return  # readings of a program near its own limit: too short for a rate
        before, self._before, self._noted = self._before, counts, now
        if self._first is None and counts is not None:
            self._first = counts.refaults
        starved = thrashing = False
        if before is not None and counts is not None:
            starved, thrashing = counts.starved(before), counts.thrashing(before)
            if (starved or thrashing) and not self._again(supervisor, counts):
                starved = thrashing = False
        self._starved = self._starved + passed if starved else 0.0
        self._bad = self._bad + passed if starved or thrashing else max(0.0, self._bad - passed)
        self._thrashed = self._thrashed or self._bad >= REPORT_SECONDS

    def _again(self, supervisor: int, counts: _Counts) -> bool:
        """Whether more pages were read again than reading all mapped files once explains."""
        if counts.refaults is None or self._first is None:
            return True  # a kernel that does not count them: only `starved` is known
        return (counts.refaults - self._first) * PAGE > tree.mapped(supervisor)

    def _end_largest(self, supervisor: int) -> None:
        # If this was not enough, the next process is killed after another END_SECONDS.
        self._starved = 0.0
        self._end(tree.sizes(supervisor))

    def _end(self, sizes: dict[int, int]) -> None:
        if sizes:
            tree.send(max(sizes, key=lambda pid: sizes[pid]), signal.SIGKILL)
            self.kills += 1


class _Counts:
    """What the kernel has counted until ``when``.  ``taken``: the share that cannot be reclaimed."""

    def __init__(self, when: float, account: dict[str, int], taken: float) -> None:
        self.when = when
        self.faults = account.get("pgmajfault", 0)
        self.refaults = account.get("workingset_refault_file", account.get("workingset_refault"))
        self.cached = account.get("active_file", 0) + account.get("inactive_file", 0)
        self.stalled = kernel.memory_stalled()
        self.taken = taken

    def starved(self, before: _Counts) -> bool:
        """Whether programs' own files were read again, as hardly any memory is left for files."""
        least = FAULTS_PER_SECOND * (self.when - before.when)
        return self.taken >= UNRECLAIMABLE_SHARE and self.faults - before.faults >= least

    def thrashing(self, before: _Counts) -> bool:
        """Whether mapped files do not fit: a large share of what is kept was read again in each second, or
        processes waited for it."""
        passed = self.when - before.when
        if self.refaults is None or before.refaults is None:
            return False
        again = (self.refaults - before.refaults) / passed
        if again < REFAULTS_PER_SECOND or self.faults - before.faults < MAPPED_FAULTS_PER_SECOND * passed:
            return False
        stalled = (self.stalled or 0) - (before.stalled or 0)
        return again * PAGE >= KEPT_SHARE * self.cached or stalled >= STALLED_SHARE * passed


def _pause(left: float) -> float:
    """Seconds until a program can have allocated ``left`` more bytes."""
    return min(MAX_LOOK_SECONDS, max(MIN_LOOK_SECONDS, left / ALLOCATION_SPEED))
