"""The operator's view of live sessions: list, notice, watch, end."""

from __future__ import annotations

import logging
import time

from aiohttp import web

from coderunner.errors import NoSession
from coderunner.fleet.usage import Use
from coderunner.fleet.watches import SECONDS
from coderunner.logs import fields
from coderunner.schema.admin import (
    Ended,
    EndSession,
    LiveSession,
    LiveSessions,
    Noticed,
    SendNotice,
    WatchTicket,
)
from coderunner.sessions.record import whose
from coderunner.sessions.session import Session
from coderunner.web import guard
from coderunner.web.admin.room import ROOM
from coderunner.web.files import body_of
from coderunner.web.keys import PARTS
from coderunner.web.replies import json_reply

log = logging.getLogger(__name__)


async def listing(request: web.Request) -> web.Response:
    """Lists all live sessions with what they use. May take half a second, as rates are measured."""
    sessions = {name: one for name, one in _all(request).items() if not one.over}
    used = await request.app[ROOM].usage.of(sessions)
    views = [_view(one, used[name]) for name, one in sessions.items() if not one.over]
    return json_reply(LiveSessions(tuple(sorted(views, key=lambda view: view.opened))))


async def show(request: web.Request) -> web.Response:
    """Returns one live session with what it uses."""
    session = _session(request)
    used = await request.app[ROOM].usage.of(
        {name: one for name, one in _all(request).items() if not one.over}
    )
    if session.over or session.id not in used:
        raise NoSession()
    return json_reply(_view(session, used[session.id]))


async def notice(request: web.Request) -> web.Response:
    """Shows a text to all attached clients of a session."""
    session = _session(request)
    words = await body_of(request, SendNotice)
    told = session.notice(words.text)
    log.info("notice of the operator", extra=_log_fields(request, session, text=words.text, attachments=told))
    return json_reply(Noticed(session.id, told))


async def end(request: web.Request) -> web.Response:
    """Ends a session. Its users see the reason."""
    session = _session(request)
    words = await body_of(request, EndSession)
    if session.over:
        raise NoSession()
    log.info("ended by the operator", extra=_log_fields(request, session, why=words.reason))
    session.evict(words.reason, operator=True)
    return json_reply(Ended(session.id), 202)


async def watch(request: web.Request) -> web.Response:
    """Makes a token with which the operator watches a session over its WebSocket. Its users see a notice."""
    session = _session(request)
    who = await guard.require(
        request.app[PARTS], request, "operate"
    )  # verified by `for_operators`; here for the principal
    token = request.app[PARTS].registry.watches.make(session.id, who)
    log.info("the operator asks to watch", extra=_log_fields(request, session))
    return json_reply(WatchTicket(session.id, token, int(SECONDS)), 201)


def _all(request: web.Request) -> dict[str, Session]:
    return dict(request.app[PARTS].registry.sessions)


def _session(request: web.Request) -> Session:
    return request.app[PARTS].registry.live(request.match_info["session"])


def _log_fields(request: web.Request, session: Session, **more: object) -> dict[str, object]:
    """Fields for the log: what was done to which session, and from which address."""
    operator = guard.address_of(request.app[PARTS].settings, request)
    return fields(**whose(session.record), operator_address=operator, **more)


def _view(session: Session, used: Use) -> LiveSession:
    record, channels = session.record, session.channels
    others = sum(not one.operator for one in channels.attachments)
    share, now = used.cpu_share, used.now
    return LiveSession(
        session=session.id,
        owner=record.principal,
        address=record.address,
        room=record.room,
        language=record.language,
        state="away" if not others else "running" if channels.busy else "idle",
        opened=round(record.opened, 3),
        age_s=max(0, round(time.time() - record.opened)),
        ends_s=(session.expiry().total_ms or 0) // 1000,
        cpu_percent=None if share is None else round(share * 100, 1),
        cpu_s=None if now.cpu_seconds is None else round(now.cpu_seconds, 2),
        memory_bytes=now.memory_bytes,
        memory_limit_bytes=session.limits.container_bytes,
        output_bytes=now.output_bytes,
        output_rate=None if used.output_rate is None else round(used.output_rate, 1),
        programs=sum(one.exit is None for one in channels.values()),
        attachments=others,
        watched=session.watched,
        group=record.group,
        member=record.member,
        container=session.container.id[:12],
    )
