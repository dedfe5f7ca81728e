"""`coderunner keys`: makes, lists and revokes API keys."""

from __future__ import annotations

import argparse
import asyncio
import time

import orjson

from coderunner.config import Settings
from coderunner.errors import CodeRunnerError
from coderunner.identity import stored
from coderunner.identity.keys import Key, new_key
from coderunner.identity.principal import USER, room_name
from coderunner.store.command import address_of
from coderunner.store.database import Database

MAX_NAME = 100
DAY_SECONDS = 86400
SECONDS = 10.0  # for one call of the database


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Does what is asked; returns the exit code. Raises CodeRunnerError."""
    return asyncio.run(_run(settings, arguments))


async def _run(settings: Settings, arguments: argparse.Namespace) -> int:
    database = Database(address_of(settings))
    try:
        await database.open()
        match arguments.action:
            case "add":
                text, key = made(arguments, time.time())
                await database.write(lambda one: stored.add(one, key), SECONDS)
                # The text alone, so that a script can take it from standard output; it cannot be shown again.
                print(text)
                return 0
            case "list":
                _print(await database.read(stored.every, SECONDS), json=arguments.json)
                return 0
            case _:
                found = await database.write(
                    lambda one: stored.revoke(one, arguments.key, time.time()), SECONDS
                )
                if not found:
                    raise CodeRunnerError(
                        "there is no such key that is not revoked: see `coderunner keys list`"
                    )
                print(f"revoked: {', '.join(found)}")
                return 0
    finally:
        await database.close()


def made(arguments: argparse.Namespace, now: float) -> tuple[str, Key]:
    """A key as the arguments want it, and its text, which is nowhere else. Raises CodeRunnerError."""
    name = arguments.name
    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise CodeRunnerError(f"a key's name has 1 to {MAX_NAME} printable characters")
    wrong = [room for room in arguments.room if not room_name(room)]
    if wrong:
        raise CodeRunnerError("a room has up to 64 of A-Z a-z 0-9 _ . -, and begins with a letter or digit")
    # 100 years; far above it, the time could not be shown as a date.
    if arguments.days is not None and not 0 < arguments.days <= 36500:
        raise CodeRunnerError("--days must be above 0 and at most 36500")
    ident, text, digest = new_key()
    key = Key(
        ident, name, digest,
        roles=frozenset((USER, *arguments.role)),
        rooms=frozenset(arguments.room),
        scopes=frozenset(arguments.scope) or None,
        created=now,
        expires=now + arguments.days * DAY_SECONDS if arguments.days is not None else None,
    )  # fmt: skip
    # Otherwise the key would be refused at its first use, which is harder to understand.
    missing = sorted(scope for scope in key.scopes or () if not key.principal().may(scope))
    if missing:
        raise CodeRunnerError(f"the scope {missing[0]} needs the role operator: add --role operator")
    return text, key


def _print(keys: list[Key], *, json: bool) -> None:
    rows = stored.table(keys, time.time())
    if json:
        print(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
        return
    for key, row in zip(keys, rows, strict=True):
        words = [*sorted(key.roles), *(f"room:{one}" for one in sorted(key.rooms))]
        words += [f"scope:{one}" for one in sorted(key.scopes or ())]
        until = f"until {row['expires']}" if key.expires is not None else ""
        used = f"used {row['last_used']}" if key.last_used is not None else ""
        print(f"{key.id}  {row['state']:<8}  {key.name:<24}  {' '.join(words)}  {until}  {used}".rstrip())
