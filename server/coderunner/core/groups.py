"""What a group decides: its members' names, and which addresses it gets.  Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from ipaddress import IPv4Network

from coderunner.errors import MemberTaken

SUBNET_PREFIX = 28
MAX_MEMBERS = 13  # of 16 addresses the first names the network, the second the gateway, the last all

# Every container's own file of hosts has these, so they would mean another place in each.
RESERVED = frozenset(
    (
        "localhost", "coderunner", "ip6-localhost", "ip6-loopback", "ip6-localnet", "ip6-mcastprefix",
        "ip6-allnodes", "ip6-allrouters",
    )
)  # fmt: skip


def choose_name(requested: str | None, language: str, taken: Collection[str]) -> str:
    """A member's host name: as requested, else the language's with a number.  Raises MemberTaken."""
    if requested is not None:
        if requested in RESERVED:
            raise MemberTaken(f"{requested} is reserved in every container; choose another name")
        if requested in taken:
            raise MemberTaken(f"the group has a member {requested} already; choose another name")
        return requested
    stem = re.sub(r"[^a-z0-9]+", "-", language.lower()).strip("-")
    stem = stem if stem[:1].isalpha() else "member"
    return next(name for number in range(1, len(taken) + 2) if (name := f"{stem}-{number}") not in taken)


def free_subnets(pool: IPv4Network, taken: Iterable[IPv4Network], first: int) -> Iterator[IPv4Network]:
    """Every subnet of the pool that overlaps none that is taken, in a circle from the `first` on."""
    others = [network for network in taken if network.overlaps(pool)]
    count = subnets_of(pool)
    size = 1 << (32 - SUBNET_PREFIX)
    for number in range(count):
        begin = int(pool.network_address) + (first + number) % count * size
        subnet = IPv4Network((begin, SUBNET_PREFIX))
        if not any(subnet.overlaps(other) for other in others):
            yield subnet


def subnets_of(pool: IPv4Network) -> int:
    """How many groups a pool has addresses for."""
    return int(1 << (SUBNET_PREFIX - pool.prefixlen)) if pool.prefixlen <= SUBNET_PREFIX else 0
