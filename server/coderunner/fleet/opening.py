"""An opening: the work between a request and its session, owned by the registry, not by a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from coderunner import timing
from coderunner.core import admission
from coderunner.core.admission import Position
from coderunner.sessions.session import Session

HOLD_SECONDS = 10.0  # a lost socket keeps its place in the queue, and its fresh session, this long


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: ``principal`` is None for the unauthenticated. ``about``: of the request, for the log."""

    address: str
    principal: str | None = None
    priority: int = admission.INTERACTIVE
    about: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Opened:
    """What came of an opening. ``warm``: its container had waited. ``timings_ms``: what took how long."""

    session: Session
    token: str
    warm: bool
    timings_ms: dict[str, float]


@dataclass(slots=True, eq=False)
class Opening:
    """``done``: the session, or the error to answer with.  ``notify`` gets each queue position."""

    done: asyncio.Task[Opened] = field(init=False)
    position: Position | None = None
    notify: Callable[[Position], None] | None = None
    abandoned: timing.Timer | None = None
    delivered: bool = False
    keys: list[Any] = field(default_factory=list)

    def on_position(self, position: Position) -> None:
        """The place in the queue has changed."""
        self.position = position
        if self.notify is not None:
            self.notify(position)

    def claim(self, notify: Callable[[Position], None]) -> None:
        """A socket waits for it."""
        if self.abandoned is not None:
            self.abandoned.cancel()
            self.abandoned = None
        self.notify = notify
        if self.position is not None and not self.done.done():
            notify(self.position)

    def abandon(self, notify: Callable[[Position], None], *, hold: bool) -> None:
        """The socket that claimed it with ``notify`` is gone; unless another claims it, so is the request."""
        if self.notify != notify:
            return  # another has it already
        self.notify = None
        if hold:
            self.abandoned = timing.Timer(HOLD_SECONDS, self._give_up)
        else:
            self._give_up()

    @property
    def session(self) -> str | None:
        """The id of the session that it has become."""
        if not self.done.done() or self.done.cancelled() or self.done.exception() is not None:
            return None
        return self.done.result().session.id

    def _give_up(self) -> None:
        if not self.done.done():
            self.done.cancel()
        elif not self.delivered and not self.done.cancelled() and self.done.exception() is None:
            self.done.result().session.end("resume_timeout")  # nobody ever got its token
