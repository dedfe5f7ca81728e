"""Runs over HTTP (`POST /api/run`), whose requests are repeated over lost connections and restarts of the
server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

from coderunner.client.line import RECONNECT_SECONDS
from coderunner.client.peer import Unexpected, random_id
from coderunner.client.plain import Bytes, is_utf8, plain
from coderunner.client.refused import NOT_READY, STARTING_SECONDS, Refused, refusal
from coderunner.client.visit import Visit
from coderunner.schema.answers import Languages, LanguageView

HELD_SECONDS = 60.0  # after which a request that failed had been connected: connecting may take 30


async def languages_of(visit: Visit) -> Sequence[LanguageView]:
    """The server's languages, the most used ones first. Raises Refused."""
    while True:
        try:
            return (await visit.document("api/languages", Languages)).languages
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if not visit.may_come(error):
                raise Refused(f"no server answers at {visit.place}: {error}", retryable=True) from None
        except Unexpected:
            raise refusal(visit.place, *await visit.get("api/languages")) from None
        await asyncio.sleep(0.5)


async def request(visit: Visit, document: Mapping[str, Any]) -> dict[str, Any]:
    """A request for a run or a batch as it is sent: with its bytes in base64. A source that is not UTF-8 is
    sent as a file. Raises Refused."""
    source = document.get("source")
    if isinstance(source, Bytes) and not is_utf8(bytes(source)):
        named = document.get("entry")
        if named is None:
            rows = {one.name: one.entry for one in await languages_of(visit)}
            named = rows.get(str(document.get("language")), "main")  # the server refuses an unknown language
        document = {**document, "source": None, "files": [{"path": named, "content": source}]}
    sent: dict[str, Any] = plain(document)
    return sent


async def asked(visit: Visit, path: str, document: dict[str, Any]) -> tuple[int, str]:
    """Posts a run, and returns (status, body) of its answer. While a server that has answered before cannot
    be reached, or refuses new sessions (503 `draining`), the request is repeated for RECONNECT_SECONDS; while
    it has just started and the language is not ready, for STARTING_SECONDS. After that a refusal is returned,
    and silence raises Refused, as does a server that has never answered (`Visit.may_come`)."""
    # The key makes a repetition safe: the server returns the answer of the first request.
    headers, loop, begun = {"Idempotency-Key": random_id()}, asyncio.get_running_loop(), 0.0
    while True:
        answered, patience, tried = False, RECONNECT_SECONDS, loop.time()
        try:
            status, text = await visit.post(path, document, headers)
            starting = status == 503 and NOT_READY in text
            # Of a server that restarts, or whose operator drains it.
            answered = starting or (status == 503 and "draining" in text)
            # 502 and 504: there is no server behind the proxy. The program is not run again.
            if status not in (502, 504) and not answered:
                return status, text
            if starting:
                patience = STARTING_SECONDS
            begun = begun or loop.time()
            why = f"it answers {status}"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if not visit.reached and not visit.may_come(error):
                raise Refused(f"no server answers at {visit.place}: {error}", retryable=True) from None
            # Otherwise the second restart during a long program would count from the first one.
            if loop.time() - tried > HELD_SECONDS:
                begun = 0.0
            begun = begun or loop.time()
            why = str(error) or type(error).__name__
        if loop.time() - begun > patience:
            if answered:
                return status, text
            raise Refused(f"the server at {visit.place} cannot be reached any more: {why}", retryable=True)
        await asyncio.sleep(0.5)
