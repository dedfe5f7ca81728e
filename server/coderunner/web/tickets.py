"""Tickets, with which a child process makes requests for a caller that this server has identified."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator

from coderunner.fleet.opening import Caller


class Tickets:
    """The callers by ticket. A ticket is as secret as a credential, and lives as long as the request for
    which it was made."""

    def __init__(self) -> None:
        self._callers: dict[str, Caller] = {}

    @contextlib.contextmanager
    def issued(self, caller: Caller) -> Iterator[str]:
        """Yields a ticket of a caller, which is valid within the block."""
        ticket = secrets.token_urlsafe(24)
        self._callers[ticket] = caller
        try:
            yield ticket
        finally:
            del self._callers[ticket]

    def caller(self, ticket: str) -> Caller | None:
        """The caller of a ticket; None for an unknown ticket."""
        return self._callers.get(ticket)
