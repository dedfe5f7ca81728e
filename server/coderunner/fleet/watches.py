"""Tickets with which the operator watches a session: tokens of the role `watch`, valid for a short time.

They are kept in memory, as hashes: after a restart the operator asks for another.
"""

from __future__ import annotations

from collections.abc import Callable

from coderunner import timing
from coderunner.identity.principal import Principal
from coderunner.sessions.record import digest, new_token

SECONDS = 60.0  # in which a ticket is to be used
RETURN_SECONDS = 3600.0  # in which the client that used it may come back after a lost connection
MOST = 256  # tickets


class Watches:
    """All tickets that are valid."""

    def __init__(self) -> None:
        # (session, hash of the token) -> valid until, and whose it is
        self._due: dict[tuple[str, str], tuple[float, Principal]] = {}

    def make(self, session: str, who: Principal) -> str:
        """A new ticket for a session; the oldest is dropped where there are MOST."""
        self._clear()
        while len(self._due) >= MOST:
            del self._due[next(iter(self._due))]
        token = new_token()
        self._due[session, digest(token)] = timing.now() + SECONDS, who
        return token

    def allows(self, session: str, token: str) -> bool:
        """Whether this is a ticket for this session."""
        return self.whose(session, token) is not None

    def whose(self, session: str, token: str) -> Principal | None:
        """The operator whose ticket for this session this is; None if it is none."""
        self._clear()
        found = self._due.get((session, digest(token)))
        return found[1] if found is not None else None

    def use(self, session: str, token: str) -> None:
        """It is used now: whoever has it may come back for RETURN_SECONDS."""
        key = (session, digest(token))
        if key in self._due:
            self._due[key] = timing.now() + RETURN_SECONDS, self._due[key][1]

    def drop(self, ended: Callable[[Principal], bool]) -> None:
        """Forgets the tickets of operators whose credential has ended."""
        for key in [key for key, (_, who) in self._due.items() if ended(who)]:
            del self._due[key]

    def end(self, session: str) -> None:
        """Forgets the tickets for a session that is over."""
        for key in [key for key in self._due if key[0] == session]:
            del self._due[key]

    def _clear(self) -> None:
        now = timing.now()
        for key in [key for key, (due, _) in self._due.items() if due < now]:
            del self._due[key]
