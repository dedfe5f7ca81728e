"""Keys that `coderunner attack --make-keys` makes for itself, and revokes at its end."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection

from coderunner.attack.means import Means
from coderunner.config import Settings
from coderunner.errors import ConfigError
from coderunner.identity import stored
from coderunner.identity.keys import Key, new_key
from coderunner.identity.principal import OPERATOR, TEACHER, USER
from coderunner.store import records
from coderunner.store.command import address_of
from coderunner.store.database import Database

T = TypeVar("T")

# The suite takes some minutes; a process that is killed revokes nothing.
LIFETIME = 3600.0  # seconds after which the keys end by themselves
SECONDS = 10.0  # for one call of the database


@contextlib.contextmanager
def lent(settings: Settings) -> Iterator[Means]:
    """Makes keys in the database of the settings, for a server that uses it; they are revoked at the end.

    Raises CodeRunnerError.
    """
    room = f"attack-{secrets.token_hex(4)}"
    keys = {
        "user": ({USER}, {room}),
        "mate": ({USER}, {room}),
        "stranger": ({USER, TEACHER}, {f"{room}-other"}),
        "teacher": ({USER, TEACHER}, {room}),
        "operator": ({USER, OPERATOR}, set[str]()),
        "scraper": ({USER, OPERATOR}, set[str]()),
        "spare": ({USER}, {room}),
    }
    texts, made = {}, []
    for name, (roles, rooms) in keys.items():
        ident, texts[name], digest = new_key()
        scopes = frozenset(("metrics",)) if name == "scraper" else None
        made.append(
            Key(ident, f"attack: {name}", digest, frozenset(roles), frozenset(rooms), scopes,
                created=time.time(), expires=time.time() + LIFETIME)
        )  # fmt: skip

    asyncio.run(_write(settings, functools.partial(_add, made)))
    try:
        yield Means(
            room=room,
            **texts,
            events=functools.partial(_events, settings),
            issuer=settings.jwt_issuer or "",
            audience=settings.jwt_audience or "",
            secret=settings.jwt_secret or "",
            public=_content(settings.jwt_public_key),
        )
    finally:
        asyncio.run(_write(settings, functools.partial(_revoke, [one.id for one in made])))


def _content(path: str | None) -> bytes:
    try:
        return Path(path).read_bytes() if path else b""
    except OSError as error:
        raise ConfigError([f"JWT_PUBLIC_KEY cannot be read: {error}"]) from None


def _add(keys: Iterable[Key], connection: Connection) -> None:
    for key in keys:
        stored.add(connection, key)


def _revoke(idents: Iterable[str], connection: Connection) -> None:
    for ident in idents:
        stored.revoke(connection, ident, time.time())


async def _write(settings: Settings, work: Callable[[Connection], T]) -> T:
    database = Database(address_of(settings))
    try:
        await database.open()
        return await database.write(work, SECONDS)
    finally:
        await database.close()


async def _events(settings: Settings, since: float) -> list[dict[str, Any]]:
    """All events of the audit log since a time."""
    database = Database(address_of(settings))
    found: list[dict[str, Any]] = []
    try:
        await database.open()
        while True:
            after = found[-1]["id"] if found else 0
            page = await database.read(functools.partial(_page, after, since), SECONDS)
            found += page
            if len(page) < records.PAGE:
                return found
    finally:
        await database.close()


def _page(after: int, since: float, connection: Connection) -> list[dict[str, Any]]:
    return records.events(connection, after, since=since)
