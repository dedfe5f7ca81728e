"""Handlers below `/api/sessions` for callers without a WebSocket: to open, list and end sessions, and to
start and control programs in them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import secrets
from collections.abc import Iterator
from typing import Any

import msgspec
from aiohttp import web

from coderunner import timing
from coderunner.core.admission import Position
from coderunner.errors import Draining, InputOverflow, KeyReused, Unauthenticated
from coderunner.fleet.registry import Caller, Opening
from coderunner.schema import messages as m
from coderunner.schema.api import MAX_BODY
from coderunner.schema.check import S
from coderunner.schema.sessions import (
    Acted,
    ClientQuery,
    InputRequest,
    KillRequest,
    OpenQuery,
    ProgramRequest,
    ResizeRequest,
    SessionEnded,
    SessionList,
    SessionQueued,
    SessionRequest,
    SessionRow,
    ShellRequest,
    SignalRequest,
)
from coderunner.sessions.follower import Follower
from coderunner.sessions.session import Session
from coderunner.web import guard
from coderunner.web.api.events import LOOK_SECONDS, gone
from coderunner.web.api.followers import FOLLOWERS
from coderunner.web.api.runs import BODIES, key_of
from coderunner.web.files import session_of
from coderunner.web.handshake import opened_message
from coderunner.web.keys import PARTS
from coderunner.web.replies import json_reply, query_of

PLACE_SECONDS = 0.25  # that a request with `wait=0` waits for its place in the queue
MAX_SMALL = 256 * 1024  # bytes of a body without files: input of a channel's window, in base64


# --- opening ----------------------------------------------------------------------------------------------


async def open_session(request: web.Request) -> web.StreamResponse:
    """Opens a session: 201 and its token. 202 and a key if it is still queued after `wait` seconds: repeat
    the request with the header `Idempotency-Key: <key>` to wait on. With such a key a request can be
    repeated: for a minute it is answered with the same session."""
    parts = request.app[PARTS]
    caller = await guard.caller(parts, request)
    caller.who.require("session")
    given, seconds = key_of(request), int(query_of(request, OpenQuery).wait)
    wanted = await request.app[BODIES].read(request, caller.address, SessionRequest, MAX_BODY)
    key = given or secrets.token_urlsafe(16)
    opening = parts.registry.open(_message(parts.registry, wanted, caller, key), caller)
    answered = False

    def on_position(_: Position) -> None:
        """Does nothing: the position is read from `opening`."""

    opening.claim(on_position)
    try:
        due = timing.now() + seconds
        told = timing.now() + PLACE_SECONDS
        while not opening.done.done():
            if gone(request):
                raise ConnectionResetError("the caller is gone")
            # Its place is known only after a moment. While its container is being made, it has none.
            left = max(due, told if opening.position is None else 0.0) - timing.now()
            if left <= 0:
                break
            await asyncio.wait({opening.done}, timeout=min(LOOK_SECONDS, left))
        answer = _opened(request, opening) if opening.done.done() else _waits(opening, key)
        answered = True
        return answer
    finally:
        if not (answered and opening.done.done()):
            # Without a key nobody can ask for it again, unless it was told one just now.
            opening.abandon(on_position, hold=given is not None or answered)


def _message(registry: Any, wanted: SessionRequest, caller: Caller, key: str) -> m.Open:
    """The message `open`. Its client is the request's digest: another request with this key is refused.
    Raises KeyReused."""
    digest = hashlib.sha256(msgspec.json.encode(wanted, order="sorted")).digest()
    client = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    if registry.used(caller, key, client):
        raise KeyReused("this Idempotency-Key was used with another request; choose a new one")
    return m.Open(
        language=wanted.language,
        client=client,
        nonce=key,
        files=wanted.files,
        limits=wanted.limits,
        network=wanted.network,
        group=wanted.group,
        group_token=wanted.group_token,
        member=wanted.member,
        room=wanted.room,
    )


def _opened(request: web.Request, opening: Opening) -> web.Response:
    if opening.done.cancelled():
        raise Draining(retry_after_ms=2000)
    opened = opening.done.result()  # raises why there is no session
    told = opened_message(request.app[PARTS], opened)
    opening.delivered = True
    return json_reply(told, 201, {"Location": f"/api/sessions/{told.session}"})


def _waits(opening: Opening, key: str) -> web.Response:
    at = opening.position
    told = SessionQueued(
        status="queued",
        key=key,
        position=None if at is None else at.position,
        ahead=None if at is None else at.ahead,
        eta_ms=None if at is None else at.eta_ms,
        deadline_ms=None if at is None else at.deadline_ms,
    )
    return json_reply(told, 202)


# --- listing and ending -----------------------------------------------------------------------------------


async def list_sessions(request: web.Request) -> web.Response:
    """Lists the sessions that the caller may see: with a session's token this session; with a credential
    those that it has opened, for teachers also those of their rooms, for operators all."""
    parts = request.app[PARTS]
    token = guard.bearer(request)
    live = [one for one in parts.registry.sessions.values() if not one.over]
    mine = [one for one in live if token and one.allows(token) is not None]
    if not mine:
        caller = await guard.caller(parts, request)
        if not caller.who.known:
            raise Unauthenticated("send the token of a session, or a credential, as `Authorization: Bearer`")
        who = caller.who
        seen = [one for one in live if who.sees(one.record.principal, one.record.room)]
        return json_reply(SessionList(tuple(_row(one, own=who.owns(one.record.principal)) for one in seen)))
    return json_reply(SessionList(tuple(_row(one) for one in mine)))


def _row(session: Session, *, own: bool = True) -> SessionRow:
    record = session.record
    return SessionRow(
        session=session.id,
        language=session.language.name,
        opened=record.opened,
        expires=session.expiry(),
        attached=len(session.channels.attachments),
        room=record.room,
        own=own,
        name=record.name,
    )


async def end_session(request: web.Request) -> web.Response:
    """Ends the session with its programs. Its followers still get the remaining events."""
    session = session_of(request)
    session.end("client")
    return json_reply(SessionEnded(session.id))


# --- acting in a session ----------------------------------------------------------------------------------


async def run(request: web.Request) -> web.Response:
    """Starts a program in a channel."""
    return await _act(request, ProgramRequest, MAX_BODY)


async def shell(request: web.Request) -> web.Response:
    """Starts a shell, or the language's own prompt, in a channel."""
    return await _act(request, ShellRequest, MAX_SMALL)


async def type_input(request: web.Request) -> web.Response:
    """Sends input to a program. What a program does not read at once is kept, up to 64 KiB."""
    wanted = await _body(request, InputRequest, MAX_SMALL)
    with _follower(request) as follower:
        session, attachment = follower.session, follower.attachment
        channel = session.channels[wanted.channel]
        try:
            session.input(attachment, wanted.channel, wanted.offset, wanted.data)
        except InputOverflow as overflow:
            overflow.retry_after_ms = 1000
            raise
        if wanted.eof and channel.eof_at is None:
            session.handle(attachment, m.Eof(wanted.channel, wanted.offset + len(wanted.data)))
        return _acted(follower, wanted.channel)


async def resize(request: web.Request) -> web.Response:
    """Sets the size of a channel's terminal."""
    return await _act(request, ResizeRequest, MAX_SMALL)


async def signal(request: web.Request) -> web.Response:
    """Sends a signal to the foreground program of a channel."""
    return await _act(request, SignalRequest, MAX_SMALL)


async def kill(request: web.Request) -> web.Response:
    """Kills a channel's whole process tree."""
    return await _act(request, KillRequest, MAX_SMALL)


async def take(request: web.Request) -> web.Response:
    """Takes the control of the session; the previous holder watches from now on."""
    with _follower(request) as follower:
        follower.session.handle(follower.attachment, m.Take())
        return _acted(follower)


async def extend(request: web.Request) -> web.Response:
    """Restarts the session's idle time."""
    with _follower(request) as follower:
        follower.session.handle(follower.attachment, m.Extend())
        return _acted(follower)


async def _act(request: web.Request, kind: type[S], maximum: int) -> web.Response:
    """Executes the body, which is a message of the protocol."""
    message: Any = await _body(request, kind, maximum)
    with _follower(request) as follower:
        follower.session.handle(follower.attachment, message)
        return _acted(follower, message.channel)


async def _body(request: web.Request, kind: type[S], maximum: int) -> S:
    session_of(request)  # before the body is read
    address = guard.address_of(request.app[PARTS].settings, request)
    return await request.app[BODIES].read(request, address, kind, maximum)


@contextlib.contextmanager
def _follower(request: web.Request) -> Iterator[Follower]:
    name, token = request.match_info["session"], guard.bearer(request)
    client = query_of(request, ClientQuery).client
    with request.app[FOLLOWERS].acting(name, token, client) as follower:
        yield follower


def _acted(follower: Follower, number: int | None = None) -> web.Response:
    session, role = follower.session, follower.attachment.role
    if number is None:
        return json_reply(Acted(role=role, expires=session.expiry()))
    channel = session.channels.all.get(number)
    return json_reply(
        Acted(
            role=role,
            expires=session.expiry(),
            channel=number,
            phase=None if channel is None else channel.phase,
            input_offset=0 if channel is None else channel.input_offset,
            in_ack=0 if channel is None else channel.in_acked,
        )
    )
