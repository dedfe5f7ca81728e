"""Creates and removes the networks of groups, and connects containers to them.

A group's network is an internal bridge without an address of the host. That alone does not isolate it (see
`netfilter.py`). The bridges' names begin with `BRIDGE_PREFIX`, by which the host's rules recognise them.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiodocker.exceptions import DockerError

from coderunner.engine.plain import PlainCalls
from coderunner.errors import AddressesTaken, EngineError, NetworkBusy, NetworkFailed, NetworkGone
from coderunner.schema.engine import Created, NetworkRow

NETWORK_TYPE = "coderunner"
BRIDGE_PREFIX = "crg"
BRIDGE_DIGITS = 12  # with the prefix 15, the most that an interface's name may have

Subnet = ipaddress.IPv4Network


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """One network to create. `bridge`: BRIDGE_DIGITS characters that no other bridge has."""

    name: str
    bridge: str
    subnet: Subnet
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NetworkSummary:
    """One network of a list. `created`: unix seconds."""

    id: str
    name: str
    labels: Mapping[str, str]
    subnets: tuple[Subnet, ...]
    created: float

    @classmethod
    def of(cls, row: NetworkRow) -> NetworkSummary:
        """From a row of the engine's list. Raises ValueError."""
        ranges = (row.ipam and row.ipam.config) or ()
        # Not `strict`: other tools may have created networks whose subnet has host bits set.
        found = (ipaddress.ip_network(one.subnet, strict=False) for one in ranges if one.subnet)
        return cls(
            id=row.id,
            name=row.name,
            labels=row.labels or {},
            subnets=tuple(subnet for subnet in found if isinstance(subnet, Subnet)),
            created=datetime.fromisoformat(row.created).timestamp(),
        )


def network_body(spec: NetworkSpec) -> dict[str, Any]:
    """The JSON object of the create request for a network."""
    return {
        "Name": spec.name,
        "CheckDuplicate": True,  # before version 25, the engine would allow two networks of one name
        "Driver": "bridge",
        "Internal": True,  # nothing is forwarded between it and other networks
        "Attachable": False,
        "EnableIPv6": False,  # the interface inside has no IPv6, not even a link-local address
        "IPAM": {"Driver": "default", "Config": [{"Subnet": str(spec.subnet)}]},
        "Options": {
            "com.docker.network.bridge.name": BRIDGE_PREFIX + spec.bridge,
            # Without an address of the host, at which its services could be reached.
            "com.docker.network.bridge.inhibit_ipv4": "true",
            "com.docker.network.bridge.enable_icc": "true",  # members may connect to each other
            "com.docker.network.bridge.enable_ip_masquerade": "false",
        },
        "Labels": dict(spec.labels),
    }


def differences(body: Mapping[str, Any], document: Mapping[str, Any]) -> list[str]:
    """The settings of a create request's `body` that differ in the engine's `document`, one text for each."""
    # Compared as for containers: an engine ignores what it does not know.
    found = []
    for key in ("Name", "Driver", "Internal", "Attachable", "EnableIPv6", "Options", "Labels"):
        asked, made = body[key], document.get(key)
        if isinstance(asked, Mapping) and isinstance(made, Mapping):
            made = {name: made.get(name) for name in asked}  # the engine may add others
        if asked != made:
            found.append(f"{key}: asked for {asked!r}, the engine made {made!r}")
    subnets = [config.get("Subnet") for config in (document.get("IPAM") or {}).get("Config") or ()]
    asked = [config["Subnet"] for config in body["IPAM"]["Config"]]
    if asked != subnets:
        found.append(f"IPAM: asked for {asked!r}, the engine made {subnets!r}")
    return found


Call = Callable[..., AbstractAsyncContextManager[None]]


class Networks:
    """The networks of one engine. `call`: `DockerEngine._call`, so methods raise the same errors.

    Joins, leaves and removals are made one after another: in engines before version 23, a container that
    leaves a network while the end of another one's connection is processed can lock up the engine for good
    (moby#42545, a lock order reversed in libnetwork). A call that has no answer within its time lets the
    next one begin, although the engine may still work on it.

    Attributes:
        changing: held during each of them, also while a member's container is removed.
        members: ids of the containers that `connect` has connected, or that `joined` has named.
    """

    def __init__(self, plain: PlainCalls, call: Call) -> None:
        self._plain = plain
        self._call = call
        self.changing = asyncio.Lock()
        self.members: set[str] = set()

    async def create(self, spec: NetworkSpec) -> str:
        """Creates a network, verifies its settings, and returns its id.

        Raises AddressesTaken if another network of the engine has such addresses, and NetworkFailed.
        """
        body = network_body(spec)
        async with self._network_call("network create"):
            network = (await self._plain.ask("POST", "networks/create", Created, body=body)).id
        try:
            document = await self.inspect_raw(network)
            found = differences(body, document)
            if found:
                raise NetworkFailed(f"network create: {'; '.join(found)}")
        # A network with other settings than asked for must not stay, whoever cancels this task.
        except BaseException:
            await self.remove(network)
            raise
        return network

    def joined(self, container: str) -> None:
        """Names a container that an earlier process has connected."""
        self.members.add(container)

    async def connect(self, network: str, container: str, names: tuple[str, ...]) -> None:
        """Connects a container to a network. `names`: its host names there.

        Raises ContainerGone, NetworkGone, NetworkFailed.
        """
        body = {"Container": container, "EndpointConfig": {"Aliases": list(names)}}
        # Before the call: if it fails half way, the container may be connected nevertheless.
        self.members.add(container)
        async with self.changing, self._network_call("network connect"):
            await self._plain.ask("POST", f"networks/{network}/connect", object, body=body)

    async def disconnect(self, network: str, container: str) -> None:
        """Disconnects a container. `network`: id or name. Raises as `connect`."""
        async with self.changing, self._network_call("network disconnect"):
            body = {"Container": container, "Force": False}
            await self._plain.ask("POST", f"networks/{network}/disconnect", object, body=body)

    async def remove(self, network: str) -> None:
        """Removes a network. Does nothing if it does not exist. Raises NetworkBusy if it has members."""
        try:
            async with self.changing, self._network_call("network remove"):
                await self._plain.ask("DELETE", f"networks/{network}", object)
        except NetworkGone:
            pass

    async def inspect_raw(self, network: str) -> dict[str, Any]:
        """The engine's whole document about a network. Raises NetworkGone."""
        async with self._network_call("network inspect"):
            return await self._plain.ask("GET", f"networks/{network}", dict[str, Any])

    async def list(self, labels: Mapping[str, str] | None = None) -> list[NetworkSummary]:
        """All networks with these labels; without `labels`, all of the engine."""
        filters = {"label": [f"{name}={value}" for name, value in (labels or {}).items()]}
        async with self._call("network list"):
            params = {"filters": json.dumps(filters)}
            rows = await self._plain.ask("GET", "networks", tuple[NetworkRow, ...], params=params)
            return [NetworkSummary.of(row) for row in rows]

    @asynccontextmanager
    async def _network_call(self, what: str) -> AsyncIterator[None]:
        async with self._call(what, refused=NetworkFailed):
            try:
                yield
            except DockerError as error:
                refusal = _refusal(error)
                if refusal is None:
                    raise
                raise refusal(f"{what}: {error.message.strip()}") from error


def _refusal(error: DockerError) -> type[EngineError] | None:
    # The engine has no codes for these, so its words decide. Unknown words stay the general error.
    words = error.message.lower()
    if error.status == 404 and "network" in words and "no such container" not in words:
        return NetworkGone
    if "active endpoints" in words:
        return NetworkBusy
    if "overlap" in words:
        return AddressesTaken
    return None
