"""Groups: sessions on a private network.

A group exists as long as it has members, and its network as long as the group.  Whoever has the group's token
can join.  A place in a group is taken before the container joins the network, and released when the session
ends or could not be opened; with the last place the network is removed.

The token is derived from the instance's key and the group's id, so it is stored nowhere, and the next server
can derive it, too.  That server finds the members of each group in the sessions' sealed records.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import ipaddress
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Network

from coderunner.core.groups import choose_name, free_subnets
from coderunner.engine.containers import DEADLINE_LABEL, INSTANCE_LABEL, ROLE_LABEL, SESSION_TYPE
from coderunner.engine.docker import DockerEngine
from coderunner.engine.firewall import Helper, bound_member, install_host_rules, remove_host_rules
from coderunner.engine.networks import BRIDGE_DIGITS, NETWORK_TYPE, NetworkSpec, NetworkSummary
from coderunner.errors import (
    AddressesTaken,
    CodeRunnerError,
    GroupFull,
    NetworkBusy,
    NetworkFailed,
    NoGroup,
    TooManyGroups,
)
from coderunner.fleet import workers
from coderunner.fleet.provision import Identity
from coderunner.fleet.workers import WorkerPool
from coderunner.logs import fields
from coderunner.schema.record import Record
from coderunner.sessions.container import Container

log = logging.getLogger(__name__)

# So rarely that the start of a helper container for it does not matter.
RULES_SECONDS = 60.0  # a firewall that is reloaded drops our rules, so they are set again after this time
RETRY_AFTER_MS = 5000  # for a group that is full, or one too many
MAX_ATTEMPTS = 16  # at a subnet, each of which another server may take at the same moment
MAX_START = 1 << 20  # subnets: the first candidate is a random one of so many


@dataclass(frozen=True, slots=True)
class GroupRules:
    """``groups``: how many at one time.  ``members``: how many in each.  ``pool``: of their addresses."""

    groups: int
    members: int
    pool: IPv4Network


@dataclass(frozen=True, slots=True)
class Place:
    """A member's place.  ``group``: its id.  ``member``: the host name within it."""

    group: str
    member: str

    @classmethod
    def of(cls, record: Record) -> Place | None:
        """The place of a session, by its record; None without a group."""
        if record.group is None or record.member is None:
            return None
        return cls(record.group, record.member)


@dataclass(slots=True, eq=False)
class _Group:
    """`network`: the engine's id, None until the network is made.

    `members`: host names in use.  `live`: those whose sessions have not ended; without them nobody can join.
    """

    id: str
    network: str | None = None
    members: set[str] = field(default_factory=set)
    live: set[str] = field(default_factory=set)

    def add(self, member: str) -> None:
        self.members.add(member)
        self.live.add(member)


def token_of(group: str, key: bytes) -> str:
    """The group's token: 192 bits that only the holder of the instance's key can compute."""
    mac = hmac.new(key, b"group\0" + group.encode(), hashlib.sha256).digest()
    # 24 bytes of the MAC are as hard to guess as a session's token.
    return base64.urlsafe_b64encode(mac[:24]).decode()


def helper(identity: Identity, image: str, kind: str) -> Helper:
    """A short-lived container that sets firewall rules.  ``kind``: for its name and label."""
    # Labelled like a session: if this server ends meanwhile, the sweep and `reap` remove it.
    labels = {
        "type": SESSION_TYPE,
        **identity.labels,
        ROLE_LABEL: kind,
        DEADLINE_LABEL: str(int(time.time() + 2 * identity.create_seconds) + 1),
    }
    name = f"{identity.prefix}-{identity.instance}-{kind}-{secrets.token_hex(4)}"
    return Helper(image, name, labels, identity.create_seconds)


def network_labels(instance: str) -> dict[str, str]:
    """The labels that all networks of this instance have."""
    return {"type": NETWORK_TYPE, INSTANCE_LABEL: instance}


class Groups:
    """All groups of this server.

    `key`: the instance's secret.  `image()`: any image that is ready, for helper containers; None without
    one.
    """

    def __init__(
        self,
        engine: DockerEngine,
        pool: WorkerPool,
        identity: Identity,
        rules: GroupRules,
        *,
        key: bytes,
        image: Callable[[], str | None],
    ) -> None:
        self._engine = engine
        self._pool = pool
        self._identity = identity
        self._rules = rules
        self._key = key
        self._groups: dict[str, _Group] = {}
        self._found: dict[str, str] = {}  # networks of the previous server, by group
        self._rules_lock = asyncio.Lock()
        self._rules_set = -RULES_SECONDS  # when the host's rules were set last
        self._image = image

    def __len__(self) -> int:
        return len(self._groups)

    # --- places ----------------------------------------------------------------------------------------

    def check(self, group: str | None, token: str | None, member: str | None, language: str) -> None:
        """Raises what `enter` would raise now: called before a request waits for a slot."""
        self._look_up(group, token, member, language)

    def enter(self, group: str | None, token: str | None, member: str | None, language: str) -> Place:
        """Takes a place in this group, or in a new one; `release` gives it back.

        ``group``, ``token``: None for a new group.  ``member``: the requested host name, or None.  Raises
        NoGroup, GroupFull, TooManyGroups, MemberTaken.
        """
        one, name = self._look_up(group, token, member, language)
        if one is None:
            one = _Group(f"{self._identity.instance}-{secrets.token_hex(8)}")
            self._groups[one.id] = one
        one.add(name)
        return Place(one.id, name)

    def _look_up(
        self, group: str | None, token: str | None, member: str | None, language: str
    ) -> tuple[_Group | None, str]:
        # A new group: nothing has to match.
        if group is None:
            if len(self._groups) >= self._rules.groups:
                raise TooManyGroups(retry_after_ms=RETRY_AFTER_MS)
            return None, choose_name(member, language, ())
        # Compared before the group is looked up: all refusals take the same time and get the same answer.
        fits = hmac.compare_digest(token_of(group, self._key).encode(), (token or "").encode())
        one = self._groups.get(group)
        if one is None or not one.live or not fits:
            raise NoGroup()
        # The name first: its error says what the client can change, and a full group is full for everybody.
        name = choose_name(member, language, one.members)
        if len(one.members) >= self._rules.members:
            raise GroupFull(
                f"the group has {len(one.members)} members, as many as it may have",
                retry_after_ms=RETRY_AFTER_MS,
            )
        return one, name

    def token(self, group: str) -> str:
        """The token with which other sessions can join the group."""
        return token_of(group, self._key)

    @contextlib.asynccontextmanager
    async def place(
        self, group: str | None, token: str | None, member: str | None, language: str
    ) -> AsyncIterator[Place]:
        """As `enter`; the place is released if the block fails, and else belongs to the caller."""
        place = self.enter(group, token, member, language)
        try:
            yield place
        except BaseException:
            # Shielded: a place that nobody gives back would keep the group and its network for ever.
            await asyncio.shield(self.release(place))
            raise

    def end_member(self, place: Place) -> None:
        """The member's session has ended.  Its name stays in use until its container is removed."""
        group = self._groups.get(place.group)
        if group is not None:
            group.live.discard(place.member)

    async def release(self, place: Place) -> None:
        """Gives a place back.  With the last one the network is removed, now or by the next sweep."""
        self.end_member(place)
        group = self._groups.get(place.group)
        if group is None:
            return
        group.members.discard(place.member)
        if group.members:
            return
        # Removed from the table first: nobody must join while the network is being removed.
        del self._groups[place.group]
        network = group.network
        if network is None:
            return  # not made yet; if it is being made right now, `_join` removes it
        try:
            await self._pool.submit(
                lambda: self._engine.networks.remove(network),
                name="remove group",
                timeout=self._identity.create_seconds,
            )
        except CodeRunnerError as error:
            log.warning("network not removed", extra=fields(group=group.id, why=error.message))

    # --- the network -----------------------------------------------------------------------------------

    async def join(self, place: Place, container: Container) -> None:
        """Moves a running container to the group's network, which is made for the first member.

        Raises EngineError, TooManyGroups.  Then the container's networks are not known, and it must be
        removed.
        """
        await self._pool.submit(
            lambda: self._join(place, container),
            name="join group",
            timeout=self._identity.create_seconds,
        )

    async def _join(self, place: Place, container: Container) -> None:
        group = self._groups.get(place.group)
        if group is None:
            raise NetworkFailed("the group is over")  # it ended while this waited for a worker
        if group.network is None:
            # First the network, then the rules: a server that is about to remove the rules either sees the
            # network, or has removed them before they are set here.
            network = await self._make(group)
            try:
                # Only for the first group: later ones find the rules in force, and each setting costs a
                # container.
                await self._set_host_rules(anew=not any(one.network for one in self._groups.values()))
                # Its last member may have left while the network was made.
                if group.id not in self._groups:
                    raise NetworkFailed("the group is over")
            except BaseException:
                await asyncio.shield(self._engine.networks.remove(network))
                raise
            group.network = network
        # The member's own rules come before the network: it must never be reachable without them.
        subnet = await self._subnet(group)
        await bound_member(self._engine, container.id, subnet, self._helper("member"))
        # The engine refuses to connect a container that is on the network `none`.
        await self._engine.networks.disconnect("none", container.id)
        await self._engine.networks.connect(group.network, container.id, (place.member,))
        # Verified, as the rules that were set hold for this one network only.
        # The engine ignores what it does not know, so what it did is read back.
        found = await self._engine.networks_of(container.id)
        addresses = [ipaddress.ip_address(address) for address in found.values() if address]
        if list(found) != [self._name(group)] or not all(one in self._rules.pool for one in addresses):
            raise NetworkFailed(f"the container should have one network, and has {found}")

    async def _subnet(self, group: _Group) -> IPv4Network:
        """The network's subnet, asked of the engine, as the previous server may have made it.

        Raises EngineError."""
        for row in await self._ours():
            if row.id == group.network and row.subnets:
                return row.subnets[0]
        raise NetworkFailed("the group's network is gone")

    def _name(self, group: _Group) -> str:
        return f"{self._identity.prefix}-{group.id}"

    async def _make(self, group: _Group) -> str:
        """Makes the group's network; returns the engine's id.  Raises EngineError, TooManyGroups."""
        networks = self._engine.networks
        taken = [subnet for network in await networks.list() for subnet in network.subnets]
        # From a random one on: another server with the same pool would choose the same first subnet.
        candidates = free_subnets(self._rules.pool, taken, secrets.randbelow(MAX_START))
        # Bounded, as another server may take each of them at the same moment.
        for _, subnet in zip(range(MAX_ATTEMPTS), candidates, strict=False):
            spec = NetworkSpec(
                name=self._name(group),
                # The random end of the id: interface names have at most 15 characters.
                bridge=group.id[-BRIDGE_DIGITS:],
                subnet=subnet,
                labels={"type": NETWORK_TYPE, **self._identity.labels, "coderunner.group": group.id},
            )
            try:
                return await networks.create(spec)
            except AddressesTaken:
                continue
        raise TooManyGroups(
            f"no addresses of {self._rules.pool} are left for another group", retry_after_ms=RETRY_AFTER_MS
        )

    async def _set_host_rules(self, *, anew: bool = False) -> None:
        """Sets the host's firewall rules, unless that was done within RULES_SECONDS.

        ``anew``: in any case, for the first group: another server may have removed them with its last one.
        """
        async with self._rules_lock:
            now = asyncio.get_running_loop().time()
            if now - self._rules_set < (0 if anew else RULES_SECONDS):
                return
            await install_host_rules(self._engine, self._helper("host"))
            self._rules_set = now

    def _helper(self, kind: str) -> Helper:
        image = self._image()
        if image is None:
            raise NetworkFailed("no image is ready with which a group's rules could be set")
        return helper(self._identity, image, kind)

    # --- after a restart, and in the long run ----------------------------------------------------------

    async def find(self) -> None:
        """Before adoption: finds this instance's networks.  Raises EngineError."""
        # Once for all: adoption asks for hundreds of sessions.
        self._found = {row.labels.get("coderunner.group", ""): row.id for row in await self._ours()}

    async def _ours(self) -> list[NetworkSummary]:
        """This instance's networks, without those of a server that has the same name by mistake."""
        rows = await self._engine.networks.list(network_labels(self._identity.instance))
        return [row for row in rows if not self._identity.another(row.labels)]

    def adopt(self, place: Place, container: str) -> None:
        """Restores the place of a session that was adopted from the previous server, with this container."""
        self._engine.networks.joined(container)
        network = self._found.get(place.group)
        if network is None:
            log.warning("the group of a session has no network", extra=fields(group=place.group))
            return
        # The first member that is found makes the group's entry.
        group = self._groups.setdefault(place.group, _Group(place.group, network))
        group.add(place.member)

    async def sweep(self) -> int:
        """Removes this instance's networks without a group here; returns how many.

        Raises CodeRunnerError."""
        return await self._pool.submit(
            self._sweep,
            priority=workers.SWEEP,
            name="sweep of groups",
            timeout=self._identity.create_seconds,
        )

    async def _sweep(self) -> int:
        if self._groups and self._image() is not None:
            await self._set_host_rules()  # a firewall that was reloaded meanwhile has dropped them
        removed = 0
        for network in await self._ours():
            if network.labels.get("coderunner.group") in self._groups:
                continue
            try:
                await self._engine.networks.remove(network.id)
            except NetworkBusy as error:  # one of its containers is still being removed
                log.info("network not removed", extra=fields(network=network.name, why=error.message))
                continue
            removed += 1
            log.info("network swept", extra=fields(network=network.name))
        return removed

    async def clear(self) -> None:
        """When the server ends: removes the host's rules if no server on this engine has a group.

        Raises CodeRunnerError.
        """
        # Set by this server at some time; otherwise they are somebody else's.
        if self._rules_set > 0 and self._image() is not None:
            await remove_host_rules(self._engine, self._helper("host"))


async def end_networks(engine: DockerEngine, identity: Identity, image: str | None) -> int:
    """Removes the networks of a server that has ended; returns how many.

    Also the host's rules, if no group is left.  ``image``: any that is ready, for that.  Raises EngineError.
    """
    found = await engine.networks.list(network_labels(identity.instance))
    # Only ours: another server of the same name has a network that it needs.
    ours = [network for network in found if not identity.another(network.labels)]
    for network in ours:
        await engine.networks.remove(network.id)
        log.info("network removed", extra=fields(network=network.name))
    if image is not None:
        await remove_host_rules(engine, helper(identity, image, "host"))
    return len(ours)


async def reap_networks(engine: DockerEngine, instance: str, *, older_than: float, now: float) -> int:
    """Removes this instance's networks without members; returns how many.  For when no server runs.

    `older_than`: seconds; in a newer network, a server that runs may be about to put its first member.
    Raises EngineError.
    """
    removed = 0
    for network in await engine.networks.list(network_labels(instance)):
        if now - network.created < older_than:
            continue
        try:
            await engine.networks.remove(network.id)
        except NetworkBusy:
            continue
        removed += 1
        log.info("network reaped", extra=fields(network=network.name))
    return removed
