"""Tickets: by one, a process of this server makes requests for a caller that this server has identified."""

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
        """A ticket of a caller, within the block."""
        ticket = secrets.token_urlsafe(24)
        self._callers[ticket] = caller
        try:
            yield ticket
        finally:
            del self._callers[ticket]

    def caller(self, ticket: str) -> Caller | None:
        """Whose ticket this is; None if it is none."""
        return self._callers.get(ticket)
