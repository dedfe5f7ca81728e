"""Requests over HTTP (`POST /api/run` and others), which are repeated over lost connections and restarts of
the server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiohttp
import msgspec

from coderunner.client.patience import FIRST_SECONDS, STARTING_SECONDS, Away, Held, Patience, is_own
from coderunner.client.peer import random_id
from coderunner.client.plain import Bytes, is_utf8, mapping, plain
from coderunner.client.refused import NOT_READY, Refused, refusal
from coderunner.client.visit import EVENTS, Answered, Visit
from coderunner.schema.answers import Languages, LanguageView

HELD_SECONDS = 60.0  # after which a request that failed had been connected: connecting may take 30
CANCEL_SECONDS = 5.0  # for the requests that cancel a run or batch
KEPT = {"api/run": "api/runs", "api/batch": "api/batches"}  # where what a request has begun is
BEGINS = ("run", "batch")  # the first events


async def got(visit: Visit, path: str, seconds: float = FIRST_SECONDS) -> tuple[int, str]:
    """(status, body) of a CodeRunner's answer to a GET request, which is repeated for `seconds` where there
    is none. Raises Refused."""
    patience = Patience(visit, seconds)
    while True:
        error: Exception
        try:
            status, text = await visit.get(path)
            if is_own(status, text):
                return status, text
            error = Away(visit.place, status, text)
        except (aiohttp.ClientError, OSError, TimeoutError) as failure:
            error = failure
        await patience.wait(error)


async def languages_of(visit: Visit) -> Sequence[LanguageView]:
    """The server's languages, the most used ones first. Raises Refused."""
    status, text = await got(visit, "api/languages")
    if status != 200:
        raise refusal(visit.place, status, text)
    try:
        return msgspec.json.decode(text, type=Languages).languages
    except msgspec.DecodeError:
        raise Away(visit.place, status, text).refused from None


async def request(visit: Visit, document: Mapping[str, Any]) -> dict[str, Any]:
    """A request for a run or a batch as it is sent: with its bytes in base64. A source that is not UTF-8 is
    sent as a file. Raises Refused."""
    document = mapping(document, "the fields of a request")
    source = document.get("source")
    if isinstance(source, Bytes) and not is_utf8(bytes(source)):
        named = document.get("entry")
        if named is None:
            rows = {one.name: one.entry for one in await languages_of(visit)}
            named = rows.get(str(document.get("language")), "main")  # the server refuses an unknown language
        document = {**document, "source": None, "files": [{"path": named, "content": source}]}
    sent: dict[str, Any] = plain(document)
    return sent


async def asked(
    visit: Visit, path: str, document: dict[str, Any], said: Callable[[str], None] = lambda _: None
) -> tuple[int, str]:
    """Posts a run, and returns (status, body) of its answer. While the server cannot be reached, or refuses
    new sessions (503 `draining`), the request is repeated as `Patience` has it; while it has just started and
    the language is not ready, for STARTING_SECONDS. After that a refusal is returned, and silence raises
    Refused. `said`: as of `Patience`. If this is cancelled, the run is cancelled as well."""
    # The key makes a repetition safe: the server returns the answer of the first request.
    key = random_id()
    try:
        return await _asked(visit, path, document, key, said)
    except asyncio.CancelledError:
        await cancel(visit, path, document, key)
        raise


async def _asked(
    visit: Visit, path: str, document: dict[str, Any], key: str, said: Callable[[str], None]
) -> tuple[int, str]:
    """As `asked`, by this key."""
    headers, loop = {"Idempotency-Key": key}, asyncio.get_running_loop()
    patience = Patience(visit, said=said)
    while True:
        error: Exception | None = None
        answer: tuple[int, str] | None = None
        tried = loop.time()
        try:
            status, text = answer = await visit.post(path, document, headers)
            error = unanswered(visit, status, text, repeated=patience.fails)
            if error is None:
                return answer
        except TimeoutError as failure:  # the program runs, or the server is away
            error = failure
            if await visit.answers():
                patience.restart()
                continue
        except (aiohttp.ClientError, OSError) as failure:
            error = failure
            # Otherwise the second restart during a long program would count from the first one.
            if loop.time() - tried > HELD_SECONDS:
                patience.restart()
        try:
            await patience.wait(error)
        except Refused:
            if answer is not None and isinstance(error, Held):
                return answer
            raise


async def cancel(
    visit: Visit, path: str, document: dict[str, Any], key: str, identity: str | None = None
) -> None:
    """Cancels what was begun by this request and key. `identity`: of the run or batch; None where it is not
    known. Does nothing if the server does not answer in CANCEL_SECONDS."""
    with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError, Answered, Refused):
        async with asyncio.timeout(CANCEL_SECONDS):
            # The answer of a run tells its id, at its end; the same request by events does so at once.
            identity = identity or await _identity(visit, path, document, key)
            if identity is not None:
                await visit.delete(f"{KEPT[path]}/{identity}")


async def _identity(visit: Visit, path: str, document: dict[str, Any], key: str) -> str | None:
    """The id of the run or batch of this request and key. Raises as `Visit.events`."""
    headers = {"Idempotency-Key": key, "Accept": EVENTS}
    async with contextlib.aclosing(visit.events(path, document, headers)) as events:
        async for name, _, data in events:
            if name in BEGINS and isinstance(data.get("id"), str):
                return str(data["id"])
    return None


def unanswered(visit: Visit, status: int, text: str, *, repeated: bool) -> Exception | None:
    """Why a request that begins something is to be repeated after this answer; None if it is none to be
    repeated. `repeated`: whether it has failed before."""
    if not is_own(status, text):
        return Away(visit.place, status, text)
    if status == 503 and NOT_READY in text:
        return Held(refusal(visit.place, status, text), STARTING_SECONDS)
    # 429: what has begun is not given up as many come back at one time.
    if (status == 503 and "draining" in text) or (status == 429 and repeated):
        return Held(refusal(visit.place, status, text), float("inf"))
    return None
