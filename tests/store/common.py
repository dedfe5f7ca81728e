"""What the tests of both databases share."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from coderunner import audit
from coderunner.store import records
from coderunner.store.address import Address
from coderunner.store.store import Store
from coderunner.tasks import Tasks
from tests.harness import eventually


@contextlib.asynccontextmanager
async def running(address: Address, **options: int) -> AsyncIterator[Store]:
    """A store whose task runs."""
    store = Store(address, **options)
    async with Tasks("test") as tasks:
        tasks.keep(store.run, "database")
        try:
            yield store
        finally:
            await store.close(5)


def log_of(store: Store, **options: object) -> audit.Audit:
    return audit.Audit(store.post, "test", **options)  # type: ignore[arg-type]


async def events(store: Store) -> list[dict]:
    return await store.read(lambda connection: records.events(connection, 0))


async def written(store: Store) -> None:
    """Until nothing waits to be written."""
    await eventually(lambda: not store.waiting[0], 20, "everything to be written")
