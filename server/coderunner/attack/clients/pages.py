"""Attacks by pages of other sites: forms that change something, frames, redirects and forged launches."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

import aiohttp

from coderunner.attack.case import Group
from coderunner.attack.clients.credentials import COOKIES, EVIL
from coderunner.attack.means import Means, described, lent, shows
from coderunner.attack.stage import Stage
from coderunner.client import rest

GROUP = Group("pages")

FORMS = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x")
"""The media types that a form of another page can send without being asked first (Fetch, CORS)."""
FOREIGN: tuple[dict[str, str], ...] = (
    {"Origin": EVIL}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
)  # fmt: skip
NOT_DONE = (400, 401, 403, 404, 405, 415, 421, 503)
"""Statuses of what was not done. 503: of a sign-in that this server has not."""


async def _changing(stage: Stage) -> list[tuple[str, str]]:
    """(method, path) of all routes that change something."""
    return [one for one in await described(stage) if one[0] not in ("GET", "HEAD", "OPTIONS")]


@GROUP.case(
    "forms-of-other-pages", "everything that changes something, by forms of another site", "nothing is done"
)
async def _forms(stage: Stage) -> str:
    cookie = {"Cookie": "; ".join(f"{name}=x" for name in COOKIES)}
    for method, path in await _changing(stage):
        if path.startswith("auth/lti/"):
            continue  # a learning platform's page posts there: `launches-forged`
        for number, foreign in enumerate(FOREIGN):
            headers = {**cookie, **foreign, "Content-Type": FORMS[number]}
            answer = await rest.ask(stage.url + path, method=method, body=b"draining=true", headers=headers)
            if answer.status not in NOT_DONE:
                return f"{method} {path} with {foreign}: HTTP {answer.status}"
            if EVIL in str(answer.headers) or answer.headers.get("Access-Control-Allow-Credentials"):
                return f"{method} {path} with {foreign}: {answer.headers}"
    return "nothing is done"


@GROUP.case(
    "operators-browser", "the operator's routes, with the operator's own key from another site's page",
    "each refused",
)  # fmt: skip
@lent
async def _operators(stage: Stage, means: Means) -> str:
    for method, path in await _changing(stage):
        if not path.startswith("api/admin/"):
            continue
        for foreign in (*FOREIGN, {"Sec-Fetch-Site": "same-site"}):
            headers = {**shows(means.operator), **foreign, "Content-Type": "application/json"}
            # An empty body asks for nothing, should it be let through.
            answer = await rest.ask(stage.url + path, method=method, body=b"{}", headers=headers)
            if answer.code != "403 not_allowed":
                return f"{method} {path} with {foreign}: {answer.code}"
    return "each refused"


@GROUP.case("pages-framed", "clicks of a user, by pages in a frame of another site", "in no frame")
async def _framed(stage: Stage) -> str:
    for path in ("", "admin", "room/framed-7c1e", "room/%22%3E%3Cscript%3E", "api/docs", "?sign-in=x"):
        answer = await rest.ask(stage.url + path)
        policy = answer.headers.get("Content-Security-Policy", "")
        # The page itself may stand in a frame of its own site.
        own = re.search(r"frame-ancestors '(none|self)'(;|$)", policy)
        if answer.status != 200 or own is None or "unsafe-inline" in policy.split("style-src")[0]:
            return f"/{path}: HTTP {answer.status}, {policy!r}"
        if answer.headers.get("X-Frame-Options", "DENY") not in ("DENY", "SAMEORIGIN"):
            return f"/{path}: X-Frame-Options: {answer.headers.get('X-Frame-Options')}"
        # Each page is the same for everybody, so nothing of its address stands in it.
        if b"framed-7c1e" in answer.body or b'"><script>' in answer.body:
            return f"/{path}: its address stands in it"
    return "in no frame"


REDIRECTING = (
    "/evil.example", "//evil.example/..", "/evil.example/%2e%2e", "\\evil.example", "/@evil.example",
    "%2f%2fevil.example", "admin//evil.example", "admin/", "room//evil.example", "static//evil.example",
    "static/..//evil.example", "%0d%0aLocation:%20https://evil.example",
    f"auth/login?next=%0d%0aLocation:{quote(EVIL)}",
)  # fmt: skip


@GROUP.case("redirects-elsewhere", "a path that redirects to another site", "none leads elsewhere")
async def _redirects(stage: Stage) -> str:
    for path in REDIRECTING:
        async with (
            aiohttp.ClientSession() as http,
            http.get(stage.url.rstrip("/") + "/" + path, allow_redirects=False) as answer,
        ):
            location = answer.headers.get("Location", "")
            host = urlsplit(location.replace("\\", "/")).netloc
            # A sign-in leads to its provider, and never to where the caller wants.
            elsewhere = host not in ("", urlsplit(stage.url).netloc) and not path.startswith("auth/")
            if elsewhere or "evil" in host:
                return f"/{path}: HTTP {answer.status} to {location[:80]}"
    return "none leads elsewhere"


@GROUP.case("launches-forged", "a sign-in, by launches that no learning platform made", "nobody is signed in")
async def _launches(stage: Stage) -> str:
    begun = {"iss": EVIL, "login_hint": "1", "target_link_uri": f"{EVIL}/", "client_id": "x"}
    forms: tuple[tuple[str, dict[str, str]], ...] = (
        ("auth/lti/login", begun), ("auth/lti/login", {**begun, "lti_message_hint": "x" * 5000}),
        ("auth/lti/launch", {"state": "x", "id_token": "x.y.z"}), ("auth/lti/launch", {}),
        ("auth/lti/launch", {"error": "x", "error_description": f"<script src={EVIL}>"}),
    )  # fmt: skip
    for path, fields in forms:
        async with (
            aiohttp.ClientSession() as http,
            http.post(
                stage.url + path, data=fields, headers={"Origin": EVIL}, allow_redirects=False
            ) as answer,
        ):
            cookies = [one for one in COOKIES if answer.cookies.get(one) and answer.cookies[one].value]
            location = answer.headers.get("Location", "/")
            if cookies or "evil" in location or answer.status not in (*NOT_DONE, 303):
                return f"{path}: HTTP {answer.status} to {location[:80]}, {cookies}"
    return "nobody is signed in"
