"""CPU time of programs: from their processes, and from the container's own account.

A child that its parent waits for is in the parent's figures, an orphan in the supervisor's.  Of a child whose
parent ignores SIGCHLD the kernel keeps nothing but the container's total: what no process shows is shared out
among the channels that lived when it was used.
"""

from __future__ import annotations

import os

from . import kernel, tree

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .channel import Channel

_TRUNCATED = 4 / tree.TICKS  # what a process may have used beyond its four figures of whole ticks


def of(supervisor: int) -> float:
    """Seconds of all that ever ran below ``supervisor``, as far as somebody waited for it or it is there."""
    # In one look, a process may be counted, end, and be counted again with its parent; not in two.
    return min(_of(supervisor), _of(supervisor))


def _of(supervisor: int) -> float:
    table = tree.processes()
    waited = table[supervisor].waited if supervisor in table else 0.0
    return waited + sum(table[pid].cpu for pid in tree.below(supervisor, table))


def of_orphans(spare: Iterable[int]) -> float:
    """Seconds of what is below this process, without those of ``spare`` and what is below them."""
    table = tree.processes()
    return sum(table[pid].cpu for pid in tree.below(os.getpid(), table, spare=spare))


class Unseen:
    """``share(live)`` adds to the ``unseen_cpu`` of each of these channels what came since the last call."""

    def __init__(self) -> None:
        # The account is of what PID 1 sees.
        self._known = self._look(0) if os.getpid() == 1 else None

    def share(self, channels: list[Channel]) -> None:
        """Counts what no process shows since the last time to ``channels``, in equal parts."""
        if self._known is None:
            return
        seen = self._look(_TRUNCATED)
        if seen is not None and seen > self._known:
            # A process that ends while we look is seen nowhere; not twice.
            seen = min(seen, self._look(_TRUNCATED) or seen)
        if seen is None or seen <= self._known:
            return
        for channel in channels:
            channel.unseen_cpu += (seen - self._known) / len(channels)
        self._known = seen

    @staticmethod
    def _look(truncated: float) -> float | None:
        """Seconds that no process shows, less so many for each; None where the kernel keeps no account."""
        total = kernel.cpu_seconds()
        if total is None:
            return None
        return total - sum(process.cpu + truncated for process in tree.processes().values())
