"""The shelf of waiting containers: what is taken off it is somebody's, also when the server stops."""

from __future__ import annotations

import asyncio

from coderunner.fleet.warm import WarmPool
from tests.fleet.test_registry import Provisioner, declarations
from tests.sessions.fakes import until


async def test_a_container_that_is_being_thrown_away_is_gone_before_the_pool_is():
    provisioner = Provisioner(declarations.load(only=["python"]))
    begun, go = asyncio.Event(), asyncio.Event()
    create, remove = provisioner.create, provisioner.remove

    async def made(language, *, priority, wait_for_preload):
        return await create(language)

    async def slowly(container):
        begun.set()
        await go.wait()
        await remove(container)

    provisioner.create, provisioner.remove = made, slowly
    pool = WarmPool(provisioner, floor=1, ceiling=1, memory_available=lambda: 1.0)
    async with pool:
        await until(lambda: pool.stats().ready == 1, "a container")
        provisioner.agents[0].stream.cut()
        provisioner.engine.away = True
        await until(provisioner.containers[0].link.closed.done, "its link broken")
        assert pool.acquire("python") is None
        await begun.wait()
        asyncio.get_running_loop().call_soon(go.set)
    assert "c-0" in provisioner.removed


def pool_of(provisioner: Provisioner, **fields: int) -> WarmPool:
    create = provisioner.create
    provisioner.waited = []  # for each container, whether it waits for its preload

    async def made(language, *, priority, wait_for_preload):
        provisioner.waited.append(wait_for_preload)
        return await create(language)

    provisioner.create = made
    return WarmPool(provisioner, **{"floor": 1, "ceiling": 4, **fields}, memory_available=lambda: 1.0)


async def test_who_has_just_come_runs_a_program_before_the_pool_is_filled_again(monkeypatch):
    monkeypatch.setattr("coderunner.fleet.warm.PAUSE_SECONDS", 0.2)
    provisioner = Provisioner(declarations.load(only=["python"]))
    async with pool_of(provisioner) as pool:
        await until(lambda: pool.stats().ready == 1, "a container")
        loop = asyncio.get_running_loop()
        taken = loop.time()
        container = pool.acquire("python")
        assert container is not None
        await until(lambda: len(provisioner.agents) > 1, "another")
        assert loop.time() - taken >= 0.2
        await provisioner.remove(container)


async def test_in_a_crowd_the_pool_is_filled_at_once(monkeypatch):
    monkeypatch.setattr("coderunner.fleet.warm.PAUSE_SECONDS", 30.0)
    provisioner = Provisioner(declarations.load(only=["python"]))
    async with pool_of(provisioner) as pool:
        await until(lambda: pool.stats().ready == 1, "a container")
        container = pool.acquire("python")
        assert container is not None
        assert pool.acquire("python") is None
        await until(lambda: pool.stats().ready == 3, "a container for each who came, and the floor's")
        # The next one who comes gets a container sooner without its preload.
        assert provisioner.waited == [True, False, False, False]
        await provisioner.remove(container)
