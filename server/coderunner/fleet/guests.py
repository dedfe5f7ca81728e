"""Guests of sessions: further tokens that a session's owner gives away, with a role, a name and an end.

They are in the database and not in the sealed record: a program that takes over a container's agent could
answer the next server with an older record, in which a revoked token is still good. Where the database cannot
be read, guests are refused; the owner, whose token is in the record, is not.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
import time
from types import ModuleType

from coderunner.errors import BadMessage, CodeRunnerError, NoSession
from coderunner.identity.guest import MAX_GUESTS, Guest, is_serial, new_guest_token, serial_of
from coderunner.logs import fields
from coderunner.sessions.session import Session
from coderunner.store.store import Store
from coderunner.tasks import Tasks

log = logging.getLogger(__name__)

SECONDS = 2.0  # for one call of the database


class Guests:
    """The guests' tokens of a server's sessions. `store`: the database."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tasks = Tasks("guests", expected=(CodeRunnerError,))  # read by the request that waits

    async def admit(self, session: str, token: str) -> Guest:
        """The guest who shows this token. Raises NoSession for a token that is none of this session's, or has
        ended; DatabaseUnavailable."""
        rows = await _rows()

        serial = serial_of(token)
        if serial is None:
            raise NoSession()
        guest: Guest | None = await self._store.read(lambda one: rows.find(one, session, serial), SECONDS)
        if guest is None or not guest.shown(token) or not guest.good(time.time()):
            raise NoSession()
        return guest

    async def add(
        self, session: Session, name: str, role: str, *, take: bool, lasts_ms: int | None
    ) -> tuple[Guest, str]:
        """Makes a token: (what is stored of it, the token). Raises BadMessage if there are MAX_GUESTS;
        DatabaseUnavailable."""
        rows = await _rows()

        serial, token, digest = new_guest_token()
        now = time.time()
        expires = now + lasts_ms / 1000 if lasts_ms is not None else None
        guest = Guest(serial, session.id, name, role, digest, take=take, created=now, expires=expires)
        if not await self._store.write(lambda one: rows.add(one, guest, now), SECONDS):
            raise BadMessage(f"a session has at most {MAX_GUESTS} tokens for guests; revoke one first")
        log.info("guest invited", extra=fields(session=session.id, guest=serial, role=role))
        return guest, token

    async def every(self, session: Session) -> list[Guest]:
        """The session's tokens, ended ones too, in the order in which they were made. Raises
        DatabaseUnavailable."""
        rows = await _rows()

        found: list[Guest] = await self._store.read(lambda one: rows.of(one, session.id), SECONDS)
        return found

    async def revoke(self, session: Session, serial: str) -> int:
        """Ends a token, and the connections of those who have it; how many these were.

        The connections end in any case. Raises NoSession for an unknown serial; DatabaseUnavailable if it
        could not be stored: then it has to be asked for again.
        """
        # A task of its own: a caller that goes away must not leave a token half revoked.
        return await asyncio.shield(self._tasks.start(self._revoke(session, serial), "guest-revoke"))

    async def _revoke(self, session: Session, serial: str) -> int:
        rows = await _rows()

        if not is_serial(serial):
            raise NoSession()
        closed = session.company.revoke(serial)
        if not await self._store.write(
            lambda one: rows.revoke(one, session.id, serial, time.time()), SECONDS
        ):
            raise NoSession()
        log.info("guest uninvited", extra=fields(session=session.id, guest=serial, closed=closed))
        return closed


async def _rows() -> ModuleType:
    """The statements. Imported in a thread, as SQLAlchemy comes with them, and not before they are needed."""
    name = "coderunner.identity.guest_rows"
    known = sys.modules.get(name)
    return known if known is not None else await asyncio.to_thread(importlib.import_module, name)
