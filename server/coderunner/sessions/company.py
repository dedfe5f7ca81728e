"""The attachments of a session: its owner gets messages about guests and their requests for control."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable
from weakref import WeakKeyDictionary, WeakSet

from coderunner.errors import BadMessage, NotAllowed, NotControl
from coderunner.schema import messages as m
from coderunner.sessions.attachment import Attachment
from coderunner.sessions.attachments import Attachments

MAX_REVOKED = 1024  # serials that are remembered, beside the database


class Company:
    """The attachments' guests. `attachments`: all of the session. `gone`: called when one was ended here."""

    def __init__(self, attachments: Attachments, gone: Callable[[], None]) -> None:
        self._attachments = attachments
        self._gone = gone
        self._revoked: dict[str, None] = {}  # in the order of their revocation
        # Weak: one that was ended because the session is full is not told of.
        self._ends: WeakKeyDictionary[Attachment, asyncio.TimerHandle] = WeakKeyDictionary()
        self._names: WeakKeyDictionary[Attachment, str] = WeakKeyDictionary()  # by which messages name them
        self._asks: WeakSet[Attachment] = WeakSet()
        self._count = 0
        self._told = False  # the owner has been told of guests
        self._last_owner: weakref.ref[Attachment] | None = None  # that had the control

    # --- coming and going --------------------------------------------------------------------------------

    def came(self, attachment: Attachment) -> None:
        """An attachment was added. A guest's is ended when its token expires."""
        self._count += 1
        self._names[attachment] = f"p{self._count}"
        guest = attachment.guest
        if guest is not None and guest.expires is not None:
            left = max(0.0, guest.expires - time.time())
            self._ends[attachment] = asyncio.get_running_loop().call_later(
                left, self._dismiss, attachment, "the token of this guest has expired"
            )
        self.tell()

    def left(self, attachment: Attachment) -> None:
        """An attachment was removed."""
        self._names.pop(attachment, None)
        self._asks.discard(attachment)
        end = self._ends.pop(attachment, None)
        if end is not None:
            end.cancel()
        self.tell()

    def revoke(self, serial: str) -> int:
        """Ends the connections of a token that is good no more; how many these were."""
        self._revoked[serial] = None
        while len(self._revoked) > MAX_REVOKED:
            del self._revoked[next(iter(self._revoked))]
        having = [one for one in self._attachments if one.guest is not None and one.guest.serial == serial]
        for one in having:
            self._dismiss(one, "the owner of the session has revoked this token")
        return len(having)

    def revoked(self, serial: str) -> bool:
        """Whether this server has revoked the token, also if the database could not be written."""
        return serial in self._revoked

    def _dismiss(self, attachment: Attachment, why: str) -> None:
        if attachment in self._attachments:
            error = NotAllowed(why)
            attachment.post(m.ErrorMessage.of(error))
            attachment.end(error.close or 1000, flush=False)
            self._attachments.remove(attachment)
            self.left(attachment)
            self._gone()  # its socket's end finds nothing to detach

    # --- the control -------------------------------------------------------------------------------------

    def may_take(self, attachment: Attachment, word: str) -> bool:
        """Whether it may take the control now. If its owner has to be asked, this asks.

        `word`: why, which a teacher has to say. Raises NotControl for a token that only allows watching, and
        if no owner is here to be asked; BadMessage for a teacher's missing word."""
        guest = attachment.guest
        if guest is not None and guest.room is not None and not _shown(word):
            raise BadMessage("tell the owner why: `take` of a teacher needs a `word`")
        if guest is None or (guest.role == "control" and guest.take):
            return True
        if guest.role != "control":
            raise NotControl("this token only allows watching")
        if not any(one.owner for one in self._attachments):
            raise NotControl("the owner of the session has to allow it, and is not here")
        if attachment not in self._asks:
            self._asks.add(attachment)
            attachment.post(m.Notice("take_asked", "the owner of the session was asked for the control"))
            self.tell()
        return False

    def taken(self, attachment: Attachment, before: Attachment | None, word: str) -> None:
        """It has taken the control from `before`: the others are told a teacher's word."""
        if before is not None and before.owner:
            self._last_owner = weakref.ref(before)
        if attachment.overseer is not None:
            self._say(attachment, "taken_over", f"{attachment.overseer}, has taken over: {_shown(word)}")

    def owner_to_have(self, attachment: Attachment) -> Attachment | None:
        """The owner's attachment that gets the control back from `attachment`; None if none is here."""
        last = self._last_owner() if self._last_owner is not None else None
        owners = [one for one in self._attachments if one.owner and one is not attachment]
        return last if last in owners else owners[-1] if owners else None

    def given_back(self, attachment: Attachment) -> None:
        """It has handed the control back: the others are told so of a teacher."""
        if attachment.overseer is not None:
            self._say(attachment, "handed_back", f"{attachment.overseer}, has handed back the control")

    def _say(self, attachment: Attachment, code: str, text: str) -> None:
        for one in self._attachments:
            if one is not attachment:
                one.post(m.Notice(code, text))

    def answer(self, owner: Attachment, answer: m.Answer) -> Attachment | None:
        """The owner's answer to a guest that asked; the guest if it is to get the control.

        Raises NotControl for an answer of a guest, BadMessage if nobody of this name asks."""
        if not owner.owner:
            raise NotControl("only the owner of the session gives the control to a guest")
        # One that was ended as the session is full asks no more.
        waiting = (one for one in self._asks if one in self._attachments)
        asking = next((one for one in waiting if self._names.get(one) == answer.who), None)
        if asking is None:
            raise BadMessage("no guest of this name has asked for control")
        self._asks.discard(asking)
        if not answer.allow:
            asking.post(m.ErrorMessage.of(NotControl("the owner of the session keeps the control")))
        self.tell()
        return asking if answer.allow else None

    def refuse_guest(self, attachment: Attachment) -> None:
        """Raises NotControl for a guest: what ends the session is its owner's."""
        if attachment.guest is not None:
            raise NotControl("only the owner ends the session; close the connection to leave it")

    def refuse_watching_token(self, attachment: Attachment) -> None:
        """Raises NotControl for a token that only allows watching: a guest's, or the operator's ticket."""
        if attachment.granted != "control":
            raise NotControl("this token only allows watching")

    def tell(self) -> None:
        """Tells the owner's attachments who is here, if there are guests or were some."""
        guests = any(one.guest is not None for one in self._attachments)
        if not guests and not self._told:
            return
        self._told = guests
        people = self.people()
        for one in self._attachments:
            if one.owner:
                one.post(m.People(people))

    def people(self) -> tuple[m.Person, ...]:
        """Who is attached."""
        return tuple(
            m.Person(
                self._names.get(one, ""),
                one.guest.name if one.guest is not None else "operator" if one.operator else "",
                "control" if one is self._attachments.control else "watch",
                one.owner,
                one in self._asks,
            )
            for one in self._attachments
        )

    def role_of(self, token: str) -> str | None:
        """What a guest's token allows over HTTP while the guest is attached: `control` while it has that.
        None for every other token: only who is attached was compared with the database."""
        found = None
        for one in self._attachments:
            guest = one.guest
            if guest is not None and guest.good(time.time()) and guest.shown(token):
                if one is self._attachments.control:
                    return "control"
                found = "watch"
        return found


def _shown(word: str) -> str:
    """A teacher's word on one line: no character that is not seen, or changes how others are."""
    return " ".join("".join(c if c.isprintable() else " " if c.isspace() else "" for c in word).split())
