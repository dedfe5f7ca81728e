from __future__ import annotations

import asyncio
import random

import pytest

from coderunner import timing
from coderunner.core.admission import Admission, Position, Ticket
from coderunner.errors import CodeRunnerError, Draining, QueueFull, QueueTimeout, TooManySessions
from coderunner.fleet.queue import AdmissionQueue, Slot
from tests.sessions.fakes import alive


class Client:
    """Someone who asks, and what they were told. `told` is set with each position."""

    def __init__(self, queue: AdmissionQueue, id: str, address: str = "a", patience: float = 30) -> None:
        self.positions: list[int] = []
        self.places: list[Position] = []
        self.told = asyncio.Event()
        deadline = asyncio.get_running_loop().time() + patience
        ticket = Ticket(id, address, None, "x", deadline)
        self.task = asyncio.create_task(queue.acquire(ticket, self.on_place))

    def on_place(self, place: Position) -> None:
        self.places.append(place)
        self.positions.append(place.position)
        self.told.set()

    async def slot(self) -> Slot:
        return await asyncio.wait_for(self.task, 5)

    async def waiting(self) -> Client:
        await asyncio.wait_for(self.told.wait(), 5)
        return self

    async def error(self) -> Exception | None:
        await asyncio.wait([self.task], timeout=5)
        return self.task.exception()


async def test_a_free_slot_is_given_without_a_position():
    queue = AdmissionQueue(Admission(1, 5))
    client = Client(queue, "1")
    await client.slot()
    assert client.positions == []
    assert queue.stats().active == 1
    assert not queue.wanted


async def test_positions_are_pushed_only_when_they_change():
    queue = AdmissionQueue(Admission(1, 5))
    first = await Client(queue, "1").slot()
    waiters = [await Client(queue, str(n)).waiting() for n in (2, 3, 4)]
    assert [w.positions for w in waiters] == [[1], [2], [3]]
    assert queue.wanted
    first.release()
    second = await waiters[0].slot()
    assert [w.positions for w in waiters] == [[1], [2, 1], [3, 2]]
    waiters[1].task.cancel()
    await asyncio.wait([waiters[1].task])
    assert waiters[2].positions == [3, 2, 1]
    second.release()
    await waiters[2].slot()


async def test_release_is_idempotent_even_when_the_slot_is_another_s():
    queue = AdmissionQueue(Admission(1, 5))
    first = await Client(queue, "1").slot()
    waiter = await Client(queue, "2").waiting()
    first.release()
    first.release()
    again = await waiter.slot()
    third = await Client(queue, "1").waiting()  # the ticket's name is free, and used anew
    first.release(failed=True)
    assert queue.stats().active == 1
    again.release()
    await third.slot()
    first.release()
    assert queue.stats().active == 1
    assert (queue.stats().completed, queue.stats().failed) == (2, 0)


async def test_every_waiter_is_answered_at_its_deadline():
    queue = AdmissionQueue(Admission(1, 5))
    await Client(queue, "1").slot()
    loop = asyncio.get_running_loop()
    began = loop.time()
    hasty, patient = Client(queue, "2", patience=0.6), Client(queue, "3", patience=1.2)
    errors = [await hasty.error(), await patient.error()]
    assert [type(e) for e in errors] == [QueueTimeout, QueueTimeout]
    assert loop.time() - began >= 1.2
    assert patient.positions == [2, 1]
    assert hasty.places[0].deadline_ms in range(1, 601)
    assert queue.stats().queued == 0


async def test_refusals_come_at_once():
    queue = AdmissionQueue(Admission(1, 1, per_address=2))
    await Client(queue, "1", "a").slot()
    await Client(queue, "2", "a").waiting()
    assert isinstance(await Client(queue, "3", "a").error(), TooManySessions)
    assert isinstance(await Client(queue, "4", "b").error(), QueueFull)


async def test_draining_answers_all_who_wait_and_all_who_come():
    queue = AdmissionQueue(Admission(1, 5))
    slot = await Client(queue, "1").slot()
    waiters = [await Client(queue, str(n)).waiting() for n in (2, 3)]
    queue.drain()
    assert [type(await w.error()) for w in waiters] == [Draining, Draining]
    assert isinstance(await Client(queue, "4").error(), Draining)
    assert queue.stats().active == 1
    slot.release()
    assert queue.stats().active == 0


async def test_an_adopted_session_holds_a_slot_beyond_the_number():
    queue = AdmissionQueue(Admission(1, 5))
    first = await Client(queue, "1").slot()
    adopted = queue.adopt(Ticket("old", "a", None, "x", 0))
    waiter = await Client(queue, "2").waiting()
    assert queue.stats().active == 2
    adopted.release()
    assert queue.stats().active == 1
    assert not waiter.task.done()
    first.release()
    await waiter.slot()


async def test_cancelled_while_it_is_being_granted_the_slot_goes_on():
    queue = AdmissionQueue(Admission(1, 5))
    first = await Client(queue, "1").slot()
    second, third = await Client(queue, "2").waiting(), await Client(queue, "3").waiting()
    first.release()  # second's future has its result now, but its task has not run
    second.task.cancel()
    slot = await third.slot()
    assert second.task.cancelled()
    assert queue.stats().active == 1
    assert queue.stats().completed == 1, "who never began is not counted"
    slot.release()
    assert queue.stats().active == 0


async def test_granted_to_one_who_was_cancelled_a_moment_before():
    queue = AdmissionQueue(Admission(1, 5))
    first = await Client(queue, "1").slot()
    second, third = await Client(queue, "2").waiting(), await Client(queue, "3").waiting()
    second.task.cancel()  # its future is cancelled, its task has not run
    first.release()
    await third.slot()
    assert queue.stats().active == 1


async def test_cancelled_in_the_moment_of_its_timeout(caplog):
    queue = AdmissionQueue(Admission(1, 5))
    await Client(queue, "1").slot()
    second = await Client(queue, "2").waiting()
    queue.drain()
    second.task.cancel()
    await asyncio.wait([second.task])
    assert second.task.cancelled()
    assert queue.stats().queued == 0
    assert not caplog.records


async def test_a_failing_listener_harms_nobody(caplog):
    queue = AdmissionQueue(Admission(1, 5))
    first = await Client(queue, "1").slot()

    def fail(place: Position) -> None:
        raise RuntimeError("socket gone")

    deadline = asyncio.get_running_loop().time() + 30
    broken = asyncio.create_task(queue.acquire(Ticket("2", "a", None, "x", deadline), fail))
    sound = await Client(queue, "3").waiting()
    first.release()
    (await asyncio.wait_for(broken, 5)).release()
    await sound.slot()
    assert "Telling a queue position failed" in caplog.text


async def test_a_listener_that_changes_the_queue_leaves_no_stale_position():
    queue = AdmissionQueue(Admission(1, 9))
    first = await Client(queue, "1").slot()
    second = await Client(queue, "2").waiting()
    third = await Client(queue, "3", "b").waiting()
    seen: list[int] = []

    def release_first(place: Position) -> None:
        seen.append(place.position)
        first.release()

    deadline = asyncio.get_running_loop().time() + 30
    fourth = asyncio.create_task(queue.acquire(Ticket("4", "c", None, "x", deadline), release_first))
    await second.slot()
    assert seen == [3, 2]
    assert third.positions == [2, 1]
    fourth.cancel()
    third.task.cancel()
    await asyncio.wait([fourth, third.task])


async def test_a_long_queue_is_counted_for_many_changes_at_once(monkeypatch):
    admission, counted = Admission(1, 500), []
    positions = admission.positions
    monkeypatch.setattr(admission, "positions", lambda now: counted.append(now) or positions(now))
    queue = AdmissionQueue(admission)
    first = await Client(queue, "first").slot()
    waiters = [Client(queue, str(n)) for n in range(400)]
    await waiters[-1].waiting()
    assert [one.positions[-1] for one in waiters] == list(range(1, 401))
    assert len(counted) < 100  # for each of those that were told at once, and a few for the others
    for one in waiters[1:300]:
        one.task.cancel()
    first.release()
    await waiters[0].slot()
    while waiters[-1].positions[-1] != 100:
        waiters[-1].told.clear()
        await waiters[-1].waiting()
    assert [one.positions[-1] for one in waiters[300:]] == list(range(1, 101))
    assert len(counted) < 100
    queue.drain()
    assert {type(await one.error()) for one in waiters[300:]} == {Draining}


async def test_no_timer_is_left_behind():
    before = alive(timing.Timer)
    queue = AdmissionQueue(Admission(1, 5))
    first = await Client(queue, "1").slot()
    second = await Client(queue, "2").waiting()
    first.release()
    (await second.slot()).release()
    third = await Client(queue, "3").slot()
    fourth = await Client(queue, "4").waiting()
    fourth.task.cancel()
    await asyncio.wait([fourth.task])
    assert alive(timing.Timer) == before
    third.release()


@pytest.mark.parametrize("seed", range(8))
async def test_a_crowd_in_disorder_is_answered_to_the_last(seed):
    """Arrivals, cancellations, deadlines and releases in random order; the figures are true at every step."""
    chance = random.Random(seed)
    timers = alive(timing.Timer)
    slots = 3
    queue = AdmissionQueue(Admission(slots, 20, per_address=12))
    held: list[Slot] = []
    clients: list[Client] = []

    def acquire(client: Client) -> None:
        if not client.task.cancelled() and client.task.exception() is None:
            held.append(client.task.result())

    for step in range(300):
        match chance.randrange(5):
            case 0 | 1:
                client = Client(queue, str(step), chance.choice("abcd"), chance.choice([0.0, 0.01, 30]))
                client.task.add_done_callback(lambda _, client=client: acquire(client))
                clients.append(client)
            case 2 if held:
                held.pop(chance.randrange(len(held))).release(failed=chance.random() < 0.3)
            case 3 if clients:
                chance.choice(clients).task.cancel()
        if chance.random() < 0.7:
            await asyncio.sleep(0)
        stats = queue.stats()
        assert stats.active <= slots
        assert stats.queued <= 20
        assert stats.queued == 0 or stats.active == slots
    while queue.stats().active or queue.stats().queued:
        while held:
            held.pop().release()
        await asyncio.sleep(0)
    done, pending = await asyncio.wait([client.task for client in clients], timeout=5)
    assert not pending
    for task in done:
        assert task.cancelled() or task.exception() is None or isinstance(task.exception(), CodeRunnerError)
    while held:
        held.pop().release()
    assert queue.stats().active == 0
    assert alive(timing.Timer) == timers
    assert queue.stats().queued == 0
    assert not queue.wanted


@pytest.mark.parametrize("slots", [1, 2])
async def test_a_fault_at_a_request_costs_nobody_else_a_slot(monkeypatch, slots):
    """One that waited would be given a slot later, and nobody would be there to give it back."""
    queue = AdmissionQueue(Admission(slots, 5))
    first = await Client(queue, "1").slot()
    name = "_note"
    note = getattr(AdmissionQueue, name)

    def fails(self: AdmissionQueue, what: str, ticket: Ticket, *more: object) -> None:
        if ticket.id == "2" and what != "no slot":
            raise ZeroDivisionError
        note(self, what, ticket, *more)

    monkeypatch.setattr(AdmissionQueue, name, fails)
    assert isinstance(await Client(queue, "2").error(), ZeroDivisionError)
    assert (queue.stats().active, queue.stats().queued) == (1, 0)
    first.release()
    for number in range(3, 3 + slots):
        await Client(queue, str(number)).slot()
    assert queue.stats().active == slots
