"""The URL of the database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

SQLITE = "sqlite:///"


@dataclass(frozen=True, slots=True)
class Address:
    """An address of a database. `url`: for SQLAlchemy, with the password. `file`: of SQLite, else None."""

    url: str
    file: Path | None

    @property
    def shown(self) -> str:
        """The address for a log, without user and password."""
        if self.file is not None:
            return f"SQLite in {self.file}"
        parts = urlsplit(self.url)
        return f"PostgreSQL {parts.hostname or 'on this machine'}{parts.path}"

    def __repr__(self) -> str:
        """Without the password: the text may end up in a traceback."""
        return f"Address({self.shown!r})"


def address(database_url: str | None, state_dir: Path, instance: str) -> Address:
    """The address that the settings name. `instance`: INSTANCE_NAME, for SQLite's file in STATE_DIR."""
    if database_url is None:
        # With the instance's name: several instances may share a STATE_DIR.
        file = (state_dir / f"{instance}.sqlite3").absolute()
    elif database_url.startswith(SQLITE):
        file = Path(database_url.removeprefix(SQLITE))
    else:
        # `postgres://` and `postgresql://` are both in use; SQLAlchemy takes the second only, with the
        # driver.
        return Address("postgresql+psycopg" + database_url[database_url.index(":") :], None)
    return Address(SQLITE + str(file), file)
