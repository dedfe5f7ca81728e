"""Find and kill process trees, by /proc."""

from __future__ import annotations

import os

from coderunner.wire.tuples import namedtuple

from . import kernel
from .lean import signal, suppress

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from collections.abc import Iterable

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
SHARED_MEMORY = (b"/dev/zero ", b"/memfd:", b"/SYSV")  # as the kernel names mappings that have no file
MAX_MAPS = 1 << 20  # bytes of tables of mappings that are read for one sum
MAX_ROUNDS = 50  # of looking for processes that were forked while others were stopped


class Process(namedtuple("Process", "parent alive own waited")):
    """``parent``: its process id.  ``alive``: not a zombie.  ``own``: seconds of CPU time of its threads.
    ``waited``: the same of the children that it has waited for."""

    __slots__ = ()

    @property
    def cpu(self) -> float:
        """Seconds of CPU time, its own and that of the children that it has waited for."""
        total: float = self.own + self.waited
        return total


def processes() -> dict[int, Process]:
    """{pid: Process} of every process in /proc, zombies included."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            line = kernel.read(f"/proc/{name}/stat")
        except OSError:  # it has ended since the listing
            continue
        # The command's name is a program's to choose, parentheses included: it ends at the last one.
        state, parent, *fields = line[line.rfind(b")") + 2 :].split(None, 18)
        # A process whose first thread has ended is shown as a zombie while its other threads run.
        alive = state not in b"ZX" or int(fields[15]) > 1
        user, system, waited_user, waited_system = map(int, fields[9:13])
        found[int(name)] = Process(
            int(parent), alive, (user + system) / TICKS, (waited_user + waited_system) / TICKS
        )
    return found


def below(root: int, table: dict[int, Process], *, exclude: Iterable[int] = ()) -> list[int]:
    """Process ids of all descendants of ``root``, zombies included.

    Processes of ``exclude`` are left out, with everything below them."""
    children: dict[int, list[int]] = {}
    for pid, process in table.items():
        children.setdefault(process.parent, []).append(pid)
    found = []
    waiting = [root]
    while waiting:
        for pid in children.get(waiting.pop(), ()):
            if pid not in exclude:
                found.append(pid)
                waiting.append(pid)
    return found


def descendants(root: int, *, exclude: Iterable[int] = ()) -> list[int]:
    """As ``below``, of the living ones, by a new look at /proc."""
    table = processes()
    return [pid for pid in below(root, table, exclude=exclude) if table[pid].alive]


def sizes(root: int) -> dict[int, int]:
    """{pid: bytes} of anonymous memory of each living descendant of ``root``.

    Pages that several processes share are divided among them, if the kernel says how many do."""
    return {pid: _size(pid) for pid in descendants(root)}


def _size(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            for line in file:
                if line.startswith("Pss_Anon:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass  # it hides its memory, or has ended
    try:
        with open(f"/proc/{pid}/statm") as file:
            _, resident, shared = file.read().split()[:3]
            return (int(resident) - int(shared)) * PAGE
    except (OSError, ValueError):
        return 0


def mapped(root: int) -> int:
    """Bytes of files that ``root`` and its living descendants have mapped; what several map counts once.

    Programs can have any number of mappings, so only the first MAX_MAPS bytes of their tables are read."""
    parts: dict[tuple[bytes, bytes, bytes], int] = {}
    left = MAX_MAPS
    for pid in (root, *descendants(root)):
        with suppress(OSError, ValueError), open(f"/proc/{pid}/maps", "rb") as file:
            while left > 0 and (line := file.readline()):
                left -= len(line)
                # "7f00-7f10 r--p 0000 fe:00 1234    /usr/lib/x.so"; the inode is 0 if it is no file.
                span, _, offset, device, inode, *path = line.split(None, 5)
                if inode != b"0" and not b"".join(path).startswith(SHARED_MEMORY):
                    begin, _, end = span.partition(b"-")
                    key = device, inode, offset
                    parts[key] = max(parts.get(key, 0), int(end, 16) - int(begin, 16))
    return sum(parts.values())


def kill(root: int, *, exclude: Iterable[int] = ()) -> int:
    """Sends SIGKILL to every living descendant of ``root``; returns how many there were.

    They are stopped first, until no new one appears: otherwise a process that forks faster than it is killed
    could escape.  A process may end later than this returns, when the container's CPU quota is used up:
    callers that need certainty wait for it, or call again.
    """
    stopped: set[int] = set()
    for _ in range(MAX_ROUNDS):
        fresh = [pid for pid in descendants(root, exclude=exclude) if pid not in stopped]
        if not fresh:
            break
        for pid in fresh:
            send(pid, signal.SIGSTOP)
            stopped.add(pid)
    for pid in stopped:
        send(pid, signal.SIGKILL)
    return len(stopped)


def send(pid: int, number: int) -> None:
    """Sends a signal to a process that may have ended already."""
    with suppress(OSError):
        os.kill(pid, number)
