"""Who gets a slot, and who waits for one: pure, without a clock.

Slots bound the live sessions. Who finds none waits in a queue of bounded size: a higher priority goes first;
within one priority the clients take turns (round robin), so that one who asks for fifty does not hold up one
who asks for one; a client's own tickets go in the order of asking. Times are seconds of one monotonic clock.

What all live tickets may use of the machine's memory is bounded, too. Who is next and does not fit waits, and
nobody passes it, or one who asks for much would wait for ever; who finds nobody live always fits.

Invariants: a ticket is live, waiting, or gone, and only one of these; no one waits while a slot is free and
the next one fits (unless draining); live tickets exceed the bounds only by adoption or after these were
lowered.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass

from coderunner.core.networks import networks
from coderunner.errors import Draining, QueueFull, TooManySessions

INTERACTIVE = 2
API = 1
BACKGROUND = 0

_RECENT = 32
"""Of how many ended sessions the average is taken that an estimate is made from."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A request for a slot.

    `deadline`: when waiting ends, in seconds of the caller's clock. `priority`: higher ones go first.
    `memory`: bytes that the container may use.
    """

    id: str
    address: str
    principal: str | None
    language: str
    deadline: float
    priority: int = INTERACTIVE
    memory: int = 0

    @property
    def client(self) -> tuple[str, str]:
        """Who takes turns: the authenticated caller, or else the address."""
        return ("principal", self.principal) if self.principal is not None else ("address", self.address)


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the queue: 1 is next. `eta_ms` is None when nothing is known to estimate from."""

    position: int
    ahead: int
    eta_ms: int | None
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class QueueStats:
    """A snapshot. `average_task_ms` is of all ended sessions, completed and failed; 0 when there are none.
    `memory`: bytes that the live ones may use, of `memory_limit` (0: there is none)."""

    slots: int
    active: int
    queued: int
    max_queue: int
    completed: int
    failed: int
    average_task_ms: float
    queued_by_language: dict[str, int]
    draining: bool
    memory: int
    memory_limit: int


class Admission:
    """Decides who gets one of `slots`, and in which order up to `max_queue` others wait.

    `memory` bounds what all live tickets may use, in bytes; 0 is unlimited. `per_address` and
    `per_principal` cap live and waiting tickets together; 0 is unlimited. Of IPv6 a /56 may have twice, and
    a /48 four times, what an address has."""

    def __init__(
        self, slots: int, max_queue: int, per_address: int = 0, per_principal: int = 0, *, memory: int = 0
    ) -> None:
        self._slots = slots
        self._memory_limit = memory
        self._memory = 0
        self._max_queue = max_queue
        self._per_address = per_address
        self._per_principal = per_principal
        self._live: dict[str, tuple[Ticket, float]] = {}
        self._waiting: dict[str, Ticket] = {}
        # For each priority the clients in the order of their turns, each with its tickets; none is empty.
        self._lines: dict[int, OrderedDict[tuple[str, str], deque[Ticket]]] = {}
        self._addresses: Counter[str] = Counter()
        self._principals: Counter[str] = Counter()
        self._draining = False
        self._completed = 0
        self._failed = 0
        self._total_s = 0.0
        self._recent: deque[float] = deque(maxlen=_RECENT)

    # --- asking and leaving ---------------------------------------------------------------------------

    def ask(self, ticket: Ticket, now: float) -> bool:
        """Whether the ticket has a slot at once. If not, it waits, and the caller calls `grant` next.

        Raises Draining, TooManySessions or QueueFull; then the ticket is neither.
        """
        if ticket.id in self._live or ticket.id in self._waiting:
            raise ValueError(f"the ticket {ticket.id} is here already")
        if self._draining:
            raise Draining()
        self._check_caps(ticket)
        # Who comes now does not overtake those that wait.
        if not self._waiting and self._fits(ticket):
            self._count(ticket, +1)
            self._enter(ticket, now)
            return True
        if len(self._waiting) >= self._max_queue:
            raise QueueFull(retry_after_ms=self._retry_after_ms())
        self._count(ticket, +1)
        self._waiting[ticket.id] = ticket
        line = self._lines.setdefault(ticket.priority, OrderedDict())
        line.setdefault(ticket.client, deque()).append(ticket)
        return False

    def adopt(self, ticket: Ticket, now: float) -> None:
        """A slot without asking, for a session that lives already. It may exceed the slots and the caps."""
        if ticket.id in self._live or ticket.id in self._waiting:
            raise ValueError(f"the ticket {ticket.id} is here already")
        self._count(ticket, +1)
        self._enter(ticket, now)

    def release(self, ticket_id: str, now: float, *, failed: bool | None = False) -> list[Ticket]:
        """The slot is free again; answers who has got one now. A ticket that is not live changes nothing.

        `failed`: the session ended by a fault of ours. None: it never began and counts as neither.
        """
        entry = self._live.pop(ticket_id, None)
        if entry is None:
            return []
        ticket, began = entry
        self._memory -= ticket.memory
        self._count(ticket, -1)
        if failed is not None:
            self._completed += not failed
            self._failed += failed
            self._total_s += max(0.0, now - began)
            self._recent.append(max(0.0, now - began))
        return self.grant(now)

    def grant(self, now: float) -> list[Ticket]:
        """Hands free slots to those who are next. Waiters past their deadline are left for `expire`."""
        granted: list[Ticket] = []
        for ticket in list(self.order()) if self._waiting and len(self._live) < self._slots else ():
            if ticket.deadline <= now:
                continue
            if not self._fits(ticket):
                break  # no smaller ticket overtakes it, or a large one would wait for ever
            self._take_turn(ticket)
            self._enter(ticket, now)
            granted.append(ticket)
        return granted

    def cancel(self, ticket_id: str) -> bool:
        """Leaves the queue, behind which `grant` is to be called. False where the ticket does not wait."""
        ticket = self._waiting.pop(ticket_id, None)
        if ticket is None:
            return False
        self._count(ticket, -1)
        line = self._lines[ticket.priority]
        tickets = line[ticket.client]
        tickets.remove(ticket)
        if not tickets:
            del line[ticket.client]
        if not line:
            del self._lines[ticket.priority]
        return True

    def expire(self, now: float) -> list[Ticket]:
        """Takes out, and answers, the waiters whose deadline has come."""
        late = [ticket for ticket in self._waiting.values() if ticket.deadline <= now]
        for ticket in late:
            self.cancel(ticket.id)
        return late

    def drain(self) -> list[Ticket]:
        """From now on nobody is let in; takes out, and answers, all waiters. Live tickets stay."""
        self._draining = True
        waiters = list(self._waiting.values())
        for ticket in waiters:
            self.cancel(ticket.id)
        return waiters

    # --- looking --------------------------------------------------------------------------------------

    def order(self) -> Iterator[Ticket]:
        """The waiters in the order in which they will get slots, if nobody comes or leaves."""
        for priority in sorted(self._lines, reverse=True):
            turns = deque(deque(tickets) for tickets in self._lines[priority].values())
            while turns:
                tickets = turns.popleft()
                yield tickets.popleft()
                if tickets:
                    turns.append(tickets)

    def positions(self, now: float) -> dict[str, Position]:
        """Every waiter's position by ticket id."""
        pace = self._pace_s()
        return {
            ticket.id: Position(
                position=number,
                ahead=number - 1,
                eta_ms=None if pace is None else round(number * pace * 1000),
                deadline_ms=max(0, round((ticket.deadline - now) * 1000)),
            )
            for number, ticket in enumerate(self.order(), start=1)
        }

    def next_deadline(self) -> float | None:
        """The moment at which the next waiter gives up; None where nobody waits."""
        return min((ticket.deadline for ticket in self._waiting.values()), default=None)

    def stats(self) -> QueueStats:
        """The present figures."""
        ended = self._completed + self._failed
        return QueueStats(
            slots=self._slots,
            active=len(self._live),
            queued=len(self._waiting),
            max_queue=self._max_queue,
            completed=self._completed,
            failed=self._failed,
            average_task_ms=self._total_s * 1000 / ended if ended else 0.0,
            queued_by_language=dict(Counter(ticket.language for ticket in self._waiting.values())),
            draining=self._draining,
            memory=self._memory,
            memory_limit=self._memory_limit,
        )

    # --- inside ---------------------------------------------------------------------------------------

    def _fits(self, ticket: Ticket) -> bool:
        room = not self._memory_limit or not self._live or self._memory + ticket.memory <= self._memory_limit
        return room and len(self._live) < self._slots

    def _enter(self, ticket: Ticket, now: float) -> None:
        self._memory += ticket.memory
        self._live[ticket.id] = (ticket, now)

    def _take_turn(self, ticket: Ticket) -> None:
        """Out of the queue, and the client to the end of its line; the ticket stays counted."""
        self.cancel(ticket.id)
        self._count(ticket, +1)
        line = self._lines.get(ticket.priority)
        if line is not None and ticket.client in line:
            line.move_to_end(ticket.client)

    def _check_caps(self, ticket: Ticket) -> None:
        caps = [
            (self._per_address * allowance, self._addresses[key], "address")
            for key, allowance in networks(ticket.address)
        ]
        if ticket.principal is not None:
            caps.append((self._per_principal, self._principals[ticket.principal], "user"))
        for cap, have, whose in caps:
            if cap and have >= cap:
                raise TooManySessions(
                    f"this {whose} has {have} sessions, live or waiting, of {cap} allowed; close one first",
                    retry_after_ms=self._retry_after_ms(),
                )

    def _count(self, ticket: Ticket, step: int) -> None:
        counted = [(self._addresses, key) for key, _ in networks(ticket.address)]
        if ticket.principal is not None:
            counted.append((self._principals, ticket.principal))
        for counter, key in counted:
            counter[key] += step
            if not counter[key]:
                del counter[key]

    def _pace_s(self) -> float | None:
        """The expected time from one free slot to the next."""
        if not self._recent or self._slots <= 0:
            return None
        return sum(self._recent) / len(self._recent) / self._slots

    def _retry_after_ms(self) -> int:
        """When asking again has a chance: about one slot's time, within reason."""
        pace = self._pace_s()
        return 5000 if pace is None else round(min(max(pace, 1.0), 30.0) * 1000)
