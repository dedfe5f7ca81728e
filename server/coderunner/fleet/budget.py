"""What all sessions together make the server hold, in bytes, under one bound.

Each has a bound of its own (`sessions.holdings`), but all of them at theirs would be more than the machine
gives the server.  Where the bound is reached, caches of output go first, of whoever has most: the agents have
it all by right.  Then who holds most is refused what more it wants; and where another one wants it, or nobody
gives anything back, it is ended.  Who holds less than an equal share is never touched.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial

from coderunner import timing
from coderunner.logs import fields
from coderunner.sessions.session import Session

log = logging.getLogger(__name__)

MIB = 1024 * 1024
BUDGET = 384 * MIB
LOOK_SECONDS = 0.5  # for what grows without asking, each under a small bound of its own


class Budget:
    """``sessions()``: those that count, by id."""

    def __init__(self, limit: int, sessions: Callable[[], Mapping[str, Session]]) -> None:
        self.limit = limit
        self._sessions = sessions
        self._most = 0  # bytes that may be held now: as counted last, and what was added since

    def include(self, session: Session) -> None:
        """What a session wants to hold is asked for here, too."""
        session.container.holdings.shared = partial(self.allows, session)

    @property
    def held(self) -> int:
        """Bytes that all live sessions hold."""
        return sum(one.container.holdings.held for one in self._live())

    def allows(self, session: Session, more: int) -> bool:
        """Whether a session may hold ``more`` bytes.  Others may lose their caches for it, or be ended."""
        self._most += more
        if self._most <= self.limit:
            return True
        self._most = self.held
        if self._most + more > self.limit:
            self._spare()
        while self._most + more > self.limit:
            greatest = self._greatest()
            if greatest is None or greatest is session:
                return False
            self._evict(greatest)
        self._most += more
        return True

    def look(self) -> None:
        """Frees what is over the bound: caches first, then who holds most is ended."""
        self._most = self.held
        if self._most > self.limit:
            self._spare()
        while self._most > self.limit:
            greatest = self._greatest()
            if greatest is None:
                return
            self._evict(greatest)

    async def watch(self) -> None:
        """Looks every LOOK_SECONDS, for ever."""
        while True:
            await timing.sleep(LOOK_SECONDS)
            self.look()

    def _live(self) -> list[Session]:
        return [one for one in self._sessions().values() if not one.over]

    def _greatest(self) -> Session | None:
        return max(self._live(), key=lambda one: one.container.holdings.held, default=None)

    def _spare(self) -> None:
        """Until a quarter is free, so that this is not done for each byte; or there are none left."""
        for one in sorted(self._live(), key=lambda one: -one.container.holdings.cached):
            holdings = one.container.holdings
            if self._most <= self.limit * 3 // 4 or not holdings.cached:
                return
            holdings.spare(holdings.cached)
            self._most = self.held

    def _evict(self, session: Session) -> None:
        holdings = session.container.holdings
        table = {what: size for what, size in holdings.table().items() if size}
        log.warning("session evicted", extra=fields(session=session.id, why="holds most", held=table))
        held = max(1, holdings.held // MIB)
        session.evict(
            f"it makes the server hold {held} MiB, more than any other does, and there is no memory for all"
        )
        self._most = self.held
