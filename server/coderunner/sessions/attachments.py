"""The attachments of a session: any number that watch, and at most one that controls."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from coderunner.errors import NotControl, Superseded, TooManyAttachments
from coderunner.identity.guest import Guest
from coderunner.logs import fields
from coderunner.schema import messages as m
from coderunner.sessions.attachment import Attachment
from coderunner.sessions.channel import Channel
from coderunner.sessions.holdings import Holdings
from coderunner.wire import flow

log = logging.getLogger(__name__)

MAX_ATTACHMENTS = 128  # enough for a class; a holder of the token could open thousands, which cost memory
COST = 16 * 1024  # bytes of memory of each, at most, beside its queued messages
RETRY_AFTER_MS = 5000


class Attachments:
    """All attachments, in the order in which they came.  ``control``: the one that controls, or None.

    ``channels``: the session's channels, by number.  ``holdings``: counts the memory of queued messages.
    """

    def __init__(self, channels: Mapping[int, Channel], holdings: Holdings) -> None:
        self.control: Attachment | None = None
        self._holdings = holdings
        holdings.count("attachments", lambda: sum(COST + one.waiting + one.held for one in self._all))
        self._channels = channels
        self._all: list[Attachment] = []

    def __iter__(self) -> Iterator[Attachment]:
        return iter(list(self._all))  # a copy, as ending one removes it

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, attachment: Attachment) -> bool:
        return attachment in self._all

    def add(self, attachment: Attachment) -> None:
        """Adds an attachment.  With the role `control` it takes the control from another one.

        If there are MAX_ATTACHMENTS, it replaces the one that has watched longest, of those that are
        no overseers if there is one; one that only wants to watch is refused, unless it is an overseer.
        Raises TooManyAttachments, NotControl."""
        # Checked with everybody that came before, also those whose sockets are about to end.
        if len(self._all) >= MAX_ATTACHMENTS:
            full = TooManyAttachments(
                f"{MAX_ATTACHMENTS} are attached to this session already", retry_after_ms=RETRY_AFTER_MS
            )
            if attachment.role != "control" and attachment.overseer is None:
                raise full
            # The owner must always get in: somebody with a token could otherwise fill all places. So must
            # teachers and the operator, whom the owner could otherwise keep out, or push out.
            others = [one for one in self._all if one is not self.control]
            oldest = next((one for one in others if one.overseer is None), others[0])
            oldest.post(m.ErrorMessage.of(full))
            oldest.end(full.close, flush=False)
            self.remove(oldest)
        self._all.append(attachment)
        if attachment.role == "control":
            self.give_control(attachment)

    def remove(self, attachment: Attachment) -> bool:
        """Removes an attachment; False when it was removed already."""
        if attachment not in self._all:
            return False
        self._all.remove(attachment)
        if self.control is attachment:
            self.control = None
        return True

    def supersede(
        self, client: str, guest: Guest | None = None, *, operator: bool = False
    ) -> list[Attachment]:
        """Ends and removes the attachments of a client that attaches again; returns them.

        ``guest``, ``operator``: whose token it shows; who knows the owner's client id does not end them."""
        # A list of its own: `remove` changes the one that is iterated.
        old = [
            one
            for one in self._all
            if one.client == client and one.guest == guest and one.operator == operator
        ]
        for one in old:
            one.post(m.ErrorMessage.of(Superseded()))
            one.end(Superseded.close, flush=False)
            self.remove(one)
        return old

    def give_control(self, attachment: Attachment) -> None:
        """Gives the control to ``attachment``; the one before continues to watch.

        Both learn the offsets of the input.  Raises NotControl when its token only allows watching.
        """
        if attachment.granted != "control":
            raise NotControl("this token only allows watching")
        # A role change is told to both, or a client would type into an attachment that drops its input.
        before, self.control = self.control, attachment
        offsets = {number: channel.input_offset for number, channel in self._channels.items()}
        taken = before is not None and before is not attachment
        if before is not None and taken:
            before.role = "watch"
            before.post(m.Role("watch", offsets))
        if taken or attachment.role == "watch":
            # Also when nobody had the control: the client waits for this message before it sends input.
            attachment.role = "control"
            attachment.post(m.Role("control", offsets))
        for channel in self._channels.values():  # it may have missed earlier ones
            attachment.post(m.InAck(channel.number, channel.in_acked))

    def give_back(self, attachment: Attachment, to: Attachment | None) -> None:
        """Has ``attachment`` watch; the control is that of ``to``, or nobody's if it is None."""
        if to is not None:
            self.give_control(to)
        elif self.control is attachment:
            self.control = None
            attachment.role = "watch"
            offsets = {number: channel.input_offset for number, channel in self._channels.items()}
            attachment.post(m.Role("watch", offsets))

    def require_control(self, attachment: Attachment) -> None:
        """Raises NotControl when ``attachment`` only watches."""
        if attachment is not self.control:
            raise NotControl("this attachment only watches; send `take` to take the control")

    def broadcast(self, message: m.ServerMessage) -> None:
        """Queues a message for all attachments."""
        for attachment in self._all:
            attachment.post(message)
        self.relieve()

    def relieve(self) -> None:
        """Ends attachments, the one with most queued messages first, until the session is within its bound.

        Their next attach tells those clients everything."""
        while self._all and not self._holdings.allows(0):
            # The largest first: one client that reads nothing must not cost the others their messages.
            slowest = max(self._all, key=lambda one: one.waiting + one.held)
            if not slowest.waiting + slowest.held:
                # It has nothing queued, so the memory is held by something else, which ending clients does
                # not free.
                return
            slowest.cut()
            log.warning("a client that reads nothing was cut off", extra=fields(**self._holdings.table()))

    def forget(self, number: int) -> None:
        """Drops all cursors of a channel, as it was removed."""
        for attachment in self._all:
            attachment.forget(number)

    def wake(self) -> None:
        """Wakes all of them, as there is output, or an end, that they may not have been sent."""
        # The one that types first: what is sent to those that watch would delay its echo.
        control = self.control
        if control is not None:
            control.wake()
        for attachment in self._all:
            if attachment is not control:
                attachment.wake()

    def flush(self) -> None:
        """Sends what was collected, first to the one that types."""
        control = self.control
        if control is not None:
            control.flush()
        for attachment in self._all:
            if attachment is not control:
                attachment.flush()

    def window(self, channel: Channel) -> int:
        """The largest window of an attachment in a channel, in bytes."""
        return max([one.cursor(channel).window.size for one in self._all], default=flow.WINDOW)

    def furthest(self, channel: Channel) -> int:
        """The highest offset that any attachment has acknowledged; 0 without any."""
        return max([one.cursor(channel).acked for one in self._all], default=0)
