"""A program that is over its share of the memory, and a container that thrashes.

A container's memory is fixed when it is made: the greater of what compilers and programs of its language
may use.  The kernel holds both to that; a program's own share is held by looks at the container's account, as
often as a program could get there.  (The control groups are read-only here, so that it cannot have one of its
own; a limit of the address space would count what is only reserved.)  What is over is ended as the kernel
does it: the process that has most.

A container thrashes where its programs hold nearly all of its memory, so that their own files are thrown away
and read again all the time.  The kernel does not end that: it is slow, and no more.
"""

from __future__ import annotations

import signal

from . import kernel, tree

SPEED = 1 << 30  # bytes a second: what a program takes at most, about
NEXT_SECONDS = 0.02  # between two looks at least
LOOK_SECONDS = 1.0  # and at most
FULL = 0.95  # the share of the container's memory from which it may thrash
TAKEN = 0.8  # the share that cannot be given back, of programs and files in memory
FAULTS = 50  # pages a second that had to be read again
TELL_SECONDS = 2.0  # of thrashing, until it is told
END_SECONDS = 10.0  # and until it is ended


class Memory:
    """Of one channel.  ``kills``: processes that were ended for the memory that they had.  ``thrashed``: told
    with the program's end."""

    def __init__(self, share: int, now: float) -> None:
        self.kills = 0
        self.thrashed = False
        limit = kernel.memory_limit()
        self._limit = limit or 0
        self._share = share
        self._held = limit is not None and share < limit
        self._due = now + NEXT_SECONDS  # most programs have ended by then
        self._running = False
        self._faults: tuple[float, int] | None = None  # when, and how many there had been
        self._bad = 0.0  # seconds for which it has thrashed

    def tick(self, now: float, supervisor: int | None, *, running: bool) -> float:
        """The moment at which to look again.  ``running``: the program and not its compiler."""
        if not self._limit or supervisor is None:
            return now + LOOK_SECONDS
        if running and not self._running:
            self._running, self._due = True, now + NEXT_SECONDS
        if now >= self._due:
            self._due = now + self._look(now, supervisor, held=running and self._held)
        return self._due

    def _look(self, now: float, supervisor: int, *, held: bool) -> float:
        used = kernel.memory_used()
        if used is None:
            return LOOK_SECONDS
        bound = self._limit * FULL if not held else min(self._share, self._limit * FULL)
        if used <= bound:
            self._faults, self._bad = None, 0.0
            return _pause(self._share - used) if held else LOOK_SECONDS
        account = kernel.memory_account()
        taken = used - account.get("active_file", 0) - account.get("inactive_file", 0)
        if self._thrashes(now, used, taken, account.get("pgmajfault", 0)):
            self._end_largest(supervisor)
        if not held:
            return LOOK_SECONDS
        if taken <= self._share:
            return _pause(self._share - taken)
        # Others use the container, too: shells, a service.  Files in memory are everybody's.
        sizes = tree.sizes(supervisor)
        over = sum(sizes.values()) + account.get("shmem", 0) - self._share
        if over <= 0:
            return _pause(-over)
        self._end(sizes)
        return NEXT_SECONDS

    def _thrashes(self, now: float, used: int, taken: int, faults: int) -> bool:
        """Whether it has done so for long."""
        if used < self._limit * FULL or taken < self._limit * TAKEN:
            self._faults, self._bad = None, 0.0
            return False
        if self._faults is None:
            self._faults = now, faults
            return False
        since, before = self._faults
        if now - since < LOOK_SECONDS:
            return False
        self._bad = self._bad + now - since if faults - before >= FAULTS * (now - since) else 0.0
        self._faults = now, faults
        self.thrashed = self.thrashed or self._bad >= TELL_SECONDS
        return self._bad >= END_SECONDS

    def _end_largest(self, supervisor: int) -> None:
        self._bad = 0.0
        self._end(tree.sizes(supervisor))

    def _end(self, sizes: dict[int, int]) -> None:
        if sizes:
            tree.send(max(sizes, key=lambda pid: sizes[pid]), signal.SIGKILL)
            self.kills += 1


def _pause(left: float) -> float:
    """Seconds in which a program cannot take so many bytes."""
    return min(LOOK_SECONDS, max(NEXT_SECONDS, left / SPEED))
