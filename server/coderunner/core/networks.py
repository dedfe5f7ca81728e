"""The networks that an address is counted under, from the narrowest to the widest.

An IPv4 address is one customer's. Of IPv6 a customer has a /64, a /56 or a /48, and who is counted by the
narrowest alone comes in again from the next.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache

_PREFIXES = ((64, 1), (56, 2), (48, 4))
"""Length of the prefix, and how many times the allowance of one address it has."""


@lru_cache(maxsize=4096)
def networks(address: str) -> tuple[tuple[str, int], ...]:
    """(key, allowance) of every network that the address is counted in, the narrowest first.

    `address`: `192.0.2.1`, `2001:db8::1` or `2001:db8::/64`; anything else is counted as it is.
    """
    try:
        found = ipaddress.ip_address(address.partition("/")[0])
    except ValueError:
        return ((address, 1),)
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    if isinstance(found, ipaddress.IPv4Address):
        return ((str(found), 1),)
    return tuple(
        (str(ipaddress.ip_network((found, length), strict=False)), allowance)
        for length, allowance in _PREFIXES
    )


def customer(address: str) -> str:
    """The narrowest of them: what an address is called wherever clients are told apart."""
    return networks(address)[0][0]
