"""Guests' tokens in the database."""

from __future__ import annotations

import json

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from coderunner.identity.guest import MAX_GUESTS, Guest
from coderunner.store.tables import session_tokens

KEPT_SECONDS = 60 * 86400.0  # for which rows are kept, after their creation
MAX_ENDED = 64  # revoked and expired tokens of a session that are kept for the list
_TAKE = "take"  # the scope that allows taking the control without asking


def find(connection: Connection, session: str, serial: str) -> Guest | None:
    """A session's token with this serial; None if there is none. Raises SQLAlchemyError."""
    wanted = (session_tokens.c.serial == serial, session_tokens.c.session == session)
    row = connection.execute(select(session_tokens).where(*wanted)).mappings().first()
    return _guest(row) if row is not None else None


def of(connection: Connection, session: str) -> list[Guest]:
    """The tokens of a session, in the order in which they were made. Raises SQLAlchemyError."""
    wanted = select(session_tokens).where(session_tokens.c.session == session)
    rows = connection.execute(wanted.order_by(session_tokens.c.created, session_tokens.c.serial)).mappings()
    return [_guest(row) for row in rows]


def _guest(row: RowMapping) -> Guest:
    return Guest(
        row["serial"], row["session"], row["name"], row["role"], row["hash"],
        take=_TAKE in json.loads(row["scopes"]), created=row["created"], expires=row["expires"],
        revoked=row["revoked"],
    )  # fmt: skip


def add(connection: Connection, guest: Guest, now: float) -> bool:
    """Stores a token; False if the session has MAX_GUESTS already. Raises SQLAlchemyError."""
    # Tokens of sessions that ended long ago: no session lives as long as KEPT_SECONDS.
    connection.execute(delete(session_tokens).where(session_tokens.c.created < now - KEPT_SECONDS))
    every = of(connection, guest.session)
    ended = [one for one in every if not one.good(now)]
    if len(every) - len(ended) >= MAX_GUESTS:
        return False
    # The oldest invalid ones, so that the number of a session's rows is limited.
    for one in ended[: max(0, len(ended) - MAX_ENDED)]:
        connection.execute(delete(session_tokens).where(session_tokens.c.serial == one.serial))
    row = {
        "serial": guest.serial, "session": guest.session, "name": guest.name, "hash": guest.digest,
        "role": guest.role, "scopes": json.dumps([_TAKE] if guest.take else []), "created": guest.created,
        "expires": guest.expires,
    }  # fmt: skip
    connection.execute(insert(session_tokens).values(row))
    return True


def revoke(connection: Connection, session: str, serial: str, now: float) -> bool:
    """Revokes a token; False if the session has none of this serial. Raises SQLAlchemyError."""
    wanted = (session_tokens.c.serial == serial, session_tokens.c.session == session)
    found = connection.execute(select(func.count()).select_from(session_tokens).where(*wanted)).scalar_one()
    still = (*wanted, session_tokens.c.revoked.is_(None))
    connection.execute(update(session_tokens).where(*still).values(revoked=now))
    return bool(found)
