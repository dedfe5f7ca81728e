"""The tables. A change comes with a migration in `migrations/versions`; a test compares the two."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData()

# SQLite assigns numbers automatically only for columns of the type INTEGER.
_NUMBER = BigInteger().with_variant(Integer, "sqlite")

# All times are seconds since 1970.
audit = Table(
    "audit",
    metadata,
    Column("id", _NUMBER, primary_key=True, autoincrement=True),
    # Chosen by the server before writing, so that a retry does not duplicate the event.
    Column("event_id", String(32), nullable=False, unique=True),
    Column("at", Float, nullable=False),
    Column("instance", String(64), nullable=False),
    Column("event", String(32), nullable=False),
    Column("principal", String(256)),
    Column("address", String(64)),
    Column("session", String(64)),
    Column("language", String(64)),
    Column("request", String(64)),
    Column("details", Text, nullable=False),  # JSON
    Index("audit_at", "at"),
    Index("audit_principal", "principal", "at"),
    Index("audit_session", "session"),
    sqlite_autoincrement=True,  # never reuses a number, even after the last row was removed
)
"""The audit log. Rows are never changed: triggers refuse updates."""

usage = Table(
    "usage",
    metadata,
    Column("instance", String(64), primary_key=True),
    Column("subject", String(280), primary_key=True),  # `principal:NAME` or `address:NETWORK`
    Column("kind", String(32), primary_key=True),
    Column("period", BigInteger, primary_key=True),  # when it began
    Column("amount", BigInteger, nullable=False),
)
"""Usage by principal or address and period, for quotas."""

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("hash", String(128), nullable=False, unique=True),
    Column("roles", Text, nullable=False),  # JSON
    Column("rooms", Text, nullable=False),  # JSON
    Column("scopes", Text),  # JSON; NULL: all of the roles
    Column("created", Float, nullable=False),
    Column("expires", Float),
    Column("revoked", Float),
    Column("last_used", Float),
)
"""API keys, as hashes."""

session_tokens = Table(
    "session_tokens",
    metadata,
    Column("serial", String(32), primary_key=True),
    Column("session", String(64), nullable=False),
    Column("name", String(128), nullable=False),
    Column("hash", String(128), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("scopes", Text, nullable=False),  # JSON
    Column("created", Float, nullable=False),
    Column("expires", Float),
    Column("revoked", Float),
    Column("last_used", Float),
    Index("session_tokens_session", "session"),
)
"""Tokens of guests, as hashes."""

sign_outs = Table(
    "sign_outs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("expires", Float, nullable=False),  # when its cookie ends by itself
    Index("sign_outs_expires", "expires"),
)
"""Sign-ins that were ended before they expired."""
