"""How long a call asks again where no CodeRunner answers: one rule for all calls."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Callable
from typing import Protocol

import aiohttp

from coderunner.client.refused import Refused, refusal

FIRST_SECONDS = 3.0  # for which a server that has never answered is asked again: a restart takes one
# Longer than a restart of the server takes.
RECONNECT_SECONDS = 120.0  # seconds for which a server that was there is looked for
STARTING_SECONDS = 10.0  # a server that has just started looks for its languages' images; all took 1 s
PAUSE = 0.5  # seconds between two attempts
LOST = "the connection is lost; connecting again"
AWAY = {errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE, errno.ENOENT}  # ENOENT: of a Unix socket
# A wrong name, certificate or address stays wrong.
STAYS = (
    aiohttp.ClientConnectorDNSError, aiohttp.ClientSSLError, aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError
)  # fmt: skip


class Visited(Protocol):
    """A server as `Visit` knows it. `place`: its address. `reached`: whether a CodeRunner has answered."""

    place: str
    reached: bool


class Away(ConnectionError):
    """Something answers that is no CodeRunner: a proxy without a server behind it, or a portal. `refused`:
    what is told where it does not end."""

    def __init__(self, place: str, status: int, text: str = "") -> None:
        super().__init__(f"something else answers, with {status}")
        self.status, self.refused = status, refusal(place, status, text)


class Held(ConnectionError):
    """A CodeRunner answers that cannot do it yet: it starts, or takes no new sessions. `refused`: its answer.
    `seconds`: how long to ask again."""

    def __init__(self, refused: Refused, seconds: float) -> None:
        super().__init__(str(refused))
        self.refused, self.seconds = refused, seconds


def is_own(status: int, text: str) -> bool:
    """Whether an answer is a CodeRunner's: a JSON object, and of an error a problem document."""
    if status < 300:
        return text.startswith("{")
    try:
        problem = json.loads(text)
        return isinstance(problem["code"], str) and isinstance(problem["detail"], str)
    except (ValueError, KeyError, TypeError):
        return False


def now() -> float:
    """The time on the loop's clock."""
    return asyncio.get_running_loop().time()


class Patience:
    """The patience of one call to a server: FIRST_SECONDS from the call on while no CodeRunner has answered
    this client, otherwise `seconds` from the first failure on. `said`: is called with a sentence when a
    server that has answered is waited for."""

    def __init__(
        self,
        visit: Visited,
        seconds: float | None = None,
        said: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._visit, self._said = visit, said
        self._seconds = RECONNECT_SECONDS if seconds is None else seconds
        self._begun = now()
        self._failed: float | None = None  # since when it fails

    @property
    def fails(self) -> bool:
        """Whether an attempt has failed since `restart`."""
        return self._failed is not None

    def restart(self) -> None:
        """The server was there: what comes counts anew."""
        self._failed = None

    def left(self, error: Exception) -> float:
        """For how many more seconds to ask again after this error. Raises Refused if there are none."""
        at = now()
        self._failed = at if self._failed is None else self._failed
        if isinstance(error, Held):
            left = self._failed + min(error.seconds, self._seconds) - at
        elif self._visit.reached:
            left = self._failed + self._seconds - at
        else:
            left = 0.0 if _stays(error) else self._begun + FIRST_SECONDS - at
        if left <= 0:
            raise self.refused(error)
        return left

    async def wait(self, error: Exception) -> None:
        """Waits until the next attempt. Raises as `left`."""
        left = self.left(error)
        if isinstance(error, Held):
            self._said(str(error))
        elif self._visit.reached:
            self._said(LOST)
        await asyncio.sleep(min(PAUSE, left))

    def refused(self, error: Exception) -> Refused:
        """What is raised in the end."""
        why, place = str(error) or type(error).__name__, self._visit.place
        if isinstance(error, Held):
            return error.refused
        if self._visit.reached:
            return Refused(f"the server at {place} cannot be reached any more: {why}", retryable=True)
        if isinstance(error, Away):
            return error.refused
        return Refused(f"no server answers at {place}: {why}", retryable=True)


def _stays(error: Exception) -> bool:
    """Whether the same attempt fails again, whatever is started meanwhile."""
    number = getattr(error, "errno", None)
    return isinstance(error, STAYS) or (isinstance(error, OSError) and number not in {None, *AWAY})
