"""A group's life where the engine fails on the way: nothing of it is left, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network
from typing import Any

import pytest

from coderunner.engine.networks import NetworkSpec, NetworkSummary
from coderunner.errors import (
    AddressesTaken,
    BadMessage,
    CodeRunnerError,
    EngineUnavailable,
    MemberTaken,
    NetworkBusy,
    NetworkFailed,
    NoGroup,
    TooManyGroups,
    Unsupported,
)
from coderunner.fleet import groups as module
from coderunner.fleet.groups import GroupRules, Groups, Place, network_labels, reap_networks, token_of
from coderunner.fleet.provision import Identity
from coderunner.fleet.registry import Caller, Registry
from coderunner.fleet.workers import WorkerPool
from coderunner.schema import messages as m
from coderunner.sessions.container import Container
from tests.fleet.test_registry import Provisioner, registry
from tests.sessions.fakes import CLIENT, until

KEY = b"k" * 32
IDENTITY = Identity("test", "o", "coderunner", None, 3_600_000, 5.0)
CALLER = Caller("127.0.0.1")
WISH = m.Open("python", CLIENT, network="group")


@dataclass
class Networks:
    """Networks in memory.  `fails` maps a call's name to what it raises; `slow` to what it waits for."""

    made: dict[str, NetworkSpec] = field(default_factory=dict)
    others: list[IPv4Network] = field(default_factory=list)
    members: dict[str, str] = field(default_factory=dict)
    fails: dict[str, CodeRunnerError] = field(default_factory=dict)
    slow: dict[str, asyncio.Event] = field(default_factory=dict)
    begun: list[str] = field(default_factory=list)
    numbers: Any = field(default_factory=itertools.count)

    async def call(self, name: str) -> None:
        self.begun.append(name)
        if name in self.slow:
            await self.slow[name].wait()
        if name in self.fails:
            raise self.fails[name]

    async def create(self, spec: NetworkSpec) -> str:
        await self.call("create")
        if any(spec.subnet.overlaps(one.subnet) for one in self.made.values()):
            raise AddressesTaken("taken")
        network = f"n-{next(self.numbers)}"
        self.made[network] = spec
        return network

    def joined(self, container: str) -> None:
        pass

    async def connect(self, network: str, container: str, names: tuple[str, ...]) -> None:
        await self.call("connect")
        self.members[container] = network

    async def disconnect(self, network: str, container: str) -> None:
        await self.call("disconnect")

    async def remove(self, network: str) -> None:
        await self.call("remove")
        if network in self.members.values():
            raise NetworkBusy("active endpoints")
        self.made.pop(network, None)

    async def list(self, labels: Any = None) -> list[NetworkSummary]:
        await self.call("list")
        rows = [
            NetworkSummary(network, spec.name, spec.labels, (spec.subnet,), 1000.0)
            for network, spec in self.made.items()
            if (labels or {}).items() <= spec.labels.items()
        ]
        others = [NetworkSummary(str(one), "other", {}, (one,), 0.0) for one in self.others if not labels]
        return rows + others


class World:
    """A registry whose sessions may have groups, on an engine in memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pool: WorkerPool, **rules: Any) -> None:
        self.networks = Networks()
        self.doors = 0
        self.door_fails: CodeRunnerError | None = None
        self.registry: Registry
        self.provisioner: Provisioner
        self.registry, self.provisioner = registry(slots=16)
        self.provisioner.identity = IDENTITY
        engine: Any = self.provisioner.engine
        engine.networks = self.networks
        engine.networks_of = self.networks_of
        remove = self.provisioner.remove

        async def removed(container: Container) -> None:
            self.networks.members.pop(container.id, None)
            await remove(container)

        self.provisioner.remove = removed
        monkeypatch.setattr(module, "install_host_rules", self.install_host_rules)
        monkeypatch.setattr(module, "bound_member", self.bound_member)
        usual = {"groups": 4, "members": 3, "pool": IPv4Network("10.9.0.0/24")}
        self.groups = self.registry.groups = Groups(
            engine, pool, IDENTITY, GroupRules(**{**usual, **rules}), key=KEY, image=lambda: "image"
        )

    async def install_host_rules(self, *_: Any) -> None:
        self.doors += 1
        if self.door_fails is not None:
            raise self.door_fails

    async def bound_member(self, *_: Any) -> None:
        await self.networks.call("bound")

    async def networks_of(self, container: str) -> dict[str, str]:
        spec = self.networks.made[self.networks.members[container]]
        return {spec.name: str(spec.subnet[2])}

    async def open(self, wish: m.Open = WISH) -> Any:
        return await self.registry.open(wish, CALLER).done

    def nothing_left(self) -> None:
        assert self.networks.made == {}
        assert self.networks.members == {}
        assert len(self.groups) == 0
        assert self.registry.queue.stats().active == 0
        assert len(self.provisioner.removed) == len(self.provisioner.agents)


@pytest.fixture
async def pool() -> AsyncIterator[WorkerPool]:
    async with WorkerPool(2, grace=1) as pool:
        yield pool


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch, pool: WorkerPool) -> World:
    return World(monkeypatch, pool)


def join(opened: Any, **more: Any) -> m.Open:
    group = opened.session.record.group
    return m.Open("python", CLIENT, network="group", group=group, group_token=token_of(group, KEY), **more)


async def test_it_goes_with_its_last_member(world):
    first = await world.open()
    second = await world.open(join(first, member="bob"))
    assert second.session.record.member == "bob"
    [spec] = world.networks.made.values()
    assert spec.labels == {
        "type": "coderunner", "coderunner.instance": "test", "coderunner.owner": "o",
        "coderunner.group": first.session.record.group,
    }  # fmt: skip
    await first.session.end("client")
    assert len(world.networks.made) == 1
    third = await world.open(join(second))
    assert third.session.record.member == "python-1"  # whose holder has left
    await asyncio.gather(second.session.end("client"), third.session.end("client"))
    world.nothing_left()
    with pytest.raises(NoGroup):
        await world.open(join(first))
    assert world.doors == 1


async def test_a_group_whose_last_session_is_over_takes_nobody(world):
    """Also while its container is being removed."""
    first = await world.open()
    remove, began, hold = world.provisioner.remove, asyncio.Event(), asyncio.Event()

    async def slowly(container: Container) -> None:
        began.set()
        await hold.wait()
        await remove(container)

    world.provisioner.remove = slowly
    ending = first.session.end("client")
    await began.wait()
    with pytest.raises(NoGroup):
        await world.open(join(first))
    hold.set()
    await ending
    world.nothing_left()


@pytest.mark.parametrize("call", ["list", "create", "bound", "disconnect", "connect", "host"])
@pytest.mark.parametrize("error", [EngineUnavailable("away"), NetworkFailed("no")])
async def test_a_step_that_fails_leaves_nothing(world, call, error):
    if call == "host":
        world.door_fails = error
    else:
        world.networks.fails[call] = error
    with pytest.raises(type(error)):
        await world.open()
    world.nothing_left()
    world.networks.fails.clear()
    world.door_fails = None
    await (await world.open()).session.end("client")
    world.nothing_left()


async def test_one_who_cannot_join_leaves_the_others_alone(world):
    first = await world.open()
    world.networks.fails["connect"] = NetworkFailed("no")
    with pytest.raises(NetworkFailed):
        await world.open(join(first, member="bob"))
    world.networks.fails.clear()
    assert len(world.networks.made) == 1
    second = await world.open(join(first, member="bob"))
    await asyncio.gather(first.session.end("client"), second.session.end("client"))
    world.nothing_left()


async def test_a_container_that_is_not_where_it_should_be_is_not_used(world):
    async def elsewhere(container: str) -> dict[str, str]:
        return {"bridge": "172.17.0.2"}

    world.provisioner.engine.networks_of = elsewhere
    with pytest.raises(NetworkFailed, match=r"172\.17\.0\.2"):
        await world.open()
    world.nothing_left()


@pytest.mark.parametrize("call", ["create", "connect"])
async def test_a_client_that_gives_up_meanwhile_leaves_nothing(world, call):
    world.networks.slow[call] = asyncio.Event()
    opening = world.registry.open(WISH, CALLER)
    await until(lambda: call in world.networks.begun, call)
    opening.claim(print)
    opening.abandon(print, hold=False)
    await asyncio.wait([opening.done])
    assert opening.done.cancelled()
    world.networks.slow[call].set()
    await until(lambda: not world.networks.made, "the network removed")
    world.networks.members.clear()  # of a container that is gone
    world.nothing_left()


async def test_what_the_engine_refuses_to_remove_is_swept(world):
    opened = await world.open()
    world.networks.fails["remove"] = EngineUnavailable("away")
    await opened.session.end("client")
    assert len(world.networks.made) == 1
    assert world.registry.queue.stats().active == 0
    world.networks.fails.clear()
    alive = await world.open()
    other = NetworkSpec(
        name="o", bridge="0" * 12, subnet=IPv4Network("10.9.9.0/28"), labels=network_labels("another")
    )
    world.networks.made["other"] = other
    namesake = replace(other, labels={**network_labels("test"), "coderunner.owner": "another"})
    world.networks.made["namesake"] = namesake
    assert await world.groups.sweep() == 1
    assert {"other", "namesake"} <= set(world.networks.made)
    assert len(world.networks.made) == 3
    del world.networks.made["other"], world.networks.made["namesake"]
    await alive.session.end("client")
    world.nothing_left()


async def test_the_sweep_keeps_the_door_shut(world, monkeypatch):
    assert await world.groups.sweep() == 0
    assert world.doors == 0
    opened = await world.open()
    assert world.doors == 1
    await world.groups.sweep()
    assert world.doors == 1
    monkeypatch.setattr(module, "RULES_SECONDS", 0.0)
    await world.groups.sweep()
    assert world.doors == 2
    await opened.session.end("client")


async def test_addresses_are_chosen_among_those_that_are_free(monkeypatch, pool):
    world = World(monkeypatch, pool, groups=20)
    world.networks.others = [IPv4Network("10.9.0.0/25")]
    opened = [await world.open() for _ in range(8)]
    with pytest.raises(TooManyGroups, match=r"10\.9\.0\.0/24"):
        await world.open()
    subnets = {spec.subnet for spec in world.networks.made.values()}
    assert len(subnets) == 8
    assert not any(one.overlaps(world.networks.others[0]) for one in subnets)
    await asyncio.gather(*(one.session.end("client") for one in opened))
    world.nothing_left()


async def test_another_server_that_is_quicker_takes_an_address_and_no_group(world):
    create = world.networks.create
    lost = iter([AddressesTaken("taken")] * 3)

    async def raced(spec: NetworkSpec) -> str:
        error = next(lost, None)
        if error is not None:
            raise error
        return await create(spec)

    world.networks.create = raced
    await (await world.open()).session.end("client")
    world.nothing_left()


async def test_a_wish_is_judged_before_anybody_waits(world):
    opened = await world.open()
    with pytest.raises(NoGroup):
        world.registry.open(m.Open("python", CLIENT, network="group", group="g", group_token="t"), CALLER)
    with pytest.raises(MemberTaken):
        world.registry.open(join(opened, member="python-1"), CALLER)
    with pytest.raises(BadMessage):
        world.registry.open(m.Open("python", CLIENT, member="x"), CALLER)
    world.provisioner.identity = Identity("test", "o", "coderunner", "runsc", 1, 5.0)
    with pytest.raises(Unsupported, match="runsc"):
        world.registry.open(WISH, CALLER)
    world.registry.groups = None
    with pytest.raises(Unsupported):
        world.registry.open(WISH, CALLER)
    world.registry.groups = world.groups
    await opened.session.end("client")
    world.nothing_left()


async def test_the_next_server_puts_a_group_together_again(world, pool):
    first = await world.open()
    await world.open(join(first, member="bob"))
    group = first.session.record.group
    engine: Any = world.provisioner.engine
    following = Groups(
        engine, pool, IDENTITY, GroupRules(4, 3, IPv4Network("10.9.0.0/24")), key=KEY, image=lambda: "image"
    )
    await following.find()
    for name in ("python-1", "bob"):
        following.adopt(Place(group, name), f"c-{name}")
    following.adopt(Place("gone", "x"), "c-x")  # its network is not there
    await following.release(Place("gone", "x"))
    assert await following.sweep() == 0
    with pytest.raises(MemberTaken):
        following.enter(group, following.token(group), "bob", "python")
    place = following.enter(group, following.token(group), None, "python")
    assert place == Place(group, "python-2")
    world.networks.members.clear()
    for name in ("python-1", "bob", "python-2"):
        assert len(world.networks.made) == 1
        await following.release(Place(group, name))
    assert world.networks.made == {}


def test_tokens_are_of_the_group_and_of_the_instance():
    tokens = {token_of(group, key) for group in ("a", "b") for key in (KEY, b"other")}
    assert len(tokens) == 4
    assert all(len(token) == 32 for token in tokens)


async def test_the_reaper_takes_what_is_old_empty_and_its_own(world):
    for name, instance in (("a", "test"), ("b", "test"), ("c", "another")):
        subnet = IPv4Network((10 << 24 | ord(name) << 8, 28))
        spec = NetworkSpec(name=name, bridge=name * 12, subnet=subnet, labels=network_labels(instance))
        world.networks.made[name] = spec
    world.networks.members["container"] = "b"
    engine: Any = world.provisioner.engine
    assert await reap_networks(engine, "test", older_than=600, now=1500.0) == 0
    assert await reap_networks(engine, "test", older_than=600, now=1700.0) == 1
    assert set(world.networks.made) == {"b", "c"}
