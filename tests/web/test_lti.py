"""Launches from a learning platform with LTI 1.3, as a browser makes them."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from coderunner.schema import messages as m
from tests.harness import Client, Server, random_id, running_server
from tests.identity.platform import CLIENT, COURSE, Platform, platform
from tests.web.conftest import browser

AUTH = "https://moodle.example/mod/lti/auth.php"
FAILED = "/?sign-in=unauthenticated"
REFUSED = "/?sign-in=not_allowed"


@dataclass
class Place:
    """The server under test, and the platform."""

    server: Server
    platform: Platform


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Place]:
    with (
        platform() as one,
        running_server(
            tmp_path_factory.mktemp("lti"), ready=("bash",), LANGUAGES="bash", WARM_MAX="1", ANONYMOUS="no",
            LTI_ISSUER=one.url, LTI_CLIENT_ID=CLIENT, LTI_AUTH_URL=AUTH, LTI_JWKS_URL=one.url + "/keys",
            LTI_DEPLOYMENTS="1,2", REQUESTS_PER_ADDRESS="100000",
        ) as server,
    ):  # fmt: skip
        yield Place(server, one)


async def begun(http: aiohttp.ClientSession, place: Place, **changed: str) -> dict[str, str]:
    """Initiates a login as the platform's page does; returns the query with which the browser is redirected
    to the platform."""
    asked = {
        "iss": place.platform.url, "login_hint": "42", "lti_message_hint": "9", "client_id": CLIENT,
        "target_link_uri": place.server.url, "lti_deployment_id": "1", **changed,
    }  # fmt: skip
    async with http.post(place.server.url + "auth/lti/login", data=asked, allow_redirects=False) as answer:
        assert answer.status == 302, answer.headers.get("Location")
        address = answer.headers["Location"]
    assert address.startswith(AUTH + "?")
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(address).query))


async def posted(http: aiohttp.ClientSession, place: Place, state: str, token: str) -> str:
    """Posts the token as the platform's page does; returns where the browser is redirected."""
    headers = {"Origin": place.platform.url, "Sec-Fetch-Site": "cross-site"}
    async with http.post(
        place.server.url + "auth/lti/launch", data={"state": state, "id_token": token}, headers=headers,
        allow_redirects=False,
    ) as answer:  # fmt: skip
        assert answer.status == 303, await answer.text()
        return answer.headers["Location"]


async def launched(http: aiohttp.ClientSession, place: Place, **changed: Any) -> str:
    query = await begun(http, place)
    target = changed.pop("target", place.server.url)
    claims = place.platform.claims(changed.pop("nonce", query["nonce"]), target, **changed)
    return await posted(http, place, query["state"], place.platform.signed(claims))


async def who(http: aiohttp.ClientSession, place: Place) -> dict[str, Any]:
    async with http.get(place.server.url + "api/identity") as answer:
        return dict(await answer.json())


async def test_a_student_comes_from_a_course_and_opens_a_session_in_its_room(place, http):
    query = await begun(http, place)
    assert {name: query[name] for name in query if name not in ("state", "nonce")} == {
        "scope": "openid", "response_type": "id_token", "response_mode": "form_post", "prompt": "none",
        "client_id": CLIENT, "redirect_uri": place.server.url + "auth/lti/launch", "login_hint": "42",
        "lti_message_hint": "9",
    }  # fmt: skip
    assert await launched(http, place) == "/"
    told = await who(http, place)
    assert (told["principal"], told["name"], told["roles"], told["how"]) == (
        "lti:42", "Alice Example", ["user"], "lti",
    )  # fmt: skip
    (room,) = told["rooms"]
    assert room.startswith("CS-101-")
    own = place.server.url.rstrip("/")
    async with http.ws_connect(
        place.server.url + "ws", protocols=("coderunner.v1",), headers={"Origin": own}, autoclose=False
    ) as socket:
        one = Client(socket, random_id())
        await one.send(m.Open("bash", one.client))
        await one.wait(lambda: one.opened, 30, "a session")
        async with browser() as other:
            assert (
                await launched(other, place, sub="7", name="Bob", lti_roles=[COURSE + "#Instructor"]) == "/"
            )
            async with other.get(place.server.url + "api/sessions") as answer:
                seen = [(row["session"], row["room"]) for row in (await answer.json())["sessions"]]
            assert seen == [(one.opened.session, room)], "the course's teacher sees it"
        async with browser() as other:
            roles, course = [COURSE + "#Instructor"], {"id": "6", "label": "CS 101"}
            await launched(other, place, sub="8", lti_roles=roles, lti_context=course)
            async with other.get(place.server.url + "api/sessions") as answer:
                assert (await answer.json())["sessions"] == [], "a teacher of a course of the same name"
        await one.send(m.Close())
        await one.closed()


async def test_signing_out_ends_it(place, http):
    await launched(http, place)
    own = {"Origin": place.server.url.rstrip("/")}
    async with http.post(place.server.url + "auth/logout", headers=own) as answer:
        assert answer.status == 200
    assert (await who(http, place))["principal"] is None


@pytest.mark.parametrize(
    ("target", "lands"),
    [
        ("?sample=hello", "/?sample=hello"),
        ("auth/lti/launch", "/"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        (7, "/"),
        (None, "/"),
    ],
)
async def test_a_launch_never_leads_elsewhere(place, http, target, lands):
    own = isinstance(target, str) and not target.startswith(("http", "//", "java"))
    assert await launched(http, place, target=place.server.url + target if own else target) == lands


@pytest.mark.parametrize(
    ("changed", "lands"),
    [
        ({"nonce": "another"}, FAILED),
        ({"aud": "another-tool"}, FAILED),
        ({"aud": [CLIENT, "b"], "azp": "b"}, FAILED),
        ({"iss": "https://evil.example"}, FAILED),
        ({"exp": 1}, FAILED),
        ({"exp": None}, FAILED),
        ({"sub": None}, FAILED),
        ({"sub": ""}, REFUSED),
        ({"lti_version": "1.1"}, REFUSED),
        ({"lti_message_type": "LtiDeepLinkingRequest"}, REFUSED),
        ({"lti_deployment_id": "3"}, REFUSED),
        ({"lti_deployment_id": None}, REFUSED),
        ({"lti_deployment_id": ["1"]}, REFUSED),
    ],
)
async def test_what_is_no_launch_for_this_server_signs_nobody_in(place, http, changed, lands):
    assert await launched(http, place, **changed) == lands
    assert (await who(http, place))["principal"] is None


async def test_a_launch_counts_once_and_in_its_own_browser(place, http):
    query = await begun(http, place)
    token = place.platform.signed(place.platform.claims(query["nonce"], place.server.url))
    cookie = {one.key: one.value for one in http.cookie_jar}["coderunner-launch"]
    async with browser() as other:
        assert await posted(other, place, query["state"], token) == FAILED, "a browser that began none"
        await begun(other, place)
        assert await posted(other, place, query["state"], token) == FAILED, "one that began another"
        assert (await who(other, place))["principal"] is None
    assert await posted(http, place, "x", token) == FAILED
    http.cookie_jar.update_cookies({"coderunner-launch": cookie}, aiohttp.helpers.URL(place.server.url))
    assert await posted(http, place, query["state"], token) == "/"
    http.cookie_jar.update_cookies({"coderunner-launch": cookie}, aiohttp.helpers.URL(place.server.url))
    assert await posted(http, place, query["state"], token) == FAILED, "again, with a copy of the cookie"
    log = place.server.log.read_text()
    assert token not in log
    assert query["state"] not in log


async def test_forged_tokens(place, http):
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = place.platform.keys()["keys"][0]
    for forge in (
        lambda claims: jwt.encode(claims, "", "none"),
        lambda claims: jwt.encode(claims, other, "RS256", headers={"kid": "k1"}),
        lambda claims: jwt.encode(claims, other, "RS256", headers={"kid": "k2"}),
        # The public key as the secret of another algorithm.
        lambda claims: jwt.encode(claims, public["n"], "HS256", headers={"kid": "k1"}),
        lambda claims: jwt.encode(claims, other, "RS256", headers={"jwk": public, "kid": "k1"}),
        lambda claims: place.platform.signed(claims, crit=["x"]),
        lambda claims: "x",
        lambda claims: "",
        lambda claims: "a" * 40_000,
    ):
        query = await begun(http, place)
        claims = place.platform.claims(query["nonce"], place.server.url)
        assert await posted(http, place, query["state"], forge(claims)) == FAILED
    assert (await who(http, place))["principal"] is None


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://evil.example"},
        {"client_id": "another"},
        {"login_hint": ""},
        {"login_hint": "x" * 3000},
    ],
)
async def test_a_login_of_another_platform_goes_nowhere(place, http, changed):
    asked = {"iss": place.platform.url, "login_hint": "42", "target_link_uri": "x", **changed}
    for method, how in (("POST", "data"), ("GET", "params")):
        async with http.request(
            method, place.server.url + "auth/lti/login", **{how: asked}, allow_redirects=False
        ) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, FAILED)
            assert "coderunner-launch=" not in answer.headers.get("Set-Cookie", "")


async def test_what_is_posted_is_bounded(place, http):
    address = place.server.url + "auth/lti/launch"
    for data, type_ in (
        (b"state=" + b"x" * 70_000, "application/x-www-form-urlencoded"),
        (b"&".join(b"a%d=1" % number for number in range(5000)), "application/x-www-form-urlencoded"),
        (b"state=\xff", "application/x-www-form-urlencoded"),
        (b"{}", "application/json"),
    ):
        async with http.post(
            address, data=data, headers={"Content-Type": type_}, allow_redirects=False
        ) as answer:
            assert answer.status == 303
            assert answer.headers["Location"].startswith("/?sign-in=")


async def test_the_cookies_are_for_browsers_alone(place, http):
    query = await begun(http, place)
    token = place.platform.signed(place.platform.claims(query["nonce"], place.server.url))
    async with http.post(
        place.server.url + "auth/lti/launch", data={"state": query["state"], "id_token": token},
        allow_redirects=False,
    ) as answer:  # fmt: skip
        cookies = [SimpleCookie(text) for text in answer.headers.getall("Set-Cookie")]
    (signed_in,) = [one["coderunner"] for one in cookies if "coderunner" in one]
    assert signed_in["httponly"]
    assert signed_in["samesite"] == "Lax"


async def test_a_server_without_a_platform_has_no_launches(server, http):
    async with http.post(server.url + "auth/lti/launch", data={}, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/?sign-in=no_address")
    async with http.get(server.url + "auth/lti/keys") as answer:
        assert await answer.json() == {"keys": []}
