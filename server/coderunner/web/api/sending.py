"""Limits the memory of responses that callers have not read yet, for each address and in all."""

from __future__ import annotations

from aiohttp import web

from coderunner import timing
from coderunner.core.shares import Shares
from coderunner.errors import RateLimited
from coderunner.turns import Crowd

HELD = 64 * 1024 * 1024  # bytes of all responses that wait for their callers
HELD_BY_ONE = 16 * 1024 * 1024  # bytes of those to one address; wider networks have more (`core.shares`)
BUFFER = 64 * 1024  # bytes that a connection's buffer takes before a write waits
WRITE_SECONDS = 60.0  # for a caller to read a piece


class Sending:
    """Counts the bytes of responses that are being sent, by address."""

    def __init__(self) -> None:
        self._shares = Shares(HELD_BY_ONE, HELD)
        self._crowd = Crowd()

    def check(self, address: str, size: int = 0) -> None:
        """Raises RateLimited if responses to `address` leave no room for a piece of `size` bytes."""
        # Refused before the memory is taken.
        if not self._shares.allows(address, size + BUFFER):
            raise RateLimited("too many responses wait to be read; read them first", retry_after_ms=2000)

    async def send(self, address: str, response: web.StreamResponse, data: bytes) -> None:
        """Writes a piece. Raises RateLimited, ConnectionError, and TimeoutError if the caller does not
        read."""
        self.check(address, len(data))
        cost = len(data) + BUFFER
        self._shares.add(address, cost)
        try:
            # Waits for its turn, so that many large answers do not delay a keystroke.
            async with timing.within(WRITE_SECONDS):
                await self._crowd.turn()
                await response.write(data)
        finally:
            self._shares.add(address, -cost)


SENDING: web.AppKey[Sending] = web.AppKey("sending", Sending)
