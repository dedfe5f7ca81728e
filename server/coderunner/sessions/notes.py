"""A session's events for the audit log."""

from __future__ import annotations

from typing import Any

from coderunner import audit
from coderunner.schema import messages as m
from coderunner.schema.record import Record
from coderunner.sessions.attachment import Attachment


class Notes:
    """`program`: what is told of the files that came last, as a later run need not bring those that are
    there."""

    def __init__(self, record: Record) -> None:
        self.program: dict[str, Any] = {}
        self._record = record

    def run(self, attachment: Attachment, entry: str, message: m.Run) -> None:
        """Tells of a program that begins."""
        if message.files:
            self.program = audit.program((file.path, file.content) for file in message.files)
        self.note("ran", attachment, kind="run", entry=entry, args=len(message.args), **self.program)

    def note(self, event: str, attachment: Attachment, **details: Any) -> None:
        """Tells of an event that the attachment's client has caused."""
        known, record, guest = attachment.address is not None, self._record, attachment.guest
        if guest is not None:
            details |= {"guest": guest.serial, "guest_name": guest.name} if guest.room is None else {}
            details |= {"room": guest.room} if guest.room is not None else {}
        audit.note(
            event,
            principal=attachment.principal if known else record.principal,
            address=attachment.address if known else record.address,
            session=record.session,
            language=record.language,
            **details,
        )
