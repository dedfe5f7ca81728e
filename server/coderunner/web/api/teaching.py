"""Handlers for the teachers of a room: notices to its sessions, lowering a raised hand, handing out and
collecting files."""

from __future__ import annotations

import asyncio
import contextlib
import io
import time
from collections.abc import Iterator

from aiohttp import web

from coderunner import audit, timing
from coderunner.core.project import check_path
from coderunner.errors import FilesBusy, FileTooLarge, NoSession, NotAllowed, Unauthenticated
from coderunner.fleet.registry import Caller
from coderunner.fleet.wall import in_words, sessions_of
from coderunner.identity.principal import Principal
from coderunner.schema.rest import ARCHIVES
from coderunner.schema.rooms import HandedOut, HandedOuts, HandLowered, HandOutQuery, Tell, Told
from coderunner.sessions import handout
from coderunner.sessions.overseers import OPERATOR
from coderunner.sessions.session import Session
from coderunner.web import guard
from coderunner.web.api.sending import SENDING
from coderunner.web.api.wall import teacher_of
from coderunner.web.files import body_of, body_pieces
from coderunner.web.keys import PARTS
from coderunner.web.replies import json_reply, query_of

MAX_TRANSFERS = 4  # at a time in all rooms, at most one in each
HAND_OUT_SECONDS = 120.0  # for all sessions; those that remain then are left out
TRANSFERS: web.AppKey[set[str]] = web.AppKey("transfers", set)
"""The rooms whose files are being handed out or collected."""


async def tell(request: web.Request) -> web.Response:
    """Shows a text of the teacher in all sessions of the room, or in one. Their users see who sent it."""
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
    """Lowers the raised hand of a session of the room. Its users see that. No error if it is not raised."""
    await teacher_of(request)
    session = _one(_sessions(request), request.match_info["session"])
    session.hand.lower()
    return json_reply(HandLowered(session.id))


async def hand_out(request: web.Request) -> web.Response:
    """Unpacks a zip, a tar or a gzipped tar into the folder `into` of all sessions of the room; at most
    4 MiB, both packed and unpacked. Files of the same names are replaced. Their users see who did it. For
    teachers."""
    caller, who = await _files_of(request)
    into = check_path(query_of(request, HandOutQuery).into.strip("/"))
    with _transfer(request) as room:
        handed = await asyncio.to_thread(handout.project, io.BytesIO(await _body(request)), into)
        until, rows = timing.now() + HAND_OUT_SECONDS, []
        for session in _sessions(request):
            # One after the other: each takes milliseconds, and users who type there go first.
            late = timing.now() > until
            error = "there was no time left" if late else await handout.put(session.files, handed)
            rows.append(HandedOut(session.id, session.record.name, error))
            if error is None:
                session.notice(f"{in_words(who, room)}: {into}", "handed_out")
    audit.note(
        "handed out", principal=who.subject, address=caller.address, room=room, into=into,
        files=len(handed), sessions=sum(row.error is None for row in rows),
    )  # fmt: skip
    return json_reply(HandedOuts(len(handed), tuple(rows)))


async def collect(request: web.Request) -> web.StreamResponse:
    """Returns the files of all sessions of the room as one zip with a folder for each session; at most 4 MiB
    per file, 32 MiB per session, 256 MiB in all. Its `left-out.txt` lists what is missing. The sessions'
    users see who did it. For teachers."""
    caller, who = await _files_of(request)
    sending = request.app[SENDING]
    sending.check(caller.address)
    with _transfer(request) as room:
        response = web.StreamResponse(
            headers={
                "Content-Type": ARCHIVES["zip"],
                "Content-Disposition": f'attachment; filename="{room}.zip"',
                "Cache-Control": "no-store",
            }
        )
        sessions = _sessions(request)
        for one in sessions:
            one.notice(in_words(who, room), "collected")
            audit.note(
                "collected", principal=who.subject, address=caller.address, session=one.id, room=room,
                of=one.record.principal,
            )  # fmt: skip
        await response.prepare(request)
        sources = [(handout.folder_of(one.record.name, one.id), one.files) for one in sessions]
        try:
            async for piece in handout.collect(sources):
                if request.app[PARTS].identity.ended(who, time.time(), oversees=True):
                    raise Unauthenticated(guard.ENDED)
                await sending.send(caller.address, response, piece)
        except TimeoutError:
            raise ConnectionResetError("the caller takes nothing") from None
        await response.write_eof()
        return response


async def _files_of(request: web.Request) -> tuple[Caller, Principal]:
    """As `teacher_of`, but raises NotAllowed also for an operator who does not teach the room."""
    caller, who = await teacher_of(request)
    if not who.teaches(request.match_info["room"]):
        raise NotAllowed("files are handed out and collected by the teachers of the room")
    return caller, who


@contextlib.contextmanager
def _transfer(request: web.Request) -> Iterator[str]:
    """Registers a transfer of the room's files for the duration of the block; yields the room. Raises
    FilesBusy for a second one in the room, and beyond MAX_TRANSFERS."""
    running, room = request.app[TRANSFERS], request.match_info["room"]
    if room in running or len(running) >= MAX_TRANSFERS:
        raise FilesBusy("files of this room, or of many others, are on their way", retry_after_ms=5000)
    running.add(room)
    try:
        yield room
    finally:
        running.discard(room)


async def _body(request: web.Request) -> bytes:
    data = bytearray()
    async for piece in body_pieces(request):
        data += piece
        if len(data) > handout.MAX_PACKED:
            raise FileTooLarge(f"the archive has more than {handout.MAX_PACKED} bytes")
    return bytes(data)


def _sessions(request: web.Request) -> list[Session]:
    return sessions_of(request.app[PARTS].registry, request.match_info["room"])


def _one(sessions: list[Session], name: str) -> Session:
    """The session with this id. Raises NoSession if it does not exist, and if it is in another room."""
    for one in sessions:
        if one.id == name:
            return one
    raise NoSession()
