"""What callers are told of a database that cannot be used: why, and not where it is or who uses it."""

from __future__ import annotations

import pytest

from coderunner.errors import DatabaseUnavailable
from coderunner.store.address import address
from coderunner.store.store import Store


@pytest.mark.parametrize(
    ("why", "told"),
    [
        (
            'connection failed: connection to server at "10.1.2.3", port 5432 failed: Connection refused',
            "Connection refused",
        ),
        (
            'connection is bad: connection to server on socket "/run/pg/.s.PGSQL.5432" failed: No such file',
            "No such file",
        ),
        (
            'connection failed: connection to server at "10.1.2.3", port 5432 failed: FATAL:  password'
            ' authentication failed for user "coderunner"',
            "FATAL:  password authentication failed for user",
        ),
        (
            "failed to resolve host 'db.internal': [Errno -2] Name or service not known",
            "failed to resolve host: [Errno -2] Name or service not known",
        ),
        ("database is locked", "database is locked"),
        ("the database did not answer in 5 s", "the database did not answer in 5 s"),
    ],
)
async def test_why_and_not_where(why, told, monkeypatch):
    store = Store(address("postgresql://coderunner:secret@10.1.2.3/db", None, ""))
    store.database.trouble = why
    (warning,) = store.warnings()
    assert f"({told})" in warning
    for call in (store.read, store.write):
        with pytest.raises(DatabaseUnavailable) as refused:
            await call(lambda _: None)
        assert refused.value.message == told
        assert refused.value.retry_after_ms
    await store.database.close()


async def test_a_database_that_is_away_is_named_to_the_operator_alone(tmp_path):
    store = Store(address("postgresql://coderunner:secret@127.0.0.1:9/db", tmp_path, ""))
    with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1"):
        await store.database.open()  # which the log and commands tell
    (warning,) = store.warnings()
    assert "Connection refused" in warning
    assert not any(word in warning for word in ("127.0.0.1", "coderunner", "secret"))
    await store.database.close()
