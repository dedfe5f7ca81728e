"""A user id of its own for every live container.

With a shared one, a session used up the inotify watches and pipe pages of its neighbours: the kernel
counts them per user, over all containers.
"""

from __future__ import annotations

from coderunner.errors import StartFailed


class Uids:
    """``base`` to ``base + count - 1``; the longest unused is given next."""

    def __init__(self, base: int, count: int) -> None:
        self._free = dict.fromkeys(range(base, base + count))
        self.all = range(base, base + count)

    def take(self) -> int:
        """Raises StartFailed when none is left."""
        for uid in self._free:
            del self._free[uid]
            return uid
        raise StartFailed("all user ids for sessions are in use; raise SESSION_UID_COUNT")

    def claim(self, uid: int) -> bool:
        """Take this one; False when it is taken or not of this range."""
        return self._free.pop(uid, "") is None

    def give(self, uid: int) -> None:
        if uid in self.all:
            self._free[uid] = None
