"""Creates, joins, leaves and removes a group's network on the engine.

It is an internal bridge without an address of the host.  That alone is no isolation (see `netfilter.py`); the
bridge's name begins with `BRIDGE_PREFIX`, by which the host's rules know what to drop.
"""

from __future__ import annotations

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
BRIDGE_DIGITS = 12  # an interface's name has at most 15 characters

Subnet = ipaddress.IPv4Network


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """One network to make.  `bridge` are BRIDGE_DIGITS characters that no other bridge has."""

    name: str
    bridge: str
    subnet: Subnet
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NetworkSummary:
    """One line of a list.  `created` in unix seconds."""

    id: str
    name: str
    labels: Mapping[str, str]
    subnets: tuple[Subnet, ...]
    created: float

    @classmethod
    def of(cls, row: NetworkRow) -> NetworkSummary:
        """From a row of the engine's list. Raises ValueError."""
        ranges = (row.ipam and row.ipam.config) or ()
        found = (ipaddress.ip_network(one.subnet, strict=False) for one in ranges if one.subnet)
        return cls(
            id=row.id,
            name=row.name,
            labels=row.labels or {},
            subnets=tuple(subnet for subnet in found if isinstance(subnet, Subnet)),
            created=datetime.fromisoformat(row.created).timestamp(),
        )


def network_body(spec: NetworkSpec) -> dict[str, Any]:
    """The JSON object of the create request; each line has its reason."""
    return {
        "Name": spec.name,
        "CheckDuplicate": True,  # else an engine before 25 makes a second one of the same name
        "Driver": "bridge",
        "Internal": True,  # nothing is forwarded out of it, nor into it
        "Attachable": False,
        "EnableIPv6": False,  # the interface inside has no IPv6, not even a link-local address
        "IPAM": {"Driver": "default", "Config": [{"Subnet": str(spec.subnet)}]},
        "Options": {
            "com.docker.network.bridge.name": BRIDGE_PREFIX + spec.bridge,
            # The host has no address on it: else its services answer on the gateway's.
            "com.docker.network.bridge.inhibit_ipv4": "true",
            "com.docker.network.bridge.enable_icc": "true",  # members may connect to each other
            "com.docker.network.bridge.enable_ip_masquerade": "false",
        },
        "Labels": dict(spec.labels),
    }


def differences(body: Mapping[str, Any], document: Mapping[str, Any]) -> list[str]:
    """Every setting of a create `body` that an inspect `document` shows otherwise, in words; [] if none."""
    found = []
    for key in ("Name", "Driver", "Internal", "Attachable", "EnableIPv6", "Options", "Labels"):
        asked, made = body[key], document.get(key)
        if isinstance(asked, Mapping) and isinstance(made, Mapping):
            made = {name: made.get(name) for name in asked}  # the engine may add its own
        if asked != made:
            found.append(f"{key}: asked for {asked!r}, the engine made {made!r}")
    subnets = [config.get("Subnet") for config in (document.get("IPAM") or {}).get("Config") or ()]
    asked = [config["Subnet"] for config in body["IPAM"]["Config"]]
    if asked != subnets:
        found.append(f"IPAM: asked for {asked!r}, the engine made {subnets!r}")
    return found


Call = Callable[..., AbstractAsyncContextManager[None]]


class Networks:
    """The networks of one engine.  Methods raise as those of `DockerEngine`, whose `call` it is given."""

    def __init__(self, plain: PlainCalls, call: Call) -> None:
        self._plain = plain
        self._call = call

    async def create(self, spec: NetworkSpec) -> str:
        """Makes a network, looks whether it is what was asked for, and returns its id.

        Raises AddressesTaken where the engine has a network with such addresses, else NetworkFailed.
        """
        body = network_body(spec)
        async with self._network_call("network create"):
            network = (await self._plain.ask("POST", "networks/create", Created, body=body)).id
        try:
            document = await self.inspect_raw(network)
            found = differences(body, document)
            if found:
                raise NetworkFailed(f"network create: {'; '.join(found)}")
        except BaseException:
            await self.remove(network)
            raise
        return network

    async def connect(self, network: str, container: str, names: tuple[str, ...]) -> None:
        """Gives the container an interface in it; `names` are its own among the members.

        Raises ContainerGone, NetworkGone, NetworkFailed.
        """
        body = {"Container": container, "EndpointConfig": {"Aliases": list(names)}}
        async with self._network_call("network connect"):
            await self._plain.ask("POST", f"networks/{network}/connect", object, body=body)

    async def disconnect(self, network: str, container: str) -> None:
        """Raises as `connect`.  The name of a network will do."""
        async with self._network_call("network disconnect"):
            body = {"Container": container, "Force": False}
            await self._plain.ask("POST", f"networks/{network}/disconnect", object, body=body)

    async def remove(self, network: str) -> None:
        """Returns when it is gone, also when it was gone before.  Raises NetworkBusy: it has members."""
        try:
            async with self._network_call("network remove"):
                await self._plain.ask("DELETE", f"networks/{network}", object)
        except NetworkGone:
            pass

    async def inspect_raw(self, network: str) -> dict[str, Any]:
        """The engine's whole document, for the comparison with what was asked.  Raises NetworkGone."""
        async with self._network_call("network inspect"):
            return await self._plain.ask("GET", f"networks/{network}", dict[str, Any])

    async def list(self, labels: Mapping[str, str] | None = None) -> list[NetworkSummary]:
        """All networks with these labels; without any, all that the engine has."""
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
    words = error.message.lower()
    if error.status == 404 and "network" in words and "no such container" not in words:
        return NetworkGone
    if "active endpoints" in words:
        return NetworkBusy
    if "overlap" in words:
        return AddressesTaken
    return None
