"""CPU time of programs: from their processes, and from the container's total.

A child that its parent waits for is counted with the parent, an orphan with the supervisor.  For a child
whose parent ignores SIGCHLD the kernel keeps nothing but the container's total.  The part of the total that
no process shows is divided among the channels that were live when it was used.
"""

from __future__ import annotations

import os

from . import kernel, tree

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .channel import Channel

_TRUNCATED = 4 / tree.TICKS  # a process has four figures, each cut off to whole ticks


def seconds_below(supervisor: int) -> float:
    """Seconds of CPU time of all processes below ``supervisor``, ended ones that were waited for included."""
    # While /proc is read, a process may be counted, end, and be counted again with its parent. That does not
    # happen twice in a row, so the smaller figure is right.
    return min(_read_below(supervisor), _read_below(supervisor))


def _read_below(supervisor: int) -> float:
    table = tree.processes()
    waited = table[supervisor].waited if supervisor in table else 0.0
    return waited + sum(table[pid].cpu for pid in tree.below(supervisor, table))


def orphan_seconds(exclude: Iterable[int]) -> float:
    """Seconds of CPU time of all processes below this one, without ``exclude`` and those below them."""
    table = tree.processes()
    return sum(table[pid].cpu for pid in tree.below(os.getpid(), table, exclude=exclude))


class Unseen:
    """The container's CPU time that no process shows, as far as it was distributed already."""

    def __init__(self) -> None:
        # The container's total can only be compared with all its processes, which PID 1 alone sees.
        self._known = self._look(0) if os.getpid() == 1 else None

    def distribute(self, channels: list[Channel]) -> None:
        """Adds what came since the last call to the ``unseen_cpu`` (seconds) of ``channels``, in equal
        parts."""
        if self._known is None:
            return
        seen = self._look(_TRUNCATED)
        if seen is not None and seen > self._known:
            # A process that ends during the reading is counted nowhere, but not in two readings.
            seen = min(seen, self._look(_TRUNCATED) or seen)
        if seen is None or seen <= self._known:
            return
        for channel in channels:
            channel.unseen_cpu += (seen - self._known) / len(channels)
        self._known = seen

    @staticmethod
    def _look(truncated: float) -> float | None:
        """Seconds that no process shows, less ``truncated`` for each process; None without a total."""
        total = kernel.cpu_seconds()
        if total is None:
            return None
        return total - sum(process.cpu + truncated for process in tree.processes().values())
