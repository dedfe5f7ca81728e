"""`GET /api/sessions/{session}/events`: the events of a session, by long poll or as a stream.

A stream ends after STREAM_BYTES. The client then reconnects with the id of the last event, as browsers do
automatically. This confirms what it has received: only then is the output acknowledged to the program.
"""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
from aiohttp import web
from msgspec import Raw

from coderunner import timing
from coderunner.errors import BadMessage, Draining
from coderunner.schema.sessions import EventsQuery, SessionEvent, SessionEvents
from coderunner.sessions.follower import Event, Follower, Mark
from coderunner.web import guard
from coderunner.web.api.events import LOOK_SECONDS, MEDIA, QUIET_SECONDS, gone, wanted
from coderunner.web.api.followers import FOLLOWERS
from coderunner.web.api.sending import SENDING
from coderunner.web.files import session_of
from coderunner.web.keys import PARTS
from coderunner.web.replies import query_of

STREAM_BYTES = 192 * 1024  # of events in one stream: less than a window, or the program would have to wait
POLL_BYTES = 256 * 1024  # of events in one answer, beside the last event
AGAIN_MS = 50  # the `retry` of a stream: after its end, until the client reconnects


async def follow(request: web.Request) -> web.StreamResponse:
    """Returns the session's events after a given one: as a list, or with `Accept: text/event-stream` as a
    stream. A request for what comes after an event confirms this event and all before it."""
    query = query_of(request, EventsQuery)
    after = request.headers.get("Last-Event-ID", "").strip() or query.after
    mark = Mark.read(after) if after else None
    if after and mark is None:
        session_of(request)  # first, so that callers without a valid token get only its error
        raise BadMessage("Last-Event-ID and after must be the id of an event of this session")
    name, token = request.match_info["session"], guard.bearer(request)
    with request.app[FOLLOWERS].at(name, token, query.client, mark) as follower:
        begin = follower.confirm(mark) if follower.continues(mark) else 0
        if wanted(request):
            return await _stream(request, follower, begin)
        return await _poll(request, follower, begin, after, int(query.wait))


async def _poll(
    request: web.Request, follower: Follower, begin: int, after: str, seconds: int
) -> web.StreamResponse:
    due = timing.now() + seconds
    while not (found := follower.after(begin)) and not follower.over and not gone(request):
        left = due - timing.now()
        if left <= 0:
            break
        await _news(follower, min(left, LOOK_SECONDS))
    if not found and follower.over and not follower.closed:
        raise Draining("the server restarts, or another request took over; ask again", retry_after_ms=500)
    sent: list[Event] = []
    size = 0
    for event in found:
        if size > POLL_BYTES:
            break
        sent.append(event)
        size += len(event.data)
    told = SessionEvents(
        events=tuple(SessionEvent(one.id, Raw(one.data)) for one in sent),  # type: ignore[arg-type]
        last=sent[-1].id if sent else after,
        over=follower.closed and follower.over and len(sent) == len(found),
    )
    address, sending = guard.address_of(request.app[PARTS].settings, request), request.app[SENDING]
    body = msgspec.json.encode(told)
    sending.check(address, len(body))
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    response = web.StreamResponse(headers=headers)
    response.content_length = len(body)
    await response.prepare(request)
    await sending.send(address, response, body)
    await response.write_eof()
    return response


async def _stream(request: web.Request, follower: Follower, begin: int) -> web.StreamResponse:
    address, sending = guard.address_of(request.app[PARTS].settings, request), request.app[SENDING]
    sending.check(address)
    if follower.closed and follower.over and not follower.after(begin):
        return web.Response(status=204)  # browsers then stop asking
    response = web.StreamResponse(
        headers={
            "Content-Type": MEDIA,
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
        }
    )
    await response.prepare(request)
    try:
        await sending.send(address, response, f"retry: {AGAIN_MS}\n\n".encode())
        size, quiet = 0, timing.now()
        while size < STREAM_BYTES and not gone(request):
            found = follower.after(begin)
            if not found and follower.over:
                break
            for event in found:
                text = f"event: {event.kind}\nid: {event.id}\ndata: ".encode() + event.data + b"\n\n"
                await sending.send(address, response, text)
                begin, quiet, size = event.number, timing.now(), size + len(text)
                if size >= STREAM_BYTES:
                    break
            if found:
                continue
            if timing.now() - quiet > QUIET_SECONDS:
                quiet = timing.now()
                await sending.send(address, response, b":\n\n")
            await _news(follower, LOOK_SECONDS)
    except TimeoutError:
        raise ConnectionResetError("the caller takes nothing") from None
    await response.write_eof()
    return response


async def _news(follower: Follower, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await follower.news()
