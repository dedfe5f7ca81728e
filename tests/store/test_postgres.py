"""The database as a real PostgreSQL."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from coderunner.errors import DatabaseUnavailable
from coderunner.store import records
from coderunner.store.address import address
from coderunner.store.database import Database
from tests.harness import eventually
from tests.store.common import events, log_of, running, written

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]


@pytest.fixture
def where(postgres, tmp_path):
    return address(postgres.url, tmp_path, "test")


async def test_events_sums_and_a_persons_data(where, postgres):
    async with running(where) as store:
        log = log_of(store)
        log.note("opened", {"number": 1}, principal="key:a\n\0\ud800", address="192.0.2.1")
        log.note("opened", {"number": 2}, principal="key:b")
        for amount in (1, 5):
            store.post(
                "usage",
                {
                    "instance": "i",
                    "subject": "principal:key:b",
                    "kind": "runs",
                    "period": 60,
                    "amount": amount,
                },
            )
        await written(store)
        assert [row["details"]["number"] for row in await events(store)] == [1, 2]
        assert await store.read(lambda one: records.used(one, "i", 0)) == [("principal:key:b", "runs", 60, 5)]
        assert await store.write(lambda one: records.erase(one, "key:b")) == 2
        with pytest.raises(DatabaseUnavailable, match="append-only"):
            await store.write(lambda one: one.execute(text("UPDATE audit SET event = 'other'")))
    assert postgres.sql("SELECT event, principal FROM audit") == r"opened|key:a\n\x00\ud800"


async def test_servers_that_start_at_once_migrate_once(where):
    async def start() -> bool:
        database = Database(where)
        try:
            return await database.open()
        finally:
            await database.close()

    assert sorted(await asyncio.gather(*(start() for _ in range(4)))) == [False, False, False, True]


async def test_the_migrations_make_the_tables_of_the_models(where):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from sqlalchemy import create_engine

    from coderunner.store import tables

    database = Database(where)
    await database.open()
    await database.close()
    engine = create_engine(where.url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    engine.dispose()


async def test_a_database_that_was_lost_is_used_again(where, postgres):
    async with running(where) as store:
        log = log_of(store)
        log.note("opened", {"number": 0})
        await written(store)
        postgres.stop()
        for number in range(1, 10):
            log.note("opened", {"number": number})
        await eventually(store.warnings, 20, "the loss to be told")
        with pytest.raises(DatabaseUnavailable):
            await events(store)
        postgres.start()
        await written(store)
        assert [row["details"]["number"] for row in await events(store)] == list(range(10))
        assert store.warnings() == []


async def test_one_that_is_not_there_at_the_start(where, postgres):
    postgres.stop()
    async with running(where) as store:
        log_of(store).note("opened", {})
        await eventually(store.warnings, 20, "the absence to be told")
        postgres.start()
        await written(store)
        assert len(await events(store)) == 1


async def test_one_that_hangs_holds_nobody_up(where, postgres):
    async with running(where) as store:
        await store.database.ready.wait()
        await store.read(lambda one: one.execute(text("SELECT 1")).all())
        backends = [int(pid) for pid in postgres.sql("SELECT pid FROM pg_stat_activity WHERE backend_type ="
                    " 'client backend' AND application_name = 'coderunner'").split()]  # fmt: skip
        assert backends
        import os

        for pid in (*backends, postgres.process.pid):
            os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(DatabaseUnavailable):
                await store.read(lambda one: one.execute(text("SELECT 1")).all(), 0.5)
            assert time.monotonic() - began < 3
            log_of(store).note("opened", {})
            await eventually(store.warnings, 20, "the hang to be told")
        finally:
            for pid in (*backends, postgres.process.pid):
                os.kill(pid, signal.SIGCONT)
        await written(store)
        assert len(await events(store)) == 1


async def test_no_password_in_what_is_told(tmp_path):
    where = address("postgresql://user:hunter2@127.0.0.1:1/db", tmp_path, "test")
    database = Database(where)
    with pytest.raises(DatabaseUnavailable) as caught:
        await database.open()
    await database.close()
    assert "hunter2" not in f"{caught.value.message} {where!r} {where.shown}"
    assert not isinstance(caught.value, SQLAlchemyError)
