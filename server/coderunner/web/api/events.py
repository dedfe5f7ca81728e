"""Sends a run or a batch as events (text/event-stream), with ids from which an interrupted stream
continues."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from coderunner import timing
from coderunner.errors import BadMessage
from coderunner.jobs.work import Work
from coderunner.web import guard
from coderunner.web.api.sending import SENDING
from coderunner.web.keys import PARTS
from coderunner.web.replies import problem

MEDIA = "text/event-stream"
QUIET_SECONDS = 10.0  # without an event; then a comment is sent, so that proxies do not close the connection
LOOK_SECONDS = 0.25  # between two checks whether the caller has disconnected
BEGINS = {"runs": "run", "batches": "batch"}  # name of the first event, by `Work.place`
PIECE = 32 * 1024  # bytes of events after which they are sent
Send = Callable[[bytes], Awaitable[None]]
_ID = re.compile(r"[0-9]{1,15}")


def last_id(request: web.Request) -> int:
    """The id of `Last-Event-ID`, after which the stream continues; 0 without one. Raises BadMessage."""
    given = request.headers.get("Last-Event-ID", "").strip()
    # At most 15 digits: the ids are offsets in a file.
    if given and not _ID.fullmatch(given):
        raise BadMessage("Last-Event-ID must be the id of an event of this stream")
    return int(given or 0)


def wanted(request: web.Request) -> bool:
    """Whether the answer is wanted as events: `Accept` names them, and not with a weight of 0 (RFC 9110)."""
    for one in request.headers.get("Accept", "").split(","):
        media, *parameters = [part.strip().lower() for part in one.split(";")]
        if media == MEDIA:
            return not any(re.fullmatch(r"q=0(\.0*)?", part) for part in parameters)
    return False


def gone(request: web.Request) -> bool:
    """Whether the caller has closed the connection; for a request that waits, time and again. Raises
    Unauthenticated if the caller's key was revoked or has expired meanwhile."""
    guard.check_still(request.app[PARTS], request)
    return request.transport is None or request.transport.is_closing()


def had_end(job: Work, begin: int) -> bool:
    """Whether `begin` is the id of the last event of a job that is over."""
    return job.done and begin == job.spool.size + 1


async def stream(request: web.Request, job: Work, begin: int) -> web.StreamResponse:
    """Sends the events after the id `begin` until the end. Raises BadMessage, before anything is sent, if it
    is not the id of an event."""
    if had_end(job, begin):
        begin = job.spool.size  # sent once more
    # Before the headers, as an error can then still be answered with a status.
    job.spool.check(begin)
    address, sending = guard.address_of(request.app[PARTS].settings, request), request.app[SENDING]
    sending.check(address)
    response = web.StreamResponse(
        headers={
            "Content-Type": MEDIA,
            "Cache-Control": "no-store",
            # nginx would collect events until its buffer is full.
            "X-Accel-Buffering": "no",
            "Location": f"/api/{job.place}/{job.id}",
        }
    )
    await response.prepare(request)
    send = functools.partial(sending.send, address, response)
    # A stream that continues has had this event.
    if not begin:
        await send(_event(BEGINS[job.place], {"id": job.id, "language": job.about.language}))
    told, quiet = None, timing.now()
    while not gone(request):
        # Removed by its age or by the operator while it was being sent.
        if job.spool.closed and job.error is None:
            raise ConnectionResetError("the run was removed")
        begin, sent = await _send_records(send, job, begin)
        # Only changes: a queue may move many times in a second.
        if job.position != told and job.status == "queued" and job.position is not None:
            told, sent = job.position, True
            await send(_event("queued", {"position": told.position, "eta_ms": told.eta_ms}))
        if job.over and begin == job.spool.size:
            await _end(send, job, begin)
            await response.write_eof()
            return response
        if sent:
            quiet = timing.now()
            continue
        if timing.now() - quiet > QUIET_SECONDS:
            quiet = timing.now()
            await send(b":\n\n")
        try:
            # Bounded, so that a caller who is gone is noticed without an event.
            async with asyncio.timeout(LOOK_SECONDS):
                await job.news()
        except TimeoutError:
            continue
    raise ConnectionResetError("the caller is gone")


async def _send_records(send: Send, job: Work, begin: int) -> tuple[int, bool]:
    """Sends records after `begin`, about PIECE bytes. Returns the id of the last one, and whether any was
    sent."""
    piece = bytearray()
    # In pieces, so that a long run is not built in memory.
    for record in job.spool.records(begin):
        piece += _event(*job.event(record), record.end)
        begin = record.end
        if len(piece) > PIECE:
            break
    if piece:
        await send(bytes(piece))
    return begin, bool(piece)


async def _end(send: Send, job: Work, begin: int) -> None:
    if job.error is not None:
        await send(_event("problem", problem(job.error)))
    elif job.done:
        # Not the id of the record before it: a stream that was cut between the two has to get this one.
        await send(_event("done", msgspec.Raw(job.end()), begin + 1))


# Without an id a browser keeps the last one, from which it continues.
def _event(name: str, data: Any, identity: int | None = None) -> bytes:
    head = f"event: {name}\n" if identity is None else f"event: {name}\nid: {identity}\n"
    return head.encode() + b"data: " + msgspec.json.encode(data) + b"\n\n"
