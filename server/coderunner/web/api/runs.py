"""Handlers of `POST /api/run` and `/api/batch`, and of their results: `/api/runs/...`, `/api/batches/...`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re

import msgspec
from aiohttp import web

from coderunner.errors import BadMessage, Draining, InternalError
from coderunner.jobs.batch import Batch
from coderunner.jobs.job import Job
from coderunner.jobs.work import Work
from coderunner.schema.api import MAX_BODY, RunQuery, RunRequest
from coderunner.schema.batches import MAX_BATCH_BODY, MAX_BATCH_VALUES, BatchRequest
from coderunner.web import guard
from coderunner.web.api import events
from coderunner.web.api.bodies import Bodies
from coderunner.web.api.sending import SENDING
from coderunner.web.keys import PARTS
from coderunner.web.replies import query_of

PIECE = 64 * 1024
BODIES: web.AppKey[Bodies] = web.AppKey("bodies", Bodies)
_KEY = re.compile(r"[A-Za-z0-9_-]{22,64}")


async def run(request: web.Request) -> web.StreamResponse:
    """Runs a program. The response has its whole result, or with `Accept: text/event-stream` its events."""
    parts = request.app[PARTS]
    # Checked before the body is read: a wrong key costs neither side the transfer.
    caller = await guard.caller(parts, request)
    caller.who.require("run")
    key, begin = key_of(request), events.last_id(request)
    wanted = await request.app[BODIES].read(request, caller.address, RunRequest, MAX_BODY)
    return await _respond(request, parts.runs.begin(wanted, caller, key), key, begin)


async def grade(request: web.Request) -> web.StreamResponse:
    """Runs a program with many inputs. The response has a verdict for each, or with
    `Accept: text/event-stream` an event for each."""
    parts = request.app[PARTS]
    caller = await guard.caller(parts, request)
    caller.who.require("run")
    key, begin = key_of(request), events.last_id(request)
    wanted = await request.app[BODIES].read(
        request, caller.address, BatchRequest, MAX_BATCH_BODY, MAX_BATCH_VALUES
    )
    return await _respond(request, parts.runs.begin(wanted, caller, key), key, begin)


async def _respond(request: web.Request, job: Work, key: str | None, begin: int) -> web.StreamResponse:
    try:
        # Bounded waits, so that a caller who is gone is noticed.
        if events.wanted(request):
            return await _streamed(request, job, begin)
        while not job.over and not events.gone(request):
            await _news(job, events.LOOK_SECONDS)
        return await _whole(request, job)
    # With a key the run is found again; without one nobody can, so it is cancelled.
    finally:
        if key is None:
            request.app[PARTS].runs.gone(job)


async def show(request: web.Request) -> web.StreamResponse:
    """The result of a run or batch; 202 and its status if it is not done. `wait`: seconds to wait for it."""
    job = await _job(request)
    due = asyncio.get_running_loop().time() + int(query_of(request, RunQuery).wait)
    while not job.over and not events.gone(request):
        # Measured from the request's beginning, whatever happened in between.
        left = due - asyncio.get_running_loop().time()
        if left <= 0:
            break
        await _news(job, min(left, events.LOOK_SECONDS))
    return await _whole(request, job) if job.over else _status(job)


async def follow(request: web.Request) -> web.StreamResponse:
    """The events after `Last-Event-ID`. 204 if there are none and will be none: browsers then stop
    reconnecting."""
    job, begin = await _job(request), events.last_id(request)
    if events.had_end(job, begin):
        return web.Response(status=204)
    return await _streamed(request, job, begin)


async def cancel(request: web.Request) -> web.StreamResponse:
    """Cancels a run or batch. Its result has what was done until then. Does nothing if it has ended."""
    job = await _job(request)
    # Not an error afterwards: the caller cannot know that it has just ended.
    if not job.over:
        job.cancel()
    return _status(job)


async def _job(request: web.Request) -> Work:
    parts = request.app[PARTS]
    caller = await guard.caller(parts, request)
    if "batch" in request.match_info:
        return parts.runs.find(request.match_info["batch"], caller, Batch)
    return parts.runs.find(request.match_info["run"], caller, Job)


def key_of(request: web.Request) -> str | None:
    """The `Idempotency-Key`; None without one. Raises BadMessage."""
    given = request.headers.get("Idempotency-Key")
    if given is None:
        return None
    # Some libraries quote the key.
    key = given.strip().strip('"')
    if not _KEY.fullmatch(key):
        raise BadMessage(
            "Idempotency-Key must have 22 to 64 characters of A-Z a-z 0-9 _ -; use a random UUID"
        )
    return key


async def _news(job: Work, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await job.news()


async def _whole(request: web.Request, job: Work) -> web.StreamResponse:
    """Sends the stored answer in pieces: it may have many megabytes, and the caller may read slowly."""
    if job.error is not None:
        raise job.error
    if job.suspended:
        raise Draining(retry_after_ms=1000)
    if not job.done:
        raise InternalError("the caller is gone")
    address, sending = guard.address_of(request.app[PARTS].settings, request), request.app[SENDING]
    sending.check(address)
    with job.answer() as stored:
        response = web.StreamResponse(headers=_headers(job))
        # Its size is known, as the answer is complete: a client sees whether it got everything.
        response.content_type = "application/json"
        response.content_length = os.fstat(stored.fileno()).st_size
        await response.prepare(request)
        while data := stored.read(PIECE):
            guard.check_still(request.app[PARTS], request)  # who reads slowly may take long
            await sending.send(address, response, data)
    await response.write_eof()
    return response


def _status(job: Work) -> web.Response:
    body = msgspec.json.encode(job.state())
    return web.Response(body=body, status=202, content_type="application/json", headers=_headers(job))


def _headers(job: Work) -> dict[str, str]:
    return {"Cache-Control": "no-store", "Location": f"/api/{job.place}/{job.id}"}


async def _streamed(request: web.Request, job: Work, begin: int) -> web.StreamResponse:
    try:
        return await events.stream(request, job, begin)
    # The headers are sent, so there is no other way to tell it.
    except TimeoutError:
        raise ConnectionResetError("the caller takes nothing") from None
