"""Queries and removal of the audit log and of a person's data."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, delete, func, or_, select

from coderunner.core.quotas import RUNS
from coderunner.store.tables import audit, sign_outs, usage

PAGE = 1000  # rows that are read at once
DAY_SECONDS = 86400
USAGE_DAYS = 35  # for which usage is kept: more than a month for operators; quotas need a day
MINUTES_SECONDS = 3600  # for which usage by minute is kept, which has a row for each caller and minute
# SQLite has one writer: other writes wait while rows are removed.
REMOVED_AT_ONCE = 5000  # rows in one transaction


def events(
    connection: Connection,
    after: int,
    *,
    since: float | None = None,
    until: float | None = None,
    principal: str | None = None,
) -> list[dict[str, Any]]:
    """Returns at most PAGE events in the order of writing, with `details` as objects.

    `after`: id of the last event of the previous page. `since`, `until`: seconds since 1970. Raises
    SQLAlchemyError.
    """
    # By id instead of time: events of the same millisecond would be lost or repeated between pages.
    wanted = [audit.c.id > after]
    wanted += [audit.c.at >= since] if since is not None else []
    wanted += [audit.c.at < until] if until is not None else []
    wanted += [audit.c.principal == principal] if principal is not None else []
    found = connection.execute(select(audit).where(*wanted).order_by(audit.c.id).limit(PAGE)).mappings()
    return [_event(row) for row in found]


def _plain(row: RowMapping) -> dict[str, Any]:
    return {str(name): value for name, value in row.items()}  # the names are objects of SQLAlchemy


def _event(row: RowMapping) -> dict[str, Any]:
    return {**_plain(row), "details": json.loads(row["details"])}


def _of_person(name: str) -> Any:
    """The person's own events, and those that name it (who took over from it)."""
    # As orjson has written it in `details`: no space after the colon, no \u escapes.
    quoted = json.dumps(name, ensure_ascii=False)
    return or_(
        audit.c.principal == name,
        *(
            # autoescape: % and _ in a name are not wildcards.
            audit.c.details.contains(f'"{field}":{quoted}', autoescape=True)
            for field in ("of", "by", "principal")
        ),
    )


def person(connection: Connection, name: str) -> dict[str, Any]:
    """Returns all stored data about a principal. Raises SQLAlchemyError."""
    rows = connection.execute(select(audit).where(_of_person(name)).order_by(audit.c.id)).mappings()
    used = connection.execute(select(usage).where(usage.c.subject == f"principal:{name}")).mappings()
    return {
        "principal": name,
        "audit": [_event(row) for row in rows],
        "usage": [_plain(row) for row in used],
    }


def erase(connection: Connection, name: str) -> int:
    """Removes all stored data about a principal; returns the number of rows. Raises SQLAlchemyError."""
    gone = connection.execute(delete(audit).where(_of_person(name))).rowcount
    return gone + connection.execute(delete(usage).where(usage.c.subject == f"principal:{name}")).rowcount


def retain(connection: Connection, days: int, now: float) -> int:
    """Removes events that are older than `days` (0: none), old usage and expired sign-outs.

    At most REMOVED_AT_ONCE events, so that other writes do not wait for long. Returns their number. Raises
    SQLAlchemyError.
    """
    connection.execute(delete(usage).where(usage.c.period < int(now) - USAGE_DAYS * DAY_SECONDS))
    minutes = (usage.c.kind == RUNS, usage.c.period < int(now) - MINUTES_SECONDS)
    connection.execute(delete(usage).where(*minutes))
    connection.execute(delete(sign_outs).where(sign_outs.c.expires < now))
    if not days:
        return 0
    newest = (
        select(audit.c.id)
        .where(audit.c.at < now - days * DAY_SECONDS)
        .order_by(audit.c.id)
        .limit(REMOVED_AT_ONCE)
    )
    return connection.execute(delete(audit).where(audit.c.id.in_(newest))).rowcount


def used(
    connection: Connection, instance: str, since: int, minute: int = 0
) -> list[tuple[str, str, int, int]]:
    """Returns (subject, kind, period, amount) of periods that began at `since` or later; of minutes only
    those at `minute` or later. Raises SQLAlchemyError."""
    present = or_(usage.c.kind != RUNS, usage.c.period >= minute)
    wanted = and_(usage.c.instance == instance, usage.c.period >= since, present)
    rows = connection.execute(
        select(usage.c.subject, usage.c.kind, usage.c.period, usage.c.amount).where(wanted)
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def count(connection: Connection) -> int:
    """The number of events. Raises SQLAlchemyError."""
    return int(connection.execute(select(func.count()).select_from(audit)).scalar_one())
