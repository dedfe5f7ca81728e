"""Migrates the tables to this version, with Alembic."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

HEAD = "0002"
"""The newest migration. A constant, as importing Alembic takes long and is seldom needed."""
FOLDER = Path(__file__).parent / "migrations"
# The number of PostgreSQL's advisory lock: "coderunn". Other programs that lock this number in the same
# database would wait, too.
LOCK = 0x636F6465_72756E6E
WAIT_SECONDS = 30  # for another server that migrates


def present(connection: Connection) -> str | None:
    """The last applied migration; None in an empty database. Raises SQLAlchemyError."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return str(found) if found else None


def known(revision: str) -> bool:
    """Whether this version has the migration; otherwise it is of a newer version."""
    return any((FOLDER / "versions").glob(f"{revision}_*.py"))


def upgrade(connection: Connection) -> bool:
    """Applies the missing migrations; returns whether there were any.

    `connection`: in a transaction, for SQLite one that has begun as IMMEDIATE, so that two servers that start
    at the same time do it one after the other. Raises SQLAlchemyError; NewerDatabase.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{WAIT_SECONDS}s'"))
        connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
    before = present(connection)
    # Checked again under the lock: another server may have migrated while this one waited.
    if before == HEAD:
        return False
    if before is not None and not known(before):
        raise NewerDatabase(before)
    from alembic import command
    from alembic.config import Config

    config = Config()
    # Alembic's configuration is a ConfigParser's, where % begins an interpolation.
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
    return True


class NewerDatabase(Exception):
    """The tables are of a newer version of CodeRunner."""

    def __init__(self, revision: str) -> None:
        super().__init__(
            f"the tables are of a newer version of CodeRunner (migration {revision[:32]}; this one knows"
            f" {HEAD}); use that version, or restore a backup"
        )
