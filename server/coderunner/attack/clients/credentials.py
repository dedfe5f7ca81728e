"""Forged credentials: tokens, keys, cookies and headers that claim an identity."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp

from coderunner.attack.case import UNTRIED, Group
from coderunner.attack.stage import Stage

GROUP = Group("credentials")

EVIL = "https://evil.example"
COOKIES = ("__Host-coderunner", "coderunner")
# Guesses; the last one is the example value in `.env.production.example`.
SECRETS = (b"", b"secret", b"changeme", b"coderunner", b"replace-me-with-the-output-of-openssl-rand-hex-32")
CLAIMS = {"sub": "admin", "roles": ["operator"], "aud": "coderunner", "iss": "coderunner", "name": "admin"}


def _part(value: Any) -> str:
    """A part of a token: base64url without padding (RFC 7515, section 2), of bytes or of a JSON value."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(header: dict[str, Any], claims: dict[str, Any], secret: bytes | None) -> str:
    """A token with this header and these claims, signed with `secret`; without one if that is None."""
    signed = f"{_part({'typ': 'JWT', **header})}.{_part(claims)}"
    mac = b"" if secret is None else hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{_part(mac)}"


def _tokens() -> dict[str, str]:
    """Tokens that no server may take, by what is wrong with them."""
    claims = {**CLAIMS, "exp": int(time.time()) + 600}
    # `none` in several spellings: a filter may know one of them only.
    found = {
        f"alg {name or 'empty'}": token({"alg": name}, claims, None) for name in ("none", "None", "nOnE", "")
    }
    found |= {f"guessed {number}": token({"alg": "HS256"}, claims, one) for number, one in enumerate(SECRETS)}
    found |= {
        "expired": token({"alg": "HS256"}, {**claims, "exp": 1}, SECRETS[1]),
        "wrong audience": token({"alg": "HS256"}, {**claims, "aud": "another"}, SECRETS[1]),
        # Headers by which a token would bring its own key (RFC 7515, sections 4.1.2 and 4.1.3).
        "own key": token({"alg": "HS256", "jwk": {"kty": "oct", "k": _part(SECRETS[1])}}, claims, SECRETS[1]),
        "own key set": token({"alg": "RS256", "jku": f"{EVIL}/jwks.json", "kid": "x"}, claims, SECRETS[1]),
        "a file as key": token({"alg": "HS256", "kid": "../../../../dev/null"}, claims, b""),
        "not an object": f"{_part([])}.{_part([])}.{_part(b'x')}",
        # Nested brackets in a header, for a recursive parser.
        "deep": f"{_part(b'[' * 4000)}.{_part(claims)}.",
        "key of nobody": "crk_000000000000_" + "A" * 43,
        "key without secret": "crk_000000000000_",
    }
    return found


@GROUP.case("tokens-forged", "the verification of tokens, over HTTP", "none is taken")
async def _forged(stage: Stage) -> str:
    taken = []
    for name, token in _tokens().items():
        status, _ = await _who(stage, {"Authorization": f"Bearer {token}"})
        if status != 401:
            taken.append(f"{name}: HTTP {status}")
    return ", ".join(taken) or "none is taken"


@GROUP.case("tokens-forged-socket", "the verification of tokens, over a WebSocket", "none is taken")
async def _forged_socket(stage: Stage) -> str:
    taken = []
    for name, token in _tokens().items():
        protocols = ("coderunner.v1", f"coderunner.bearer.{_part(token.encode())}")
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(stage.url + "ws", protocols=protocols) as one,
        ):
            # `hello`, the error, and the close frame.
            frames = [await one.receive(10) for _ in range(3)]
            codes = [
                json.loads(frame.data).get("code") for frame in frames if frame.type is aiohttp.WSMsgType.TEXT
            ]
            if "unauthenticated" not in codes:
                taken.append(name)
    return ", ".join(taken) or "none is taken"


@GROUP.case("cookies-forged", "the cookie of a sign-in", "nobody is signed in")
async def _cookies(stage: Stage) -> str:
    values = (
        "admin",
        _part({"kind": "signed-in", "subject": "admin", "expires": 9e9}),
        "gAAAAA" + "A" * 94,
        "x" * 3900,
    )
    for name in COOKIES:
        for value in values:
            status, told = await _who(stage, {"Cookie": f"{name}={value}"})
            if status != 200 or told.get("principal") is not None:
                return f"HTTP {status}, {told.get('principal')}"
    return "nobody is signed in"


@GROUP.case("proxy-imitated", "the header in which a proxy names its user", "nobody is signed in")
async def _proxy(stage: Stage) -> str:
    names = (
        "X-Remote-User",
        "X-User",
        "X-Forwarded-User",
        "X-Auth-Request-User",
        "Remote-User",
        "X-Webauth-User",
    )
    roles = {"X-Remote-Groups": "operator", "X-Remote-Roles": "operator"}
    for name in names:
        status, told = await _who(stage, {name: "admin", **roles})
        if str(told.get("principal")).startswith("proxy:"):
            return UNTRIED + "this machine is a trusted proxy of the server"
        if status != 200 or told.get("principal") is not None:
            return f"HTTP {status}, {told.get('principal')}"
    return "nobody is signed in"


@GROUP.case("sign-in-elsewhere", "the sign-in, as a way to another site", "leads to no other site")
async def _redirect(stage: Stage) -> str:
    # Spellings that browsers read as another host (WHATWG, URL), although a slash is at their beginning.
    targets = (
        EVIL,
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "https:evil.example",
    )
    for target in targets:
        for path in (
            f"auth/login?next={quote(target, safe='')}",
            f"auth/callback?state=x&code=x&next={quote(target, safe='')}",
        ):
            status, location = await _location(stage, path)
            if (
                status not in (302, 303)
                or "evil" in urlsplit(location).netloc
                or location.startswith(("//", "/\\"))
            ):
                return f"HTTP {status} to {location[:80]}"
    return "leads to no other site"


@GROUP.case("sign-out-forced", "a user's sign-in, from a page of another site", "HTTP 403")
async def _sign_out(stage: Stage) -> str:
    async with (
        aiohttp.ClientSession() as http,
        http.post(stage.url + "auth/logout", headers={"Origin": EVIL, "Cookie": "coderunner=x"}) as answer,
    ):
        return f"HTTP {answer.status}"


@GROUP.case("cookie-of-another-page", "a user's sign-in, from a WebSocket of another site's page", "HTTP 403")
async def _foreign_page(stage: Stage) -> str:
    seen = set()
    for origin in (EVIL, "null", stage.url.rstrip("/") + ".evil.example", "http://localhost.evil.example"):
        headers = {"Origin": origin, "Cookie": "; ".join(f"{name}=x" for name in COOKIES)}
        async with aiohttp.ClientSession() as http:
            try:
                async with http.ws_connect(stage.url + "ws", headers=headers, protocols=("coderunner.v1",)):
                    seen.add(f"a socket for {origin}")
            except aiohttp.WSServerHandshakeError as error:
                seen.add(f"HTTP {error.status}")
    return " / ".join(sorted(seen))


async def _who(stage: Stage, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """(status, document) of `GET /api/identity`, with these headers alone."""
    address = stage.url + "api/identity"
    async with aiohttp.ClientSession() as http, http.get(address, headers=headers) as answer:
        text = await answer.text(errors="replace")
        return answer.status, json.loads(text) if text.startswith("{") else {}


async def _location(stage: Stage, path: str) -> tuple[int, str]:
    """(status, header `Location`) of a response whose redirect is not followed."""
    async with aiohttp.ClientSession() as http, http.get(stage.url + path, allow_redirects=False) as answer:
        return answer.status, answer.headers.get("Location", "")
