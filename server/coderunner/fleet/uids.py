"""A separate user id for every container.

The kernel counts some resources, such as inotify watches and pages of pipes, by user and over all containers.
With a shared user id, one session could use up those of all others.
"""

from __future__ import annotations

from coderunner.errors import StartFailed


class Uids:
    """The user ids from ``base`` to ``base + count - 1``; the one that is unused for the longest time is
    next.

    ``owner``: the id of a container's session.  Only the owner can release an id: a container that the engine
    made too late may be removed when its id has another owner already.
    """

    def __init__(self, base: int, count: int) -> None:
        self._free = dict.fromkeys(range(base, base + count))
        self._owners: dict[int, str] = {}
        self.all = range(base, base + count)

    def acquire(self, owner: str) -> int:
        """Takes an unused id for ``owner``.  Raises StartFailed when none is left."""
        # The first key is the id that was released longest ago: a dict keeps the order of insertion.
        for uid in self._free:
            self.claim(uid, owner)
            return uid
        raise StartFailed("all user ids for sessions are in use; raise SESSION_UID_COUNT")

    def claim(self, uid: int, owner: str) -> bool:
        """Takes this id for ``owner``; False when it is in use, or out of the range."""
        # `pop` with another default: None is the value of every free id.
        if self._free.pop(uid, "") is not None:
            return False
        self._owners[uid] = owner
        return True

    def release(self, uid: int, owner: str) -> None:
        """Frees the id, if it is ``owner``'s."""
        if self._owners.get(uid) == owner:
            del self._owners[uid]
            # At the end, so that it is used again as late as possible.
            self._free[uid] = None
