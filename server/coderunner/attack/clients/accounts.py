"""Attacks on quotas by concurrent requests, and on the log and the audit log by floods and forged entries."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import re
import secrets
import time
from typing import Any

import aiohttp

from coderunner.attack.case import UNTRIED, Group
from coderunner.attack.clients.roles import RUN, session
from coderunner.attack.means import Means, asks, lent
from coderunner.attack.stage import Stage
from coderunner.client.peer import Peer, Unexpected, random_id
from coderunner.client.rest import Answer
from coderunner.schema import messages as m

GROUP = Group("accounts")

MOST = 40  # runs that a case asks for at one time
MINUTE = 60
FORGED = "2026-01-01 00:00:00 ERROR forged: everything is lost"
WRITTEN_SECONDS = 15.0  # within which the audit log has an event


async def _run_once(stage: Stage, key: str) -> Answer:
    """Runs a program with a key. The answer's headers say how much of the quota is left."""
    return await asks(stage, key, "api/run", "POST", RUN)


def _left(answer: Answer) -> int | None:
    """How many runs are left in this minute; None where they are not counted."""
    # Such as `"runs";r=29;t=41, "cpu";r=3511;t=58021` (docs/quotas.md).
    found = re.search(r'"runs";r=(\d+)', answer.headers.get("RateLimit", ""))
    return int(found[1]) if found else None


def _hostile(mark: str) -> list[str]:
    """Texts that would be lines of their own, change a terminal, or be executed by a spreadsheet. `mark`: a
    random word by which they are found again in the log."""
    return [
        f"{mark}\n{FORGED}", f"{mark}\r\n{FORGED}", f"{mark}\u2028{FORGED}", f"{mark}\x1b[2J{FORGED}",
        f"{mark}\x00", f"{mark}\u202e", f"={mark}+cmd|'/C calc'!A0", f'{mark}","level":"ERROR',
    ]  # fmt: skip


async def _send_hostile_texts(stage: Stage, means: Means, mark: str) -> None:
    """Sends hostile texts in every place that a caller controls: paths, queries, headers, bodies, origins."""
    async with session(stage, means.user) as (_, opened):
        for text in _hostile(mark):
            quoted = "".join(f"%{byte:02x}" for byte in text.encode())
            for path in (
                f"api/sessions/{quoted}",
                f"api/runs/{quoted}",
                f"room/{quoted}",
                f"{quoted}",
                f"api/rooms/{quoted}/wall",
                f"static/{quoted}",
                f"api/identity?x={quoted}",
            ):
                await asks(stage, means.user, path)
            # What a client's HTTP library would refuse to send in a header is replaced.
            plain = "".join(one if " " <= one < "\x7f" else "?" for one in text)
            await asks(
                stage, means.user, "metrics", **{"User-Agent": plain, "X-Request-ID": plain, "Origin": plain}
            )
            tokens = f"api/sessions/{opened.session}/tokens"
            await asks(stage, opened.token, tokens, "POST", {"name": text[:100]})
            for path, body in (
                ("api/sessions", {"language": text, "room": text}),
                ("api/run", {**RUN, "language": text}),
                (f"api/rooms/{means.room}/notices", {"text": text}),
            ):
                await asks(stage, means.user, path, "POST", body)
            origin = {"Origin": "https://" + plain.replace(" ", "")}
            with contextlib.suppress(aiohttp.WSServerHandshakeError):  # it is refused, and noted
                await (await stage.connected(headers=origin)).disconnect()


def _unprintable(text: str) -> bool:
    """Whether a text has characters that could end a line or change a terminal."""
    return any(not one.isprintable() for one in text)


@GROUP.case("log-forged", "the log, by texts that would be lines of their own", "each in one line, escaped")
@lent
async def _log(stage: Stage, means: Means) -> str:
    mark = f"mark{secrets.token_hex(6)}"
    await _send_hostile_texts(stage, means, mark)
    answer = await asks(stage, means.operator, f"api/admin/log?text={mark}&limit=1000")
    lines = answer.document["records"]
    if not lines:
        return f"nothing of it is in the log: {answer.code}"
    shown = [json.dumps(one, ensure_ascii=False) for one in lines]
    wrong = [one for one in shown if _unprintable(one)]
    forged = await asks(
        stage, means.operator, f"api/admin/log?text={FORGED[:40].replace(' ', '%20')}&limit=1000"
    )
    wrong += [
        str(one) for one in forged.document["records"] if str(one.get("msg", "")).startswith(FORGED[:20])
    ]
    return wrong[0][:200] if wrong else "each in one line, escaped"


async def _noted(means: Means, since: float, event: str, of: str) -> list[dict[str, Any]]:
    """The events of the audit log of a caller, once there is one of the kind `event`. Raises Unexpected."""
    deadline = time.monotonic() + WRITTEN_SECONDS
    while True:
        rows = [one for one in await means.events(since) if one["principal"] == of]
        if any(one["event"] == event for one in rows):
            return rows
        if time.monotonic() > deadline:
            raise Unexpected(f"no {event} of {of} in the audit log")
        await asyncio.sleep(0.5)  # the database has no event for it


def _principal(key: str) -> str:
    """The principal of an API key, which has the form `crk_ID_SECRET`."""
    return f"key:{key.split('_')[1]}"


@GROUP.case(
    "audit-flooded", "the audit log, by refusals again and again: what a teacher does must stand in it",
    "the teacher's word is noted; few refusals are",
)  # fmt: skip
@lent
async def _flooded(stage: Stage, means: Means) -> str:
    since = time.time()
    async with session(stage, means.user):
        paths = ("api/admin/overview", f"api/rooms/{means.room}/wall", "metrics")
        await asyncio.gather(*(asks(stage, means.spare, path) for path in paths * 15))
        await asks(stage, means.teacher, f"api/rooms/{means.room}/notices", "POST", {"text": "quiet, please"})
        told = await _noted(means, since, "told", _principal(means.teacher))
        rows = await _noted(means, since, "refused", _principal(means.spare))
    few = sum(one["event"] == "refused" for one in rows)
    noted = any(one["details"].get("word") == "quiet, please" for one in told)
    # Ten in each minute of the clock; the flood may be in two.
    seen = "few refusals are" if 0 < few <= 20 else f"{few} refusals are"
    return f"the teacher's word is {'noted' if noted else 'missing'}; {seen}"


@GROUP.case("audit-forged", "the audit log, by names that would be events of their own", "nothing is forged")
@lent
async def _forged(stage: Stage, means: Means) -> str:
    since, mark = time.time(), f"mark{secrets.token_hex(6)}"
    await _send_hostile_texts(stage, means, mark)
    rows = await _noted(means, since, "opened", _principal(means.user))
    rows += [one for one in await means.events(since) if mark in json.dumps(one)]
    for one in rows:
        texts = [one["event"], one["principal"] or "", one["session"] or "", one["language"] or ""]
        texts += [str(value) for value in one["details"].values()]
        if any(_unprintable(text) for text in texts) or one["event"].startswith(FORGED[:10]):
            return f"{one}"[:300]
    others = {one["principal"] for one in rows} - {_principal(means.user), None}
    return "nothing is forged" if not others else f"events of {sorted(map(str, others))}"


@GROUP.case(
    "quota-at-one-time", "the quota of runs, by more requests at one time than it allows",
    "no more than allowed, then quota_exceeded",
)  # fmt: skip
@lent
async def _at_once(stage: Stage, means: Means) -> str:
    if (wait := MINUTE - time.time() % MINUTE) < 20:
        await asyncio.sleep(wait)  # quotas count in minutes of the clock, and one minute is to be seen
    left = _left(await _run_once(stage, means.spare))
    if left is None or left > MOST:
        return UNTRIED + f"a user's quota of runs is none, or above {MOST} a minute"
    minute = time.time() // MINUTE
    done, codes, told = 0, set[str](), True
    # Repeated: while runs are going on, the bound on sessions may refuse a request before the quota does.
    for _ in range(left + 2):
        answers = await asyncio.gather(*(_spare_run(stage, means, number) for number in range(2 * left)))
        done += sum(one.status in (200, 202) for one in answers)
        codes |= {one.code for one in answers if one.status not in (200, 202)}
        told = told and all(
            int(one.headers.get("Retry-After", 0)) > 0 for one in answers if one.status == 429
        )
        if all(one.error in ("quota_exceeded", "not_allowed") for one in answers):
            break
    if time.time() // MINUTE != minute:
        return UNTRIED + "the minute ended meanwhile"
    # 403: of those with a key of their own, where a user may not run in the background.
    if (
        done > left
        or not codes <= {"429 quota_exceeded", "429 too_many_sessions", "403 not_allowed"}
        or not told
    ):
        return f"{done} runs of {left}, {sorted(codes)}, {'' if told else 'not '}told when"
    return (
        "no more than allowed, then quota_exceeded" if "429 quota_exceeded" in codes else f"{sorted(codes)}"
    )


async def _spare_run(stage: Stage, means: Means, number: int) -> Answer:
    """A run with the spare key, each from another address and every second one with an idempotency key of its
    own: neither must get a quota of its own."""
    own = {"Idempotency-Key": random_id() + random_id()} if number % 2 else {}
    return await asks(stage, means.spare, "api/run", "POST", RUN, **_from(number), **own)


def _from(number: int) -> dict[str, str]:
    """Headers by which a client claims another address or user; the server must not believe them."""
    return {"X-Real-IP": f"192.0.2.{number}", "X-Forwarded-For": f"192.0.2.{number}", "X-User": f"u{number}"}


@GROUP.case(
    "quota-of-sessions", "the quota of sessions, by openings at one time over sockets and requests",
    "no more than allowed",
)  # fmt: skip
@lent
async def _sessions(stage: Stage, means: Means) -> str:
    queue = (await stage.stats()).queue
    free = min(MOST, queue.max_concurrent - queue.active)
    # First one after the other, to learn how many are allowed: no answer has the number in a field.
    allowed, _ = await _live(stage, means.spare, free, at_once=False)
    if allowed >= free:
        return UNTRIED + "a user may have as many sessions as are free"
    live, refused = await _live(stage, means.spare, free + 2, at_once=True)
    if live > allowed or not refused <= {"too_many_sessions", "quota_exceeded"}:
        return f"{live} of {allowed}, {sorted(refused)}"
    return "no more than allowed"


async def _live(stage: Stage, key: str, count: int, *, at_once: bool) -> tuple[int, set[str]]:
    """How many of `count` sessions are open at one time, and the codes of the refusals."""
    async with stage.by(key) as own, contextlib.AsyncExitStack() as stack:
        openings = [functools.partial(_open, own, stack, number) for number in range(count)]
        if at_once:
            seen = await asyncio.gather(*(one() for one in openings))
        else:
            seen = [await one() for one in openings]
    return seen.count("opened"), set(seen) - {"opened"}


async def _open(own: Stage, stack: contextlib.AsyncExitStack, number: int) -> str:
    """Opens a session, which ends with the stage. Returns `opened`, or the code of the refusal."""
    # Over both interfaces, as they have to count against the same bound.
    if number % 2:
        answer = await asks(own, own.bearer, "api/sessions?wait=10", "POST", {"language": "python"})
        if answer.status != 201:
            return answer.error
        told = answer.document
        own.own((told["session"], told["token"]))
        return "opened"
    peer: Peer = await stack.enter_async_context(own.connect())
    await peer.send(m.Open("python", peer.client))
    with contextlib.suppress(Unexpected):
        await peer.wait(lambda: peer.opened or _errors(peer), 15, "an answer")
    return "opened" if peer.opened else (_errors(peer) or ["no answer"])[-1]


def _errors(peer: Peer) -> list[str]:
    """The codes of the errors that a client was sent, in their order."""
    return [one.code for one in peer.messages if isinstance(one, m.ErrorMessage)]
