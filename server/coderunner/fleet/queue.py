"""The admission queue: waits for the decisions of `core.admission`, and reports positions.

Each change of the decisions is followed by the answers to all waiters that it concerns, without an `await` in
between. So the statistics always agree with what the waiters were told; in a long queue, after TELL_SECONDS.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from coderunner import timing
from coderunner.core.admission import Admission, Position, QueueStats, Ticket
from coderunner.errors import CodeRunnerError, Draining, QueueTimeout
from coderunner.logs import fields, outcome

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0  # until deadlines are looked at again, after that failed
RETRY_AFTER_MS = 5000  # for a request that was not admitted before its deadline
# A change may change the position of every waiter. Up to so many waiters are told at once; more are told
# together after TELL_SECONDS, so that one who comes or goes costs about the same in a queue of any length.
TOLD_AT_ONCE, TELL_SECONDS = 50, 0.05

Clock = Callable[[], float]
OnPosition = Callable[[Position], None]


class Slot:
    """The right to one live session.  It can be released once; further calls do nothing."""

    def __init__(
        self,
        ticket: Ticket,
        on_release: Callable[[Ticket, bool | None], None],
        on_ending: Callable[[str], None],
    ) -> None:
        self.ticket = ticket
        self._on_release, self._on_ending = on_release, on_ending
        self._released = False

    def ending(self) -> None:
        """Its session has ended, and is being removed: it does not count as one of its client's any more."""
        self._on_ending(self.ticket.id)

    def release(self, *, failed: bool = False) -> None:
        """Frees the slot.

        `failed`: whether the session ended by a fault of the server, for the statistics."""
        if not self._released:
            self._released = True
            self._on_release(self.ticket, failed)


@dataclass(slots=True, eq=False)
class _Waiter:
    future: asyncio.Future[None]
    on_position: OnPosition
    told: int = 0  # the position that was reported last; 0 before the first


class AdmissionQueue:
    """Waits for slots; `admission` decides who gets the next one.

    `clock`: the clock of the tickets' deadlines, in seconds; `timing.now` by default.
    """

    def __init__(self, admission: Admission, clock: Clock | None = None) -> None:
        self._admission = admission
        self._clock = clock if clock is not None else timing.now
        self._waiters: dict[str, _Waiter] = {}
        self._timer: timing.Timer | None = None
        self._version = 0
        self._telling: asyncio.TimerHandle | None = None

    async def acquire(self, ticket: Ticket, on_position: OnPosition) -> Slot:
        """Waits for a slot, and calls `on_position` with each new position in the queue.

        Raises QueueFull, TooManySessions or Draining at once, QueueTimeout at the ticket's deadline, Draining
        when the server stops. When cancelled, it leaves the queue, or releases the slot that it was just
        given.
        """
        began = self._clock()
        try:
            slot = await self._wait(ticket, on_position, began)
        except BaseException as error:
            self._note("no slot", ticket, began, outcome(error))
            raise
        try:
            # The note itself may fail, such as for a full disk: the slot must not be lost.
            self._note("slot given", ticket, began, {})
        except BaseException:
            slot.release(failed=True)
            raise
        return slot

    def _note(self, what: str, ticket: Ticket, began: float, more: dict[str, str]) -> None:
        if not log.isEnabledFor(logging.DEBUG):
            return  # the figures cost more the more wait
        now = self.stats()
        told = fields(
            ticket=ticket.id, language=ticket.language, waited_ms=round((self._clock() - began) * 1000),
            active=now.active, queued=now.queued, **more,
        )  # fmt: skip
        log.debug(what, extra=told)

    async def _wait(self, ticket: Ticket, on_position: OnPosition, began: float) -> Slot:
        # At once if there is room: most requests never wait.
        if self._admission.ask(ticket, began):
            return Slot(ticket, self._release, self._admission.ending)
        future = asyncio.get_running_loop().create_future()
        self._waiters[ticket.id] = _Waiter(future, on_position)
        try:
            self._note("waits for a slot", ticket, began, {})
            self._after_change()
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                future.exception()  # otherwise asyncio logs that it was never retrieved
            self._abandon(ticket)
            raise
        except CodeRunnerError:
            raise  # the answer
        except BaseException:  # a fault of this server: a ticket that nobody waits for would get a slot
            self._abandon(ticket)
            raise
        return Slot(ticket, self._release, self._admission.ending)

    def adopt(self, ticket: Ticket) -> Slot:
        """A slot for a session that exists already; it may exceed the number of slots."""
        self._admission.adopt(ticket, self._clock())
        return Slot(ticket, self._release, self._admission.ending)

    def drain(self) -> None:
        """Answers all waiters, and all later calls, with Draining. Live sessions keep their slots."""
        for ticket in self._admission.drain():
            self._answer(ticket, Draining())
        self._after_change()

    def resume(self) -> None:
        """Takes requests again, after `drain`."""
        self._admission.resume()

    def waiting(self) -> list[tuple[Ticket, Position]]:
        """The requests that wait, in the order in which they will get slots, with their positions."""
        positions = self._admission.positions(self._clock())
        return [(ticket, positions[ticket.id]) for ticket in self._admission.order()]

    def stats(self) -> QueueStats:
        """The present figures."""
        return self._admission.stats()

    @property
    def wanted(self) -> bool:
        """Whether anybody waits for a slot."""
        return bool(self._waiters)

    def _release(self, ticket: Ticket, failed: bool | None) -> None:
        # Without an `await` between the decision and the answers, so that they always agree.
        self._answer_granted(self._admission.release(ticket.id, self._clock(), failed=failed))

    def _abandon(self, ticket: Ticket) -> None:
        self._waiters.pop(ticket.id, None)
        if self._admission.cancel(ticket.id):
            self._after_change()
        else:
            # It was granted at the same moment, so the slot is given back; for any other answer this does
            # nothing.
            self._release(ticket, failed=None)

    def _answer_granted(self, granted: list[Ticket]) -> None:
        for ticket in granted:
            self._answer(ticket, None)
        self._after_change()

    def _answer(self, ticket: Ticket, error: Exception | None) -> None:
        # Removed before it is answered: `wanted` must not count somebody who has a slot.
        waiter = self._waiters.pop(ticket.id)
        if waiter.future.done():
            return  # cancelled at the same moment: its task gives back what it is granted here
        if error is None:
            waiter.future.set_result(None)
        else:
            waiter.future.set_exception(error)

    def _after_change(self) -> None:
        """Answers waiters that have timed out or were admitted, sets the timer, and has new positions
        reported."""
        # By the version `_tell` notices that a callback has changed the queue.
        self._version += 1
        now = self._clock()
        for ticket in self._admission.expire(now):
            self._answer(ticket, QueueTimeout(retry_after_ms=RETRY_AFTER_MS))
        # A waiter that left may have been the one for whom there was no memory.
        for ticket in self._admission.grant(now):
            self._answer(ticket, None)
        self._set_timer()
        if len(self._waiters) <= TOLD_AT_ONCE:
            self._tell()
        elif self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(TELL_SECONDS, self._tell)

    def _tell(self) -> None:
        """Reports its position to each waiter whose position has changed."""
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        version = self._version
        positions = self._admission.positions(self._clock()) if self._waiters else {}
        for ticket_id, position in positions.items():
            waiter = self._waiters.get(ticket_id)
            # Only changes are reported: most departures move some of the waiters, and not all.
            if waiter is None or waiter.future.done() or waiter.told == position.position:
                continue
            waiter.told = position.position
            try:
                waiter.on_position(position)
            except Exception:
                # One client's fault must not keep the others from being told.
                log.exception("Telling a queue position failed")
            if self._version != version:
                return  # the callback has changed the queue, which has reported the newer positions

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # One timer for all: at the earliest deadline.
        deadline = self._admission.next_deadline()
        if deadline is not None:
            delay = max(0.0, deadline - self._clock())
            self._timer = timing.Timer(delay, self._look)

    def _look(self) -> None:
        """Called at the next deadline.

        After a fault it is called again, as otherwise no waiting client would be answered."""
        try:
            self._after_change()
        except Exception:
            log.exception("checking the queue failed: a fault of this server")
            self._timer = timing.Timer(LOOK_SECONDS, self._look)
