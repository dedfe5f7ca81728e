"""Constrained types for the models' fields.

A `Meta(description=...)` completes the sentence "<field> must be ..." in error messages and documents.
Patterns end with `\\Z`, as `$` would also match before a newline at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta

MAX_OFFSET = 2**53 - 1
"""The greatest integer that JavaScript represents exactly (Number.MAX_SAFE_INTEGER)."""
MAX_FILES = 4096
"""The most files in one message, and the most that MAX_FILES_PER_SESSION may be."""
MAX_ROOMS = 64
"""The most rooms of a principal."""
SCOPES = ("session", "run", "metrics", "operate")
"""What a principal may ask for: sessions over WebSockets; runs and batches over HTTP; `GET /metrics`; what
only operators may. The scopes of a key can be fewer than those of its roles."""


class Note(str):
    """A remark on a field, which docs/protocol.md has in parentheses behind the field's name."""

    __slots__ = ()


def one_of(choices: Sequence[str]) -> Meta:
    """A string that is one of `choices`; `check.choices_of` returns these."""
    # Not `re.escape`, whose result other languages' patterns do not take.
    pattern = rf"^(?:{'|'.join(choice.replace('.', '[.]') for choice in choices)})\Z"
    words = f"one of {', '.join(choices)}"
    return Meta(pattern=pattern, description=words, extra={"choices": tuple(choices)})


# Told in documents and checked by the models themselves: as a pattern it would be matched against every
# element of a list before their number is checked.
NO_NUL = Meta(extra_json_schema={"pattern": r"^[^\x00]*$"})


def whole(low: int, high: int) -> Meta:
    """An integer from `low` to `high`, both included."""
    return Meta(ge=low, le=high)


def text(maximum: int, *, minimum: int = 0) -> Meta:
    """A string of `minimum` to `maximum` characters without NUL."""
    words = f"a text of {minimum} to {maximum} characters without NUL"
    return Meta(min_length=minimum, max_length=maximum, pattern=r"^[^\0]*\Z", description=words)


def matching(pattern: str, words: str) -> Meta:
    """A string that matches `pattern` completely. `words`: its description."""
    return Meta(pattern=rf"^(?:{pattern})\Z", description=words)


def at_most(entries: int) -> Meta:
    """A list or an object of at most `entries` entries."""
    return Meta(max_length=entries)


def either(one: str, many: str) -> dict[str, Any]:
    """The rule of a JSON schema that exactly one of a text and a list is there."""
    # Nothing and null are the same, and so are nothing and an empty list.
    return {
        "oneOf": [
            {"required": [one], "properties": {one: {"type": "string"}, many: {"maxItems": 0}}},
            {"required": [many], "properties": {one: {"type": "null"}, many: {"minItems": 1}}},
        ]
    }


def not_both(one: str, other: str) -> dict[str, Any]:
    """The rule of a JSON schema that of two texts at most one is there."""
    return {"anyOf": [{"properties": {name: {"type": "null"}}} for name in (one, other)]}


# 16 bits in a frame's header.
Channel = Annotated[int, whole(0, 65535)]
Offset = Annotated[int, whole(0, MAX_OFFSET)]
Count = Annotated[int, whole(0, MAX_OFFSET)]
Cell = Annotated[int, whole(2, 1000)]
Positive = Annotated[int, whole(1, MAX_OFFSET)]
Number = int | float
Word = Annotated[str, text(256)]
Path = Annotated[str, text(1024)]  # only its length; `check_path` has the rules, with better messages
Line = Annotated[str, Meta(max_length=65536)]
# The sets of characters of ids and tokens are wider than what this server makes, so that it may change.
Id = Annotated[str, matching(r"[A-Za-z0-9_.-]{1,128}", "an id: 1 to 128 of A-Z a-z 0-9 _ . -")]
Secret = Annotated[str, matching(r"[A-Za-z0-9_.=-]{1,512}", "a token: 1 to 512 of A-Z a-z 0-9 _ . = -")]
Room = Annotated[
    str,
    matching(
        r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}",
        "a room: up to 64 of A-Z a-z 0-9 _ . -, the first a letter or digit",
    ),
]
Random = Annotated[str, matching(r"[A-Za-z0-9_-]{22,64}", "128 random bits as 22 to 64 of A-Z a-z 0-9 _ -")]
# RFC 1123, and lower case: names are compared as they are written.
HostName = Annotated[
    str,
    matching(
        r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?",
        "a host name: a letter, then up to 62 of a-z 0-9 -, the last no -",
    ),
]
# What shells take as the name of a variable (POSIX, "Name").
EnvName = Annotated[str, matching(r"[A-Za-z_][A-Za-z0-9_]{0,127}", "a name of letters, digits and _")]
