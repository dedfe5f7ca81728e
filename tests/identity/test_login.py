"""A sign-in at a provider that is slow, gone, or answers with something else."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, make_mocked_request

from coderunner import config
from coderunner.errors import IdentityUnavailable
from coderunner.identity import login as logins
from coderunner.identity.chain import Verifiers
from coderunner.identity.claims import ClaimRules
from coderunner.identity.fetch import Fetcher
from coderunner.identity.login import Client, Login
from coderunner.identity.principal import Principal
from coderunner.identity.sealing import Sealer
from coderunner.identity.sign_ins import SignIns
from coderunner.web import identity
from coderunner.web.keys import PARTS, TCP_CONNECTIONS
from coderunner.web.middleware import REFUSED
from coderunner.web.tcp_limits import TcpConnections
from tests.identity.test_tokens import RSA, claims, jwk

ISSUER = "https://id.example"
DESCRIPTION = {
    "issuer": ISSUER, "authorization_endpoint": ISSUER + "/authorize", "token_endpoint": ISSUER + "/token",
    "jwks_uri": ISSUER + "/keys",
}  # fmt: skip
SETTINGS = {"OIDC_ISSUER": ISSUER, "OIDC_CLIENT_ID": "coderunner"}
SIGN_INS = SignIns(Sealer(b"key"), 60)
CHARGED: list[float] = []  # requests that an address was charged for beside its own
REDIRECT = "https://here.example/auth/callback"


class Provider:
    """A provider, and how often it was asked. `told`: its description; None while it cannot be asked."""

    def __init__(self, told: dict[str, Any] | None) -> None:
        self.told, self.asked, self.nonce = told, 0, ""

    async def get(self, url: str) -> dict[str, Any]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.told is None:
            raise IdentityUnavailable("gone")
        return {"keys": [jwk(RSA, "one")]} if url == DESCRIPTION["jwks_uri"] else self.told

    async def post(self, _url: str, _form: Any, _auth: Any) -> tuple[int, dict[str, Any]]:
        told = claims(iss=ISSUER, nonce=self.nonce)
        return 200, {"id_token": jwt.encode(told, RSA, "RS256", headers={"kid": "one"})}


def login(provider: Any) -> Login:
    sealer = Sealer(b"key")
    client = Client(ISSUER, "coderunner", None, ("openid",), 5.0)
    return Login(client, ClaimRules(), sealer, SignIns(sealer, 60), provider)


async def test_of_many_who_sign_in_while_the_provider_is_gone_one_asks_it(monkeypatch):
    provider = Provider(None)
    one = login(provider)
    found = await asyncio.gather(*(one.begin(REDIRECT, "/") for _ in range(20)), return_exceptions=True)
    assert {type(each) for each in found} == {IdentityUnavailable}
    assert {each.message for each in found} == {"gone"}
    assert provider.asked == 1, "each would wait for the one before, until its deadline"
    provider.told = DESCRIPTION
    monkeypatch.setattr(logins, "AGAIN_SECONDS", 0.0)
    address, _ = await one.begin(REDIRECT, "/")
    assert address.startswith(DESCRIPTION["authorization_endpoint"] + "?")


async def test_what_is_known_of_a_provider_serves_on_while_it_cannot_be_asked(monkeypatch):
    provider = Provider(DESCRIPTION)
    one = login(provider)
    await one.begin(REDIRECT, "/")
    monkeypatch.setattr(logins, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(logins, "AGAIN_SECONDS", 0.0)
    provider.told = None
    assert await one.begin(REDIRECT, "/")
    assert provider.asked == 2
    monkeypatch.setattr(logins, "STALE_SECONDS", 0.0)
    with pytest.raises(IdentityUnavailable):
        await one.begin(REDIRECT, "/")


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": "https://evil.example"}, {"token_endpoint": "http://evil.example"}, {"jwks_uri": None},
        {"token_endpoint_auth_methods_supported": 5},
    ],
)  # fmt: skip
async def test_a_description_that_cannot_be_used(changed):
    with pytest.raises(IdentityUnavailable, match="description"):
        await login(Provider(DESCRIPTION | changed)).begin(REDIRECT, "/")


async def test_endpoints_may_have_a_query():
    """As those of Azure AD B2C, which name a policy by it."""
    told = {
        name: f"{address}?p=policy"
        for name, address in DESCRIPTION.items()
        if name.endswith(("point", "uri"))
    }
    address, _ = await login(Provider(DESCRIPTION | told)).begin(REDIRECT, "/")
    assert address.startswith(ISSUER + "/authorize?p=policy&response_type=code&")


async def test_a_page_that_is_no_json_is_told_by_its_status():
    async def missing(_request: web.Request) -> web.Response:
        return web.Response(status=404, text="<html>not here</html>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/{path:.*}", missing)
    fetcher = Fetcher()
    async with TestServer(app) as server:
        with pytest.raises(IdentityUnavailable, match="404"):
            await fetcher.get(str(server.make_url("/.well-known/openid-configuration")))
        await fetcher.close()


async def answered(handler: Any, path: str, one: Login, **headers: str) -> tuple[str, str]:
    """Where the browser is sent, and the cookie that it keeps."""
    answer = await asked(handler, path, one, **headers)
    return answer.headers["Location"], answer.cookies[identity.BEGUN].value


async def asked(handler: Any, path: str, one: Login, method: str = "GET", **headers: str) -> web.Response:
    app = web.Application()
    settings, verifiers = config.load(SETTINGS), Verifiers(login=one, sign_ins=SIGN_INS)
    app[PARTS] = SimpleNamespace(settings=settings, identity=verifiers)
    app[TCP_CONNECTIONS] = TcpConnections(lambda _: False)
    app[TCP_CONNECTIONS].charge = lambda address, cost: CHARGED.append(cost)
    answer: web.Response = await handler(
        make_mocked_request(method, path, {"Host": "127.0.0.1:3000", **headers}, app=app)
    )
    return answer


@pytest.mark.parametrize(
    ("began", "ends"),
    [
        ("/", "/?sign-in="), ("/admin", "/admin?sign-in="), ("/admin#keys", "/admin?sign-in="),
        ("/room/algebra?lang=en", "/room/algebra?lang=en&sign-in="), ("//evil.example", "/?sign-in="),
    ],
)  # fmt: skip
async def test_a_sign_in_that_fails_leads_back_to_where_it_began(began, ends):
    path, provider = "/auth/login?next=" + quote(began, safe=""), Provider(None)
    address, _ = await answered(identity.login, path, login(provider))
    assert address == ends + "identity_unavailable"
    provider.told, one = DESCRIPTION, login(provider)
    address, cookie = await answered(identity.login, path, one)
    state = parse_qs(urlsplit(address).query)["state"][0]
    for answer, code in (
        (f"state={state}&error=access_denied", "not_allowed"),
        ("state=x", "unauthenticated"),
    ):
        kept = f"{identity.BEGUN}={cookie}"
        address, left = await answered(identity.callback, f"/auth/callback?{answer}", one, Cookie=kept)
        assert (address, left) == (ends + code, "")
    CHARGED.clear()
    address, _ = await answered(identity.callback, "/auth/callback?state=x", one)
    assert address == "/?sign-in=unauthenticated", "of another browser"
    assert CHARGED == [REFUSED], "who guesses is slowed down"


async def test_who_has_signed_out_or_wants_another_account_is_asked_who_it_is():
    """A provider that knows the browser would name the account of before, whoever sits there now."""
    one = login(Provider(DESCRIPTION))

    async def prompt(cookies: str) -> list[str] | None:
        address, _ = await answered(identity.login, "/auth/login", one, Cookie=cookies)
        return parse_qs(urlsplit(address).query).get("prompt")

    cookie = f"coderunner={SIGN_INS.made(Principal('oidc:alice', 'Alice', frozenset(('user',)), how='oidc'))}"
    assert await prompt("") is None
    assert await prompt("coderunner=x") is None, "of one that has expired"
    assert await prompt(cookie) == ["login"]
    answer = await asked(
        identity.logout, "/auth/logout", one, "POST", Cookie=cookie, Origin="http://127.0.0.1:3000"
    )
    left = answer.cookies[identity.LEFT]
    assert (left["path"], left["httponly"], left["samesite"]) == ("/auth", True, "Lax")
    assert await prompt(f"{identity.LEFT}={left.value}") == ["login"]
    assert await prompt(cookie) is None, "it has ended"
    never = await asked(identity.logout, "/auth/logout", one, "POST", Origin="http://127.0.0.1:3000")
    assert identity.LEFT not in never.cookies


async def test_a_sign_in_that_succeeds_leads_to_where_it_began_and_is_the_next_ones_own():
    provider = Provider(DESCRIPTION)
    one = login(provider)
    address, begun = await answered(identity.login, "/auth/login?next=/admin", one)
    query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    provider.nonce = query["nonce"]
    kept = f"{identity.BEGUN}={begun}; {identity.LEFT}=1"
    answer = await asked(identity.callback, f"/auth/callback?state={query['state']}&code=x", one, Cookie=kept)
    assert answer.headers["Location"] == "/admin"
    assert SIGN_INS.principal(answer.cookies["coderunner"].value).subject == "oidc:alice"
    assert (answer.cookies[identity.LEFT].value, answer.cookies[identity.LEFT]["max-age"]) == ("", "0")
