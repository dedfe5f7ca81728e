"""`coderunner keys`: makes, lists and revokes API keys."""

from __future__ import annotations

import argparse
import asyncio
import time

import orjson

from coderunner.config import Settings
from coderunner.errors import CodeRunnerError
from coderunner.identity import stored
from coderunner.identity.keys import Key, made
from coderunner.store.command import address_of
from coderunner.store.database import Database

SECONDS = 10.0  # for one call of the database


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Executes the command; returns the exit code. Raises CodeRunnerError."""
    return asyncio.run(_run(settings, arguments))


async def _run(settings: Settings, arguments: argparse.Namespace) -> int:
    database = Database(address_of(settings))
    try:
        await database.open()
        match arguments.action:
            case "add":
                text, key = made(
                    arguments.name,
                    arguments.role,
                    arguments.room,
                    arguments.scope,
                    arguments.days,
                    time.time(),
                )
                await database.write(lambda one: stored.add(one, key), SECONDS)
                # Only the text, for scripts that read standard output; it cannot be shown again.
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
