"""Checks the path to which a sign-in returns, and limits how many ended sign-ins are remembered."""

from __future__ import annotations

MAX_TARGET = 1024  # characters
MAX_OUT = 100_000  # sign-ins whose end is remembered


def local_target(text: str) -> str:
    """A path of this server; "/" for anything else, so that no link to the sign-in leads to another site."""
    # Browsers read a backslash as a slash, and drop tabs and line ends (WHATWG, URL): "/\x" leads away.
    plain = text.isascii() and text.isprintable() and "\\" not in text and len(text) <= MAX_TARGET
    return text if plain and text.startswith("/") and not text.startswith("//") else "/"
