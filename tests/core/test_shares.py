"""What may be held for one client leaves something for the others, whatever addresses it has."""

from __future__ import annotations

import pytest

from coderunner.core.networks import site
from coderunner.core.shares import Shares

MIB = 1024 * 1024


def taken(shares: Shares, addresses: list[str], piece: int = MIB) -> int:
    """How much these get together, each as much as it can."""
    total = 0
    for address in addresses:
        while shares.allows(address, piece):
            shares.add(address, piece)
            total += piece
    return total


@pytest.mark.parametrize(
    ("addresses", "most"),
    [
        (["192.0.2.1"], 16),
        (["192.0.2.1", "192.0.2.2"], 32),
        (["2001:db8::1", "2001:db8::2"], 16),  # one /64
        ([f"2001:db8:0:{number:x}::1" for number in range(40)], 32),  # one /56
        ([f"2001:db8:0:{number:x}00::1" for number in range(40)], 32),  # one /48: half of all
        ([f"2001:db8:{number:x}::1" for number in range(40)], 64),  # many sites
        (["::ffff:192.0.2.1", "192.0.2.1"], 16),
        (["unknown"], 16),
    ],
)
def test_what_one_client_one_site_and_all_get(addresses: list[str], most: int) -> None:
    shares = Shares(16 * MIB, 64 * MIB)
    assert taken(shares, addresses) == most * MIB == shares.total
    assert shares.allows("198.51.100.7", MIB) == (most < 64), "another one"


def test_what_is_given_back_can_be_had_again() -> None:
    shares = Shares(16 * MIB, 64 * MIB)
    for _ in range(3):
        assert taken(shares, ["2001:db8::1"]) == 16 * MIB
        shares.add("2001:db8::1", -16 * MIB)
        assert shares.total == 0


def test_the_site_of_an_address() -> None:
    assert site("2001:db8:1:2::3") == site("2001:db8:1:ffff::/64") == "2001:db8:1::/48"
    assert site("192.0.2.1") == site("::ffff:192.0.2.1") == "192.0.2.1"
