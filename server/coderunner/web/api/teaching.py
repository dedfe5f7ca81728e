"""What a teacher does from the wall of a room: words to its sessions, a raised hand lowered."""

from __future__ import annotations

from aiohttp import web

from coderunner import audit
from coderunner.errors import NoSession
from coderunner.fleet.wall import in_words, sessions_of
from coderunner.schema.rooms import HandLowered, Tell, Told
from coderunner.sessions.overseers import OPERATOR
from coderunner.sessions.session import Session
from coderunner.web.api.wall import teacher_of
from coderunner.web.files import body_of
from coderunner.web.keys import PARTS
from coderunner.web.replies import json_reply


async def tell(request: web.Request) -> web.Response:
    """Shows a teacher's words to all sessions of the room, or to one. Their users see who says it."""
    caller, who = await teacher_of(request)
    wanted, room = await body_of(request, Tell), request.match_info["room"]
    named = _sessions(request)
    told = named if wanted.session is None else [_one(named, wanted.session)]
    by = in_words(who, room)
    code, words = ("operator", wanted.text) if by == OPERATOR else ("teacher", f"{by}: {wanted.text}")
    reached = sum(one.notice(words, code) for one in told)
    audit.note(
        "told", principal=who.subject, address=caller.address, session=wanted.session,
        room=room, word=wanted.text, sessions=len(told),
    )  # fmt: skip
    return json_reply(Told(len(told), reached))


async def lower(request: web.Request) -> web.Response:
    """Lowers the raised hand of a session of the room. Its users see that; it may be down already."""
    await teacher_of(request)
    session = _one(_sessions(request), request.match_info["session"])
    session.hand.lower()
    return json_reply(HandLowered(session.id))


def _sessions(request: web.Request) -> list[Session]:
    return sessions_of(request.app[PARTS].registry, request.match_info["room"])


def _one(sessions: list[Session], name: str) -> Session:
    """Raises NoSession for one that is not there or belongs to another room, alike."""
    for one in sessions:
        if one.id == name:
            return one
    raise NoSession()
