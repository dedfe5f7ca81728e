"""Database calls with deadlines, in separate threads, so that they do not block the event loop.

SQLAlchemy is used without asyncio: a driver that waits (SQLite for its lock, PostgreSQL for an answer) does
so in one of two threads, one for reading and one for writing. When a deadline passes, the connection is cut,
so that the thread is free again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from coderunner.errors import DatabaseUnavailable
from coderunner.store.address import Address

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

T = TypeVar("T")
Work = Callable[["Connection"], T]

SECONDS = 5.0  # for a call, unless its caller says otherwise
# Both are below SECONDS, so that the driver's own error, which says more, comes before the deadline.
BUSY_MS = 2000  # that SQLite waits for another process's lock, and PostgreSQL for a row's
CONNECT_SECONDS = 3
OPEN_SECONDS = 60.0  # with migrations
MAX_WAITING = 64  # calls of one thread; more are refused at once


_of_thread = threading.local()


class _Lane:
    """One thread and its queue. `using`: the driver's connection in use."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(
            1, thread_name_prefix=f"database-{name}", initializer=lambda: setattr(_of_thread, "lane", self)
        )
        self._waiting = 0
        self.closed = False
        self.using: Any = None
        self._doing: object = None  # identifies the call in progress

    async def call(self, work: Callable[[], T], seconds: float) -> T:
        """Calls `work` in the thread. Raises DatabaseUnavailable at the deadline, or if too many calls
        wait."""
        if self.closed:
            raise DatabaseUnavailable("the database is closed")
        if self._waiting >= MAX_WAITING:
            raise DatabaseUnavailable("the database has too much to do", retry_after_ms=1000)
        self._waiting += 1
        this = object()

        def do() -> T:
            self._doing = this
            try:
                return work()
            finally:
                self._doing = self.using = None

        try:
            async with asyncio.timeout(seconds):
                return await asyncio.get_running_loop().run_in_executor(self._thread, do)
        except TimeoutError:
            if self._doing is this:  # otherwise it waits behind another call, which has its own deadline
                self.cut()
            raise DatabaseUnavailable(f"the database did not answer in {seconds:g} s") from None
        finally:
            self._waiting -= 1

    def cut(self) -> None:
        """Interrupts the driver's current call."""
        raw = self.using
        # The driver's `cancel` of PostgreSQL is not used: it opens another connection, which can hang as
        # well.
        with contextlib.suppress(Exception):  # the connection is given up, whatever its state is
            if hasattr(raw, "interrupt"):
                raw.interrupt()
            elif raw is not None:
                # shutdown() wakes the thread that reads; closing the copy leaves the driver its own
                # descriptor.
                with socket.socket(fileno=os.dup(raw.fileno())) as other:
                    other.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Abandons the thread. Later calls raise DatabaseUnavailable."""
        self.closed = True
        self.cut()
        # wait=False, as the driver may be in a call that cannot be interrupted.
        self._thread.shutdown(wait=False, cancel_futures=True)


class Database:
    """The database.

    `trouble`: why the last call failed, None if it succeeded. `ready`: set once it was opened; earlier calls
    wait for this, within their deadlines.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.trouble: str | None = None
        self.ready = asyncio.Event()
        self._engine: Engine | None = None
        self._inode: tuple[int, int] | None = None
        self._reading, self._writing = _Lane("read"), _Lane("write")

    async def open(self) -> bool:
        """Connects, and migrates if needed; returns whether it was. Raises DatabaseUnavailable."""
        migrated = await self._call(self._writing, self._opened, OPEN_SECONDS)
        self.ready.set()
        return migrated

    async def inspect(self) -> tuple[str | None, int]:
        """Returns the last applied migration and the number of events; changes nothing.

        Raises DatabaseUnavailable.
        """

        def look() -> tuple[str | None, int]:
            from coderunner.store import migrate, records

            self._engine = self._engine or make_engine(self.address)
            present = self._do(self._reading, migrate.present)
            return present, self._do(self._reading, records.count) if present is not None else 0

        return await self._call(self._reading, look, SECONDS)

    async def read(self, work: Work[T], seconds: float = SECONDS) -> T:
        """Calls `work` with a connection, in the thread for reading, and returns what it returns.

        Raises DatabaseUnavailable.
        """
        return await self._when_ready(self._reading, lambda: self._do(self._reading, work), seconds)

    async def write(self, work: Work[T], seconds: float = SECONDS) -> T:
        """As `read`, in a transaction that writes. Raises IntegrityError of SQLAlchemy, too."""
        return await self._when_ready(
            self._writing, lambda: self._do(self._writing, work, writes=True), seconds
        )

    async def look(self) -> None:
        """Checks that it is still the database that was opened. Raises DatabaseUnavailable.

        A removed or replaced file could be written for ever without an error, and its contents would be lost.
        """

        def same() -> bool:
            file = self.address.file
            return file is None or _inode(file) == self._inode

        if not await self._call(self._reading, same, SECONDS):
            self.ready.clear()
            await self._call(self._writing, self._forget, SECONDS)
            raise DatabaseUnavailable("its file was removed or replaced")
        from sqlalchemy import text

        await self.read(lambda connection: connection.execute(text("SELECT 1")).all())

    @property
    def closed(self) -> bool:
        """Whether `close` was called, after which nothing is read or written any more."""
        return self._writing.closed

    async def close(self) -> None:
        """Closes the connections, without waiting for one that hangs."""
        with contextlib.suppress(DatabaseUnavailable):
            await self._writing.call(self._forget, 1.0)
        self._reading.close()
        self._writing.close()

    async def _when_ready(self, lane: _Lane, work: Callable[[], T], seconds: float) -> T:
        began = asyncio.get_running_loop().time()
        if not self.ready.is_set():
            # Known to be unusable: waiting would only delay the failure until the deadline.
            if self.trouble is not None:
                raise DatabaseUnavailable(self.trouble, retry_after_ms=2000)
            try:
                async with asyncio.timeout(seconds):
                    await self.ready.wait()
            except TimeoutError:
                raise DatabaseUnavailable("the database is being opened", retry_after_ms=2000) from None
        left = seconds - (asyncio.get_running_loop().time() - began)
        return await self._call(lane, work, max(0.0, left))

    async def _call(self, lane: _Lane, work: Callable[[], T], seconds: float) -> T:
        try:
            result = await lane.call(lambda: _translated(work), seconds)
        except DatabaseUnavailable as error:
            self.trouble = error.message
            raise
        self.trouble = None
        return result

    # --- in the threads ----------------------------------------------------------------------------------

    def _opened(self) -> bool:
        from coderunner.store import migrate

        self._engine = self._engine or make_engine(self.address)
        if self.address.file is not None:
            self._inode = _inode(self.address.file)
        # First checked without a lock, so that a usual start neither waits for writers nor imports Alembic.
        if self._do(self._writing, migrate.present) == migrate.HEAD:
            return False
        try:
            return self._do(self._writing, migrate.upgrade, writes=True)
        except migrate.NewerDatabase as error:
            raise DatabaseUnavailable(str(error)) from None

    def _do(self, lane: _Lane, work: Work[T], *, writes: bool = False) -> T:
        from sqlalchemy import exc

        if self._engine is None:
            raise DatabaseUnavailable("the database is closed")
        try:
            return self._once(self._engine, lane, work, writes)
        except exc.DBAPIError as error:
            # After a restart of PostgreSQL the pool's connections are dead, which shows at their next use.
            # Only reads are repeated here: a write might be done twice, so its caller decides.
            if writes or not error.connection_invalidated:
                raise
        return self._once(self._engine, lane, work, writes)

    def _once(self, engine: Engine, lane: _Lane, work: Work[T], writes: bool) -> T:
        with engine.connect() as connection:
            lane.using = connection.connection.driver_connection
            with connection.execution_options(writes=writes).begin():
                return work(connection)

    def _forget(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()


def make_engine(address: Address) -> Engine:
    """SQLAlchemy's engine for the address. Makes SQLite's file. Raises OSError."""
    from sqlalchemy import create_engine, event

    if address.file is None:
        engine = create_engine(
            address.url,
            pool_size=2,
            max_overflow=0,
            connect_args={
                "connect_timeout": CONNECT_SECONDS, "options": f"-c lock_timeout={BUSY_MS}",
                # A lost server is noticed after 10 + 3 x 5 s; with the kernel's defaults after two hours
                # (tcp(7)).
                "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
                # In ms, for unacknowledged data, to which keepalives do not apply.
                "tcp_user_timeout": 10_000, "application_name": "coderunner",
            },
        )  # fmt: skip
        event.listen(engine, "connect", _note, insert=True)
        return engine
    # Created here, as SQLite would make it readable for everybody; its other files get the same permissions.
    # O_NOFOLLOW: a symbolic link could make the server write to another file.
    os.close(os.open(address.file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    engine = create_engine(address.url, pool_size=2, max_overflow=0, connect_args={"timeout": BUSY_MS / 1000})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _note(connection: Any, _: Any) -> None:
    # SQLAlchemy makes queries on a new connection before it is used; these may hang as well.
    lane = getattr(_of_thread, "lane", None)
    if lane is not None:
        lane.using = connection


def _prepare(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # Python's module would begin transactions by itself, too late
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    connection.execute("PRAGMA journal_mode = WAL")  # readers and the writer do not wait for each other
    # With WAL, a loss of power can cost the last transactions, never the file (sqlite.org/pragma.html).
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    # IMMEDIATE: a transaction that reads first and then writes fails if another process has written
    # meanwhile.
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _inode(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    # Both: an inode's number is unique within its device only.
    return found.st_dev, found.st_ino


def _translated(work: Callable[[], T]) -> T:
    """Calls `work`, and converts errors of the database into DatabaseUnavailable."""
    from sqlalchemy import exc

    try:
        return work()
    except (exc.IntegrityError, exc.DataError):
        raise  # errors of the data, not of the database
    except exc.DBAPIError as error:
        raise DatabaseUnavailable(_words(error.orig)) from None
    except (exc.TimeoutError, OSError) as error:
        raise DatabaseUnavailable(_words(error)) from None


def _words(error: BaseException | None) -> str:
    """The first line of a driver's message, which has neither statement nor password."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
