"""An opening: the work between a request and its session. It belongs to the registry, not to a socket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from coderunner import audit, metrics, timing
from coderunner.core import admission
from coderunner.core.admission import Position
from coderunner.identity.principal import ANONYMOUS, Principal
from coderunner.logs import fields
from coderunner.sessions.record import whose
from coderunner.sessions.session import Session

log = logging.getLogger(__name__)

HOLD_SECONDS = 10.0  # how long an opening, or its new session, is kept after its socket was lost


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request.

    ``principal``: the subject of the authenticated user, or None.  ``priority``: in the queue.  ``about``:
    fields for the log.  ``who``: the principal with its roles and rooms, who may be anonymous.
    """

    address: str
    principal: str | None = None
    priority: int = admission.INTERACTIVE
    about: Mapping[str, str] = field(default_factory=dict)
    who: Principal = ANONYMOUS

    @property
    def roles(self) -> Collection[str] | None:
        """The principal's roles; None where they are not known, as for work from before a restart."""
        return self.who.roles if self.who.known else None


@dataclass(slots=True)
class Opened:
    """The result of an opening.

    ``warm``: whether the container came from the warm pool.  ``timings_ms``: by step, how long it took.
    """

    session: Session
    token: str
    warm: bool
    timings_ms: dict[str, float]


@dataclass(slots=True, eq=False)
class Opening:
    """One opening.

    ``done``: gives the session, or the error to answer with.  ``position``: in the queue, None before the
    first. ``notify``: called with each position; None while no socket waits.  ``abandoned``: ends it if no
    socket claims it in time.  ``delivered``: a client has been sent the session.  ``keys``: the nonces that
    find it.
    """

    done: asyncio.Task[Opened] = field(init=False)
    position: Position | None = None
    notify: Callable[[Position], None] | None = None
    abandoned: timing.Timer | None = None
    delivered: bool = False
    keys: list[Any] = field(default_factory=list)

    def on_position(self, position: Position) -> None:
        """The position in the queue has changed."""
        self.position = position
        if self.notify is not None:
            self.notify(position)

    def claim(self, notify: Callable[[Position], None]) -> None:
        # The place in the queue at once: the new socket does not know it.
        """A socket waits for the result, perhaps in place of an earlier one.  ``notify``: see the class."""
        if self.abandoned is not None:
            self.abandoned.cancel()
            self.abandoned = None
        self.notify = notify
        if self.position is not None and not self.done.done():
            notify(self.position)

    def abandon(self, notify: Callable[[Position], None], *, hold: bool) -> None:
        """The socket that claimed it with ``notify`` is closed.

        The opening ends, with ``hold`` after HOLD_SECONDS and only if no other socket claims it until then.
        """
        if self.notify != notify:
            return  # another socket has claimed it already
        self.notify = None
        if hold:
            self.abandoned = timing.Timer(HOLD_SECONDS, self._give_up)
        else:
            self._give_up()

    @property
    def session(self) -> str | None:
        """The id of the session; None before it is there, and after a failure."""
        # `done` may have been cancelled, which has neither a result nor an exception.
        if not self.done.done() or self.done.cancelled() or self.done.exception() is not None:
            return None
        return self.done.result().session.id

    def _give_up(self) -> None:
        if not self.done.done():
            self.done.cancel()
        elif not self.delivered and not self.done.cancelled() and self.done.exception() is None:
            self.done.result().session.end("resume_timeout")  # no client has received its token


def report(opened: Opened, caller: Caller, moments: tuple[float, ...], *, warm: bool, group: bool) -> None:
    """Notes how long each step of an opening took: for the client, the metrics and the log.

    ``moments``: before the queue, after it, after the container was there, after it joined its group, and at
    the end, in seconds.  ``warm``: the container came from the warm pool.  ``group``: there was a group to
    join.
    """
    began, admitted, ready, joined, done = moments
    steps = {"queue": admitted - began, "provision": ready - admitted, "prepare": done - joined}
    if group:
        steps["group"] = joined - ready
    opened.warm = warm
    # Two decimals: a warm opening takes a few milliseconds.
    opened.timings_ms = {name: round(seconds * 1000, 2) for name, seconds in steps.items()}
    metrics.queue_wait_seconds.observe(admitted - began)
    metrics.open_seconds.labels("yes" if warm else "no").observe(done - admitted)
    session = opened.session
    about = {"group": session.record.group} if group else {}
    audit.note(
        "opened", **whose(session.record), warm=warm, memory_bytes=session.limits.container_bytes, **about,
        **session.notes.program,
    )  # fmt: skip
    waited = {f"{name}_ms": round(ms) for name, ms in opened.timings_ms.items()}
    told = {**whose(session.record), **caller.about}
    log.info("session opened", extra=fields(**told, warm=warm, **waited))
