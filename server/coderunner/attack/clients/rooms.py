"""Attacks on rooms: a teacher's wall, notices and files by callers who are no teachers; the raised hand of
another."""

from __future__ import annotations

import aiohttp

from coderunner.attack.case import UNTRIED, Group
from coderunner.attack.clients.credentials import CLAIMS, COOKIES, EVIL, SECRETS, token
from coderunner.attack.stage import Stage
from coderunner.client.peer import random_id
from coderunner.schema import messages as m

GROUP = Group("rooms")

ROOMS = ("algebra", "no-such-room", "x" * 300, "a%00b", "'%20or%201=1")
# As from elsewhere: without ADMIN_KEY, whoever is on the server's own machine is its operator.
ELSEWHERE = {"X-Real-IP": "192.0.2.7", "X-Forwarded-For": "192.0.2.7"}
TEACHER = {**CLAIMS, "roles": ["teacher"], "rooms": ["algebra"], "exp": 4_000_000_000}
_OWN = UNTRIED + "the credential of this attack is that of a teacher or an operator"
ALIKE = "each refused, unknown rooms like others"


def _forged() -> list[dict[str, str]]:
    """Headers that claim to be a teacher's, none of which a server may believe."""
    tokens = [token({"alg": "none"}, TEACHER, None), token({"alg": "HS256"}, TEACHER, SECRETS[1])]
    return [
        {},
        *({"Authorization": f"Bearer {one}"} for one in tokens),
        *({"Cookie": f"{name}={tokens[0]}"} for name in COOKIES),
        {"X-Roles": "teacher", "X-Rooms": "algebra", "X-User": "tina"},
    ]


async def _answer(stage: Stage, method: str, path: str, headers: dict[str, str]) -> str:
    """(status, code) of a request from elsewhere, as a text."""
    body = b'{"text": "x"}' if method == "POST" else b"PK\x03\x04" if method == "PUT" else None
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, stage.url + path, headers={**ELSEWHERE, **headers}, data=body) as one,
    ):
        # The body of a stream (the wall) has no end; the status is enough.
        told = (await one.json()) if one.content_type.endswith("json") else {}
        return f"{one.status} {told.get('code')}"


async def _teaches(stage: Stage) -> bool:
    """Whether the attack's own credential is that of a teacher of one of ROOMS, or of an operator."""
    walls = [await _answer(stage, "GET", f"api/rooms/{room}/wall", {**stage.headers}) for room in ROOMS]
    return any(one.startswith("200") for one in walls)


async def _refusals(stage: Stage, method: str, path: str) -> str:
    """Requests `path`, which has `{}` for the room, with each forged credential. Returns ALIKE, or the first
    answer that differs between rooms or is no refusal."""
    for headers in [{**stage.headers}, *_forged()]:
        seen = {await _answer(stage, method, path.format(room), headers) for room in ROOMS}
        if len(seen) != 1 or not seen <= {"401 unauthenticated", "403 not_allowed"}:
            return f"{method} {path}: {sorted(seen)} with {sorted(headers)}"
    return ALIKE


@GROUP.case("wall-of-strangers", "a room's wall, by who is no teacher of it", ALIKE)
async def _wall(stage: Stage) -> str:
    if await _teaches(stage):
        return _OWN
    return await _refusals(stage, "GET", "api/rooms/{}/wall")


@GROUP.case(
    "room-of-strangers", "a room's words, hands and files, by who is no teacher", f"{ALIKE}; nobody is told"
)
async def _acts(stage: Stage) -> str:
    if await _teaches(stage):
        return _OWN
    async with stage.session() as peer:
        assert peer.opened
        for method, path in (
            ("POST", "api/rooms/{}/notices"),
            ("DELETE", "api/rooms/{}/hands/" + peer.opened.session),
            ("PUT", "api/rooms/{}/project?into=hostile"),
            ("GET", "api/rooms/{}/archive"),
        ):
            seen = await _refusals(stage, method, path)
            if seen != ALIKE:
                return seen
        told = [one for one in peer.messages if isinstance(one, m.Notice | m.Hand)]
        return f"{ALIKE}; {'somebody' if told else 'nobody'} is told"


@GROUP.case("room-of-another-page", "a teacher's cookie, from a page of another site", "each refused")
async def _page(stage: Stage) -> str:
    cookie = {"Cookie": "; ".join(f"{name}=x" for name in COOKIES)}
    for method, what in (("GET", "wall"), ("POST", "notices"), ("PUT", "project?into=x"), ("GET", "archive")):
        for more in ({"Origin": EVIL}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
            seen = await _answer(stage, method, f"api/rooms/algebra/{what}", {**cookie, **more})
            if seen not in ("401 unauthenticated", "403 not_allowed"):
                return f"{method} {what}: {seen}"
    return "each refused"


@GROUP.case(
    "hand-without-a-room", "the hand of a session that belongs to no room", "unsupported; it lives on"
)
async def _hand(stage: Stage) -> str:
    codes = set()
    async with stage.session() as peer:
        for number in range(50):
            await peer.send(m.RaiseHand(bool(number % 2)))
            codes.add(await peer.error_code())
        end = await peer.result(1, "print('alive')")
    return f"{' / '.join(sorted(codes))}; {'it lives on' if end else 'it is dead'}"


@GROUP.case("hand-of-another", "the hand of another's session", "no_session, closed with 4404")
async def _another(stage: Stage) -> str:
    async with stage.session() as victim:
        assert victim.opened
        name = victim.opened.session
        async with stage.connect(f"ws/{name}") as peer:
            await peer.send(m.Attach(name, None, random_id()))
            await peer.send(m.RaiseHand(True))
            return f"{await peer.error_code()}, closed with {await peer.closed()}"
