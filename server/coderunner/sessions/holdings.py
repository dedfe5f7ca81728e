"""What one session can make the server hold, in bytes, under one bound.

Its program, its agent and its clients are all the same stranger's.  Whatever they make the server keep is
counted here by who keeps it; where something more would exceed the bound, caches of output go first (the
agent has it by right), and then the newcomer is refused.
"""

from __future__ import annotations

from collections.abc import Callable

SESSION_BYTES = 24 * 1024 * 1024
CACHES = "caches"  # what they are counted as
CACHE_BYTES = 6 * 1024 * 1024  # of it, output that the agent keeps as well


class Holdings:
    """``spare``: called with a number of bytes that should be given up, as far as that can be.  ``shared``:
    whether all sessions together leave room for so many more."""

    def __init__(self, limit: int = SESSION_BYTES) -> None:
        self.limit = limit
        self.spare: Callable[[int], None] = lambda _: None
        self.shared: Callable[[int], bool] = lambda _: True
        self._sizes: dict[str, Callable[[], int]] = {}

    def count(self, what: str, size: Callable[[], int]) -> None:
        """``size()`` answers the bytes held now as ``what``; a later call for the same replaces it."""
        self._sizes[what] = size

    @property
    def held(self) -> int:
        """Bytes, of all that is counted."""
        return sum(size() for size in self._sizes.values())

    def allows(self, more: int) -> bool:
        """Whether ``more`` bytes beyond those counted now are within the bound."""
        excess = self.held + more - self.limit
        if excess > 0:
            self.spare(excess)
            excess = self.held + more - self.limit
        return excess <= 0 and self.shared(more)

    def cache(self, more: int) -> None:
        """A cache has grown: where there is no room, caches are what is given up."""
        if not self.shared(more):
            self.spare(more)

    @property
    def cached(self) -> int:
        """Bytes of output that the agent keeps as well."""
        size = self._sizes.get(CACHES)
        return size() if size is not None else 0

    def table(self) -> dict[str, int]:
        """Who holds how much, for the log."""
        return {what: size() for what, size in self._sizes.items()}
