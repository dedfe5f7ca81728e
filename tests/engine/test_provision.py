"""Containers on the real engine, made by workers: names that are taken, and what a failure tells."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coderunner import declarations
from coderunner.engine.docker import DockerEngine
from coderunner.engine.sockets import AgentSockets
from coderunner.errors import EngineError, NameConflict, StartFailed
from coderunner.fleet import provision
from coderunner.fleet.catalog import READY, LanguageCatalog, Readiness
from coderunner.fleet.provision import Identity, Provisioner
from coderunner.fleet.uids import Uids
from coderunner.fleet.workers import WorkerPool
from coderunner.sessions.container import END_SECONDS
from tests.harness import ENGINE, docker
from tests.images.conftest import server_builder

INSTANCE = f"test-{secrets.token_hex(4)}"


@pytest.fixture
async def provisioner() -> AsyncIterator[Provisioner]:
    declared = declarations.load(only=["bash"])
    catalog = LanguageCatalog(declared.languages, declared.rules.defaults)
    catalog.set_state("bash", Readiness(READY, "", await server_builder().ensure("bash", lambda _line: None)))
    async with DockerEngine.connect(ENGINE, 10) as engine, WorkerPool(2) as pool:
        identity = Identity(INSTANCE, "o", "coderunner", None, lifetime_ms=60_000, create_seconds=30)
        yield Provisioner(engine, pool, catalog, Uids(20_000, 4), identity)
        for left in await engine.list({"coderunner.instance": INSTANCE}):
            await engine.remove(left.id)


def all_free(uids: Uids) -> bool:
    """Whether none of them is in use; takes them all."""
    return {uids.acquire(f"test {number}") for number in uids.all} == set(uids.all)


async def test_a_name_that_is_taken_is_no_failure(provisioner: Provisioner, monkeypatch: Any) -> None:
    names = iter(["taken", "taken", "free"])
    monkeypatch.setattr(provision.secrets, "token_hex", lambda _bytes: next(names))
    first = await provisioner.create("bash")
    second = await provisioner.create("bash")
    assert [first.session, second.session] == [f"{INSTANCE}-taken", f"{INSTANCE}-free"]
    assert first.uid != second.uid
    for one in (first, second):
        assert not one.gone.done()
        await provisioner.remove(one)
    assert await provisioner.engine.list({"coderunner.instance": INSTANCE}) == []
    assert all_free(provisioner.uids)


async def test_a_name_that_stays_taken_is_told_and_harms_nobody(
    provisioner: Provisioner, monkeypatch: Any
) -> None:
    monkeypatch.setattr(provision.secrets, "token_hex", lambda _bytes: "taken")
    first = await provisioner.create("bash")
    with pytest.raises(NameConflict):
        await provisioner.create("bash")
    assert "already in use" in (provisioner.trouble() or "")
    assert not first.gone.done()
    await provisioner.remove(first)
    again = await provisioner.create("bash")
    assert provisioner.trouble() is None
    await provisioner.remove(again)


async def test_trouble_is_what_the_engine_says(provisioner: Provisioner) -> None:
    provisioner.identity = replace(provisioner.identity, runtime="no-such-runtime")
    with pytest.raises(StartFailed):
        await provisioner.create("bash")
    assert "runtime" in (provisioner.trouble() or "")
    assert all_free(provisioner.uids)


async def test_a_container_that_is_removed_ends_by_itself(provisioner: Provisioner) -> None:
    """Which costs the engine less than to kill it."""
    since = str(int(time.time()))
    one = await provisioner.create("bash")
    await provisioner.remove(one)
    told = docker(
        "events", "--since", since, "--until", str(int(time.time()) + 1), "--filter", f"container={one.id}",
        "--format", "{{.Action}} {{.Actor.Attributes.exitCode}}",
    ).splitlines()  # fmt: skip
    assert "die 0" in told
    assert not [line for line in told if line.startswith("kill")]


async def test_one_whose_agent_does_not_answer_is_removed_all_the_same(provisioner: Provisioner) -> None:
    one = await provisioner.create("bash")
    docker("pause", one.id)
    await provisioner.remove(one)
    assert await provisioner.engine.list({"coderunner.instance": INSTANCE}) == []
    assert all_free(provisioner.uids)


async def test_a_member_of_a_group_ends_in_its_turn_only(provisioner: Provisioner) -> None:
    """At its end it leaves its network, during whose other changes an old engine may lock up (`Networks`)."""
    one, networks = await provisioner.create("bash"), provisioner.engine.networks
    networks.joined(one.id)
    async with networks.changing:
        removal = asyncio.create_task(provisioner.remove(one))
        await asyncio.sleep(1)
        assert (await provisioner.engine.inspect(one.id)).running
    await removal
    assert await provisioner.engine.list({"coderunner.instance": INSTANCE}) == []


async def test_an_end_that_cannot_be_told_is_not_waited_for(
    provisioner: Provisioner, monkeypatch: Any
) -> None:
    one = await provisioner.create("bash")
    one.condemn("for the test")
    await one.link.close()
    waits = []
    monkeypatch.setattr(provisioner.engine, "wait", lambda *what: waits.append(what))
    await provisioner.remove(one)
    assert not waits
    assert await provisioner.engine.list({"coderunner.instance": INSTANCE}) == []


async def test_an_end_that_is_cancelled_leaves_no_link(provisioner: Provisioner) -> None:
    """Such as by the deadline of its removal."""
    one = await provisioner.create("bash")
    docker("pause", one.id)
    ending = asyncio.create_task(one.end())
    await asyncio.sleep(0.1)
    ending.cancel()
    await asyncio.wait({ending})
    assert ending.cancelled()
    assert one.link.closed.done()


async def test_the_end_and_the_wait_for_it_have_one_deadline(
    provisioner: Provisioner, monkeypatch: Any
) -> None:
    one = await provisioner.create("bash")
    docker("pause", one.id)

    waited = []

    async def hangs(_container: str, within_s: float) -> None:
        await asyncio.sleep(within_s)
        waited.append(within_s)

    monkeypatch.setattr(provisioner.engine, "wait", hangs)
    asyncio.get_running_loop().call_later(0.8 * END_SECONDS, one.link.closed.set_result, "for the test")
    await one.end()
    assert not waited, "it was waited for as long again"


async def test_an_agent_that_does_not_come_any_more_is_heard_at_the_next_attempt(
    provisioner: Provisioner, monkeypatch: Any, tmp_path: Path
) -> None:
    attached: list[str] = []
    attach = provisioner.engine.attach

    async def counted(container: str) -> Any:
        attached.append(container)
        return await attach(container)

    monkeypatch.setattr(provisioner.engine, "attach", counted)
    provisioner.sockets = AgentSockets(tmp_path, INSTANCE, "socket")
    spec = provisioner.spec
    first, second = await provisioner.create("bash"), await provisioner.create("bash")
    # The engine copies no streams for the second one, as the first agent came to its socket.
    assert attached == [first.id]
    for one in (first, second):
        await provisioner.remove(one)

    broken = ("/usr/bin/python3", "-I", "-S", "-c", "raise SystemExit('no agent in this image')")

    def without_agent(*args: Any, **more: Any) -> Any:
        return replace(spec(*args, **more), command=broken)

    monkeypatch.setattr(provisioner, "spec", without_agent)
    said = []
    for _ in range(2):
        with pytest.raises(EngineError) as raised:
            await provisioner.create("bash")
        said.append(raised.value.message)
    assert "no agent in this image" in said[1], said
    monkeypatch.undo()
    await provisioner.remove(await provisioner.create("bash"))
    assert all_free(provisioner.uids)
