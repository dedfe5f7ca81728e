"""A connection that has a session: passes frames between the client and an attachment."""

from __future__ import annotations

import asyncio

from coderunner.core import codec
from coderunner.errors import RateLimited
from coderunner.schema import messages as m
from coderunner.sessions.attachment import Attachment
from coderunner.sessions.session import Session

# A program's full speed is about 1,100 acks a second; a person's, with a mouse, a few hundred frames.
FRAMES_PER_SECOND = 4000
FRAMES_BURST = 8000


class Attached:
    """One attachment and the rate of its client."""

    def __init__(self, session: Session, attachment: Attachment) -> None:
        self._session = session
        self._attachment = attachment
        self._tokens = float(FRAMES_BURST)
        self._refilled = asyncio.get_running_loop().time()

    @property
    def watches(self) -> bool:
        """Whether it only watches; a session may have many of these."""
        return self._attachment.role != "control"

    @property
    def close_code(self) -> int:
        """The close code with which the attachment ended."""
        return self._attachment.close_code or 1000

    def spend(self, cost: int) -> None:
        """Counts ``cost`` frames against the client's rate. Raises RateLimited."""
        now = asyncio.get_running_loop().time()
        self._tokens = min(FRAMES_BURST, self._tokens + (now - self._refilled) * FRAMES_PER_SECOND)
        self._tokens -= cost
        self._refilled = now
        if self._tokens < 0:
            raise RateLimited("too much at once; send fewer and shorter messages", retry_after_ms=5000)

    def text(self, message: m.ClientMessage) -> None:
        """Raises the error to answer with."""
        self._session.handle(self._attachment, message)

    def input(self, frame: codec.InputFrame) -> None:
        """Raises the error to answer with."""
        self._session.input(self._attachment, frame.channel, frame.offset, frame.payload)

    def post(self, message: m.ServerMessage) -> None:
        """Queues a message for the client."""
        self._attachment.post(message)

    async def next(self) -> str | bytes | None:
        """The next frame for the client; None when the attachment has ended."""
        return await self._attachment.next()

    def at_hand(self) -> str | bytes | None:
        """The next frame without waiting; None where there is none now."""
        return self._attachment.at_hand()

    def end(self, code: int) -> None:
        """Ends it once what is queued has been sent."""
        self._attachment.end(code)

    def lost(self) -> None:
        """The socket is closed: detaches. The session continues."""
        self._session.detach(self._attachment)
