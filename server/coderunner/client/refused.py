"""The exception for a server's refusals, and the texts of them."""

from __future__ import annotations

import json
from collections.abc import Iterable

NOT_READY = "language_not_ready"


class Refused(Exception):
    """Raised where a program cannot be run or followed any more. `retryable`: the same may succeed later."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable

    def again(self) -> Refused:
        """A new exception of the same: one that is raised repeatedly gathers the places of all of them."""
        return Refused(str(self), retryable=self.retryable)


def checked(word: str, what: str) -> str:
    """Returns a text that can be sent. `what`: what it is. Raises Refused for one that is not UTF-8, and for
    what is no text."""
    if not isinstance(word, str):
        raise Refused(f"{what} is to be text, not {type(word).__name__}")
    if not is_text(word):
        raise Refused(f"{what} {word[:80]!r} cannot be sent: it is not UTF-8")
    return word


def is_text(word: str) -> bool:
    """Whether a word of the command line, or a file's name, is UTF-8: other bytes cannot be sent."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_names(names: Iterable[str]) -> None:
    """Raises Refused if the name of a file is not UTF-8, or no text."""
    for name in names:
        if not isinstance(name, str):
            raise Refused(f"the name of a file is to be text, not {type(name).__name__}")
        if not is_text(name):
            raise Refused(f"the file {name!r} cannot be sent: its name is not UTF-8")


def printable(text: str) -> str:
    """The text as it may be shown in a terminal: characters that are not printable are replaced, except ends
    of lines."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def refusal(place: str, status: int, text: str) -> Refused:
    """The exception for an answer with an unwanted status, which may be a proxy's or another program's.
    `place`: the server's address as the user named it. `text`: the body."""
    try:
        problem = json.loads(text)
        return Refused(str(problem["detail"]), retryable=bool(problem["retryable"]))
    except (ValueError, KeyError, TypeError):
        later = status in (429, 502, 503, 504)
        return Refused(f"no CodeRunner answers at {place}, but {status}", retryable=later)
