"""API keys in the database, and the copy of them that a running server keeps."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from sqlalchemy import Connection, RowMapping, bindparam, insert, or_, select, update

from coderunner.errors import DatabaseUnavailable
from coderunner.identity.keys import Key, KeyRing
from coderunner.identity.target import MAX_OUT
from coderunner.logs import fields
from coderunner.store.store import Store
from coderunner.store.tables import api_keys, sign_outs

if TYPE_CHECKING:
    from coderunner.identity.sign_ins import SignIns

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0  # between two readings, after which a revoked key is refused at the latest
SECONDS = 2.0  # for one reading
NOTE_SECONDS = 10.0  # between two writes of the times of last use; the last ones are lost at the end


def add(connection: Connection, key: Key) -> None:
    """Stores a new key. Raises SQLAlchemyError."""
    row = {
        "id": key.id, "name": key.name, "hash": key.digest, "roles": json.dumps(sorted(key.roles)),
        "rooms": json.dumps(sorted(key.rooms)), "created": key.created, "expires": key.expires,
        "scopes": json.dumps(sorted(key.scopes)) if key.scopes is not None else None, "revoked": key.revoked,
    }  # fmt: skip
    connection.execute(insert(api_keys).values(row))


def every(connection: Connection) -> list[Key]:
    """All keys, including revoked ones, in the order of creation. Raises SQLAlchemyError."""
    rows = connection.execute(select(api_keys).order_by(api_keys.c.created, api_keys.c.id)).mappings()
    return [_key(row) for row in rows]


def _key(row: RowMapping) -> Key:
    return Key(
        id=row["id"],
        name=row["name"],
        digest=row["hash"],
        roles=frozenset(json.loads(row["roles"])),
        rooms=frozenset(json.loads(row["rooms"])),
        scopes=frozenset(json.loads(row["scopes"])) if row["scopes"] is not None else None,
        created=row["created"],
        expires=row["expires"],
        revoked=row["revoked"],
        last_used=row["last_used"],
    )


def revoke(connection: Connection, which: str, now: float, *, by_name: bool = True) -> list[str]:
    """Revokes the keys with this id or, `by_name`, with this name. Returns the ids of the keys that were
    valid until now. Raises SQLAlchemyError."""
    named = (api_keys.c.name == which,) if by_name else ()
    wanted = (or_(api_keys.c.id == which, *named), api_keys.c.revoked.is_(None))
    found = [str(ident) for (ident,) in connection.execute(select(api_keys.c.id).where(*wanted))]
    # The rows stay, as the audit log refers to keys by their id.
    connection.execute(update(api_keys).where(api_keys.c.id.in_(found)).values(revoked=now))
    return found


def note_used(connection: Connection, used: Mapping[str, float]) -> None:
    """Stores the times of last use, by id. Raises SQLAlchemyError."""
    rows = [{"which": ident, "at": at} for ident, at in used.items()]
    changed = update(api_keys).where(api_keys.c.id == bindparam("which")).values(last_used=bindparam("at"))
    connection.execute(changed, rows)


def ended(connection: Connection, now: float, most: int) -> list[tuple[str, float]]:
    """(id, expiry) of at most `most` sign-ins that were ended, by expiry. Raises SQLAlchemyError."""
    # If there are more than `most`, those that expire last are kept.
    rows = select(sign_outs).where(sign_outs.c.expires > now).order_by(sign_outs.c.expires.desc()).limit(most)
    return [(row["id"], row["expires"]) for row in connection.execute(rows).mappings()][::-1]


async def watch(ring: KeyRing, store: Store, sign_ins: SignIns | None = None) -> None:
    """Keeps a server's copy of the keys up to date and stores their times of last use, until it is cancelled.
    Reads the ended sign-ins once at the beginning.

    While the database is not available, the known keys stay valid: they cannot be revoked then either.
    """
    waiting = sign_ins
    noted = time.monotonic()
    while True:
        try:
            # Before the keys: until this is read, cookies that were signed out are accepted.
            if waiting is not None:
                waiting.restore(await store.read(lambda one: ended(one, time.time(), MAX_OUT), SECONDS))
                waiting = None
            ring.replace(await store.read(every, SECONDS))
            if ring.used and time.monotonic() > noted + NOTE_SECONDS:
                noted, used = time.monotonic(), ring.take_used()
                try:
                    await store.write(functools.partial(note_used, used=used), SECONDS)
                except DatabaseUnavailable:
                    ring.used = used | ring.used  # retried later; only known keys, so the size is limited
                    raise
        except DatabaseUnavailable as error:
            log.debug("keys cannot be read", extra=fields(why=error.message))
        await asyncio.sleep(LOOK_SECONDS)


def table(keys: Iterable[Key], now: float) -> list[dict[str, object]]:
    """The keys as rows for output: everything but their hashes. `now`: seconds since 1970."""
    return [
        {
            "id": key.id,
            "name": key.name,
            "roles": sorted(key.roles),
            "rooms": sorted(key.rooms),
            "scopes": sorted(key.scopes) if key.scopes is not None else None,
            "created": _day(key.created),
            "expires": _day(key.expires),
            "last_used": _day(key.last_used),
            "state": key.state(now),
        }
        for key in keys
    ]


def _day(seconds: float | None) -> str | None:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)) if seconds is not None else None
