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
    """Returns the state of a session and its channels, with its token or with a credential that may see it
    (`GET /api/sessions`). Teachers and operators who have not opened it get neither diagnostics nor
    artifacts: to see these they must watch it, and its users are told of that."""
    return json_reply(view(*await _seen(request)))


async def _seen(request: web.Request) -> tuple[Session, bool]:
    """The session that the caller's token or credential lets it see, and whether it is the caller's own.
    Raises NoSession, also for an unknown credential, as that may be a wrong token."""
    try:
        return present_of(request), True
    except NoSession:
        try:
            who = (await guard.caller(request.app[PARTS], request)).who
        except Unauthenticated:
            raise NoSession() from None
        found = request.app[PARTS].registry.seen(request.match_info["session"], who)
        return found, who.owns(found.record.principal)


def view(session: Session, own: bool) -> SessionView:
    """A session's state. `own`: whether it includes artifacts and diagnostics."""
    return SessionView(
        session=session.id,
        language=session.language.name,
        revision=session.revision,
        expires=session.expiry(),
        # By number, so that the answer does not depend on when channels began.
        channels=tuple(
            _program(session, session.channels[number], own) for number in sorted(session.channels)
        ),
    )


def _program(session: Session, channel: Channel, own: bool) -> ProgramView:
    # Whoever has the URL of an artifact can read it, and with that of a page also the files beside it.
    made = session.artifacts.of(channel.number) if own else ()
    return ProgramView(
        channel=channel.number,
        kind=channel.kind,
        mode=channel.mode,
        phase=channel.phase,
        exit=convert(channel.exit, ExitView | None, from_attributes=True),
        diagnostics=channel.diagnostics if own else (),
        artifacts=tuple(convert(one, ArtifactView, from_attributes=True) for one in made),
    )
