"""`coderunner batch`: sends a batch from a file, and reports each verdict as it is made."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import aiohttp

from coderunner.client.asking import HELD_SECONDS, cancel, got, unanswered
from coderunner.client.patience import RECONNECT_SECONDS, Away, Patience, now
from coderunner.client.peer import random_id
from coderunner.client.refused import Refused, refusal
from coderunner.client.visit import EVENTS, Answered, Visit

MOST_BYTES = 8 * 1024 * 1024  # of the request, as the server has it
PATH = "api/batch"
NEEDED = {"batch": {"id"}, "case": {"index", "verdict"}, "problem": {"detail"}, "done": {"id"}}
"""Fields that the data of events have."""


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
    waited for, without running a case again. If this is cancelled, or if what is called raises an exception,
    the batch is cancelled as well. Raises Refused."""
    key, batch = random_id(), None
    try:
        async with contextlib.aclosing(_events(visit, document, key, said)) as events:
            # What is called runs here, and not where the connection's errors are waited out.
            async for name, data in events:
                if name == "batch":
                    batch = str(data["id"])
                    begun()
                elif name == "case":
                    told(data)
                elif name == "problem":
                    raise Refused(str(data["detail"]), retryable=bool(data.get("retryable")))
                elif name == "done":
                    return await _whole(visit, data)
    except BaseException as error:
        # A refusal has ended it already, or nothing is there that could be asked.
        if not isinstance(error, GeneratorExit | Refused):
            await cancel(visit, PATH, document, key, batch)
        raise
    raise AssertionError("it ends with an event")


async def _events(
    visit: Visit, document: dict[str, Any], key: str, said: Callable[[str], None]
) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
    """Yields the events (name, data) of a batch, over lost connections, without end. Raises Refused."""
    # The key makes a repeated request continue the same batch; Last-Event-ID leaves out the events that have
    # arrived.
    headers = {"Idempotency-Key": key, "Accept": EVENTS}
    last, begun, patience = "", False, Patience(visit, said=said)
    while True:
        tried = now()
        error: Exception = ConnectionError("the connection ended")
        try:
            async with contextlib.aclosing(visit.events(PATH, document, headers | last_id(last))) as events:
                async for name, identity, data in events:
                    if not NEEDED.get(name, set()) <= data.keys():
                        raise Away(visit.place, 200)
                    last, begun = identity or last, True
                    visit.reached = True
                    patience.restart()
                    yield name, data
        except (aiohttp.ClientError, OSError, TimeoutError) as failure:
            error = failure
        except Answered as answer:
            held = unanswered(visit, answer.status, answer.text, repeated=begun or patience.fails)
            if held is None:
                raise refusal(visit.place, answer.status, answer.text) from None
            error = held
        # A case may take longer than the patience, and nothing comes meanwhile.
        if now() - tried > HELD_SECONDS and not isinstance(error, TimeoutError):
            patience.restart()
        await patience.wait(error)


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
