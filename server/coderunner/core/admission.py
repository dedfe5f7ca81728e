"""Admission control: which requests get a session slot, and the order of the others. Pure, without a clock.

The number of live sessions is bounded by slots. A request that finds no free slot waits in a bounded queue.
Higher priority goes first. Within one priority, clients take turns (round robin), so that a client with fifty
requests does not delay a client with one. Requests of one client are served first come, first served. All
times are seconds of one monotonic clock, which the caller passes in.

The memory that all live tickets may use is bounded as well. If the next ticket does not fit, it waits, and no
ticket behind it is admitted first: otherwise a large request could wait for ever. If no ticket is live, the
next one always fits, even if it alone exceeds the bound.

Invariants: a ticket is in exactly one state of live, waiting and gone; no ticket waits while a slot is free
and the next one fits (unless draining); live tickets exceed the bounds only through adoption,
or after the bounds were lowered.
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
"""How many of the last ended sessions are averaged for the estimate of the waiting time."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A request for a slot.

    `deadline`: when it gives up waiting, in seconds of the caller's clock. `priority`: higher values are
    served first. `memory`: the container's memory limit in bytes. `cap`: how many the principal, or without
    one the address, may have live and waiting; 0 for unlimited, None for the default.
    """

    id: str
    address: str
    principal: str | None
    language: str
    deadline: float
    priority: int = INTERACTIVE
    memory: int = 0
    cap: int | None = None

    @property
    def client(self) -> tuple[str, str]:
        """The identity for taking turns: the authenticated principal, or the address without one."""
        return ("principal", self.principal) if self.principal is not None else ("address", self.address)


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the queue.

    `position`: 1 is next. `eta_ms`: expected milliseconds until the slot, None before any session has ended.
    `deadline_ms`: milliseconds until the ticket gives up waiting.
    """

    position: int
    ahead: int
    eta_ms: int | None
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class QueueStats:
    """A snapshot of the queue's figures.

    `average_task_ms`: mean duration of all ended sessions, completed and failed, in milliseconds; 0 when none
    has ended. `memory`: sum of the live tickets' memory limits in bytes.
    `memory_limit`: its bound in bytes, 0 for unlimited.
    """

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
    """Assigns `slots` slots, and keeps up to `max_queue` waiting tickets in order.

    `memory`: bound of the live tickets' memory limits in bytes, 0 for unlimited. `per_address`,
    `per_principal`: caps on live and waiting tickets together, 0 for unlimited; tickets with a principal are
    not counted by their address. An IPv6 /56 is allowed twice,
    and a /48 four times, the cap of one address (`core.networks`).
    """

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
        # priority -> client -> its tickets, clients in the order of their turns. Empty entries are removed at
        # once, so that a client that comes back starts at the end of the round.
        self._lines: dict[int, OrderedDict[tuple[str, str], deque[Ticket]]] = {}
        self._addresses: Counter[str] = Counter()
        self._principals: Counter[str] = Counter()
        # Tickets that are ending are counted separately, again by address and by principal.
        self._ending: set[str] = set()
        self._ending_addresses: Counter[str] = Counter()
        self._ending_principals: Counter[str] = Counter()
        self._draining = False
        self._completed = 0
        self._failed = 0
        self._total_s = 0.0
        self._recent: deque[float] = deque(maxlen=_RECENT)

    # --- asking and leaving ---------------------------------------------------------------------------

    def ask(self, ticket: Ticket, now: float) -> bool:
        """Admits or queues a ticket. Returns True if it is live now, False if it waits.

        After False the caller has to call `grant`: a slot may be free although other tickets wait.
        Raises Draining, TooManySessions or QueueFull, and then does not keep the ticket; ValueError if a
        ticket with this id is live or waiting.
        """
        if ticket.id in self._live or ticket.id in self._waiting:
            raise ValueError(f"the ticket {ticket.id} is here already")
        if self._draining:
            raise Draining()
        self._check_caps(ticket)
        # A newcomer must not overtake tickets that already wait, even if it fits and they do not.
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
        """Makes a ticket live without any check, for a session whose container is running already.

        This may exceed the slots, the memory bound and the caps: a restarted server must not end sessions
        because its settings were lowered. Raises ValueError if a ticket with this id is live or waiting.
        """
        if ticket.id in self._live or ticket.id in self._waiting:
            raise ValueError(f"the ticket {ticket.id} is here already")
        self._count(ticket, +1)
        self._enter(ticket, now)

    def ending(self, ticket_id: str) -> None:
        """Called when the session of a live ticket has ended and its container is being removed.

        The ticket keeps its slot and its memory until `release`, but no longer counts for the caps:
        otherwise a client that runs one program after another would be refused meanwhile. At most as many
        ending tickets as the client's cap go uncounted. Does nothing if the ticket is not live, or is
        ending already.
        """
        entry = self._live.get(ticket_id)
        if entry is not None and ticket_id not in self._ending:
            self._count(entry[0], -1)
            self._ending.add(ticket_id)
            self._count(entry[0], +1, ending=True)

    def release(self, ticket_id: str, now: float, *, failed: bool | None = False) -> list[Ticket]:
        """Frees a live ticket's slot, and returns the waiting tickets that got a slot through it.

        Does nothing and returns [] if the ticket is not live. `failed`: True if the session ended through a
        fault of this server, None if it never began, which counts neither as completed nor as failed.
        """
        entry = self._live.pop(ticket_id, None)
        if entry is None:
            return []
        ticket, began = entry
        self._memory -= ticket.memory
        self._count(ticket, -1, ending=ticket_id in self._ending)
        self._ending.discard(ticket_id)
        if failed is not None:  # one that never began would make the average too short
            self._completed += not failed
            self._failed += failed
            self._total_s += max(0.0, now - began)
            self._recent.append(max(0.0, now - began))
        return self.grant(now)

    def grant(self, now: float) -> list[Ticket]:
        """Gives free slots to the next waiting tickets, and returns these.

        Tickets past their deadline get no slot; they stay in the queue until `expire` removes them.
        """
        granted: list[Ticket] = []
        for ticket in list(self.order()) if self._waiting and len(self._live) < self._slots else ():
            if ticket.deadline <= now:
                continue
            if not self._fits(ticket):
                break  # a smaller ticket must not overtake it: a large one would wait for ever
            self._take_turn(ticket)
            self._enter(ticket, now)
            granted.append(ticket)
        return granted

    def cancel(self, ticket_id: str) -> bool:
        """Removes a waiting ticket. Returns False if it was not waiting.

        The caller has to call `grant` afterwards, as the ticket may have blocked others by its size.
        """
        ticket = self._waiting.pop(ticket_id, None)
        if ticket is None:
            return False  # live or gone: granting and cancelling may cross
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
        """Removes and returns the waiting tickets whose deadline has passed."""
        late = [ticket for ticket in self._waiting.values() if ticket.deadline <= now]
        for ticket in late:
            self.cancel(ticket.id)
        return late

    def drain(self) -> list[Ticket]:
        """Refuses all tickets from now on; removes and returns those that wait. Live tickets stay live."""
        self._draining = True
        waiters = list(self._waiting.values())
        for ticket in waiters:
            self.cancel(ticket.id)
        return waiters

    def resume(self) -> None:
        """Takes tickets again, after `drain`."""
        self._draining = False

    # --- looking --------------------------------------------------------------------------------------

    def order(self) -> Iterator[Ticket]:
        """Yields the waiting tickets in the order of getting slots if none is added or removed."""
        for priority in sorted(self._lines, reverse=True):
            # Copies: the round robin below consumes them, and the caller may change the queue while it
            # iterates.
            turns = deque(deque(tickets) for tickets in self._lines[priority].values())
            while turns:
                tickets = turns.popleft()
                yield tickets.popleft()
                if tickets:
                    turns.append(tickets)

    def positions(self, now: float) -> dict[str, Position]:
        """The position of every waiting ticket, by ticket id. `now`: seconds of the caller's clock."""
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
        """The earliest deadline of the waiting tickets, in seconds of the caller's clock, or None."""
        return min((ticket.deadline for ticket in self._waiting.values()), default=None)

    def stats(self) -> QueueStats:
        """A snapshot of the present figures."""
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
        # With no live ticket any size fits: one above the bound would otherwise block the queue for ever.
        room = not self._memory_limit or not self._live or self._memory + ticket.memory <= self._memory_limit
        return room and len(self._live) < self._slots

    def _enter(self, ticket: Ticket, now: float) -> None:
        self._memory += ticket.memory
        self._live[ticket.id] = (ticket, now)

    def _take_turn(self, ticket: Ticket) -> None:
        """Removes a ticket from the queue and moves its client to the end of the round."""
        self.cancel(ticket.id)
        self._count(ticket, +1)  # `cancel` took it out of the caps' counts, but it becomes live next
        line = self._lines.get(ticket.priority)
        if line is not None and ticket.client in line:
            line.move_to_end(ticket.client)

    def _check_caps(self, ticket: Ticket) -> None:
        if ticket.principal is not None:
            # Not by its address as well: a class may sit behind one.
            cap = self._per_principal if ticket.cap is None else ticket.cap
            name = ticket.principal
            caps = [(cap, self._principals[name], self._ending_principals[name], "user")]
        else:
            cap = self._per_address if ticket.cap is None else ticket.cap
            caps = [
                (cap * allowance, self._addresses[key], self._ending_addresses[key], "address")
                for key, allowance in networks(ticket.address)
            ]
        for cap, counted, ending, whose in caps:
            # Bounded: a client that ends sessions as fast as it opens them could take all slots.
            have = counted + max(0, ending - cap)
            if cap and have >= cap:
                refused = TooManySessions(
                    f"this {whose} has {have} sessions, live or waiting, of {cap} allowed; close one first",
                    retry_after_ms=self._retry_after_ms(),
                )
                refused.ending = counted < cap
                raise refused

    def _count(self, ticket: Ticket, step: int, *, ending: bool = False) -> None:
        if ticket.principal is not None:
            counted = [(self._ending_principals if ending else self._principals, ticket.principal)]
        else:
            addresses = self._ending_addresses if ending else self._addresses
            counted = [(addresses, key) for key, _ in networks(ticket.address)]
        for counter, key in counted:
            counter[key] += step
            if not counter[key]:
                del counter[key]  # or the counters would keep every address that was ever seen

    def _pace_s(self) -> float | None:
        """The expected seconds between two slots becoming free; None if nothing is known.

        With all slots in use, one becomes free every (mean session duration / number of slots) seconds.
        """
        if not self._recent or self._slots <= 0:
            return None
        return sum(self._recent) / len(self._recent) / self._slots

    def _retry_after_ms(self) -> int:
        """The `retry_after_ms` of a refusal, in milliseconds: about the time until one slot becomes free.

        At least 1 s, so that clients do not poll; at most 30 s, as long sessions say little about the next
        slot; 5 s as long as no session has ended.
        """
        pace = self._pace_s()
        return 5000 if pace is None else round(min(max(pace, 1.0), 30.0) * 1000)
