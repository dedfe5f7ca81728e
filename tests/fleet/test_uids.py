"""No two live containers share a user id, whatever the engine does late."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from coderunner import declarations
from coderunner.errors import EngineTimeout, StartFailed
from coderunner.fleet.catalog import READY, LanguageCatalog, Readiness
from coderunner.fleet.provision import Provisioner
from coderunner.fleet.sweep import adopt_all, reap, sweep, warn_of_shared_ids
from coderunner.fleet.uids import Uids
from coderunner.fleet.workers import WorkerPool
from coderunner.tasks import Tasks
from tests.fleet.test_registry import IDENTITY
from tests.sessions.fakes import Agent, Engine


def test_an_id_is_given_back_by_its_owner_only():
    uids = Uids(100, 1)
    assert uids.acquire("one") == 100
    uids.release(100, "another")
    with pytest.raises(StartFailed):
        uids.acquire("two")
    uids.release(100, "one")
    assert uids.acquire("two") == 100
    uids.release(100, "one")  # again: it is not the owner any more
    with pytest.raises(StartFailed):
        uids.acquire("three")


def test_what_is_claimed_is_not_given_twice():
    uids = Uids(100, 2)
    assert uids.claim(100, "adopted")
    assert not uids.claim(100, "another")
    assert not uids.claim(99, "outside")
    assert uids.acquire("new") == 101


class Slow(Engine):
    """Its first `create` is answered too late; the container appears all the same."""

    def __init__(self) -> None:
        super().__init__(Agent())
        self.made: list[SimpleNamespace] = []

    async def create(self, spec) -> str:
        self.made.append(
            SimpleNamespace(
                id=f"container-{len(self.made)}", name=spec.name, labels=spec.labels, created=0.0, networks=()
            )
        )
        if len(self.made) == 1:
            raise EngineTimeout("create")
        self.agents[self.made[-1].id] = Agent()
        return self.made[-1].id

    async def list(self, labels) -> list[SimpleNamespace]:
        return self.made


async def test_a_container_that_came_late_takes_no_id_from_the_living():
    declared = declarations.load(only=["python"])
    catalog = LanguageCatalog(declared.languages, declared.rules.defaults)
    catalog.set_state("python", Readiness(READY, "", "image"))
    engine, uids = Slow(), Uids(100, 1)
    async with WorkerPool(1) as pool:
        provisioner = Provisioner(engine, pool, catalog, uids, IDENTITY)
        with pytest.raises(EngineTimeout):
            await provisioner.create("python")
        living = await provisioner.create("python")
        assert living.uid == 100
        assert await sweep(engine, provisioner, older_than=0) == 1
        assert engine.removed[-1] == "container-0"
        with pytest.raises(StartFailed):
            await provisioner.create("python")
        await provisioner.remove(living)
        after = await provisioner.create("python")
        assert after.uid == 100
        await provisioner.remove(after)


async def test_one_that_cannot_be_removed_does_not_keep_the_sweep_from_the_others():
    engine = Slow()
    engine.made = [container("stuck"), container("other")]

    async def remove(name: str) -> None:
        if name == "stuck":
            raise EngineTimeout("remove")
        engine.removed.append(name)

    engine.remove = remove
    provisioner = SimpleNamespace(
        known=set(), arriving={}, uids=Uids(100, 1), identity=IDENTITY, sockets=None
    )
    assert await sweep(engine, provisioner, older_than=0) == 1
    assert await reap(engine, instance=None, now=100.0) == 1
    assert engine.removed == ["other", "other"]


async def test_a_second_look_adopts_nothing_that_is_this_servers_own_already():
    engine = Slow()
    engine.made = [container("mine")]
    provisioner = SimpleNamespace(known={"mine"}, uids=Uids(100, 1), identity=IDENTITY, sockets=None)
    adoption = await adopt_all(engine, None, provisioner, b"key", Tasks("server"))
    assert (adoption.adopted, adoption.refused) == (0, [])


def container(name: str) -> SimpleNamespace:
    labels = {"coderunner.uid": "100", "coderunner.session": name, "coderunner.deadline": "50"}
    return SimpleNamespace(
        id=name, name=name, labels=labels, created=0.0, running=True, paused=False, networks=()
    )


async def test_a_server_that_shares_our_ids_is_named_once(caplog):
    def of(instance: str, uid: int) -> SimpleNamespace:
        return SimpleNamespace(labels={"coderunner.instance": instance, "coderunner.uid": str(uid)})

    engine = Slow()
    engine.made = [of("i", 100), of("beside", 99), of("among", 101), of("among", 100)]
    provisioner = SimpleNamespace(uids=Uids(100, 2), identity=IDENTITY, sockets=None)
    told: set[str] = set()
    for _ in range(2):
        await warn_of_shared_ids(engine, provisioner, told)
    [line] = caplog.records
    assert line.fields == {"instance": "among", "ids": "100 to 101"}
