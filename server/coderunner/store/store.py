"""The database of a server, with a bounded queue of rows and one task that writes them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from coderunner import metrics
from coderunner.errors import DatabaseUnavailable
from coderunner.logs import fields
from coderunner.store.address import Address
from coderunner.store.database import SECONDS, Database, Work

if TYPE_CHECKING:
    from sqlalchemy import Connection

log = logging.getLogger(__name__)

T = TypeVar("T")
Row = Mapping[str, Any]

# In bytes instead of rows, as the details of an event have up to MAX_DETAILS bytes (audit.py).
QUEUE_BYTES = 8 * 1024 * 1024  # of rows that wait to be written
BATCH = 500  # rows in one transaction
OVERHEAD = 512  # bytes of memory of a row, beside its texts
GATHER_SECONDS = 0.05  # in which rows are collected for one transaction: a run and its end are two
AGAIN_SECONDS = (0.5, 10.0)  # after a failure: at first, and at most
RETAIN_SECONDS = 3600.0
LOOK_SECONDS = 10.0  # between two looks at a database that nobody uses
# As psycopg names the server: its address or socket, and in quotes users and databases.
_PLACE = re.compile(
    r'(?:connection [a-z ]+: )?connection to server (?:at|on socket) "[^"]*".*? failed: '
    r"|(?<=failed to resolve host) '[^']*'"
    r'| "[^"]*"'
)


@dataclass(frozen=True, slots=True)
class _Waiting:
    table: str
    row: Row
    size: int


class Store:
    """The database of one server.

    `post` never waits and never fails: what does not fit into the queue is dropped, counted, and logged.
    `read` and `write` wait for their result, and raise DatabaseUnavailable. `work`: awaited every
    LOOK_SECONDS while the database can be used. `last`: awaited before the last rows are written.
    """

    def __init__(self, address: Address, maximum: int = QUEUE_BYTES) -> None:
        self.database = Database(address)
        self.dropped = 0
        self.last: list[Callable[[], Awaitable[None]]] = []
        self.work: list[Callable[[], Awaitable[None]]] = []
        self._maximum = maximum
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._news = asyncio.Event()
        self._failing = False
        self._lost = 0  # rows dropped since the database could be used last
        self._looked = self._retained = 0.0

    async def read(self, work: Work[T], seconds: float = SECONDS) -> T:
        """Calls `work` with a connection in another thread. Raises DatabaseUnavailable, in words for any
        caller."""
        try:
            return await self.database.read(work, seconds)
        except DatabaseUnavailable as error:
            raise _public(error) from None

    async def write(self, work: Work[T], seconds: float = SECONDS) -> T:
        """As `read`, in a transaction that writes. Raises IntegrityError of SQLAlchemy, too."""
        try:
            return await self.database.write(work, seconds)
        except DatabaseUnavailable as error:
            raise _public(error) from None

    def post(self, table: str, row: Row) -> bool:
        """Queues a row, to be written in the order of the calls. Returns False if the queue is full.

        Rows with the same key are written once (`audit`), or replace each other (`usage`).
        """
        size = OVERHEAD + sum(len(value) for value in row.values() if isinstance(value, str))
        if self._bytes + size > self._maximum:
            self.dropped += 1
            self._lost += 1
            metrics.store_dropped.labels(table).inc()
            # Logged once until the database is back, as a line for each event could fill the disk.
            if self._lost == 1:
                log.error("the database's queue is full: events are not stored", extra=fields(table=table))
            return False
        self._bytes += size
        self._waiting.append(_Waiting(table, row, size))
        self._news.set()
        return True

    @property
    def waiting(self) -> tuple[int, int]:
        """Rows that wait to be written, and their bytes."""
        return len(self._waiting), self._bytes

    def warnings(self) -> list[str]:
        """What is wrong with the database, as sentences for everybody (`/api/ready`); none while it can be
        used."""
        trouble = self.database.trouble
        if trouble is None:
            return []
        rows, size = self.waiting
        lost = f", and {self._lost} were dropped" if self._lost else ""
        return [
            f"The database cannot be used ({_PLACE.sub('', trouble)}): {rows} events wait to be written"
            f" ({size} bytes){lost}. Sessions go on; keys and guests' tokens that are not known yet are"
            " refused."
        ]

    async def run(self) -> None:
        """Opens the database and writes what is posted, until it is cancelled. Tries again after a
        failure."""
        pause = AGAIN_SECONDS[0]
        while True:
            try:
                if not self.database.ready.is_set():
                    await self._open()
                await self.flush()
                await self._look()
                if self._waiting:
                    # Fewer transactions: the writing thread competes with the event loop, and each one uses
                    # the disk.
                    await asyncio.sleep(GATHER_SECONDS)
                pause = AGAIN_SECONDS[0]
            except DatabaseUnavailable as error:
                if self.database.closed:
                    return  # a check was under way when the server stopped
                if not self._failing:
                    self._failing = True
                    log.error("the database cannot be used; trying again", extra=fields(why=error.message))
                await asyncio.sleep(pause)
                pause = min(2 * pause, AGAIN_SECONDS[1])

    async def _open(self) -> None:
        migrated = await self.database.open()
        log.info("database", extra=fields(where=self.database.address.shown, migrated=migrated))

    async def flush(self) -> None:
        """Writes all queued rows. Raises DatabaseUnavailable; rows that were not written stay in the
        queue."""
        while self._waiting:
            # Rows leave the queue after they were written, so that they are retried in order after a failure.
            batch = [self._waiting[number] for number in range(min(BATCH, len(self._waiting)))]
            try:
                await self._insert(batch)
            except Refused:
                for one in batch:  # one by one, so that a refused row does not block the others
                    try:
                        await self._insert([one])
                    except Refused as error:
                        metrics.store_dropped.labels(one.table).inc()
                        log.error("the database refuses a row", extra=fields(table=one.table, why=str(error)))
            for one in batch:
                self._waiting.popleft()
                self._bytes -= one.size
        if self._failing:
            self._failing = False
            log.info("the database can be used again", extra=fields(dropped=self._lost))
        self._lost = 0
        # There is no await since the queue was found empty, so no row is missed.
        self._news.clear()

    async def _insert(self, rows: list[_Waiting]) -> None:
        await self.database.write(lambda connection: _insert(connection, rows))

    async def _look(self) -> None:
        """Waits for rows, and checks the database every LOOK_SECONDS."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, self._looked + LOOK_SECONDS - loop.time())):
                await self._news.wait()
        if loop.time() >= self._looked + LOOK_SECONDS:
            self._looked = loop.time()
            await self.database.look()
            for work in self.work:
                await work()

    async def retain(self, days: int) -> None:
        """Removes old events, once an hour; more often while there are many. Raises DatabaseUnavailable."""
        if time.time() < self._retained + RETAIN_SECONDS:
            return

        def retain(connection: Connection) -> bool:
            from coderunner.store import records  # in the thread, as it imports SQLAlchemy

            return records.retain(connection, days, time.time()) < records.REMOVED_AT_ONCE

        if await self.write(retain):
            self._retained = time.time()

    async def close(self, seconds: float) -> None:
        """Writes the queued rows, for at most `seconds`, and closes the connections."""
        try:
            async with asyncio.timeout(seconds):
                for work in self.last:
                    await work()
                await self.flush()
        except (DatabaseUnavailable, TimeoutError):
            log.error("events were not written to the database", extra=fields(rows=len(self._waiting)))
        await self.database.close()


def _public(error: DatabaseUnavailable) -> DatabaseUnavailable:
    """The same without the place and the names of the database, which callers and guests need not know; the
    log has them."""
    return DatabaseUnavailable(_PLACE.sub("", error.message), retry_after_ms=error.retry_after_ms)


class Refused(Exception):
    """The table does not accept a row, which is a bug of this server."""


def _insert(connection: Connection, rows: list[_Waiting]) -> None:
    from sqlalchemy import exc

    try:
        _write(connection, rows)
    except exc.StatementError as error:
        # Other errors of the driver are failures of the database; the rows are retried.
        if isinstance(error, exc.DBAPIError) and not isinstance(error, exc.IntegrityError | exc.DataError):
            raise
        raise Refused(str(error.orig)) from None


def _write(connection: Connection, rows: list[_Waiting]) -> None:
    from sqlalchemy.dialects import postgresql, sqlite

    from coderunner.store.tables import metadata

    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    by_table: dict[str, list[Row]] = {}
    for one in rows:
        by_table.setdefault(one.table, []).append(one.row)
    for name, its in by_table.items():
        table = metadata.tables[name]
        if name == "usage":
            # Rows have the whole sum, so each replaces the previous one.
            keys = [column.name for column in table.primary_key]
            # PostgreSQL refuses a statement that updates one row twice.
            last = {tuple(row[key] for key in keys): row for row in its}
            replacing = insert(table)
            done = replacing.on_conflict_do_update(
                index_elements=keys, set_={"amount": replacing.excluded.amount}
            )
            connection.execute(done, list(last.values()))
        else:
            # A commit whose response was lost is repeated; with `event_id` this has no effect.
            connection.execute(insert(table).on_conflict_do_nothing(), its)
