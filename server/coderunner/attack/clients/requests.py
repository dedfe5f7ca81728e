"""Attacks on runs and sessions over plain HTTP: ids, tokens and keys of others, bodies above the bounds,
paths that escape the workspace."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Any

from coderunner.attack.case import Group
from coderunner.attack.stage import Stage
from coderunner.client import rest
from coderunner.client.line import Place
from coderunner.client.rest import Answer, Rest

GROUP = Group("requests")
PATHS = ("../x", "a/../../x", "/etc/x", "..", "a//b", "a\0b", "..\\x", "")
NOBODY = "no_session"
JSON = {"Content-Type": "application/json"}


async def post(stage: Stage, path: str, document: Any, **headers: str) -> Answer:
    """Sends a POST request with a body of JSON and the stage's own credential. `document`: bytes are sent as
    they are. Raises as `client.rest.ask`."""
    sent = {**stage.headers, **JSON, **headers}
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return await rest.ask(stage.url + path, method="POST", body=body, headers=sent)


def alike(seen: Sequence[str]) -> str:
    """The different outcomes among `seen`, sorted, in one text."""
    return " / ".join(sorted(set(seen)))


@contextlib.asynccontextmanager
async def _session(stage: Stage) -> AsyncIterator[Rest]:
    """Yields a session that is opened and ended by HTTP requests alone. Raises ConnectionError if it is
    refused."""
    answer = await post(stage, "api/sessions?wait=60", {"language": "python"})
    told = answer.document
    if answer.status != 201:
        raise ConnectionError(f"no session: {answer.code}")
    stage.own((told["session"], told["token"]))
    own = Rest(stage.url, Place(told["session"], told["token"]))
    try:
        yield own
    finally:
        await own("DELETE")
        stage.leave(own.session)


def _variants(text: str) -> list[str]:
    """Ids or tokens that differ little from `text`, and ones that a careless comparison would take for it."""
    other = "B" if text[-1] == "A" else "A"
    return [text[:-1] + other, text[:-1], text + "A", text.swapcase(), "A" * len(text), "*", "%00", "."]


@GROUP.case(
    "requests-with-a-foreign-token", "a session, by requests with the token of another",
    f"{NOBODY}, untouched",
)  # fmt: skip
async def _foreign(stage: Stage) -> str:
    async with _session(stage) as own, _session(stage) as other:
        thief = Rest(stage.url, Place(other.session, own.token))
        seen = [
            (await thief("GET")).error,
            (await thief("GET", "/events?wait=0")).error,
            (await thief("GET", "/files")).error,
            (await thief("PUT", "/files/x", b"x")).error,
            (await thief("POST", "/run", document={"channel": 1, "mode": "pipe"}, **JSON)).error,
            (await thief("POST", "/input", document={"channel": 1, "offset": 0, "text": ""}, **JSON)).error,
            (await thief("POST", "/take", document={}, **JSON)).error,
            (await thief("DELETE")).error,
        ]
        there = await other("GET")
        untouched = there.status == 200 and await other.paths() == []
        return f"{alike(seen)}, {'untouched' if untouched else there.code}"


@GROUP.case("requests-with-guessed-tokens", "a session, by ids and tokens near to its own", NOBODY)
async def _guessed(stage: Stage) -> str:
    async with _session(stage) as own:
        seen = []
        for token in _variants(own.token):
            guess = Rest(stage.url, Place(own.session, token))
            seen.append((await guess("GET")).error)
        for session in _variants(own.session)[:5]:
            guess = Rest(stage.url, Place(session, own.token))
            seen.append((await guess("GET")).error)
        return alike(seen)


@GROUP.case("runs-guessed", "the answer of a run, by ids near to its own", "404 no_run / 404 no_run, kept")
async def _runs(stage: Stage) -> str:
    key = secrets.token_urlsafe(24)
    wanted = {"language": "python", "source": "print(1)"}
    run = (await post(stage, "api/run", wanted, **{"Idempotency-Key": key})).document["id"]
    seen: dict[str, set[str]] = {"GET": set(), "DELETE": set()}
    for guess in _variants(run)[:5]:
        for method, codes in seen.items():
            answer = await rest.ask(stage.url + f"api/runs/{guess}", method=method, headers=stage.headers)
            codes.add(answer.code)
    again = await rest.ask(stage.url + f"api/runs/{run}", headers=stage.headers)
    kept = "kept" if again.status == 200 else again.code
    return f"{' / '.join(alike(list(codes)) for codes in seen.values())}, {kept}"


@GROUP.case(
    "idempotency-keys-guessed", "the answer of another, by keys near to that of the request",
    "bad_message / key_reused, 3 of 3 are runs of their own",
)  # fmt: skip
async def _keys(stage: Stage) -> str:
    wanted = {"language": "python", "source": "import uuid\nprint(uuid.uuid4())"}
    key = "K" + secrets.token_urlsafe(24)

    async def printed(one: str) -> str:
        """The output of the run under an idempotency key, or the code of its refusal."""
        answer = await post(stage, "api/run", wanted, **{"Idempotency-Key": one})
        return str(answer.document.get("stdout", answer.code))

    first = await printed(key)
    # Too short: a key has 22 characters or more, as it must not be guessed (128 random bits).
    short = [await post(stage, "api/run", wanted, **{"Idempotency-Key": one}) for one in ("", "1", "K" * 21)]
    body = {**wanted, "source": "print(open('/proc/self/environ').read())"}
    other = await post(stage, "api/run", body, **{"Idempotency-Key": key})
    apart = [await printed(one) for one in (key[:-1] + "_", key.swapcase(), key + "A")]
    fresh = sum(len(text) == len(first) and text != first for text in apart)
    refused = alike([*(one.error for one in short), other.error])
    return f"{refused}, {fresh} of 3 are runs of their own"


@GROUP.case("run-paths", "the workspace's borders, by files of a run and of a batch", "bad_path")
async def _paths(stage: Stage) -> str:
    seen = []
    for path in PATHS:
        files = [{"path": path, "content": "x"}]
        wanted = {"language": "python", "files": files}
        seen.append((await post(stage, "api/run", wanted)).error)
        seen.append((await post(stage, "api/batch", {**wanted, "cases": [{}]})).error)
    return alike(seen)


@GROUP.case(
    "requests-too-large", "memory, by bodies, input and values above each bound",
    "body_too_large / bad_message / bad_message, then 200",
)  # fmt: skip
async def _large(stage: Stage) -> str:
    source = {"language": "python", "source": "x" * (5 << 20)}
    deep = b'{"language":"python","source":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    async with _session(stage) as own:
        bodies = alike([(await post(stage, path, source)).error for path in ("api/run", "api/sessions")])
        nested = (await post(stage, "api/run", deep)).error
        # Above the 64 KiB of a channel's window.
        typed = {"channel": 1, "offset": 0, "text": "x" * 70_000}
        long = (await own("POST", "/input", document=typed, **JSON)).error
        return f"{bodies} / {nested} / {long}, then {(await own('GET')).code}"
