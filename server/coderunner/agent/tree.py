"""Process trees by /proc: find them, and kill them."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import namedtuple  # the typing module costs each container a megabyte

from . import kernel

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from collections.abc import Iterable

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class Process(namedtuple("Process", "parent alive own waited")):
    """``cpu``: seconds, of its own threads and of the children that it has waited for."""

    __slots__ = ()

    @property
    def cpu(self) -> float:
        """Seconds of CPU time, with what it has waited for."""
        total: float = self.own + self.waited
        return total


def processes() -> dict[int, Process]:
    """{pid: Process} of every process that can be seen, those that nobody has waited for yet among them."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            line = kernel.read(f"/proc/{name}/stat")
        except OSError:
            continue
        # The command may contain anything but ends at the last parenthesis.
        state, parent, *fields = line[line.rfind(b")") + 2 :].split(None, 18)
        # A process whose first thread has ended shows as a zombie while the others run.
        alive = state not in b"ZX" or int(fields[15]) > 1
        user, system, waited_user, waited_system = map(int, fields[9:13])
        found[int(name)] = Process(
            int(parent), alive, (user + system) / TICKS, (waited_user + waited_system) / TICKS
        )
    return found


def below(root: int, table: dict[int, Process], *, spare: Iterable[int] = ()) -> list[int]:
    """Descendants of ``root``, also dead ones, without those below a process of ``spare`` or in it."""
    children: dict[int, list[int]] = {}
    for pid, process in table.items():
        children.setdefault(process.parent, []).append(pid)
    found = []
    waiting = [root]
    while waiting:
        for pid in children.get(waiting.pop(), ()):
            if pid not in spare:
                found.append(pid)
                waiting.append(pid)
    return found


def descendants(root: int, *, spare: Iterable[int] = ()) -> list[int]:
    """Those of ``below`` that live."""
    table = processes()
    return [pid for pid in below(root, table, spare=spare) if table[pid].alive]


def sizes(root: int) -> dict[int, int]:
    """Bytes that each living descendant of ``root`` has in memory without its files'; what several share is
    divided among them, where the kernel says."""
    return {pid: _size(pid) for pid in descendants(root)}


def _size(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            for line in file:
                if line.startswith("Pss_Anon:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass  # it hides its memory, or is gone
    try:
        with open(f"/proc/{pid}/statm") as file:
            _, resident, shared = file.read().split()[:3]
            return (int(resident) - int(shared)) * PAGE
    except (OSError, ValueError):
        return 0


def kill(root: int, *, spare: Iterable[int] = ()) -> int:
    """SIGKILL every descendant of ``root``; how many lived.

    They are stopped first, until no new one shows, so that what forks faster than it is killed cannot
    get away.  A process that cannot run in the container's quota dies later than this returns: whoever
    needs certainty waits for it, or calls again.
    """
    stopped: set[int] = set()
    for _ in range(50):
        fresh = [pid for pid in descendants(root, spare=spare) if pid not in stopped]
        if not fresh:
            break
        for pid in fresh:
            send(pid, signal.SIGSTOP)
            stopped.add(pid)
    for pid in stopped:
        send(pid, signal.SIGKILL)
    return len(stopped)


def send(pid: int, number: int) -> None:
    """Signal a process that may be gone already."""
    with contextlib.suppress(OSError):
        os.kill(pid, number)
