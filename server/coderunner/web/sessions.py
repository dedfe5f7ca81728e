"""`GET /api/sessions/{session}`: a session's state, for clients without a WebSocket."""

from __future__ import annotations

from aiohttp import web
from msgspec import convert

from coderunner.errors import NoSession, Unauthenticated
from coderunner.schema.answers import ArtifactView, ExitView, ProgramView, SessionView
from coderunner.sessions.channel import Channel
from coderunner.sessions.session import Session
from coderunner.web import guard
from coderunner.web.files import present_of
from coderunner.web.keys import PARTS
from coderunner.web.replies import json_reply


async def session(request: web.Request) -> web.Response:
    """Returns the state of a session and its channels: to who has its token, or may see it (`GET
    /api/sessions`)."""
    one = await _seen(request)
    return json_reply(
        SessionView(
            session=one.id,
            language=one.language.name,
            revision=one.revision,
            expires=one.expiry(),
            # By number, so that the answer does not depend on when channels began.
            channels=tuple(_program(one, one.channels[number]) for number in sorted(one.channels)),
        )
    )


async def _seen(request: web.Request) -> Session:
    """The session of a token, or one that the caller's credential lets it see. Raises NoSession, also for an
    unknown credential: it may have been a token."""
    try:
        return present_of(request)
    except NoSession:
        try:
            who = (await guard.caller(request.app[PARTS], request)).who
        except Unauthenticated:
            raise NoSession() from None
        return request.app[PARTS].registry.seen(request.match_info["session"], who)


def _program(session: Session, channel: Channel) -> ProgramView:
    made = session.artifacts.of(channel.number)
    return ProgramView(
        channel=channel.number,
        kind=channel.kind,
        mode=channel.mode,
        phase=channel.phase,
        exit=convert(channel.exit, ExitView | None, from_attributes=True),
        diagnostics=channel.diagnostics,
        artifacts=tuple(convert(one, ArtifactView, from_attributes=True) for one in made),
    )
