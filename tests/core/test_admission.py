"""Admission by a table of small stories and by a machine that tries all orders of events."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from coderunner.core.admission import API, BACKGROUND, INTERACTIVE, Admission, Ticket
from coderunner.errors import Draining, QueueFull, TooManySessions


def ticket(
    id: str, address: str = "a", *, principal: str | None = None, language: str = "x", deadline: float = 1e9,
    priority: int = INTERACTIVE, memory: int = 0,
) -> Ticket:  # fmt: skip
    return Ticket(id, address, principal, language, deadline, priority, memory)


def ids(tickets) -> list[str]:
    return [t.id for t in tickets]


def filled(slots: int, **options) -> Admission:
    """All slots taken, by addresses of their own."""
    admission = Admission(slots, options.pop("max_queue", 100), **options)
    for number in range(slots):
        assert admission.ask(ticket(f"live{number}", f"address{number}"), 0)
    return admission


class TestStories:
    def test_a_free_slot_is_given_at_once(self):
        admission = Admission(2, 0)
        assert admission.ask(ticket("1"), 0)
        assert admission.ask(ticket("2"), 0)
        with pytest.raises(QueueFull):
            admission.ask(ticket("3"), 0)

    def test_one_client_waits_in_the_order_of_asking(self):
        admission = filled(1)
        for name in "abc":
            assert not admission.ask(ticket(name), 0)
        assert ids(admission.order()) == ["a", "b", "c"]
        assert ids(admission.release("live0", 1)) == ["a"]
        assert ids(admission.release("a", 2)) == ["b"]

    def test_clients_take_turns(self):
        admission = filled(1)
        for name in ("a1", "a2", "a3", "b1", "c1", "c2"):
            admission.ask(ticket(name, address=name[0]), 0)
        assert ids(admission.order()) == ["a1", "b1", "c1", "a2", "c2", "a3"]

    def test_who_was_served_and_asks_again_is_behind_all_who_wait(self):
        admission = filled(1)
        admission.ask(ticket("a1", "a"), 0)
        admission.ask(ticket("b1", "b"), 0)
        assert ids(admission.release("live0", 1)) == ["a1"]
        admission.ask(ticket("a2", "a"), 1)
        assert ids(admission.order()) == ["b1", "a2"]

    def test_a_user_is_one_client_from_all_addresses(self):
        admission = filled(1)
        for name, address in (("1", "p"), ("2", "q"), ("3", "r")):
            admission.ask(ticket(name, address, principal="u"), 0)
        admission.ask(ticket("4", "u"), 0)  # an address of the same letters is another client
        assert ids(admission.order()) == ["1", "4", "2", "3"]

    def test_a_higher_priority_goes_first(self):
        admission = filled(1)
        admission.ask(ticket("back", "a", priority=BACKGROUND), 0)
        admission.ask(ticket("api", "b", priority=API), 0)
        admission.ask(ticket("person", "c"), 0)
        assert ids(admission.order()) == ["person", "api", "back"]

    def test_a_late_waiter_gets_no_slot_but_an_answer(self):
        admission = filled(1)
        admission.ask(ticket("late", deadline=5), 0)
        admission.ask(ticket("patient", deadline=50), 0)
        assert ids(admission.release("live0", 6)) == ["patient"]
        assert ids(admission.expire(6)) == ["late"]
        assert admission.next_deadline() is None

    def test_an_adopted_session_may_exceed_the_slots(self):
        admission = filled(1)
        admission.adopt(ticket("old"), 0)
        admission.ask(ticket("new"), 0)
        assert admission.stats().active == 2
        assert admission.release("live0", 1) == []
        assert ids(admission.release("old", 1)) == ["new"]

    @pytest.mark.parametrize(("principal", "whose"), [(None, "address"), ("u", "user")])
    def test_the_cap_counts_live_and_waiting(self, principal, whose):
        cap = {"per_address": 2} if principal is None else {"per_principal": 2}
        admission = Admission(1, 100, **cap)
        assert admission.ask(ticket("1", principal=principal), 0)
        assert not admission.ask(ticket("2", principal=principal), 0)
        with pytest.raises(TooManySessions, match=f"this {whose} has 2 sessions"):
            admission.ask(ticket("3", principal=principal), 0)
        assert not admission.ask(ticket("4", "other", principal="other"), 0)
        admission.cancel("2")
        assert not admission.ask(ticket("5", principal=principal), 0)

    @pytest.mark.parametrize("principal", [None, "u"])
    def test_a_session_that_is_being_removed_keeps_its_client_from_no_other(self, principal):
        admission = Admission(9, 9, per_address=2, per_principal=2)
        for number in range(4):  # one after another, each of which is removed later
            assert admission.ask(ticket(str(number), principal=principal), 0)
            admission.ending(str(number))
            admission.ending(str(number))  # said twice, it counts once
        # Of the four two go uncounted: the others are as many as it may have.
        with pytest.raises(TooManySessions, match="has 2 sessions") as refused:
            admission.ask(ticket("5", principal=principal), 0)
        assert refused.value.ending
        assert admission.stats().active == 4
        admission.release("0", 1)
        assert admission.ask(ticket("5", principal=principal), 1)
        for number in (1, 2, 3, 5):
            admission.release(str(number), 2)
        admission.ending("5")  # which is not live any more
        assert [admission.ask(ticket(f"next {i}", principal=principal), 3) for i in range(2)] == [True] * 2
        with pytest.raises(TooManySessions) as refused:
            admission.ask(ticket("more", principal=principal), 3)
        assert not refused.value.ending

    def test_an_adopted_session_counts_for_the_cap(self):
        admission = Admission(5, 5, per_address=1)
        admission.adopt(ticket("old"), 0)
        with pytest.raises(TooManySessions):
            admission.ask(ticket("new"), 0)

    def test_a_refused_ticket_leaves_no_trace(self):
        admission = Admission(1, 0, per_address=3)
        admission.ask(ticket("1"), 0)
        for _ in range(5):
            with pytest.raises(QueueFull):
                admission.ask(ticket("2"), 0)
        admission.release("1", 1)
        assert admission.ask(ticket("2"), 1)

    def test_a_draining_server_takes_nobody_and_ends_nobody(self):
        admission = filled(1)
        admission.ask(ticket("a"), 0)
        admission.ask(ticket("b"), 0)
        assert sorted(ids(admission.drain())) == ["a", "b"]
        with pytest.raises(Draining):
            admission.ask(ticket("c"), 0)
        assert admission.stats().active == 1
        assert admission.stats().draining
        admission.adopt(ticket("d"), 0)
        admission.resume()
        assert not admission.stats().draining
        assert not admission.ask(ticket("e"), 0), "it waits, as before"

    def test_one_id_is_one_ticket(self):
        admission = filled(1)
        admission.ask(ticket("w"), 0)
        for name in ("live0", "w"):
            with pytest.raises(ValueError, match="here already"):
                admission.ask(ticket(name), 0)
            with pytest.raises(ValueError, match="here already"):
                admission.adopt(ticket(name), 0)

    def test_a_release_of_no_one_changes_nothing(self):
        admission = filled(1)
        admission.ask(ticket("w"), 0)
        before = admission.stats()
        assert admission.release("w", 5) == []
        assert admission.release("?", 5) == []
        assert admission.stats() == before

    def test_estimates_come_from_ended_sessions(self):
        admission = filled(2)
        admission.ask(ticket("a"), 0)
        admission.ask(ticket("b"), 0)
        admission.ask(ticket("c"), 0)
        assert {p.eta_ms for p in admission.positions(0).values()} == {None}
        admission.release("live0", 10)  # a session of 10 s; two slots: one is free every 5 s
        assert {n: p.eta_ms for n, p in admission.positions(10).items()} == {"b": 5000, "c": 10000}

    def test_statistics_of_the_ended(self):
        admission = filled(3)
        admission.release("live0", 2)
        admission.release("live1", 4, failed=True)
        admission.release("live2", 100, failed=None)
        stats = admission.stats()
        assert (stats.completed, stats.failed, stats.average_task_ms, stats.active) == (1, 1, 3000.0, 0)

    def test_refusals_say_when_to_come_again(self):
        admission = filled(1, max_queue=0)
        with pytest.raises(QueueFull) as caught:
            admission.ask(ticket("w"), 0)
        assert caught.value.retry_after_ms == 5000


class TestMemory:
    """Slots are plenty here: what the containers may use together is not."""

    def test_who_does_not_fit_waits_for_memory(self):
        admission = Admission(50, 50, memory=1000)
        assert admission.ask(ticket("a", memory=600), 0)
        assert not admission.ask(ticket("b", "b", memory=600), 0)
        assert admission.grant(0) == []
        assert (admission.stats().memory, admission.stats().memory_limit) == (600, 1000)
        assert ids(admission.release("a", 1)) == ["b"]

    def test_small_ones_do_not_pass_a_large_one_for_ever(self):
        admission = Admission(50, 50, memory=1000)
        assert admission.ask(ticket("a", memory=600), 0)
        assert not admission.ask(ticket("large", "b", memory=600), 0)
        assert not admission.ask(ticket("small", "c", memory=100), 0)
        assert admission.grant(0) == []
        assert ids(admission.release("a", 1)) == ["large", "small"]

    def test_when_the_large_one_gives_up_the_small_one_goes_on(self):
        admission = Admission(50, 50, memory=1000)
        assert admission.ask(ticket("a", memory=600), 0)
        assert not admission.ask(ticket("large", "b", memory=600), 0)
        assert not admission.ask(ticket("small", "c", memory=100), 0)
        assert admission.cancel("large")
        assert ids(admission.grant(0)) == ["small"]

    def test_what_is_larger_than_all_memory_comes_in_alone(self):
        admission = Admission(50, 50, memory=1000)
        assert admission.ask(ticket("huge", memory=5000), 0)
        assert not admission.ask(ticket("b", "b", memory=1), 0)
        assert ids(admission.release("huge", 1)) == ["b"]

    def test_fifty_small_sessions_fit_where_thirty_large_ones_do(self):
        """50 of the usual 256 MiB on a machine of 4 GiB, with the bound that is made from it."""
        admission = Admission(50, 50, memory=4 * 4 * 2**30)
        assert all(admission.ask(ticket(f"{n}", f"{n}", memory=2**28), 0) for n in range(50))
        admission = Admission(50, 50, memory=4 * 4 * 2**30)
        got = [admission.ask(ticket(f"{n}", f"{n}", memory=2**29), 0) for n in range(50)]
        assert got.count(True) == 32

    def test_an_adopted_session_counts_and_may_exceed_it(self):
        admission = Admission(5, 5, memory=1000)
        for name in "ab":
            admission.adopt(ticket(name, memory=700), 0)
        assert admission.stats().memory == 1400
        assert not admission.ask(ticket("c", memory=1), 0)
        assert admission.release("a", 1)


class AdmissionMachine(RuleBasedStateMachine):
    """Against a model that only keeps sets, and that knows which answer each ticket got."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.number = 0
        self.slots = 2
        self.max_queue = 6
        self.cap = 5
        self.memory = 10
        self.admission = Admission(self.slots, self.max_queue, per_address=self.cap, memory=self.memory)
        self.live: dict[str, Ticket] = {}
        self.waiting: dict[str, Ticket] = {}
        self.ended = 0
        self.ending: set[str] = set()
        self.draining = False

    def counted(self, address: str) -> int:
        """How many sessions an address has, of those that are ending without as many as it may have."""
        mine = [t.id for t in [*self.live.values(), *self.waiting.values()] if t.address == address]
        ending = sum(name in self.ending for name in mine)
        return len(mine) - min(ending, self.cap)

    def take(self, granted) -> None:
        for one in granted:
            assert one.deadline > self.now
            self.live[one.id] = self.waiting.pop(one.id)
        if granted:
            assert len(self.live) <= self.slots

    def fits(self, one, live) -> bool:
        used = sum(t.memory for t in live)
        return len(live) < self.slots and (not live or used + one.memory <= self.memory)

    def expected(self, gone: str = "") -> list[str]:
        """Who gets a slot now, where the session ``gone`` has just ended."""
        live = [t for name, t in self.live.items() if name != gone]
        got = []
        for one in self.admission.order():
            if one.deadline > self.now:
                if not self.fits(one, live):
                    break
                live.append(one)
                got.append(one)
        return ids(got)

    def grant(self) -> None:
        expected = self.expected()
        granted = self.admission.grant(self.now)
        assert ids(granted) == expected
        self.take(granted)

    @rule(
        address=st.sampled_from("abc"), priority=st.sampled_from([0, 1, 2]), patience=st.integers(1, 20),
        language=st.sampled_from(["x", "y"]), memory=st.sampled_from([0, 3, 8, 12]),
    )  # fmt: skip
    def ask(self, address, priority, patience, language, memory) -> None:
        self.number += 1
        one = ticket(str(self.number), address, language=language, deadline=self.now + patience,
                     priority=priority, memory=memory)  # fmt: skip
        try:
            got = self.admission.ask(one, self.now)
        except Draining:
            assert self.draining
        except TooManySessions:
            assert self.counted(address) >= self.cap
        except QueueFull:
            assert len(self.waiting) >= self.max_queue
            assert self.waiting or not self.fits(one, self.live.values())
        else:
            assert not self.draining
            assert self.counted(address) < self.cap
            assert got == (not self.waiting and self.fits(one, self.live.values()))
            (self.live if got else self.waiting)[one.id] = one
            self.grant()

    @precondition(lambda self: self.live)
    @rule(data=st.data(), failed=st.sampled_from([False, True, None]))
    def release(self, data, failed) -> None:
        one = data.draw(st.sampled_from(sorted(self.live)))
        expected = self.expected(one)
        granted = self.admission.release(one, self.now, failed=failed)
        del self.live[one]
        self.ended += failed is not None
        assert ids(granted) == expected
        self.take(granted)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def end(self, data) -> None:
        one = data.draw(st.sampled_from(sorted(self.live)))
        self.admission.ending(one)
        self.ending.add(one)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data) -> None:
        one = data.draw(st.sampled_from(sorted(self.waiting)))
        before = ids(self.admission.order())
        assert self.admission.cancel(one)
        assert not self.admission.cancel(one)
        del self.waiting[one]
        assert set(ids(self.admission.order())) == set(before) - {one}
        self.grant()

    @rule(seconds=st.integers(1, 8))
    def time_passes(self, seconds) -> None:
        self.now += seconds
        late = self.admission.expire(self.now)
        assert set(ids(late)) == {t.id for t in self.waiting.values() if t.deadline <= self.now}
        for one in late:
            del self.waiting[one.id]
        self.grant()

    @rule()
    def adopt(self) -> None:
        if len(self.live) < 8:
            self.number += 1
            one = ticket(str(self.number), "adopted", memory=3)
            self.admission.adopt(one, self.now)
            self.live[one.id] = one

    @precondition(lambda self: self.number > 25)
    @rule()
    def drain(self) -> None:
        assert set(ids(self.admission.drain())) == set(self.waiting)
        self.waiting.clear()
        self.draining = True

    @invariant()
    def statistics_are_true(self) -> None:
        stats = self.admission.stats()
        assert (stats.active, stats.queued, stats.slots) == (len(self.live), len(self.waiting), self.slots)
        assert stats.memory == sum(t.memory for t in self.live.values())
        assert stats.completed + stats.failed == self.ended
        assert sum(stats.queued_by_language.values()) == len(self.waiting)
        for language, count in stats.queued_by_language.items():
            assert count == sum(t.language == language for t in self.waiting.values())
        assert set(ids(self.admission.order())) == set(self.waiting)

    @invariant()
    def nobody_waits_who_could_have_a_slot(self) -> None:
        first = next(self.admission.order(), None)
        assert first is None or not self.fits(first, self.live.values())

    @invariant()
    def positions_are_true(self) -> None:
        positions = self.admission.positions(self.now)
        order = ids(self.admission.order())
        assert {name: p.position for name, p in positions.items()} == {n: i for i, n in enumerate(order, 1)}
        assert set(order) == set(self.waiting)
        for name, place in positions.items():
            assert place.ahead == place.position - 1
            assert place.deadline_ms == round((self.waiting[name].deadline - self.now) * 1000)
        deadlines = [t.deadline for t in self.waiting.values()]
        assert self.admission.next_deadline() == min(deadlines, default=None)

    @invariant()
    def turns_are_fair(self) -> None:
        """Within a priority: with k clients waiting, each gets one of the next k slots; own order is kept."""
        order = list(self.admission.order())
        assert [t.priority for t in order] == sorted((t.priority for t in order), reverse=True)
        for priority in {t.priority for t in order}:
            line = [t for t in order if t.priority == priority]
            clients = {t.client for t in line}
            assert {t.client for t in line[: len(clients)]} == clients
            for client in clients:
                own = [int(t.id) for t in line if t.client == client]
                assert own == sorted(own)


TestAdmissionMachine = AdmissionMachine.TestCase
TestAdmissionMachine.settings = settings(
    max_examples=120, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_with_k_clients_waiting_each_gets_one_of_the_next_k_slots_whoever_comes_meanwhile():
    admission = filled(1)
    for client in "abcd":
        for number in range(5):
            admission.ask(ticket(f"{client}{number}", client), 0)
    served = []
    running = "live0"
    for step in range(4):
        [granted] = admission.release(running, step)
        running = granted.id
        served.append(granted.address)
        admission.ask(ticket(f"e{step}", "e"), step)
    assert sorted(served) == ["a", "b", "c", "d"]
