"""Alembic runs this. The connection, its lock and its transaction belong to `coderunner.store.migrate`."""

from __future__ import annotations

from alembic import context

from coderunner.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
