"""The description of a setting, for the documents and for error messages."""

from __future__ import annotations

from dataclasses import dataclass

DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Doc:
    """A setting's description. Defaults are written as in `.env`; an empty one means "not set"."""

    default: str
    help: str
    unit: str = ""
    production_default: str | None = None
    """The default in production if it differs; None if it does not."""
    required_in_production: bool = False
    example: str = ""
    """The value in `.env.production.example` for a setting without a default."""
    secret: bool = False
