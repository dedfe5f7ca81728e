"""What a client that attaches is told of a session's state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coderunner.schema import messages as m
from coderunner.sessions.attachment import Attachment

if TYPE_CHECKING:
    from coderunner.sessions.session import Session


def introduce(session: Session, attachment: Attachment) -> None:
    """Sends a new attachment the state that is otherwise sent only when it changes: the workspace's revision,
    stopped programs, diagnostics, artifacts, the raised hand."""
    if session.revision:
        attachment.post(m.Workspace(session.revision))
    for channel in session.channels.values():
        if channel.stopped is not None:
            attachment.post(m.Stopped(channel.number, channel.stopped))
        if channel.diagnostics:
            attachment.post(m.Diagnostics(channel.number, channel.diagnostics))
    for made in session.artifacts:
        attachment.post(made)
    session.hand.introduce(attachment)
