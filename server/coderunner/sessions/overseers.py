"""Overseers of a session: the server's operator, teachers of its room. Its users are told who watches."""

from __future__ import annotations

import logging

from coderunner.logs import fields
from coderunner.schema import messages as m
from coderunner.schema.record import Record
from coderunner.sessions.attachment import Attachment
from coderunner.sessions.attachments import Attachments
from coderunner.sessions.record import whose

OPERATOR = "the operator"

log = logging.getLogger(__name__)


class Overseers:
    """Tells a session's users who watches. `attachments`: all of the session."""

    def __init__(self, attachments: Attachments, record: Record) -> None:
        self._attachments = attachments
        self._record = record
        self._told: list[str] = []
        self._looking: list[str] = []  # by the room's wall; somebody who has two open stands there twice

    def greet(self, attachment: Attachment) -> None:
        """Tells somebody who comes."""
        if self._told and attachment.overseer is None:
            attachment.post(self._words(self._told))

    def look(self, who: str) -> None:
        """Somebody has opened the wall of the session's room. `who`: in words for the session's users."""
        self._looking.append(who)
        self.tell()

    def unlook(self, who: str) -> None:
        """Somebody who looked at the wall has closed it."""
        self._looking.remove(who)
        self.tell()

    def tell(self) -> None:
        """Tells everybody, if it is not who watched before."""
        attached = (one.overseer for one in self._attachments if one.overseer is not None)
        now = list(dict.fromkeys((*attached, *self._looking)))
        before, self._told = self._told, now
        for who in [who for who in now if who not in before]:
            log.info(
                "watched by the operator" if who == OPERATOR else "watched by a teacher",
                extra=fields(**whose(self._record), by=who),
            )
        for who in [who for who in before if who not in now]:
            log.info(
                "the operator watches no longer" if who == OPERATOR else "a teacher watches no longer",
                extra=fields(**whose(self._record), by=who),
            )
        if now == before:
            return
        said = self._words(now) if now else m.Notice("unwatched", f"{'; '.join(before)} watches no longer")
        for one in self._attachments:
            if one.overseer is None:
                one.post(said)

    @staticmethod
    def _words(who: list[str]) -> m.Notice:
        return m.Notice("watched", f"watched by {'; '.join(who)}")
