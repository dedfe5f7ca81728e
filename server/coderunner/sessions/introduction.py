"""What a client that attaches is told of a session's state, and the others of an operator."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from coderunner.logs import fields
from coderunner.schema import messages as m
from coderunner.sessions.attachment import Attachment
from coderunner.sessions.record import whose

if TYPE_CHECKING:
    from coderunner.sessions.session import Session

log = logging.getLogger(__name__)

WATCHED = m.Notice("watched", "watched by the operator")
UNWATCHED = m.Notice("unwatched", "the operator watches no longer")


def introduce(session: Session, attachment: Attachment) -> None:
    """Sends a new attachment the state that is otherwise sent only when it changes: the workspace's revision,
    stopped programs, diagnostics, artifacts."""
    if session.watched and not attachment.operator:
        attachment.post(WATCHED)
    if session.revision:
        attachment.post(m.Workspace(session.revision))
    for channel in session.channels.values():
        if channel.stopped is not None:
            attachment.post(m.Stopped(channel.number, channel.stopped))
        if channel.diagnostics:
            attachment.post(m.Diagnostics(channel.number, channel.diagnostics))
    for made in session.artifacts:
        attachment.post(made)


def tell_watched(session: Session, operator: Attachment) -> None:
    """Tells all but the operator, who has attached, that the session is watched."""
    log.info("watched by the operator", extra=fields(**whose(session.record)))
    for one in session.channels.attachments:
        if one is not operator:
            one.post(WATCHED)
