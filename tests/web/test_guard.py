"""Whose request it is: headers that a client can write itself change nothing."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from multidict import CIMultiDict

from coderunner import config
from coderunner.web import guard

SETTINGS = config.load({"TRUSTED_PROXIES": "127.0.0.1,10.0.0.0/8"})


def address(peer: str, *forwarded: str) -> str:
    transport = SimpleNamespace(get_extra_info={"peername": (peer, 1)}.get)
    headers = CIMultiDict([("X-Forwarded-For", one) for one in forwarded])
    return guard.address_of(SETTINGS, SimpleNamespace(transport=transport, headers=headers))


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # not a proxy of ours
        ("127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["192.0.2.66, 198.51.100.1"], "198.51.100.1"),  # the first is invented
        ("127.0.0.1", ["198.51.100.1, 10.1.2.3"], "198.51.100.1"),
        # A proxy that adds a line of its own behind the client's.
        ("127.0.0.1", ["192.0.2.66", "198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["198.51.100.1", ""], "198.51.100.1"),
        ("127.0.0.1", ["nonsense"], "127.0.0.1"),
        ("::ffff:203.0.113.9", [], "203.0.113.9"),
        ("127.0.0.1", ["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::/64"),
    ],
)
def test_the_address_that_counts(peer, forwarded, expected):
    assert address(peer, *forwarded) == expected


@pytest.mark.parametrize(
    "origin", ["http://[", "http://[::1", "null", "", "file://x", "http://a@127.0.0.1:1"]
)
def test_an_origin_that_is_none_is_refused(origin):
    assert not guard.origin_allowed(SETTINGS, origin, "127.0.0.1:1")
