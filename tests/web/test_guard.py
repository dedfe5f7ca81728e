"""Headers that a client can write itself do not change its identity."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from coderunner import config
from coderunner.errors import NotAllowed
from coderunner.fleet.opening import Caller
from coderunner.identity.chain import made
from coderunner.identity.principal import Principal
from coderunner.schema.quotas import QuotasFile
from coderunner.sessions.quotas import Quotas
from coderunner.web import guard
from coderunner.web.api.wall import teacher_of
from coderunner.web.keys import PARTS
from coderunner.web.tickets import Tickets

SETTINGS = config.load({"TRUSTED_PROXIES": "127.0.0.1,10.0.0.0/8"})


def address(peer: str, *forwarded: str) -> str:
    transport = SimpleNamespace(get_extra_info={"peername": (peer, 1)}.get)
    headers = CIMultiDict([("X-Forwarded-For", one) for one in forwarded])
    return guard.address_of(SETTINGS, make_mocked_request("GET", "/", headers, transport=transport))


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


def test_a_request_for_an_agent_counts_at_the_agents_address():
    tickets = Tickets()
    parts = SimpleNamespace(tickets=tickets)
    transport = SimpleNamespace(get_extra_info={"peername": ("127.0.0.1", 1)}.get)

    def asked(ticket: str) -> str:
        request = make_mocked_request("GET", "/", {guard.TICKET: ticket}, transport=transport)
        guard.note_ticket(parts, request)
        return guard.address_of(SETTINGS, request)

    with tickets.issued(Caller("203.0.113.9")) as ticket:
        assert asked(ticket) == "203.0.113.9"
        assert asked(ticket[:-1]) == "127.0.0.1"
    assert asked(ticket) == "127.0.0.1", "it ends with the request that it was made for"


@pytest.mark.parametrize(
    "origin", ["http://[", "http://[::1", "null", "", "file://x", "http://a@127.0.0.1:1"]
)
def test_an_origin_that_is_none_is_refused(origin):
    assert not guard.origin_allowed(SETTINGS, origin, "127.0.0.1:1")


def from_here(peer: str, host: str, **headers: str) -> bool:
    transport = SimpleNamespace(get_extra_info={"peername": (peer, 1)}.get)
    return guard.from_here(SimpleNamespace(transport=transport, headers=CIMultiDict(headers)), host)


@pytest.mark.parametrize("host", ["LOCALHOST", "127.0.0.1:3000", "127.0.0.2:3000", "127.255.0.9", "[::1]:3"])
def test_any_name_of_loopback_is_this_machine(host):
    assert from_here("127.0.0.1", host)
    assert guard.host_allowed(SETTINGS, host), "in development"
    assert not from_here("203.0.113.9", host), "another machine that claims it"
    assert not from_here("127.0.0.1", host, Forwarded="for=203.0.113.9"), "a proxy for another machine"


@pytest.mark.parametrize(
    "host", ["127.1", "2130706433", "127.0.0.1.example", "localhost.example", "10.0.0.1", ""]
)
def test_what_a_name_server_could_answer_is_no_name_of_loopback(host):
    assert not from_here("127.0.0.1", host)
    assert not guard.host_allowed(SETTINGS, host)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("run.example.com", True), ("RUN.example.com.", True), ("run.example.com.:8443", True),
        ("run.example.com..", False), (".run.example.com", False), ("run.example.com.evil", False),
        (".", False),
    ],
)  # fmt: skip
def test_a_dot_at_the_end_is_no_other_name(host, allowed):
    for listed in ("run.example.com", "run.example.com."):
        settings = config.load(
            {"APP_ENV": "production", "ADMIN_KEY": "0123456789abcdef" * 2, "ALLOWED_HOSTS": listed}
        )
        assert guard.host_allowed(settings, host) == allowed


@pytest.mark.parametrize(
    "origin", ["http://\udcff", "\udcff", "http://127.0.0.1:1\udcff", "http://ü", "null", "", "HTTP://[::1"]
)
@pytest.mark.parametrize("said", ["http", "\udcff"])
def test_an_origin_of_any_bytes_is_not_the_own_one(origin: str, said: str) -> None:
    """aiohttp gives a header that is not UTF-8 with lone surrogates."""
    transport = SimpleNamespace(get_extra_info={"peername": ("127.0.0.1", 1)}.get)
    headers = CIMultiDict({"Host": "127.0.0.1:1", "Origin": origin, "X-Forwarded-Proto": said})
    request = SimpleNamespace(transport=transport, headers=headers, scheme="http", method="GET")
    assert not guard.from_own_page(SETTINGS, request)
    headers["Origin"], headers["X-Forwarded-Proto"] = "http://127.0.0.1:1", "http"
    assert guard.from_own_page(SETTINGS, request)


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, True),
        ({"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, True),  # typed, or a bookmark
        ({}, True),  # no browser
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, False),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, False),
    ],
)
async def test_no_link_elsewhere_has_a_teacher_collect_the_files_of_a_room(fields, counts):
    """A link brings the teacher's cookie, and all users of the room are told of what it does."""
    settings = config.load({"OIDC_ISSUER": "https://id.example", "OIDC_CLIENT_ID": "x"})
    identity = made(settings, b"key")
    tina = Principal("oidc:tina", "Tina", frozenset(("user", "teacher")), frozenset(("algebra",)), how="oidc")
    registry = SimpleNamespace(quotas=Quotas(QuotasFile()))
    headers = {"Host": "127.0.0.1:3000", "Cookie": f"coderunner={identity.sign_ins.made(tina)}", **fields}
    app = web.Application()
    app[PARTS] = SimpleNamespace(settings=settings, identity=identity, tickets=Tickets(), registry=registry)
    request = make_mocked_request(
        "GET", "/api/rooms/algebra/archive", headers=headers, match_info={"room": "algebra"}, app=app
    )
    try:
        _, who = await teacher_of(request)
    except NotAllowed:
        assert not counts
    else:
        assert counts
        assert who.subject == "oidc:tina"
    await identity.close()
