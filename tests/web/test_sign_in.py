"""Signing in to the page with OpenID Connect, at a real provider (oidc-provider, which is certified)."""

from __future__ import annotations

import re
import subprocess
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path

import aiohttp
import pytest

from coderunner.schema import messages as m
from tests.harness import ROOT, Client, Server, random_id, running_server
from tests.web.test_prometheus import free_port

pytestmark = pytest.mark.timeout(150)  # a provider and a server begin first

SECRET = "the-secret-of-this-test-and-of-no-other"


@dataclass
class Place:
    """The server under test, and the provider's address."""

    server: Server
    provider: str


@contextmanager
def beside_a_provider(folder: Path, **settings: str) -> Iterator[Place]:
    """A provider, and a server whose users sign in there. `settings`: additional ones of the server."""
    port, own = free_port(), free_port()
    redirect = f"http://127.0.0.1:{own}/auth/callback"
    command = ["node", str(ROOT / "tests/identity/provider.mjs"), str(port), redirect]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert any("listening" in line for line in process.stdout), "the provider did not start"
        with running_server(
            folder, ready=("bash",), LANGUAGES="bash", WARM_MAX="1", PORT=str(own), ANONYMOUS="no",
            OIDC_ISSUER=f"http://127.0.0.1:{port}", OIDC_CLIENT_ID="coderunner", OIDC_CLIENT_SECRET=SECRET,
            **settings,
        ) as server:  # fmt: skip
            yield Place(server, f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Place]:
    with beside_a_provider(tmp_path_factory.mktemp("sign-in")) as one:
        yield one


async def to_provider(http: aiohttp.ClientSession, place: Place, target: str = "/") -> str:
    """Begins a sign-in; returns the URL at the provider."""
    address = place.server.url + "auth/login?next=" + urllib.parse.quote(target, safe="")
    async with http.get(address, allow_redirects=False) as answer:
        assert answer.status == 302
        return answer.headers["Location"]


async def way_back(http: aiohttp.ClientSession, place: Place, address: str, user: str) -> str:
    """Signs in at the provider with its forms; returns the redirect URL, which is not requested yet."""
    form: dict[str, str] | None = None
    for _ in range(12):
        method = "GET" if form is None else "POST"
        async with http.request(method, address, data=form, allow_redirects=False) as answer:
            if answer.status in (302, 303):
                address, form = urllib.parse.urljoin(address, answer.headers["Location"]), None
                if address.startswith(place.server.url):
                    return address
                continue
            page = await answer.text()
            assert answer.status == 200, page
        action = re.search(r'<form[^>]*action="([^"]+)"', page)
        assert action is not None, page
        address = urllib.parse.urljoin(address, action[1])
        form = (
            {"prompt": "login", "login": user, "password": "x"}
            if 'name="login"' in page
            else {"prompt": "consent"}
        )
    raise AssertionError("the provider goes round in circles")


async def signed_in(http: aiohttp.ClientSession, place: Place, user: str = "alice", target: str = "/") -> str:
    """Signs in; returns where the browser is redirected."""
    back = await way_back(http, place, await to_provider(http, place, target), user)
    async with http.get(back, allow_redirects=False) as answer:
        assert answer.status == 303, await answer.text()
        return answer.headers["Location"]


async def who(http: aiohttp.ClientSession, place: Place, **fields) -> dict:
    async with http.get(place.server.url + "api/identity", **fields) as answer:
        assert answer.status == 200
        return await answer.json()


async def opens(http: aiohttp.ClientSession, place: Place, **headers: str) -> str:
    """Returns "opened", or the code of the refusal."""
    try:
        async with http.ws_connect(
            place.server.url + "ws", protocols=("coderunner.v1",), headers=headers
        ) as socket:
            one = Client(socket, random_id())
            await one.send(m.Open("bash", one.client))
            await one.wait(lambda: one.opened, 30, "a session")
            await one.send(m.Close())
            await one.closed()
            return "opened"
    except aiohttp.WSServerHandshakeError as error:
        return f"HTTP {error.status}"


async def test_a_sign_in_from_the_page_and_back(place, http):
    assert (await who(http, place))["ways"] == ["key", "oidc"]
    assert await signed_in(http, place, "alice", "/?project=7") == "/?project=7"
    told = await who(http, place)
    assert (told["principal"], told["name"], told["rooms"], told["how"], told["may_open"]) == (
        "oidc:alice", "alice of the test", ["algebra"], "oidc", True,
    )  # fmt: skip
    own = place.server.url.rstrip("/")
    assert await opens(http, place, Origin=own) == "opened"
    assert "principal=oidc:alice" in place.server.log.read_text()


async def test_another_sites_page_gets_nothing_of_it(place, http):
    await signed_in(http, place)
    for origin in (
        "https://evil.example",
        "null",
        place.server.url.replace("127.0.0.1", "localhost").rstrip("/"),
    ):
        assert await opens(http, place, Origin=origin) == "HTTP 403"
    assert await opens(http, place) == "HTTP 403", "a cookie without an Origin"
    run = {"language": "bash", "files": [{"path": "main.sh", "content": "echo"}]}
    for headers in ({}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        async with http.post(place.server.url + "api/run", json=run, headers=headers) as answer:
            assert answer.status == 403, headers
        async with http.post(place.server.url + "auth/logout", headers=headers) as answer:
            assert answer.status == 403, headers
    assert (await who(http, place))["principal"] == "oidc:alice", "nobody has signed them out"


async def test_the_cookie_is_for_browsers_alone_and_ends_with_the_sign_out(place, http):
    back = await way_back(http, place, await to_provider(http, place), "alice")
    async with http.get(back, allow_redirects=False) as answer:
        set_ = SimpleCookie(answer.headers["Set-Cookie"])["coderunner"]
        assert set_["httponly"]
        assert set_["samesite"] == "Lax"
        assert set_["path"] == "/"
    stolen = {"Cookie": f"coderunner={set_.value}"}
    async with aiohttp.ClientSession() as other:
        assert (await who(other, place, headers=stolen))["principal"] == "oidc:alice"
        async with http.post(
            place.server.url + "auth/logout", headers={"Origin": place.server.url.rstrip("/")}
        ) as answer:
            assert answer.status == 200
        assert (await who(http, place))["principal"] is None
        assert (await who(other, place, headers=stolen))["principal"] is None, "a copy of it"
        cut = {"Cookie": f"coderunner={set_.value[:-4]}AAAA"}
        assert (await who(other, place, headers=cut))["principal"] is None
    assert set_.value not in place.server.log.read_text()


async def test_an_answer_that_belongs_to_no_sign_in_is_none(place, http):
    address = await to_provider(http, place)
    back = await way_back(http, place, address, "alice")
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(back).query))
    callback = back.partition("?")[0]

    async def ended(**changed: str) -> str:
        words = urllib.parse.urlencode({**query, **changed})
        async with http.get(f"{callback}?{words}", allow_redirects=False) as answer:
            assert answer.status == 303
            return answer.headers["Location"]

    # Somebody else's browser, to which the address was given: it has not begun this sign-in.
    async with aiohttp.ClientSession() as other, other.get(back, allow_redirects=False) as answer:
        assert answer.headers["Location"] == "/?sign-in=unauthenticated"
        assert "coderunner" not in {one.key for one in other.cookie_jar}
    begun = {one.key: one.value for one in http.cookie_jar}["coderunner-sign-in"]
    for changed in (
        {"state": "x"},
        {"state": ""},
        {"iss": "https://evil.example"},
        {"code": "x"},
        {"code": ""},
    ):
        http.cookie_jar.update_cookies({"coderunner-sign-in": begun}, aiohttp.helpers.URL(callback))
        assert await ended(**changed) == "/?sign-in=unauthenticated", changed
    assert (await who(http, place))["principal"] is None
    log = place.server.log.read_text()
    assert query["code"] not in log
    assert query["state"] not in log


async def test_a_code_is_good_once(place, http):
    back = await way_back(http, place, await to_provider(http, place), "alice")
    begun = {one.key: one.value for one in http.cookie_jar}["coderunner-sign-in"]
    async with http.get(back, allow_redirects=False) as answer:
        assert answer.headers["Location"] == "/"
    http.cookie_jar.clear()
    http.cookie_jar.update_cookies({"coderunner-sign-in": begun}, aiohttp.helpers.URL(back))
    async with http.get(back, allow_redirects=False) as answer:
        assert answer.headers["Location"] == "/?sign-in=unauthenticated"


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/admin", "//evil.example/admin", "/\\evil.example/admin", "\\\\evil.example",
        "/\t/evil.example", "%2f%2fevil.example/admin", "https%3a%2f%2fevil.example",
        "//127.0.0.1@evil.example",
    ],
)  # fmt: skip
async def test_a_sign_in_leads_to_no_other_site(place, http, target):
    assert await signed_in(http, place, target=target) == "/"


@pytest.mark.parametrize("target", ["/%2f%2fevil.example", "/%5c%5cevil.example", "/admin/..//evil.example"])
async def test_what_is_encoded_is_not_decoded_on_the_way_back(place, http, target):
    at = await signed_in(http, place, target=target)
    assert at == target
    assert urllib.parse.urlsplit(urllib.parse.urljoin(place.server.url, at)).netloc in place.server.url


async def test_what_is_asked_of_the_provider(place, http):
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(await to_provider(http, place)).query))
    assert query["response_type"] == "code"
    assert query["code_challenge_method"] == "S256"
    assert len(query["code_challenge"]) == 43
    again = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(await to_provider(http, place)).query))
    assert all(query[name] != again[name] for name in ("state", "nonce", "code_challenge"))


async def test_roles_come_from_the_provider(place, http):
    async with http.get(place.server.url + "metrics") as answer:
        assert answer.status in (200, 401)  # in development without ADMIN_KEY this machine may
    await signed_in(http, place, "olga")
    assert (await who(http, place))["roles"] == ["operator", "user"]
