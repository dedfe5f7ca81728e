"""What a session is doing, for who has its token and no WebSocket."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from msgspec.structs import asdict

from coderunner.sessions.channel import Channel
from coderunner.sessions.session import Session
from coderunner.web.files import session_of
from coderunner.web.replies import json_reply


async def session(request: web.Request) -> web.Response:
    """GET /api/sessions/{session}."""
    one = session_of(request)
    return json_reply(
        {
            "session": one.id,
            "language": one.language.name,
            "revision": one.revision,
            "expires": asdict(one.expiry()),
            "channels": [_channel(one, one.channels[number]) for number in sorted(one.channels)],
        }
    )


def _channel(session: Session, channel: Channel) -> dict[str, Any]:
    artifacts = [asdict(made) for made in session.artifacts.of(channel.number)]
    exit_ = None
    if channel.exit is not None:
        exit_ = {**asdict(channel.exit), "usage": asdict(channel.exit.usage)}
        del exit_["channel"]
    return {
        "channel": channel.number,
        "kind": channel.kind,
        "mode": channel.mode,
        "phase": channel.phase,
        "exit": exit_,
        "diagnostics": [asdict(item) for item in channel.diagnostics],
        "artifacts": [{name: made[name] for name in made if name != "channel"} for made in artifacts],
    }
