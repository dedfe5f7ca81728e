"""A user id of its own for every live container.

With a shared one, a session used up the inotify watches and pipe pages of its neighbours: the kernel
counts them per user, over all containers.
"""

from __future__ import annotations

from coderunner.errors import StartFailed


class Uids:
    """``base`` to ``base + count - 1``; the longest unused is given next.

    ``owner`` is a container's session.  Only the owner gives an id back: a container that the engine made
    too late, swept when its id has long been another's, gives nothing.
    """

    def __init__(self, base: int, count: int) -> None:
        self._free = dict.fromkeys(range(base, base + count))
        self._owners: dict[int, str] = {}
        self.all = range(base, base + count)

    def acquire(self, owner: str) -> int:
        """Raises StartFailed when none is left."""
        for uid in self._free:
            self.claim(uid, owner)
            return uid
        raise StartFailed("all user ids for sessions are in use; raise SESSION_UID_COUNT")

    def claim(self, uid: int, owner: str) -> bool:
        """Take this one; False when it is taken or not of this range."""
        if self._free.pop(uid, "") is not None:
            return False
        self._owners[uid] = owner
        return True

    def release(self, uid: int, owner: str) -> None:
        """The id is free again, where it is this owner's."""
        if self._owners.get(uid) == owner:
            del self._owners[uid]
            self._free[uid] = None
