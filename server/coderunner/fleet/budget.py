"""One bound, in bytes, of the server's memory for all sessions together.

Each session has a bound of its own (`sessions.holdings`), but all of them at their bounds would exceed the
server's memory.  When the common bound is reached, caches of output are dropped first, those of the sessions
with the largest caches, as the agents keep that output as well.  Then the session that holds most gets no
more; and when another one asks for memory, or nothing is given back, that session is ended.  A session with
less than an equal share never loses anything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial

from coderunner import timing
from coderunner.logs import fields
from coderunner.sessions.record import whose
from coderunner.sessions.session import Session

log = logging.getLogger(__name__)

MIB = 1024 * 1024
BUDGET = 384 * MIB
LOOK_SECONDS = 0.5  # between two checks, for memory that grows without asking `allows`


class Budget:
    """``limit``: bytes.  ``sessions()``: the sessions that count, by id."""

    def __init__(self, limit: int, sessions: Callable[[], Mapping[str, Session]]) -> None:
        self.limit = limit
        self._sessions = sessions
        self._estimate = 0  # bytes: the last count, and what was allowed since; never below what is held

    def include(self, session: Session) -> None:
        """Has a session's `Holdings` ask this budget as well, from now on."""
        session.container.holdings.shared = partial(self.allows, session)

    @property
    def held(self) -> int:
        """Bytes that all live sessions hold."""
        return sum(one.container.holdings.held for one in self._live())

    def allows(self, session: Session, more: int) -> bool:
        """Whether a session may hold ``more`` bytes.

        Other sessions may lose their caches for it, or be ended."""
        # Added first, so that two requests at the same moment cannot both be granted the last bytes.
        self._estimate += more
        if self._estimate <= self.limit:
            return True
        # Counted anew only here: most calls are answered by the estimate.
        self._estimate = self.held
        if self._estimate + more > self.limit:
            self._spare()
        # After each eviction anew: what the next one holds may have changed.
        while self._estimate + more > self.limit:
            greatest = self._greatest()
            # The session that asks keeps what it has, and only its request is refused.
            if greatest is None or greatest is session:
                return False
            self._evict(greatest)
        self._estimate += more
        return True

    def look(self) -> None:
        """Frees memory above the bound: drops caches first, then ends the sessions that hold most."""
        self._estimate = self.held
        if self._estimate > self.limit:
            self._spare()
        while self._estimate > self.limit:
            greatest = self._greatest()
            if greatest is None:
                return
            self._evict(greatest)

    async def watch(self) -> None:
        """Calls `look` every LOOK_SECONDS.  Never returns."""
        while True:
            await timing.sleep(LOOK_SECONDS)
            self.look()

    def _live(self) -> list[Session]:
        return [one for one in self._sessions().values() if not one.over]

    def _greatest(self) -> Session | None:
        return max(self._live(), key=lambda one: one.container.holdings.held, default=None)

    def _spare(self) -> None:
        """Drops caches, the largest first, until a quarter of the bound is free, so that this is done
        rarely."""
        for one in sorted(self._live(), key=lambda one: -one.container.holdings.cached):
            holdings = one.container.holdings
            # A quarter is free then: the next drop is that far away.
            if self._estimate <= self.limit * 3 // 4 or not holdings.cached:
                return
            holdings.spare(holdings.cached)
            self._estimate = self.held

    def _evict(self, session: Session) -> None:
        holdings = session.container.holdings
        table = {what: size for what, size in holdings.table().items() if size}
        log.warning("session evicted", extra=fields(**whose(session.record), why="holds most", held=table))
        # At least 1: '0 MiB' would read as a mistake.
        held = max(1, holdings.held // MIB)
        session.evict(
            f"it makes the server hold {held} MiB, more than any other session, and there is not enough"
            " memory for all"
        )
        self._estimate = self.held
