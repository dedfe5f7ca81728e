"""The database as SQLite: what is written, what a trouble does, and what can be read out again."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine, insert, text, update
from sqlalchemy.exc import IntegrityError

from coderunner.errors import DatabaseUnavailable
from coderunner.identity import guest_rows, stored
from coderunner.identity.guest import Guest
from coderunner.identity.keys import KeyRing
from coderunner.identity.sealing import Sealer
from coderunner.identity.sign_ins import SignIns
from coderunner.store import migrate, records, tables
from coderunner.store.address import address
from coderunner.store.database import Database
from coderunner.tasks import Tasks
from tests.harness import eventually
from tests.store.common import events, log_of, running, written


@pytest.fixture
def where(tmp_path):
    return address(None, tmp_path, "test")


async def test_what_is_noted_is_there_and_nobody_else_may_read_the_file(where):
    async with running(where) as store:
        log_of(store).note(
            "opened", {"warm": True}, principal="key:1", address="192.0.2.1", session="s", language="c"
        )
        await written(store)
        [row] = await events(store)
        for name in (where.file, f"{where.file}-wal", f"{where.file}-shm"):
            assert stat.S_IMODE(os.stat(name).st_mode) == 0o600, name
    assert (row["event"], row["principal"], row["address"], row["session"], row["language"]) == (
        "opened", "key:1", "192.0.2.1", "s", "c",
    )  # fmt: skip
    assert row["details"] == {"warm": True}


async def test_two_servers_that_start_at_once_migrate_once(where):
    def start() -> bool:
        async def work() -> bool:
            database = Database(where)
            try:
                return await database.open()
            finally:
                await database.close()

        return asyncio.run(work())

    with ThreadPoolExecutor(4) as pool:
        done = await asyncio.gather(
            *(asyncio.get_running_loop().run_in_executor(pool, start) for _ in range(4))
        )
    assert sorted(done) == [False, False, False, True]


async def test_the_migrations_make_the_tables_of_the_models(where):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    database = Database(where)
    await database.open()
    await database.close()
    with create_engine(where.url).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    newest = max((migrate.FOLDER / "versions").glob("[0-9]*.py")).name
    assert newest.startswith(migrate.HEAD), "HEAD is not the newest migration"


async def test_tables_of_a_newer_version_are_left_alone(where):
    async with running(where) as store:
        await store.write(lambda one: one.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    database = Database(where)
    with pytest.raises(DatabaseUnavailable, match="newer version"):
        await database.open()
    await database.close()


async def test_an_event_cannot_be_changed(where):
    async with running(where) as store:
        log_of(store).note("opened", {})
        await written(store)
        with pytest.raises(IntegrityError, match="append-only"):
            await store.write(lambda one: one.execute(update(tables.audit).values(event="other")))
        [row] = await events(store)
    assert row["event"] == "opened"


async def test_a_locked_database_delays_nobody_and_loses_nothing(where):
    async with running(where) as store:
        await store.database.ready.wait()
        other = sqlite3.connect(where.file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        log = log_of(store)
        for number in range(20):
            log.note("opened", {"number": number})
        await eventually(lambda: store.database.trouble, 10, "the lock to be told")
        assert "locked" in store.warnings()[0]
        assert await events(store) == []  # who reads does not wait for who writes
        other.execute("ROLLBACK")
        await written(store)
        assert [row["details"]["number"] for row in await events(store)] == list(range(20))
        assert store.warnings() == []
        other.close()


async def test_a_file_that_was_removed_is_made_anew(where, monkeypatch):
    monkeypatch.setattr("coderunner.store.store.LOOK_SECONDS", 0.05)
    async with running(where) as store:
        log = log_of(store)
        log.note("opened", {})
        await written(store)
        for name in (where.file, f"{where.file}-wal", f"{where.file}-shm"):
            os.unlink(name)
        await eventually(where.file.exists, 20, "the file to be made again")
        log.note("ended", {})
        await written(store)
        assert [row["event"] for row in await events(store)] == ["ended"]


async def test_a_full_disk_keeps_what_fits_into_the_queue_and_counts_the_rest(tmp_path):
    if os.geteuid() != 0:
        pytest.fail("this test mounts a small disk; run it as root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], check=True)
    try:
        async with running(address(None, tmp_path, "test"), maximum=20_000) as store:
            await store.database.ready.wait()
            filler = tmp_path / "filler"
            with pytest.raises(OSError, match="No space left"), filler.open("wb", 0) as file:
                while True:
                    file.write(bytes(4096))
            log = log_of(store)
            accepted: list[int] = []

            def one_more() -> str | None:
                """Until events were dropped, and the trouble is told."""
                before, number = store.dropped, len(accepted) + store.dropped
                log.note("opened", {"number": number, "text": "x" * 1000})
                accepted.extend([number] if store.dropped == before else [])
                return store.database.trouble if store.dropped else None

            await eventually(one_more, 20, "the disk to be full")
            assert "disk is full" in store.database.trouble or "I/O error" in store.database.trouble
            assert "dropped" in store.warnings()[0]
            filler.unlink()
            await written(store)
            kept = [row["details"]["number"] for row in await events(store)]
            assert kept == accepted
            assert store.warnings() == []
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


async def test_a_row_that_is_refused_keeps_no_other_from_being_written(where):
    async with running(where) as store:
        log = log_of(store)
        log.note("opened", {})
        store.post("audit", {"event_id": "x", "at": None, "instance": "", "event": "", "details": "{}"})
        log.note("ended", {})
        await written(store)
        assert [row["event"] for row in await events(store)] == ["opened", "ended"]


async def test_sums_replace_each_other(where):
    row = {"instance": "i", "subject": "principal:a", "kind": "runs", "period": 60, "amount": 1}
    async with running(where) as store:
        for amount in (1, 2, 7):
            store.post("usage", {**row, "amount": amount})
        await written(store)
        store.post("usage", {**row, "amount": 9})
        await written(store)
        assert await store.read(lambda one: records.used(one, "i", 0)) == [("principal:a", "runs", 60, 9)]
        assert await store.read(lambda one: records.used(one, "another", 0)) == []


async def test_use_of_minutes_is_neither_read_nor_kept_for_long(where):
    """Each caller has a row a minute: a day's would be too many to be read at a start."""
    now = int(time.time())
    rows = [("runs", now - 7200), ("runs", now - 600), ("runs", now), ("cpu_ms", now - 7200)]
    async with running(where) as store:
        for kind, period in rows:
            row = {"instance": "i", "subject": "address:a", "kind": kind, "period": period, "amount": 1}
            store.post("usage", row)
        await written(store)
        found = await store.read(lambda one: records.used(one, "i", 0, now - 60))
        assert {row[1:3] for row in found} == {("runs", now), ("cpu_ms", now - 7200)}
        await store.retain(0)
        found = await store.read(lambda one: records.used(one, "i", 0))
        assert {row[1:3] for row in found} == set(rows[1:])


async def test_sign_outs_hold_over_a_restart(where):
    key = b"k" * 32
    cookies = [
        Sealer(key).seal(
            "signed-in",
            {
                "id": name, "subject": f"oidc:{name}", "name": name, "roles": ["user"], "rooms": [],
                "expires": time.time() + 60,
            },
        )
        for name in ("a", "b")
    ]  # fmt: skip
    one = SignIns(Sealer(key), 60.0)
    async with running(where) as store:
        one.on_out = lambda ident, expires: store.post("sign_outs", {"id": ident, "expires": expires})
        one.sign_out(cookies[0])
        one.sign_out(cookies[0])
        store.post("sign_outs", {"id": "old", "expires": 1.0})
        await written(store)
    next_one = SignIns(Sealer(key), 60.0)
    assert next_one.principal(cookies[0]) is not None
    async with running(where) as store, Tasks("test") as tasks:
        tasks.keep(lambda: stored.watch(KeyRing(), store, next_one), "keys")
        await eventually(lambda: next_one.principal(cookies[0]) is None, 20, "the sign-out")
        assert next_one.principal(cookies[1]) is not None
        await store.retain(0)
        assert [row[0] for row in await store.read(lambda at: stored.ended(at, 0.0, 9))] == ["a"]


async def test_tables_of_the_version_before_are_brought_up_to_date(where):
    def older(connection) -> None:
        connection.execute(text("DROP TABLE sign_outs"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))

    async with running(where) as store:
        await store.write(older)
    async with running(where) as store:
        assert await store.read(migrate.present) == migrate.HEAD
        assert await store.read(lambda at: stored.ended(at, 0.0, 9)) == []


async def test_a_sessions_ended_guests_are_bounded(where, monkeypatch):
    monkeypatch.setattr(guest_rows, "MAX_ENDED", 2)
    async with running(where) as store:
        for number in range(6):
            one = Guest(f"{number}", "s", "Bob", "watch", f"{number}", created=float(number), expires=9.0)
            assert await store.write(lambda at, one=one: guest_rows.add(at, one, 10.0))
        kept = await store.read(lambda at: guest_rows.of(at, "s"))
        assert [one.serial for one in kept] == ["3", "4", "5"]


async def test_old_events_and_a_persons_own_are_removed(where):
    async with running(where) as store:
        log = log_of(store, clock=lambda: 1000.0)
        log.note("opened", {}, principal="key:old")
        new = log_of(store)
        new.note("opened", {}, principal="key:a")
        new.note("took over", {"of": "key:a"}, principal="key:b")
        new.note("opened", {}, principal="key:ab")
        store.post(
            "usage",
            {"instance": "i", "subject": "principal:key:a", "kind": "runs", "period": 60, "amount": 1},
        )
        await written(store)
        found = await store.read(lambda one: records.person(one, "key:a"))
        assert [row["event"] for row in found["audit"]] == ["opened", "took over"]
        assert [row["amount"] for row in found["usage"]] == [1]
        assert await store.write(lambda one: records.erase(one, "key:a")) == 3
        assert [row["principal"] for row in await events(store)] == ["key:old", "key:ab"]
        await store.retain(30)
        assert [row["principal"] for row in await events(store)] == ["key:ab"]


async def test_more_calls_than_may_wait_are_refused_at_once(where):
    async with running(where) as store:
        await store.database.ready.wait()
        calls = [
            asyncio.create_task(store.read(lambda one: one.execute(text("SELECT 1")).scalar()))
            for _ in range(80)
        ]
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(one) for one in done if not isinstance(one, int)} <= {DatabaseUnavailable}
        assert await store.read(lambda one: one.execute(text("SELECT 2")).scalar()) == 2


async def test_a_call_that_takes_too_long_is_cut_and_the_next_one_answered(where):
    endless = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n")
    async with running(where) as store:
        await store.database.ready.wait()
        with pytest.raises(DatabaseUnavailable, match="did not answer"):
            await store.read(lambda one: one.execute(endless).scalar(), 0.1)
        assert await store.read(lambda one: one.execute(text("SELECT 2")).scalar()) == 2


async def test_a_write_whose_caller_waits(where):
    row = {
        "id": "1", "name": "n", "hash": "h", "roles": "[]", "rooms": "[]", "created": 1.0,
    }  # fmt: skip
    async with running(where) as store:
        await store.write(lambda one: one.execute(insert(tables.api_keys).values(row)))
        with pytest.raises(IntegrityError):
            await store.write(lambda one: one.execute(insert(tables.api_keys).values({**row, "id": "2"})))


async def test_a_look_at_a_closed_database_is_no_fault(where, caplog):
    """The task that writes went on for a moment after the last rows were written."""
    async with running(where) as store:
        log_of(store).note("opened", {})
        await written(store)
        await store.database.close()
        log_of(store).note("ended", {})  # wakes the task
        await eventually(lambda: store.waiting[0] == 1, 5, "a row that waits")
        with pytest.raises(DatabaseUnavailable, match="closed"):
            await events(store)
    assert "a fault of this server" not in caplog.text
