"""`GET /api/rooms/{room}/wall`: the wall of a room as a stream of events."""

from __future__ import annotations

import asyncio
import time

import msgspec
from aiohttp import web

from coderunner import audit, timing
from coderunner.errors import NotAllowed, RateLimited
from coderunner.fleet.registry import Caller
from coderunner.fleet.wall import Wall, require_teacher
from coderunner.identity.principal import Principal
from coderunner.web import guard
from coderunner.web.api.events import MEDIA, QUIET_SECONDS, gone
from coderunner.web.api.sending import SENDING
from coderunner.web.keys import PARTS

PAUSE_SECONDS = 0.5  # between two checks of all sessions
MAX_WALLS = 4  # that one principal has open at a time
WALLS: web.AppKey[dict[str, int]] = web.AppKey("walls", dict)
"""How many walls are open, by principal."""


async def teacher_of(request: web.Request) -> tuple[Caller, Principal]:
    """The caller, as a teacher of the room in the path or as an operator. Raises Unauthenticated, and
    NotAllowed as `require_teacher` and for another site's page, as the browser adds the cookie there, too."""
    parts = request.app[PARTS]
    caller = await guard.caller(parts, request)
    who = caller.who
    if not who.known:
        who = await guard.require(parts, request, "operate")  # raises, or it is this machine's operator
    require_teacher(who, request.match_info["room"])
    # Nor by a link: files that are collected and a wall that is open are told to all of the room.
    if not guard.from_own_page(parts.settings, request, links=False):
        raise NotAllowed("the requests of a room come from this server's own page, or from no page")
    return caller, who


async def wall(request: web.Request) -> web.StreamResponse:
    """Streams the wall of a room to its teachers and to operators: events `tiles`, first with all of the
    room's sessions, then with those that have changed, at most two a second. The users of these sessions are
    told who watches. An unknown room is answered like one of which the caller is no teacher."""
    parts, room = request.app[PARTS], request.match_info["room"]
    caller, who = await teacher_of(request)
    open_walls, key = request.app[WALLS], who.subject or ""
    if open_walls.get(key, 0) >= MAX_WALLS:
        raise RateLimited(f"{MAX_WALLS} walls are open already; close one", retry_after_ms=5000)
    open_walls[key] = open_walls.get(key, 0) + 1
    shown = Wall(parts.registry, who, room)
    try:
        if parts.registry.absent is not None:
            raise parts.registry.absent
        audit.note("watched", principal=who.subject, address=caller.address, room=room, wall=True)
        return await _stream(request, shown, caller, who)
    except TimeoutError:
        raise ConnectionResetError("the caller takes nothing") from None
    finally:
        shown.close()
        open_walls[key] -= 1
        if not open_walls[key]:
            del open_walls[key]


async def _stream(request: web.Request, shown: Wall, caller: Caller, who: Principal) -> web.StreamResponse:
    parts, sending = request.app[PARTS], request.app[SENDING]
    sending.check(caller.address)
    # nginx would collect events until its buffer is full.
    headers = {"Content-Type": MEDIA, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    first, quiet = True, timing.now()
    # Ends when the server stops, as the sessions must not be reported as gone. Ends also with the teacher's
    # credential.
    while parts.registry.absent is None and not parts.identity.ended(who, time.time(), oversees=True):
        if gone(request):
            raise ConnectionResetError("the caller is gone")
        told = shown.changes()
        # The first one also where the room is empty: its page knows then that it is connected.
        if first or told.tiles or told.gone:
            first, quiet = False, timing.now()
            text = b"event: tiles\ndata: " + msgspec.json.encode(told) + b"\n\n"
            await sending.send(caller.address, response, text)
        elif timing.now() - quiet > QUIET_SECONDS:
            quiet = timing.now()
            await sending.send(caller.address, response, b":\n\n")
        await asyncio.sleep(PAUSE_SECONDS)
    await response.write_eof()
    return response
