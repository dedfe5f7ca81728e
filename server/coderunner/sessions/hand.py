"""The raised hand of a session's user, which the teachers of its room see on their wall."""

from __future__ import annotations

import time

from coderunner.errors import NotControl, Unsupported
from coderunner.schema import messages as m
from coderunner.schema.record import Record
from coderunner.sessions.attachment import Attachment
from coderunner.sessions.attachments import Attachments


class Hand:
    """Whether the hand is raised. `attachments`: all of the session. `record`: with its room.

    It is not kept over a restart of the server: whoever attaches again is told that it is down.
    """

    def __init__(self, attachments: Attachments, record: Record) -> None:
        self._attachments = attachments
        self._room = record.room
        self.since: float | None = None
        """When it was raised, in seconds since 1970; None while it is down."""

    def introduce(self, attachment: Attachment) -> None:
        """Tells somebody who comes; nobody in a session without a room, where there is no hand to raise."""
        if self._room is not None:
            attachment.post(m.Hand(self.since is not None))

    def ask(self, attachment: Attachment, up: bool) -> None:
        """A client raises or lowers it. Raises Unsupported in a session without a room, NotControl for
        guests and the operator, and for a teacher who would raise it."""
        if self._room is None:
            raise Unsupported("this session belongs to no room, so nobody would see the hand")
        teaches = attachment.guest is not None and attachment.guest.room is not None
        if not attachment.owner and (up or not teaches):
            raise NotControl("the hand is the owner's to raise, and the owner's or a teacher's to lower")
        self._set(up)

    def lower(self) -> None:
        """A teacher lowers it from the wall."""
        self._set(False)

    def _set(self, up: bool) -> None:
        if up == (self.since is not None):
            return  # repeating it would only tell all clients the same again
        self.since = time.time() if up else None
        self._attachments.broadcast(m.Hand(up))
