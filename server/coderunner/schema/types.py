"""The kinds of values that the models' fields have, each with its bounds.

The words of a `Meta(description=...)` complete the sentence "<field> must be ...", in errors and documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

MAX_OFFSET = 2**53 - 1
"""The greatest integer that every JSON reader keeps exactly."""
MAX_FILES = 4096
"""Files that are read from one message."""


class Note(str):
    """What the protocol's document says of a field, in parentheses behind its name."""

    __slots__ = ()


def one_of(choices: Sequence[str]) -> Meta:
    """A text that is one of `choices`, which `check.choices_of` gives back."""
    pattern = rf"^(?:{'|'.join(choices)})\Z"
    words = f"one of {', '.join(choices)}"
    return Meta(pattern=pattern, description=words, extra={"choices": tuple(choices)})


def whole(low: int, high: int) -> Meta:
    """A whole number from `low` to `high`."""
    return Meta(ge=low, le=high)


def text(most: int, *, least: int = 0) -> Meta:
    """A text of `least` to `most` characters without NUL."""
    words = f"a text of {least} to {most} characters without NUL"
    return Meta(min_length=least, max_length=most, pattern=r"^[^\0]*\Z", description=words)


def matching(pattern: str, words: str) -> Meta:
    """A text that fits `pattern` as a whole."""
    return Meta(pattern=rf"^(?:{pattern})\Z", description=words)


def at_most(entries: int) -> Meta:
    """A list or an object of so many entries."""
    return Meta(max_length=entries)


Channel = Annotated[int, whole(0, 65535)]
Offset = Annotated[int, whole(0, MAX_OFFSET)]
Count = Annotated[int, whole(0, MAX_OFFSET)]
Cell = Annotated[int, whole(2, 1000)]
Positive = Annotated[int, whole(1, MAX_OFFSET)]
Number = int | float
Word = Annotated[str, text(256)]
Path = Annotated[str, text(1024)]
Line = Annotated[str, Meta(max_length=65536)]
Id = Annotated[str, matching(r"[A-Za-z0-9_.-]{1,128}", "an id")]
Secret = Annotated[str, matching(r"[A-Za-z0-9_.=-]{1,512}", "a token")]
Random = Annotated[
    str, matching(r"[A-Za-z0-9_-]{22,64}", "128 random bits as 22 to 64 of A-Z a-z 0-9 _ -")
]
HostName = Annotated[
    str,
    matching(
        r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?",
        "a host name: a letter, then up to 62 of a-z 0-9 -, the last no -",
    ),
]
EnvName = Annotated[str, matching(r"[A-Za-z_][A-Za-z0-9_]{0,127}", "a name of letters, digits and _")]
