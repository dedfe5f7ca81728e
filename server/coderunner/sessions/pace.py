"""Reports the clients' progress to the agent: at once when it may be waiting for that, else after a delay.

Clients acknowledge the echo of each keystroke.  If every acknowledgement were passed on, it would delay the
next keystroke, and an agent that has sent little does not need it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from coderunner.wire import flow

STEP = flow.WINDOW // 16  # bytes of progress that are reported at once
DELAY_SECONDS = 0.1  # for less: the agent only frees memory sooner by it, and each report wakes it


class Standing(NamedTuple):
    """The clients' progress in one channel.

    ``released``: offset that the control client has acknowledged.  ``furthest``: that any client has.
    ``controlled``: whether there is a control client.  ``exit_acked``: it has the exit message.  ``window``:
    bytes that output may be ahead of ``furthest``."""

    released: int
    furthest: int
    controlled: bool
    exit_acked: bool
    window: int


class Pace:
    """The reports of one channel.  ``send(standing)``: reports it to the agent."""

    def __init__(self, send: Callable[[Standing], None]) -> None:
        self._send = send
        self._told: Standing | None = None
        self._next: Standing | None = None
        self._timer: asyncio.TimerHandle | None = None

    def update(self, standing: Standing) -> None:
        """The clients are here now; it is sent at once, or within DELAY_SECONDS."""
        told = self._told
        self._next = standing
        # The flags and the window are sent at once, as the agent decides by them; progress only in steps.
        if told is None or standing[2:] != told[2:] or self._ahead(standing, told) >= STEP:
            self._flush()
        # One timer for any number of updates: it sends the latest.
        elif self._timer is None and standing != told:
            self._timer = asyncio.get_running_loop().call_later(DELAY_SECONDS, self._flush)

    def again(self) -> None:
        """The agent may have missed reports: the next one is sent at once."""
        self._told = None

    def close(self) -> None:
        """Cancels delayed reports."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _flush(self) -> None:
        self.close()
        # The agent's copy is the same already.
        if self._next is not None and self._next != self._told:
            self._told = self._next
            self._send(self._next)

    @staticmethod
    def _ahead(standing: Standing, told: Standing) -> int:
        return max(standing.released - told.released, standing.furthest - told.furthest)


class Paces:
    """The reports of all channels of a session.  ``send(channel, standing)``: reports it to the agent."""

    def __init__(self, send: Callable[[int, Standing], None]) -> None:
        self._send = send
        self._all: dict[int, Pace] = {}

    def __getitem__(self, number: int) -> Pace:
        found = self._all.get(number)
        # `number` is bound by the method's argument, so each closure keeps its own.
        if found is None:
            found = self._all[number] = Pace(lambda standing: self._send(number, standing))
        return found

    def forget(self, number: int) -> None:
        """The channel was removed."""
        pace = self._all.pop(number, None)
        if pace is not None:
            pace.close()

    def close(self) -> None:
        """Cancels delayed reports."""
        for pace in self._all.values():
            pace.close()
