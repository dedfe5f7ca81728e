"""`coderunner db` and `coderunner audit`."""

from __future__ import annotations

import argparse
import asyncio
import csv
import functools
import getpass
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from coderunner import audit
from coderunner.config import Settings
from coderunner.errors import CodeRunnerError
from coderunner.store import migrate, records
from coderunner.store.address import Address, address
from coderunner.store.database import Database
from coderunner.store.store import Store

SECONDS = 300.0  # for one call; long, as no request waits for a command
# OWASP, "CSV Injection": a name that a user chose must not run in the spreadsheet of an operator.
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with which a spreadsheet's formula begins


def address_of(settings: Settings) -> Address:
    """The database that the server of these settings uses."""
    return address(settings.database_url, Path(settings.state_dir), settings.instance_name)


def db(settings: Settings, action: str) -> int:
    """`db check` and `db upgrade`; returns the exit code. Raises CodeRunnerError."""

    async def work() -> int:
        where = address_of(settings)
        # SQLite would create the missing file.
        if action == "check" and where.file is not None and not where.file.exists():
            print(f"{where.shown}: does not exist yet; the server makes it, or `coderunner db upgrade`")
            return 1
        database = Database(where)
        try:
            if action == "upgrade":
                done = await database.open()
                print(f"{where.shown}: {'brought' if done else 'is'} up to date ({migrate.HEAD})")
                return 0
            found, events = await database.inspect()
            fits = found == migrate.HEAD
            print(
                f"{where.shown}: migration {found or 'none'}, this version needs {migrate.HEAD};"
                f" {events} events"
            )
            return 0 if fits else 1
        finally:
            await database.close()

    return asyncio.run(work())


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """`audit export`, `audit export-person` and `audit erase`; returns the exit code. Raises
    CodeRunnerError."""

    async def work() -> None:
        store = Store(address_of(settings))
        try:
            await store.database.open()
            if arguments.action == "export":
                await _export(store.database, arguments)
            elif arguments.action == "export-person":
                found = await store.read(lambda one: records.person(one, arguments.principal), SECONDS)
                sys.stdout.write(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() + "\n")
            else:
                await _erase(store, settings, arguments.principal)
        finally:
            await store.database.close()

    asyncio.run(work())
    return 0


async def _export(database: Database, arguments: argparse.Namespace) -> None:
    since, until = moment(arguments.since), moment(arguments.until)
    write = _lines() if arguments.format == "jsonl" else _table()
    last = 0
    while True:
        page = functools.partial(
            records.events, after=last, since=since, until=until, principal=arguments.principal or None
        )
        rows = await database.read(page, SECONDS)
        for row in rows:
            write({**row, "at": _shown(row["at"])})
        # Each page in a transaction of its own, as a long one would keep SQLite's WAL from shrinking.
        if len(rows) < records.PAGE:
            return
        last = rows[-1]["id"]


def _lines() -> Callable[[dict[str, Any]], None]:
    return lambda row: print(orjson.dumps(row).decode())


def _table() -> Callable[[dict[str, Any]], None]:
    names = ("id", "at", "instance", "event", *audit.COLUMNS, "details", "event_id")
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)

    def write(row: dict[str, Any]) -> None:
        cells = {**row, "details": orjson.dumps(row["details"]).decode()}
        writer.writerow([_cell(cells[name]) for name in names])

    return write


def _cell(value: Any) -> Any:
    """A cell that spreadsheets do not interpret as a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


async def _erase(store: Store, settings: Settings, name: str) -> None:
    gone = await store.write(lambda one: records.erase(one, name), SECONDS)
    # The audit log records the erasure, without the name.
    log = audit.Audit(store.post, settings.instance_name)
    log.note("erased", {"rows": gone, "by": getpass.getuser()})
    await store.flush()
    print(f"{gone} rows removed")


def _shown(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(text: str) -> float | None:
    """Seconds since 1970 of a date or time (ISO 8601, UTC where no zone is given); None for an empty text.

    Raises CodeRunnerError.
    """
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise CodeRunnerError(
            f"{text!r} is not a date; write 2026-11-26, 2026-11-26T20:00 or 2026-11-26T20:00:00Z"
        ) from None
    # UTC instead of the machine's zone, so that a command gives the same export on every machine.
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
