"""Reports of the clients' progress to the agent: at once where it may wait for them, else in a moment.

Every keystroke's echo is acknowledged by its client.  Passed on one by one, these acknowledgements stand in
the way of the next keystroke; an agent whose window is nearly empty does not need them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from coderunner.wire import flow

STEP = flow.WINDOW // 16  # what the clients may be ahead of what the agent knows of them
SECONDS = 0.02  # and how long


class Standing(NamedTuple):
    """``released``: by the control client; ``furthest``: by any; ``controlled``: whether there is one;
    ``window``: how far output may be ahead of the furthest, in bytes."""

    released: int
    furthest: int
    controlled: bool
    exit_acked: bool
    window: int


class Pace:
    """Of one channel.  ``send`` passes a standing on to the agent."""

    def __init__(self, send: Callable[[Standing], None]) -> None:
        self._send = send
        self._told: Standing | None = None
        self._next: Standing | None = None
        self._timer: asyncio.TimerHandle | None = None

    def update(self, standing: Standing) -> None:
        """The clients are here now; it is sent at once, or within SECONDS."""
        told = self._told
        self._next = standing
        if told is None or standing[2:] != told[2:] or self._ahead(standing, told) >= STEP:
            self._flush()
        elif self._timer is None and standing != told:
            self._timer = asyncio.get_running_loop().call_later(SECONDS, self._flush)

    def again(self) -> None:
        """The agent may have missed it: whatever is told next goes out at once."""
        self._told = None

    def close(self) -> None:
        """Nothing is sent later than now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _flush(self) -> None:
        self.close()
        if self._next is not None and self._next != self._told:
            self._told = self._next
            self._send(self._next)

    @staticmethod
    def _ahead(standing: Standing, told: Standing) -> int:
        return max(standing.released - told.released, standing.furthest - told.furthest)


class Paces:
    """Of all channels of a session.  ``send`` passes a channel's standing on to the agent."""

    def __init__(self, send: Callable[[int, Standing], None]) -> None:
        self._send = send
        self._all: dict[int, Pace] = {}

    def __getitem__(self, number: int) -> Pace:
        found = self._all.get(number)
        if found is None:
            found = self._all[number] = Pace(lambda standing: self._send(number, standing))
        return found

    def forget(self, number: int) -> None:
        """The channel is gone."""
        pace = self._all.pop(number, None)
        if pace is not None:
            pace.close()

    def close(self) -> None:
        """Nothing is sent later than now."""
        for pace in self._all.values():
            pace.close()
