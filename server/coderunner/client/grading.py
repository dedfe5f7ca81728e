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

from coderunner.client.line import RECONNECT_SECONDS
from coderunner.client.peer import random_id
from coderunner.client.refused import STARTING_SECONDS, Refused
from coderunner.client.visit import Starting, Visit

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
    visit: Visit, document: dict[str, Any], told: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Sends a batch, and returns its answer. `told`: is called once with each verdict. A lost connection or a
    server that restarts is waited for, without running a case again. If this is cancelled, the batch is
    cancelled as well. Raises Refused."""
    # The key makes a repeated request continue the same batch; Last-Event-ID leaves out the events that have
    # arrived.
    headers = {"Idempotency-Key": random_id(), "Accept": "text/event-stream"}
    loop, since, last, batch = asyncio.get_running_loop(), 0.0, "", ""
    while True:
        why, starting = "the connection ended", None
        try:
            async for name, identity, data in visit.events("api/batch", document, headers | last_id(last)):
                since, last = 0.0, identity or last
                if name == "batch":
                    batch = str(data["id"])
                elif name == "case":
                    told(data)
                elif name == "problem":
                    raise Refused(str(data["detail"]), retryable=bool(data.get("retryable")))
                elif name == "done":
                    return await _whole(visit, data)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if not visit.reached and not visit.may_come(error):
                raise Refused(f"no server answers at {visit.place}: {error}", retryable=True) from None
            why = str(error) or type(error).__name__
            starting = error.refused if isinstance(error, Starting) else None
        except asyncio.CancelledError:
            await _cancel(visit, batch)
            raise
        since = since or loop.time()
        if starting is not None and loop.time() - since > STARTING_SECONDS:
            raise starting
        if loop.time() - since > RECONNECT_SECONDS:
            raise Refused(f"the server at {visit.place} cannot be reached any more: {why}", retryable=True)
        await asyncio.sleep(0.5)


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
    with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError, ValueError):
        status, text = await visit.get(f"api/batches/{done['id']}")
        if status == 200:
            answer: dict[str, Any] = json.loads(text)
            return answer
    return done
