"""One bound, in bytes, of the server's memory for one session.

The program, the agent and the clients of a session may all be hostile.  Everything that they make the server
keep is counted here.  When more would exceed the bound, caches of output are dropped first, as the agent has
that output as well; then the request for more is refused.
"""

from __future__ import annotations

from collections.abc import Callable

SESSION_BYTES = 24 * 1024 * 1024
CACHES = "caches"  # the name under which caches are counted
CACHE_BYTES = 6 * 1024 * 1024  # of SESSION_BYTES, for caches of output


class Holdings:
    """Counts one session's memory.  ``limit``: bytes.

    ``spare(bytes)``: called to drop that much of the caches, as far as possible.  ``shared(bytes)``: whether
    the bound of all sessions together allows that many more bytes."""

    def __init__(self, limit: int = SESSION_BYTES) -> None:
        self.limit = limit
        self.spare: Callable[[int], None] = lambda _: None
        self.shared: Callable[[int], bool] = lambda _: True
        self._sizes: dict[str, Callable[[], int]] = {}

    def count(self, what: str, size: Callable[[], int]) -> None:
        """Adds something to count.

        ``size()``: its bytes now.  A later call for the same ``what`` replaces it."""
        self._sizes[what] = size

    @property
    def held(self) -> int:
        """Bytes of everything that is counted."""
        # Looked up when it is needed: nothing has to report its growth, and nothing is forgotten.
        return sum(size() for size in self._sizes.values())

    def allows(self, more: int) -> bool:
        """Whether ``more`` bytes are within both bounds, if necessary after dropping caches."""
        # Own bound first, which dropping caches can restore; then the bound of all sessions.
        excess = self.held + more - self.limit
        if excess > 0:
            self.spare(excess)
            excess = self.held + more - self.limit
        return excess <= 0 and self.shared(more)

    def cache(self, more: int) -> None:
        """A cache has grown by ``more`` bytes: without room for them, as much of the caches is dropped."""
        if not self.shared(more):
            self.spare(more)

    @property
    def cached(self) -> int:
        """Bytes of the caches, whose output the agent keeps as well."""
        size = self._sizes.get(CACHES)
        return size() if size is not None else 0

    def table(self) -> dict[str, int]:
        """By name, the bytes of everything that is counted, for the log."""
        return {what: size() for what, size in self._sizes.items()}
