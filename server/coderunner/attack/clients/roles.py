"""Attacks on roles: what a principal may not do, tried with its own valid key; ids of others."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Iterable
from typing import Any

from msgspec.structs import replace

from coderunner.attack.case import UNTRIED, Group
from coderunner.attack.means import Means, asks, described, lent
from coderunner.attack.stage import Stage
from coderunner.client.peer import Peer, random_id
from coderunner.client.rest import Answer
from coderunner.schema import messages as m

GROUP = Group("roles")

ALIKE = "answered like unknown ones"
# What a proxy or a framework may take for another path, another method, or for roles.
RAISING = {
    "X-Roles": "operator", "X-Remote-Groups": "operator", "X-Remote-Roles": "operator", "X-Rooms": "*",
    "X-Original-URL": "/api/identity", "X-Rewrite-URL": "/api/identity", "X-HTTP-Method-Override": "GET",
}  # fmt: skip
RUN = {"language": "python", "source": "print(1)"}
OF_A_SESSION: tuple[tuple[str, str, Any], ...] = (
    ("GET", "", None), ("GET", "/files", None), ("GET", "/files/x", None), ("PUT", "/files/x", {}),
    ("DELETE", "/files/x", None), ("GET", "/archive", None), ("GET", "/events?wait=0", None),
    ("POST", "/run", {"channel": 1, "mode": "pipe"}), ("POST", "/shell", {"channel": 2}),
    ("POST", "/input", {"channel": 1, "offset": 0, "text": "x"}), ("POST", "/take", {}),
    ("POST", "/kill", {"channel": 1}), ("POST", "/extend", {}), ("GET", "/tokens", None),
    ("POST", "/tokens", {"name": "x"}), ("DELETE", "/tokens/x", None), ("DELETE", "", None),
)  # fmt: skip


@contextlib.asynccontextmanager
async def session(stage: Stage, key: str) -> AsyncIterator[tuple[Peer, m.Opened]]:
    """Yields the owner's connection of a session that the principal of `key` opens, and the message
    `opened`."""
    async with stage.by(key) as own, own.session() as peer:
        assert peer.opened
        yield peer, peer.opened


def another(ident: str) -> str:
    """An id of the same form as `ident` that belongs to nothing."""
    return ident[:-8] + "".join("1" if one == "0" else "0" for one in ident[-8:])


def _told(answer: Answer, ident: str) -> str:
    """The status and body of an answer, without the id: what must be the same for known and unknown ids."""
    return f"{answer.status} {answer.body.decode(errors='replace').replace(ident, 'ID')}"


async def _operations(stage: Stage) -> list[tuple[str, str]]:
    """(method, path) of the operator's routes, from the server's own description."""
    return [one for one in await described(stage) if one[1].startswith(("api/admin/", "metrics"))]


@GROUP.case(
    "operators-routes", "the operator's routes, by users, teachers and narrow keys",
    "each refused; the operator is not",
)  # fmt: skip
@lent
async def _routes(stage: Stage, means: Means) -> str:
    for method, path in await _operations(stage):
        others = [means.user, means.teacher, means.stranger]
        # An empty body asks for nothing, should it be let through.
        for key in others if path == "metrics" else [*others, means.scraper]:
            answer = await asks(stage, key, path, method, None if method in ("GET", "DELETE") else {})
            if answer.code != "403 not_allowed":
                return f"{method} {path}: {answer.code}"
    seen = [(await asks(stage, means.operator, one)).status for one in ("api/admin/overview", "metrics")]
    return f"each refused; the operator is {'not' if seen == [200, 200] else f'answered {seen}'}"


@GROUP.case("role-by-request", "a role that a request claims for itself", "still a user")
@lent
async def _claimed(stage: Stage, means: Means) -> str:
    claims = "role=operator&roles=operator&rooms=x&principal=admin&admin=true"
    told = (await asks(stage, means.user, f"api/identity?{claims}", **RAISING)).document
    if (told["roles"], told["rooms"]) != (["user"], [means.room]):
        return f"{told['roles']} of {told['rooms']}"
    for path in (
        f"api/admin/overview?{claims}",
        "api/admin/../admin/overview",
        "api//admin/overview",
        "API/ADMIN/overview",
        "api/admin/overview/",
        "api/admin%2foverview",
        "api/%61dmin/overview",
    ):
        answer = await asks(stage, means.user, path, **RAISING)
        if answer.status not in (403, 404):
            return f"{path}: {answer.code}"
    body = {**RUN, "role": "operator", "roles": ["operator"], "principal": "admin"}
    answer = await asks(stage, means.user, "api/run", "POST", body)
    return "still a user" if answer.status in (200, 400) else answer.code


@GROUP.case("keys-near", "keys put together from parts of good ones", "none is taken")
@lent
async def _near(stage: Stage, means: Means) -> str:
    user, operator = means.user.split("_", 2), means.operator.split("_", 2)
    near = {
        "the operator's id, a user's secret": f"crk_{operator[1]}_{user[2]}",
        "a user's id, the operator's secret": f"crk_{user[1]}_{operator[2]}",
        "one character": means.operator[:-1] + ("A" if means.operator[-1] != "A" else "B"),
        "cut": means.operator[:-1], "longer": means.operator + "A", "twice": means.operator * 2,
        "case": means.operator.swapcase(), "id only": f"crk_{operator[1]}_", "secret only": operator[2],
        "two": f"{means.user}, {means.operator}", "wildcard": f"crk_{operator[1]}_%", "zero": "crk_0_0",
    }  # fmt: skip
    taken = [name for name, key in near.items() if (await asks(stage, key, "api/identity")).status != 401]
    own = (await asks(stage, means.operator, "api/identity")).status
    return ", ".join(taken) or ("none is taken" if own == 200 else f"not even the right one: {own}")


@GROUP.case("scope-exceeded", "sessions, runs and the operator's room, by a key for metrics", "each refused")
@lent
async def _scope(stage: Stage, means: Means) -> str:
    async with session(stage, means.user) as (_, opened):
        seen = {
            (await asks(stage, means.scraper, "api/run", "POST", RUN)).code,
            (await asks(stage, means.scraper, "api/batch", "POST", {**RUN, "cases": [{}]})).code,
            (await asks(stage, means.scraper, "api/sessions", "POST", {"language": "python"})).code,
            (await asks(stage, means.scraper, "api/admin/sessions")).code,
            await _opens(stage, means.scraper),
        }
        listed = await asks(stage, means.scraper, "api/sessions")
        if opened.session in listed.body.decode() or not seen <= {"403 not_allowed", "not_allowed"}:
            return f"{sorted(seen)}; sessions: {listed.code}"
    return "each refused"


async def _opens(stage: Stage, key: str, **fields: Any) -> str:
    """Opens a session with a key. Returns the code of the refusal; raises Unexpected if it is not refused."""
    async with stage.by(key) as own, own.connect() as peer:
        await peer.send(m.Open("python", peer.client, **fields))
        return await peer.error_code()


@GROUP.case(
    "foreign-session", "a session of another user, by requests with a good key",
    f"{ALIKE}; it is untouched",
)  # fmt: skip
@lent
async def _foreign(stage: Stage, means: Means) -> str:
    async with session(stage, means.user) as (peer, opened):
        unknown = another(opened.session)
        keys = {"mate": means.mate, "stranger": means.stranger, "teacher": means.teacher}
        for name, key in keys.items():
            for method, suffix, document in OF_A_SESSION:
                if name == "teacher" and (method, suffix) == ("GET", ""):
                    continue  # a teacher of the room sees that it is there
                seen = {
                    _told(await asks(stage, key, f"api/sessions/{one}{suffix}", method, document), one)
                    for one in (opened.session, unknown)
                }
                if len(seen) != 1 or not next(iter(seen)).startswith("404"):
                    return f"{method} {suffix} by {name}: {sorted(seen)}"
        files = await asks(stage, opened.token, f"api/sessions/{opened.session}/files")
        end = await peer.result(1, "print('alive')")
        untouched = files.document["files"] == [] and end.text == "alive\n"
        return f"{ALIKE}; {'it is untouched' if untouched else f'{files.body!r} {end.text!r}'}"


@GROUP.case("foreign-session-socket", "a session of another user, by a WebSocket with a good key", ALIKE)
@lent
async def _socket(stage: Stage, means: Means) -> str:
    async with session(stage, means.user) as (_, opened), session(stage, means.mate) as (_, own):
        unknown = another(opened.session)
        # The operator has tickets, and is told of; a key alone opens no session.
        for key in (means.mate, means.stranger, means.operator, means.scraper):
            for token in (None, own.token, key, random_id()):
                seen = {await _attach(stage, key, one, token) for one in (opened.session, unknown)}
                if len(seen) != 1 or next(iter(seen))[::2] != ("no_session", 4404):
                    return f"{sorted(seen)}"
        async with stage.by(means.teacher) as one, one.connect(f"ws/{opened.session}") as peer:
            await peer.send(m.Attach(opened.session, None, peer.client, role="control"))
            role = (await peer.message(m.Attached)).role
        return ALIKE if role == "watch" else f"a teacher attaches with {role}"


async def _attach(stage: Stage, key: str, ident: str, token: str | None) -> tuple[str, str, int]:
    """(code, message, close code) of the answer to `attach` with a key and a token."""
    async with stage.by(key) as own, own.connect(f"ws/{ident}") as peer:
        await peer.send(m.Attach(ident, token, peer.client))
        error = await peer.message(m.ErrorMessage)
        return error.code, error.message.replace(ident, "ID"), await peer.closed()


@GROUP.case("foreign-runs", "runs and batches of another user", f"{ALIKE}; they are kept")
@lent
async def _runs(stage: Stage, means: Means) -> str:
    made = {}
    for kind, document in (("runs", RUN), ("batches", {**RUN, "cases": [{"stdin": ""}]})):
        path = "api/run" if kind == "runs" else "api/batch"
        name = {"Idempotency-Key": secrets.token_urlsafe(24)}
        answer = await asks(stage, means.user, path, "POST", document, **name)
        if answer.code == "403 not_allowed":
            return UNTRIED + "a user may not run in the background"
        made[kind] = str(answer.document["id"])
    for kind, ident in made.items():
        for key in (means.mate, means.stranger, means.teacher, means.operator, means.scraper):
            for method, suffix in (("GET", ""), ("GET", "/events"), ("DELETE", "")):
                seen = {
                    _told(await asks(stage, key, f"api/{kind}/{one}{suffix}", method), one)
                    for one in (ident, another(ident))
                }
                # A key without the scope for runs is told so, whatever the id is.
                if len(seen) != 1 or not next(iter(seen)).startswith(("404", "403")):
                    return f"{method} {kind}{suffix}: {sorted(seen)}"
    kept = [(await asks(stage, means.user, f"api/{kind}/{ident}")).status for kind, ident in made.items()]
    return f"{ALIKE}; they are {'kept' if kept == [200, 200] else kept}"


@GROUP.case("foreign-room", "a room, by its users and by a teacher of another one", "like an unknown room")
@lent
async def _room(stage: Stage, means: Means) -> str:
    async with session(stage, means.user) as (peer, opened):
        acts: tuple[tuple[str, str, Any], ...] = (
            ("GET", "wall", None), ("POST", "notices", {"text": "x"}), ("PUT", "project?into=x", {}),
            ("GET", "archive", None), ("DELETE", f"hands/{opened.session}", None),
        )  # fmt: skip
        for key in (means.user, means.mate, means.stranger, means.scraper):
            for method, what, document in acts:
                seen = {
                    _told(await asks(stage, key, f"api/rooms/{one}/{what}", method, document), one)
                    for one in (means.room, means.room[:-1] + "-")
                }
                if len(seen) != 1 or not next(iter(seen)).startswith("403"):
                    return f"{method} {what}: {sorted(seen)}"
        words = {(await _chosen(stage, means.stranger, one)).code for one in (means.room, "no-such-room")}
        if words != {"403 not_allowed"}:
            return f"opened in it: {sorted(words)}"
        told = [one for one in peer.messages if isinstance(one, m.Notice)]
        return "like an unknown room" if not told else f"its user is told {told}"


async def _chosen(stage: Stage, key: str, room: str) -> Answer:
    """Asks for a session in a room that the caller has chosen."""
    return await asks(stage, key, "api/sessions", "POST", {"language": "python", "room": room})


async def _codes(peer: Peer, messages: Iterable[m.ClientMessage]) -> set[str]:
    """Sends messages that must be refused. Returns the codes of the errors."""
    found = set()
    for message in messages:
        await peer.send(message)
        found.add(await peer.error_code())
    return found


@GROUP.case(
    "guest-raised", "a session, by a guest who may only watch, and by one who must ask",
    "not_control, 404 no_session; the owner is asked",
)  # fmt: skip
@lent
async def _guest(stage: Stage, means: Means) -> str:
    async with session(stage, means.user) as (peer, opened):
        tokens = f"api/sessions/{opened.session}/tokens"
        invites = [
            await asks(stage, opened.token, tokens, "POST", {"name": one, "role": one})
            for one in ("watch", "control")
        ]
        watch, control = (str(one.document["token"]) for one in invites)
        codes, refused = set(), set()
        for token in (watch, control):
            async with stage.attach(replace(opened, token=token), role="control") as guest:
                if (role := (await guest.message(m.Attached)).role) != "watch":
                    return f"attached with {role}"
                codes |= await _codes(guest, (m.Kill(1), m.Close(), m.Shell(2, 80, 24)))
                if token == watch:
                    codes |= await _codes(guest, (m.Extend(), m.Take()))
                if token == control:
                    await guest.send(m.Take())
                    await peer.message(m.People, which=lambda one: any(each.asks for each in one.people))
            for method, suffix, document in OF_A_SESSION:
                if method == "GET" and suffix != "/tokens":
                    continue
                answer = await asks(stage, token, f"api/sessions/{opened.session}{suffix}", method, document)
                refused.add(answer.code)
        seen = ", ".join([*sorted(codes), *sorted(refused)])
        return f"{seen}; the owner is asked"


async def _invited(stage: Stage, opened: m.Opened) -> Any:
    """The answer to a request of the owner for a token of a guest who may take the control."""
    wanted = {"name": "x", "role": "control", "take": True}
    path = f"api/sessions/{opened.session}/tokens"
    return (await asks(stage, opened.token, path, "POST", wanted)).document


@GROUP.case(
    "guest-replayed", "a session, by a guest's token that was revoked, at its live socket and again",
    f"closed with 4403; {ALIKE}",
)  # fmt: skip
@lent
async def _replayed(stage: Stage, means: Means) -> str:
    async with session(stage, means.user) as (_, opened), session(stage, means.mate) as (_, other):
        tokens = f"api/sessions/{opened.session}/tokens"
        told = await _invited(stage, opened)
        guest = replace(opened, token=told["token"])
        async with stage.attach(guest, role="control") as peer:
            await peer.message(m.Attached)
            await asks(stage, opened.token, f"{tokens}/{told['serial']}", "DELETE")
            code = await peer.closed(5)
        near = [told["token"], told["token"][:-1] + ("A" if told["token"][-1] != "A" else "B")]
        seen = {await _attach(stage, "", opened.session, token) for token in near}
        # In another session, and for one that does not exist.
        seen |= {await _attach(stage, "", one, near[0]) for one in (other.session, another(opened.session))}
        answers = {
            _told(await asks(stage, near[0], f"api/sessions/{one}/files"), one)
            for one in (opened.session, other.session, another(opened.session))
        }
        alike = len(seen) == 1 and len(answers) == 1 and next(iter(seen))[0] == "no_session"
        return f"closed with {code}; {ALIKE if alike else f'{sorted(seen)} {sorted(answers)}'}"


@GROUP.case(
    "tokens-as-keys", "who may what, by tokens of sessions, guests and the operator's tickets",
    "none names anybody; the ticket reads one session",
)  # fmt: skip
@lent
async def _tokens(stage: Stage, means: Means) -> str:
    async with session(stage, means.user) as (_, opened), session(stage, means.mate) as (_, other):
        guest = (await _invited(stage, opened))["token"]
        path = f"api/admin/sessions/{opened.session}/watch"
        ticket = json.loads((await asks(stage, means.operator, path, "POST", {})).body)["token"]
        for token in (opened.token, guest, ticket):
            for where in ("api/identity", "metrics", "api/admin/overview", f"api/rooms/{means.room}/wall"):
                if (code := (await asks(stage, token, where)).code) != "401 unauthenticated":
                    return f"{where}: {code}"
        if (seen := await _attach(stage, "", other.session, ticket))[0] != "no_session":
            return f"the ticket at another session: {seen}"
        for method, suffix, document in OF_A_SESSION:
            answer = await asks(stage, ticket, f"api/sessions/{opened.session}{suffix}", method, document)
            if answer.status not in (403, 404):
                return f"the ticket, {method} {suffix}: {answer.code}"
        async with stage.attach(replace(opened, token=ticket), role="control") as peer:
            await peer.message(m.Attached)
            codes = await _codes(peer, (m.Kill(1), m.Close(), m.Take(), m.Shell(2, 80, 24)))
        reads = codes == {"not_control"}
        return f"none names anybody; the ticket {'reads one session' if reads else sorted(codes)}"
