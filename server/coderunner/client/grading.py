"""`coderunner batch`: sends a batch from a file, and reports each verdict as it is made."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from coderunner.client.asking import got, unanswered
from coderunner.client.patience import RECONNECT_SECONDS, Patience
from coderunner.client.peer import random_id
from coderunner.client.refused import Refused, refusal
from coderunner.client.visit import Answered, Visit

MOST_BYTES = 8 * 1024 * 1024  # of the request, as the server has it
CANCEL_SECONDS = 5.0  # for the request that cancels a batch


def request_of(path: Path) -> dict[str, Any]:
    """Reads the request from a file, or from standard input if that is `-`. In place of `source` it may have
    `source_file`, a path relative to the file. Raises Refused, OSError."""
    text = os.fdopen(0, "rb", closefd=False).read(MOST_BYTES + 1) if str(path) == "-" else path.read_bytes()
    if len(text) > MOST_BYTES:
        raise Refused(f"{path} is too much: {MOST_BYTES >> 20} MiB can be sent")
    try:
        document = json.loads(text)
    except ValueError as error:
        raise Refused(f"{path} is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise Refused(f"{path} must have an object, as for POST /api/batch (docs/graders.md)")
    beside = document.pop("source_file", None)
    if beside is not None:
        folder = Path() if str(path) == "-" else path.parent
        document["source"] = (folder / str(beside)).read_text("utf-8")
    return document


async def grade(
    visit: Visit,
    document: dict[str, Any],
    told: Callable[[dict[str, Any]], None],
    *,
    begun: Callable[[], None] = lambda: None,
    said: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Sends a batch, and returns its answer. `told`: is called once with each verdict. `begun`: is called
    when the server has begun it. `said`: as of `Patience`. A lost connection or a server that restarts is
    waited for, without running a case again. If this is cancelled, the batch is cancelled as well. Raises
    Refused."""
    # The key makes a repeated request continue the same batch; Last-Event-ID leaves out the events that have
    # arrived.
    headers = {"Idempotency-Key": random_id(), "Accept": "text/event-stream"}
    last, batch, patience = "", "", Patience(visit, said=said)
    while True:
        error: Exception = ConnectionError("the connection ended")
        try:
            async for name, identity, data in visit.events("api/batch", document, headers | last_id(last)):
                last = identity or last
                patience.restart()
                if name == "batch":
                    batch = str(data["id"])
                    begun()
                elif name == "case":
                    told(data)
                elif name == "problem":
                    raise Refused(str(data["detail"]), retryable=bool(data.get("retryable")))
                elif name == "done":
                    return await _whole(visit, data)
        except (aiohttp.ClientError, OSError, TimeoutError) as failure:
            error = failure
        except Answered as answer:
            held = unanswered(visit, answer.status, answer.text, repeated=bool(batch) or patience.fails)
            if held is None:
                raise refusal(visit.place, answer.status, answer.text) from None
            error = held
        except asyncio.CancelledError:
            await _cancel(visit, batch)
            raise
        try:
            await patience.wait(error)
        except asyncio.CancelledError:
            await _cancel(visit, batch)
            raise


async def _cancel(visit: Visit, batch: str) -> None:
    """Cancels a batch whose id is known. Does nothing if the server does not answer in CANCEL_SECONDS."""
    with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
        async with asyncio.timeout(CANCEL_SECONDS):
            if batch:
                await visit.delete(f"api/batches/{batch}")


def last_id(identity: str) -> dict[str, str]:
    """The header by which a stream of events continues behind an event; none if `identity` is ""."""
    return {"Last-Event-ID": identity} if identity else {}


async def _whole(visit: Visit, done: dict[str, Any]) -> dict[str, Any]:
    """The batch's answer with its cases, which the event `done` has not; `done` itself if the server does not
    keep the answer any more."""
    with contextlib.suppress(Refused, ValueError):
        status, text = await got(visit, f"api/batches/{done['id']}", RECONNECT_SECONDS)
        if status == 200:
            answer: dict[str, Any] = json.loads(text)
            return answer
    return done
