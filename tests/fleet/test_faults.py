"""The pools and the queue fail at one of their own tasks: nobody waits for ever, and nothing is kept."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from coderunner import timing
from coderunner.core.admission import Admission, Ticket
from coderunner.errors import InternalError, QueueTimeout
from coderunner.fleet.guests import Guests
from coderunner.fleet.queue import AdmissionQueue
from coderunner.fleet.warm import WarmPool
from coderunner.fleet.workers import WorkerPool
from coderunner.identity.guest import new_guest_token
from coderunner.sessions.container import Container
from tests.fleet.test_registry import registry
from tests.sessions.fakes import until
from tests.sessions.test_faults import Bug, faults, once, raises


class TestPools:
    async def test_a_fault_at_making_a_container_is_not_repeated_without_a_pause(self, monkeypatch, caplog):
        """It used to be: 649 creates in a second, and no word of it."""
        _, provisioner = registry()
        asked = []

        async def create(language: str, *, priority: int, wait_for_preload: bool) -> None:
            asked.append(language)
            await asyncio.sleep(0)
            raise Bug

        provisioner.create = create
        async with WarmPool(provisioner, floor=1, ceiling=1, memory_available=lambda: 1.0) as pool:
            await until(lambda: asked, "an attempt")
            for _ in range(100):
                pool.wake()
                await asyncio.sleep(0)
            assert len(asked) == 1
            assert pool.stats().starting == 0
        assert faults(caplog) == [{"owner": "warm pool", "task": "warm-container"}]

    async def test_a_fault_at_adjusting_it_does_not_end_it(self, monkeypatch, caplog):
        monkeypatch.setattr("coderunner.tasks.AGAIN_SECONDS", 0.01)
        _, provisioner = registry()
        create = provisioner.create
        provisioner.create = lambda language, *, priority, wait_for_preload: create(language)
        once(monkeypatch, WarmPool, "_adjust")
        async with WarmPool(provisioner, floor=1, ceiling=1, memory_available=lambda: 1.0) as pool:
            await until(lambda: pool.waiting == 1, "a container, all the same")
        assert faults(caplog) == [{"owner": "warm pool", "task": "warm-pool"}]
        assert provisioner.removed == ["c-0"]

    async def test_a_container_that_we_failed_at_serves_nobody(self, monkeypatch):
        _, provisioner = registry()
        create = provisioner.create
        provisioner.create = lambda language, *, priority, wait_for_preload: create(language)
        async with WarmPool(provisioner, floor=1, ceiling=1, memory_available=lambda: 1.0) as pool:
            await until(lambda: pool.waiting == 1, "a container")
            once(monkeypatch, Container, "_mend")
            provisioner.agents[0].stream.cut()
            await until(provisioner.containers[0].fault.done, "the fault")
            assert pool.acquire("python") is None
        assert "c-0" in provisioner.removed

    async def test_a_fault_of_a_worker_answers_its_caller_and_costs_no_worker(self, monkeypatch, caplog):
        monkeypatch.setattr("coderunner.tasks.AGAIN_SECONDS", 0.01)

        async def work() -> int:
            await asyncio.sleep(0)
            return 7

        async with WorkerPool(1) as pool:
            once(monkeypatch, WorkerPool, "_bounded")
            with pytest.raises(Bug):
                await pool.submit(work, name="work", timeout=5)
            once(monkeypatch, WorkerPool, "_run")
            with pytest.raises(InternalError):
                await pool.submit(work, name="work", timeout=5)
            assert await pool.submit(work, name="work", timeout=5) == 7
            assert pool.stats().active == 0
        assert faults(caplog) == [{"owner": "worker pool", "task": "worker-1"}]

    async def test_a_fault_at_giving_back_is_logged(self, caplog):
        begun, given = asyncio.Event(), asyncio.Event()

        async def work() -> int:
            begun.set()
            await given.wait()
            return 7

        async with WorkerPool(1) as pool:
            job = asyncio.ensure_future(pool.submit(work, name="work", timeout=5, on_orphan=raises))
            await begun.wait()
            job.cancel()
            await asyncio.gather(job, return_exceptions=True)
            given.set()
        assert "Giving back the result" in caplog.text

    async def test_a_fault_at_the_queues_deadlines_leaves_nobody_waiting_for_ever(self, monkeypatch, caplog):
        monkeypatch.setattr("coderunner.fleet.queue.LOOK_SECONDS", 0.05)
        queue = AdmissionQueue(Admission(1, 8))
        now = timing.now()
        await queue.acquire(Ticket("1", "a", None, "python", now + 60), lambda _: None)
        waiting = asyncio.ensure_future(
            queue.acquire(Ticket("2", "b", None, "python", now + 0.1), lambda _: None)
        )
        await asyncio.sleep(0)
        once(monkeypatch, Admission, "expire")
        with pytest.raises(QueueTimeout):
            await asyncio.wait_for(waiting, 5)
        assert "checking the queue failed" in caplog.text


class TestGuests:
    async def test_a_fault_at_revoking_a_token_is_logged_and_its_caller_told(self, caplog):
        """The connections of who has it are closed all the same."""
        closed = []

        async def fails(*_: object) -> None:
            raise Bug

        company = SimpleNamespace(revoke=lambda serial: closed.append(serial) or 1)
        guests = Guests(SimpleNamespace(write=fails))
        serial, _, _ = new_guest_token()
        with pytest.raises(Bug):
            await guests.revoke(SimpleNamespace(id="s-0", company=company), serial)
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()}, "no task left")
        assert closed == [serial]
        assert faults(caplog) == [{"owner": "guests", "task": "guest-revoke"}]
