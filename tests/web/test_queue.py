"""Slots, the queue and the statistics, as clients see them; a server of its own with two slots."""

from __future__ import annotations

import asyncio

import pytest

from coderunner.schema import messages as m
from tests.harness import Server, connect, eventually, random_id, running_server, session


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    with running_server(
        tmp_path_factory.mktemp("small"),
        MAX_CONCURRENT_SESSIONS="2",
        MAX_QUEUE_SIZE="3",
        QUEUE_TIMEOUT="2500",
        LANGUAGES="python",
        WARM_MAX="2",
        WARM_FLOOR="2",
    ) as one:
        yield one


async def idle(server: Server) -> None:
    await eventually(lambda: server.stats()["queue"]["active"] == 0, 20, "no live session")


class TestQueue:
    async def test_the_waiting_are_told_their_place_and_get_the_slot(self, small):
        async with session(small) as one, session(small):
            async with connect(small.url) as third, connect(small.url) as fourth:
                await third.send(m.Open("python", third.client))
                assert (await third.message(m.Queued)).position == 1
                await fourth.send(m.Open("python", fourth.client))
                place = await fourth.message(m.Queued)
                assert (place.position, place.ahead) == (2, 1)
                stats = small.stats()["queue"]
                assert (stats["active"], stats["queued"], stats["queuedByLanguage"]) == (2, 2, {"python": 2})
                await one.send(m.Close())
                await third.wait(lambda: third.opened)
                assert (await fourth.message(m.Queued)).position == 1
                await fourth.send(m.Close())
                assert await fourth.closed() == 1000
                await third.send(m.Close())
                await third.closed()
        await idle(small)

    async def test_every_waiter_is_answered_by_its_deadline(self, small):
        async with session(small), session(small), connect(small.url) as third:
            await third.send(m.Open("python", third.client))
            queued = await third.message(m.Queued)
            assert 0 < queued.deadline_ms <= 2500
            error = await third.error("queue_timeout")
            assert error.retryable
            assert await third.closed() == 4503
        await idle(small)

    async def test_a_full_queue_says_so_at_once(self, small):
        async with session(small), session(small):
            async with connect(small.url) as a, connect(small.url) as b, connect(small.url) as c:
                for one in (a, b, c):
                    await one.send(m.Open("python", one.client))
                    await one.message(m.Queued)
                async with connect(small.url) as late:
                    await late.send(m.Open("python", late.client))
                    error = await late.error("queue_full")
                    assert error.retry_after_ms > 0
                    assert await late.closed() == 4503
        await idle(small)

    async def test_a_lost_socket_keeps_its_place_for_its_nonce(self, small):
        nonce = random_id()
        async with session(small) as one, session(small):
            async with connect(small.url) as third:
                await third.send(m.Open("python", third.client, nonce=nonce))
                await third.message(m.Queued)
                third.drop()
                await third.closed()
            assert small.stats()["queue"]["queued"] == 1
            async with connect(small.url, client=third.client) as again:
                await again.send(m.Open("python", again.client, nonce=nonce))
                assert (await again.message(m.Queued)).position == 1
                await one.send(m.Close())
                await again.wait(lambda: again.opened)
                await again.send(m.Close())
                await again.closed()
        await idle(small)

    async def test_a_lost_socket_without_a_nonce_leaves(self, small):
        async with session(small), session(small):
            async with connect(small.url) as third:
                await third.send(m.Open("python", third.client))
                await third.message(m.Queued)
                third.drop()
                await third.closed()
            await eventually(lambda: small.stats()["queue"]["queued"] == 0, 5, "an empty queue")
        await idle(small)


class TestStatistics:
    async def test_they_are_true_under_load(self, small):
        before = small.stats()["queue"]["completedTasks"]
        finished = 0

        async def visit(number: int) -> None:
            nonlocal finished
            while True:
                async with connect(small.url) as one:
                    await one.send(m.Open("python", one.client))
                    await one.wait(
                        lambda: one.opened or any(isinstance(x, m.ErrorMessage) for x in one.messages), 30
                    )
                    if one.opened is None:
                        await one.closed()
                        continue
                    stats = small.stats()["queue"]
                    assert 1 <= stats["active"] <= 2
                    assert stats["queued"] <= 3
                    assert (await one.result(1, f"print({number})")).text == f"{number}\n"
                    await one.send(m.Close())
                    await one.closed()
                    finished += 1
                    return

        await asyncio.gather(*(visit(number) for number in range(8)))
        await idle(small)
        stats = small.stats()
        assert stats["queue"]["completedTasks"] == before + finished == before + 8
        workers = stats["workerPool"]
        assert workers["totalWorkers"] == workers["activeWorkers"] + workers["idleWorkers"] == 4


class TestCaps:
    async def test_one_address_cannot_take_every_slot(self, tmp_path):
        with running_server(
            tmp_path,
            SESSIONS_PER_ADDRESS="1",
            TRUSTED_PROXIES="127.0.0.1",
            LANGUAGES="python",
            WARM_MAX="1",
        ) as server:
            async with session(server, headers={"X-Forwarded-For": "203.0.113.1"}):
                async with connect(server.url, headers={"X-Forwarded-For": "203.0.113.1"}) as second:
                    await second.send(m.Open("python", second.client))
                    await second.error("too_many_sessions")
                    assert await second.closed() == 4429
                async with session(server, headers={"X-Forwarded-For": "203.0.113.2"}) as other:
                    assert (await other.result(1, "print('in')")).text == "in\n"
