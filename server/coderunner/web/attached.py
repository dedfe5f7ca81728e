"""A connection that has a session: passes frames between the client and an attachment."""

from __future__ import annotations

import asyncio

from coderunner.core import codec
from coderunner.errors import RateLimited
from coderunner.schema import messages as m
from coderunner.sessions.attachment import Attachment
from coderunner.sessions.session import Session

# Measured: output at full speed needs about 1,100 acks a second, a person with a mouse a few hundred frames.
FRAMES_PER_SECOND = 4000
FRAMES_BURST = 8000


class Attached:
    """The connection's side of an attachment: passes messages on, and limits the client's rate."""

    def __init__(self, session: Session, attachment: Attachment) -> None:
        self._session = session
        self._attachment = attachment
        self._tokens = float(FRAMES_BURST)
        self._refilled = asyncio.get_running_loop().time()

    @property
    def watches(self) -> bool:
        """Whether the attachment only watches. Sessions may have many of these, with a lower priority."""
        return self._attachment.role != "control"

    @property
    def oversees(self) -> bool:
        """Whether it watches as a teacher of the session's room, or as the operator."""
        return self._attachment.overseer is not None

    @property
    def ends(self) -> bool:
        """Whether the attachment has ended, and the rest of its output is sent within a deadline."""
        return self._attachment.close_code is not None

    @property
    def close_code(self) -> int:
        """The close code with which the attachment ended."""
        return self._attachment.close_code or 1000

    def spend(self, cost: int) -> None:
        """Counts `cost` frames against the client's rate. Raises RateLimited, which closes the connection."""
        now = asyncio.get_running_loop().time()
        self._tokens = min(FRAMES_BURST, self._tokens + (now - self._refilled) * FRAMES_PER_SECOND)
        self._tokens -= cost
        self._refilled = now
        # A token bucket as in `core.rates`, but per connection. It may go into debt, so a large frame is
        # charged in full before it is refused.
        if self._tokens < 0:
            raise RateLimited("too much at once; send fewer and shorter messages", retry_after_ms=5000)

    def text(self, message: m.ClientMessage) -> None:
        """Executes a message. Raises CodeRunnerError, which is the answer to it."""
        self._session.handle(self._attachment, message)

    def input(self, frame: codec.InputFrame) -> None:
        """Passes input to its channel. Raises CodeRunnerError, which is the answer to it."""
        self._session.input(self._attachment, frame.channel, frame.offset, frame.payload)

    def post(self, message: m.ServerMessage) -> None:
        """Queues a message for the client."""
        self._attachment.post(message)

    async def next(self) -> str | bytes | None:
        """Waits for the next frame for the client; None when the attachment has ended."""
        return await self._attachment.next()

    def at_hand(self, most: int | None = None) -> str | bytes | None:
        """The next frame if there is one now, otherwise None. `most`: as of `Attachment.at_hand`."""
        return self._attachment.at_hand(most)

    def end(self, code: int, *, flush: bool = True) -> None:
        """Ends the attachment after the queued messages have been sent; `flush`: and output."""
        self._attachment.end(code, flush=flush)

    def lost(self) -> None:
        """Called when the socket is closed: detaches from the session, which continues."""
        self._attachment.sender = None
        self._session.detach(self._attachment)
