"""A run as a stream of events (text/event-stream), each with an id from which a cut stream goes on."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import msgspec
from aiohttp import web

from coderunner import timing
from coderunner.core import codec
from coderunner.core.codec import STDERR
from coderunner.errors import BadMessage
from coderunner.jobs.answer import text, without_output
from coderunner.jobs.job import Job
from coderunner.jobs.spool import Record
from coderunner.schema.api import RunAnswer
from coderunner.web.api.problems import TOLD, problem

MEDIA = "text/event-stream"
QUIET_SECONDS = 10.0  # after which a comment goes out, so that nobody between takes the line for dead
WRITE_SECONDS = 60.0  # in which a client must take a piece
LOOK_SECONDS = 0.25  # whether the caller is there yet
PIECE = 64 * 1024
_ID = re.compile(r"[0-9]{1,15}")


def last_id(request: web.Request) -> int:
    """The id behind which a stream is to go on; 0: all of it.  Raises BadMessage."""
    given = request.headers.get("Last-Event-ID", "").strip()
    if given and not _ID.fullmatch(given):
        raise BadMessage("Last-Event-ID must be the id of an event of this run")
    return int(given or 0)


def gone(request: web.Request) -> bool:
    """Whether the caller has closed the connection."""
    return request.transport is None or request.transport.is_closing()


async def stream(request: web.Request, job: Job, begin: int) -> web.StreamResponse:
    """All behind the id `begin`, until the run is over.  Raises BadMessage before the answer begins."""
    job.spool.check(begin)
    response = web.StreamResponse(
        headers={
            "Content-Type": MEDIA,
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
            "Location": f"/api/runs/{job.id}",
            **request.get(TOLD, {}),
        }
    )
    await response.prepare(request)
    if not begin:
        await _send(response, _event("run", {"id": job.id, "language": job.about.request.language}))
    told, quiet = None, timing.now()
    while not gone(request):
        begin, sent = await _send_records(response, job, begin)
        if job.position != told and job.status == "queued" and job.position is not None:
            told, sent = job.position, True
            await _send(response, _event("queued", {"position": told.position, "eta_ms": told.eta_ms}))
        if job.over and begin == job.spool.size:
            await _end(response, job, begin)
            return response
        if sent:
            quiet = timing.now()
            continue
        if timing.now() - quiet > QUIET_SECONDS:
            quiet = timing.now()
            await _send(response, b":\n\n")
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await job.news()
        except TimeoutError:
            continue
    raise ConnectionResetError("the caller is gone")


async def _send_records(response: web.StreamResponse, job: Job, begin: int) -> tuple[int, bool]:
    """(the id of the last, whether there was any): what is there, at most a piece."""
    piece = bytearray()
    for record in job.spool.records(begin):
        piece += _record(record)
        begin = record.end
        if len(piece) > PIECE:
            break
    if piece:
        await _send(response, bytes(piece))
    return begin, bool(piece)


def _record(record: Record) -> bytes:
    if isinstance(record.frame, bytes):
        frame = codec.decode_output(record.frame)
        stream = "stderr" if frame.stream == STDERR else "stdout"
        data = {"stream": stream, "offset": frame.offset, **text("text", frame.payload)}
        return _event("output", data, record.end)
    message = codec.decode_server_text(record.frame)
    told: dict[str, Any] = msgspec.to_builtins(message, str_keys=True)
    for name in ("type", "channel", "url"):
        told.pop(name, None)
    return _event(codec.TYPES[type(message)], told, record.end)


async def _end(response: web.StreamResponse, job: Job, begin: int) -> None:
    if job.error is not None:
        await _send(response, _event("problem", problem(job.error)))
    elif job.done:
        whole = msgspec.json.decode(job.answer(), type=RunAnswer)
        await _send(response, _event("done", without_output(whole), begin))
    await response.write_eof()


def _event(name: str, data: Any, identity: int | None = None) -> bytes:
    head = f"event: {name}\n" if identity is None else f"event: {name}\nid: {identity}\n"
    return head.encode() + b"data: " + msgspec.json.encode(data) + b"\n\n"


async def _send(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(WRITE_SECONDS):
        await response.write(data)
