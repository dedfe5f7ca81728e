"""Who is attached to a session: any number of watchers, and at most one in control."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from coderunner.errors import NotControl, Superseded, TooManyAttachments
from coderunner.logs import fields
from coderunner.schema import messages as m
from coderunner.sessions.attachment import Attachment
from coderunner.sessions.channel import Channel
from coderunner.sessions.holdings import Holdings
from coderunner.wire import flow

log = logging.getLogger(__name__)

MAX_ATTACHMENTS = 128  # a class that watches; each costs memory, and a token's holder could open thousands
COST = 16 * 1024  # bytes of memory, at most, for each, beside the messages that wait for it


class Attachments:
    """``channels`` is the session's own table, by number.  ``holdings`` counts what waits for clients."""

    def __init__(self, channels: Mapping[int, Channel], holdings: Holdings) -> None:
        self.control: Attachment | None = None
        self._holdings = holdings
        holdings.count("attachments", lambda: sum(COST + one.waiting for one in self._all))
        self._channels = channels
        self._all: list[Attachment] = []

    def __iter__(self) -> Iterator[Attachment]:
        return iter(list(self._all))

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, attachment: Attachment) -> bool:
        return attachment in self._all

    def add(self, attachment: Attachment) -> None:
        """As control it takes the control, where all is full in place of the one that has watched longest.
        Raises TooManyAttachments."""
        if len(self._all) >= MAX_ATTACHMENTS:
            full = TooManyAttachments(
                f"{MAX_ATTACHMENTS} are attached to this session already", retry_after_ms=5000
            )
            if attachment.role != "control":
                raise full
            oldest = next(one for one in self._all if one is not self.control)
            oldest.post(m.ErrorMessage.of(full))
            oldest.end(full.close, flush=False)
            self.remove(oldest)
        self._all.append(attachment)
        if attachment.role == "control":
            self.give_control(attachment)

    def remove(self, attachment: Attachment) -> bool:
        """False when it was not there (any more)."""
        if attachment not in self._all:
            return False
        self._all.remove(attachment)
        if self.control is attachment:
            self.control = None
        return True

    def supersede(self, client: str) -> list[Attachment]:
        """The old attachments of a client that is back, told so and removed."""
        old = [one for one in self._all if one.client == client]
        for one in old:
            one.post(m.ErrorMessage.of(Superseded()))
            one.end(4409, flush=False)
            self.remove(one)
        return old

    def give_control(self, attachment: Attachment) -> None:
        """To one that may have it; the one before watches on, and both learn how far the input is."""
        if attachment.granted != "control":
            raise NotControl("this token only allows watching")
        before, self.control = self.control, attachment
        offsets = {number: channel.input_offset for number, channel in self._channels.items()}
        taken = before is not None and before is not attachment
        if before is not None and taken:
            before.role = "watch"
            before.post(m.Role("watch", offsets))
        if taken or attachment.role == "watch":
            # Also where nobody had it: who asked waits for this word before it lets its user type.
            attachment.role = "control"
            attachment.post(m.Role("control", offsets))
        for channel in self._channels.values():  # it may have missed them
            attachment.post(m.InAck(channel.number, channel.in_acked))

    def require_control(self, attachment: Attachment) -> None:
        """Raises NotControl where it only watches."""
        if attachment is not self.control:
            raise NotControl("this attachment only watches; send `take` to take the control")

    def broadcast(self, message: m.ServerMessage) -> None:
        """To all of them."""
        for attachment in self._all:
            attachment.post(message)
        self.relieve()

    def relieve(self) -> None:
        """Where too much waits for clients, the one for whom most waits is cut off: its next attach tells
        it all."""
        while self._all and not self._holdings.allows(0):
            slowest = max(self._all, key=lambda one: one.waiting)
            if not slowest.waiting:
                return
            slowest.cut()
            log.warning("a client that reads nothing was cut off", extra=fields(**self._holdings.table()))

    def forget(self, number: int) -> None:
        """A channel is removed."""
        for attachment in self._all:
            attachment.forget(number)

    def wake(self) -> None:
        """There is output, or an end, that some of them may not have been sent."""
        for attachment in self._all:
            attachment.wake()

    def window(self, channel: Channel) -> int:
        """The greatest of their windows, in bytes."""
        return max([one.cursor(channel).window.size for one in self._all], default=flow.WINDOW)

    def furthest(self, channel: Channel) -> int:
        """The highest offset that any of them has acknowledged; 0 without any."""
        return max([one.cursor(channel).acked for one in self._all], default=0)
