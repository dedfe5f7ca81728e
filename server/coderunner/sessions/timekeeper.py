"""Ends a session when a deadline has passed, warns its clients before, and enforces programs' wall limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from coderunner import timing
from coderunner.schema import messages as m
from coderunner.sessions import walls
from coderunner.sessions.channels import Channels
from coderunner.sessions.container import Container
from coderunner.sessions.deadlines import Deadlines


class TimeKeeper:
    """The deadlines of a session, and the task that waits for them.

    `wanted()`: whether a client waits for a slot; a session without clients then ends earlier. `over()`:
    whether the session has ended. `end(reason)`: ends it.
    """

    def __init__(
        self,
        channels: Channels,
        container: Container,
        deadlines: Deadlines,
        *,
        wanted: Callable[[], bool],
        over: Callable[[], bool],
        end: Callable[[str], object],
    ) -> None:
        self._channels = channels
        self._container = container
        self._deadlines = deadlines
        self._wanted = wanted
        self._over = over
        self._end = end
        self._changed = asyncio.Event()  # set if a deadline may have come nearer

    def touch(self) -> None:
        """There was activity."""
        # Activity only postpones deadlines, so `keep` is not woken: it would run at each key. It finds out
        # when the old deadline comes.
        self._deadlines.touch(timing.now())

    def look(self) -> None:
        """A deadline may have come nearer."""
        self._changed.set()

    def attach(self) -> None:
        """A client has attached."""
        self._deadlines.attach()

    def detach(self) -> None:
        """The last client has left."""
        self._deadlines.detach(timing.now())

    def expiry(self) -> m.Expiry:
        """The times until the session's end, as the protocol has them."""
        return self._deadlines.expiry(timing.now(), busy=self._channels.busy)

    def expires(self) -> m.Expires:
        """As `expiry`, as a message."""
        expiry = self.expiry()
        return m.Expires(expiry.idle_ms, expiry.total_ms)

    async def keep(self) -> None:
        """Runs until the session is over."""
        while not self._over():
            self._changed.clear()
            # Only when something seems due, as the look costs a turn of the loop.
            if self._due() is not None or walls.overdue(self._channels.values(), timing.now()):
                # A key or a program's end may have arrived in time and not been read yet: it counts.
                await timing.catch_up()
            reason = self._due()
            if reason is not None:
                self._end(reason)
                return
            # Read after the turn above: what arrived in it may have postponed the deadline.
            now, busy, wanted = timing.now(), self._channels.busy, self._wanted()
            for why, left in self._deadlines.warn(now, busy=busy):
                self._warn(why, left)
            # None: the container was condemned for a program that its agent did not end in time.
            due_in = walls.hold(self._channels.values(), now, self._container.condemn)
            if due_in is None:
                return
            wait = min(due_in, self._deadlines.next_look(now, busy=busy, wanted=wanted))
            try:
                async with timing.within(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _due(self) -> str | None:
        return self._deadlines.due(timing.now(), busy=self._channels.busy, wanted=self._wanted())

    def _warn(self, why: str, left: float) -> None:
        kind = why.removesuffix("_timeout")
        hint = "press a key or extend it" if kind == "idle" else "save what you want to keep"
        text = f"the session ends in {round(left)} s; {hint}"
        self._channels.attachments.broadcast(m.Notice(f"{kind}_warning", text))
        self._channels.attachments.broadcast(self.expires())
