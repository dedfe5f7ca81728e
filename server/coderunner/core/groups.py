"""Decisions for groups (sessions with a private network): host names of members, free subnets. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from ipaddress import IPv4Network

from coderunner.errors import MemberTaken

SUBNET_PREFIX = 28  # 16 addresses for each group
MAX_MEMBERS = 13  # 16 without the network's address, the gateway's and the broadcast address

# Every container's /etc/hosts has these names for itself, so a member of that name could not be reached.
RESERVED = frozenset(
    (
        "localhost", "coderunner", "ip6-localhost", "ip6-loopback", "ip6-localnet", "ip6-mcastprefix",
        "ip6-allnodes", "ip6-allrouters",
    )
)  # fmt: skip


def choose_name(requested: str | None, language: str, taken: Collection[str]) -> str:
    """Returns a member's host name: the requested one, or the language's name with a free number.

    `taken`: names of the group's members. Raises MemberTaken if the requested name is reserved or taken.
    """
    if requested is not None:
        if requested in RESERVED:
            raise MemberTaken(f"{requested} is reserved in every container; choose another name")
        if requested in taken:
            raise MemberTaken(f"the group has a member {requested} already; choose another name")
        return requested
    stem = re.sub(r"[^a-z0-9]+", "-", language.lower()).strip("-")  # `c++` has no characters for a host name
    stem = stem if stem[:1].isalpha() else "member"  # a host name begins with a letter
    return next(name for number in range(1, len(taken) + 2) if (name := f"{stem}-{number}") not in taken)


def free_subnets(pool: IPv4Network, taken: Iterable[IPv4Network], first: int) -> Iterator[IPv4Network]:
    """Yields the pool's subnets that overlap no taken network, from number `first` on, wrapping around.

    Servers that share an engine and a pool would all choose the same subnet if each began with the first.
    """
    others = [network for network in taken if network.overlaps(pool)]
    count = subnets_of(pool)
    size = 1 << (32 - SUBNET_PREFIX)
    for number in range(count):
        begin = int(pool.network_address) + (first + number) % count * size
        subnet = IPv4Network((begin, SUBNET_PREFIX))
        if not any(subnet.overlaps(other) for other in others):
            yield subnet


def subnets_of(pool: IPv4Network) -> int:
    """The number of groups that a pool has subnets for."""
    return int(1 << (SUBNET_PREFIX - pool.prefixlen)) if pool.prefixlen <= SUBNET_PREFIX else 0
