"""Nonces of requests: a client that repeats its `open` finds the opening or session that it has begun."""

from __future__ import annotations

import asyncio

from coderunner.fleet.opening import Opening
from coderunner.sessions.session import Session

NONCE_SECONDS = 60.0  # how long after its opening a session is found by the nonce of its request

Nonce = tuple[str | None, str, str | None]
"""The caller's principal, the client's id, and the nonce of its request."""


class Nonces:
    """What is known by the nonces of requests. None as a nonce finds nothing."""

    def __init__(self) -> None:
        self._openings: dict[Nonce, Opening] = {}
        # Of sessions that were opened just before a restart. Kept apart from the openings: an adopted session
        # is answered with a new token, which a running opening is not.
        self._adopted: dict[Nonce, Session] = {}
        self._over: set[Nonce] = set()  # of ended sessions, for NONCE_SECONDS

    def opening(self, nonce: Nonce | None) -> Opening | None:
        """The opening that began with this nonce and was not cancelled."""
        known = self._openings.get(nonce) if nonce is not None else None
        return known if known is not None and not known.done.cancelled() else None

    def has_opening(self, nonce: Nonce | None) -> bool:
        """Whether an opening began with this nonce, cancelled or not."""
        return nonce in self._openings

    def adopted(self, nonce: Nonce | None) -> Session | None:
        """The adopted session of this nonce, unless it has ended."""
        known = self._adopted.get(nonce) if nonce is not None else None
        return known if known is not None and not known.over else None

    def was_adopted(self, nonce: Nonce) -> bool:
        """Whether a session of this nonce was adopted."""
        return nonce in self._adopted

    def is_over(self, nonce: Nonce | None) -> bool:
        """Whether the session of this nonce has ended."""
        return nonce in self._over

    def used(self, principal: str | None, nonce: str, client: str) -> bool:
        """Whether this principal has used a nonce with another client's id, as far as is known."""
        known = (*self._openings, *self._adopted, *self._over)
        return any(whose == principal and one == nonce and other != client for whose, other, one in known)

    def add(self, nonce: Nonce, opening: Opening) -> None:
        """An opening has begun."""
        self._openings[nonce] = opening
        opening.keys.append(nonce)

    def opening_done(self, opening: Opening, *, failed: bool) -> None:
        """An opening has ended: a failed one is forgotten at once, a session's after NONCE_SECONDS."""
        for nonce in opening.keys:
            if failed:
                self._openings.pop(nonce, None)
            else:
                asyncio.get_running_loop().call_later(NONCE_SECONDS, self._openings.pop, nonce, None)

    def remember(self, nonce: Nonce, session: Session) -> None:
        """For NONCE_SECONDS, an `open` with this nonce finds this session, which was adopted."""
        self._adopted[nonce] = session
        asyncio.get_running_loop().call_later(NONCE_SECONDS, self._adopted.pop, nonce, None)

    def replace(self, session: Session) -> None:
        """A session was adopted again, from the container of an earlier session object with this id."""
        for nonce in [nonce for nonce, one in self._openings.items() if one.session == session.id]:
            del self._openings[nonce]  # it refers to the old session object
            self.remember(nonce, session)

    def end(self, session: Session) -> None:
        """Drops all references to an ended session. A repeated `open` of it is over for NONCE_SECONDS."""
        nonces = {nonce for nonce, one in self._openings.items() if one.session == session.id}
        # Also what was adopted: its nonce is in the other table.
        nonces |= {nonce for nonce, one in self._adopted.items() if one.id == session.id}
        for nonce in nonces:
            self._openings.pop(nonce, None)
            self._adopted.pop(nonce, None)
            # Kept for a while: a client whose answer was lost must not get a second session.
            self._over.add(nonce)
            asyncio.get_running_loop().call_later(NONCE_SECONDS, self._over.discard, nonce)
