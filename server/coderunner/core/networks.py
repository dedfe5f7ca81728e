"""The networks under which a client's address is counted for limits, from the narrowest to the widest.

An IPv4 address belongs to one customer. In IPv6 a customer has a whole /64, /56 or /48: with limits by /64
only, a client with a wider network could evade them by changing its address.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache

_PREFIXES = ((64, 1), (56, 2), (48, 4))
"""(prefix length, multiple of one address's allowance). Wider networks may hold several customers, so they
are allowed more, but less than the number of their subnets."""


@lru_cache(maxsize=4096)  # called several times for each request, and parsing addresses is slow
def networks(address: str) -> tuple[tuple[str, int], ...]:
    """Returns (key, multiple of the allowance) for every network of an address, the narrowest first.

    `address`: such as `192.0.2.1`, `2001:db8::1` or `2001:db8::/64`. Anything else (a Unix socket's peer) is
    a key of its own.
    """
    try:
        found = ipaddress.ip_address(address.partition("/")[0])
    except ValueError:
        return ((address, 1),)
    # On a dual-stack socket IPv4 clients appear as ::ffff:a.b.c.d; all of them would share one /48.
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    if isinstance(found, ipaddress.IPv4Address):
        return ((str(found), 1),)
    return tuple(
        (str(ipaddress.ip_network((found, length), strict=False)), allowance)
        for length, allowance in _PREFIXES
    )


def customer(address: str) -> str:
    """The narrowest network's key: the identity of a client without a principal, as in logs and records."""
    return networks(address)[0][0]


def site(address: str) -> str:
    """The widest network's key: for limits of which one client's share is up to half of the total."""
    return networks(address)[-1][0]
