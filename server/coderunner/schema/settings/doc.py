"""What is said of a setting, in the documents and in errors."""

from __future__ import annotations

from dataclasses import dataclass

DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Doc:
    """What is said of a setting. Defaults are texts as they would stand in `.env`; the empty text means "not
    set"."""

    default: str
    help: str
    unit: str = ""
    production_default: str | None = None
    """The default in production where it differs."""
    required_in_production: bool = False
    example: str = ""
    """What `.env.production.example` shows where there is no default."""
    secret: bool = False
