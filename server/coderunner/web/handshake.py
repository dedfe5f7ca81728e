"""The phase of a connection before it has a session: from `hello` to `opened` or `attached`.

The client is not authenticated yet, so everything is bounded: the time for its first message, and what it
may send after `open` while the session is being made (one `run` or `shell`, its input, and acks).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any, Protocol

from coderunner import metrics, timing
from coderunner.core import codec
from coderunner.core.admission import Position
from coderunner.errors import (
    BadMessage,
    CodeRunnerError,
    Draining,
    InputOverflow,
    NoFirstMessage,
    NoSession,
    UnexpectedMessage,
)
from coderunner.fleet.registry import Caller, Opened, Opening
from coderunner.identity.guest import serial_of, teacher
from coderunner.identity.principal import Principal
from coderunner.schema import messages as m
from coderunner.sessions.attachment import Attachment
from coderunner.sessions.session import Session
from coderunner.web.keys import Parts
from coderunner.wire import flow

FIRST_MESSAGE_SECONDS = 10.0  # after `hello`, and after a failed `open`
MAX_PIPELINED = 256  # frames after `open`, before `opened`
MAX_QUEUED = 256  # messages that wait to be sent; a peer that does not read is disconnected

Pipelined = m.Run | m.Shell | codec.InputFrame | m.Eof | m.Ack


def opened_message(parts: Parts, opened: Opened) -> m.Opened:
    """The message that tells a client of its session."""
    session = opened.session
    group = session.record.group
    runtime = session.language.runtime or parts.settings.docker_runtime or "runc"
    return m.Opened(
        session=session.id,
        token=opened.token,
        language=session.language.name,
        warm=opened.warm,
        expires=session.expiry(),
        isolation=m.Isolation(runtime, "none" if group is None else "group"),
        timings_ms=opened.timings_ms,
        group=group,
        group_token=parts.registry.group_token(group),
        member=session.record.member,
    )


class Client(Protocol):
    """The interface of `Connection` that the handshake uses."""

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Starts a task that is cancelled with the connection; if it fails, the connection is closed."""

    def fail(self, error: CodeRunnerError) -> None:
        """Sends an error, and closes if the error has a close code."""

    def close(self, code: int) -> None:
        """Closes with `code` after the queued messages have been sent."""

    def keep(self, size: int) -> None:
        """Reports that the handshake holds `size` bytes of text."""

    def opening(self, under_way: bool) -> bool:
        """Reports that a session is being made, or has failed; returns False if the connection is closing."""

    def waits(self) -> bool:
        """Whether the connection can still be handed over to a session."""

    def stands_for(self, who: Principal) -> None:
        """Reports whose ticket has opened the session: the connection ends with that one's credential."""

    def attached(self, session: Session, attachment: Attachment) -> None:
        """Hands the connection over to a session."""


class Handshake:
    """Handles messages of a connection without a session, and keeps those pipelined after `open`.

    `session_id`: from the URL /ws/<session>; None for /ws, which is for `open`.
    """

    def __init__(self, parts: Parts, client: Client, session_id: str | None) -> None:
        self._parts = parts
        self._client = client
        self._session_id = session_id
        self._opening: Opening | None = None
        # Whether the place in the queue is kept after a lost socket: only a nonce can find it again.
        self._hold = False
        self._pipelined: list[Pipelined] = []
        self._pipelined_bytes = 0  # of input
        self._waiting_bytes = 0  # of texts
        self._first_due: timing.Timer | None = None  # not postponed by other messages, such as pings
        self._queue: deque[m.ServerMessage] = deque()
        self._wake = asyncio.Event()
        self._over = False
        self._admitting = False  # a guest's token is being looked up

    # --- reading -----------------------------------------------------------------------------------------

    def text(self, message: m.ClientMessage, size: int, caller: Caller) -> None:
        """Handles a message of `size` bytes of text. Raises CodeRunnerError, which is the answer to it."""
        # Pings do not postpone the deadline for the first message.
        if isinstance(message, m.Ping):
            self.post(m.Pong(message.t))
        elif self._admitting:
            raise UnexpectedMessage("wait for `attached`")
        elif self._opening is not None:
            self._while_opening(message, size)
        elif isinstance(message, m.Open):
            self._open(message, size, caller)
        elif isinstance(message, m.Attach):
            self._attach(message, caller)
        else:
            raise UnexpectedMessage("send `open` or `attach` first")

    def input(self, frame: codec.InputFrame) -> None:
        """Keeps input for a pipelined `run` or `shell`. Raises InputOverflow, UnexpectedMessage."""
        # Input needs a program to go to: without a pipelined `run` it is a mistake.
        if self._opening is None or not self._pipelined:
            raise UnexpectedMessage("send `open` or `attach` first")
        self._pipelined_bytes += len(frame.payload)
        if self._pipelined_bytes > flow.INPUT_WINDOW:
            raise InputOverflow("at most 64 KiB of input before `opened`", channel=frame.channel, expected=0)
        self._pipelined.append(frame)

    def _while_opening(self, message: m.ClientMessage, size: int) -> None:
        if isinstance(message, m.Close):
            self._give_up(hold=False)
            self.post(m.Closed("client"))
            self._client.close(1000)
            return
        # The first one must start something; what follows belongs to it.
        expected = (m.Eof | m.Ack) if self._pipelined else (m.Run | m.Shell)
        if not isinstance(message, expected) or len(self._pipelined) >= MAX_PIPELINED:
            raise UnexpectedMessage("wait for `opened`: only one `run` or `shell` may be sent before it")
        self._hold_text(size)
        self._pipelined.append(message)

    def _hold_text(self, size: int) -> None:
        """Counts a text of `size` bytes that is kept until there is a session. Raises UnexpectedMessage.

        All kept texts together may have as many bytes as a single one, so pipelining extends no limit.
        """
        if self._waiting_bytes + size > codec.MAX_FIRST_TEXT:
            raise UnexpectedMessage(
                f"wait for `opened`: before it at most {codec.MAX_FIRST_TEXT} bytes of text are kept"
            )
        self._waiting_bytes += size
        self._client.keep(self._waiting_bytes)

    # --- opening and attaching ---------------------------------------------------------------------------

    def expect_first(self) -> None:
        """Starts the deadline for `open` or `attach`. After it, closes with NoFirstMessage."""
        self._expect_nothing()
        late = NoFirstMessage("send `open` or `attach` first")
        self._first_due = timing.Timer(FIRST_MESSAGE_SECONDS, lambda: self._client.fail(late))

    def _expect_nothing(self) -> None:
        if self._first_due is not None:
            self._first_due.cancel()
            self._first_due = None

    def _open(self, message: m.Open, size: int, caller: Caller) -> None:
        self.expect_first()  # in case the registry refuses: the client may try again
        if self._session_id is not None:
            raise BadMessage("`open` belongs to /ws; this address is for `attach`")
        caller.who.require("session")
        self._waiting_bytes = 0
        opening = self._parts.registry.open(message, caller)
        # After `open` was accepted: a refused one is not kept.
        self._hold_text(size)
        self._opening = opening
        self._client.opening(True)
        self._expect_nothing()
        self._hold = message.nonce is not None
        opening.claim(self._on_position)
        self._client.start(self._await_opened(opening, message), "ws-open")

    def _on_position(self, position: Position) -> None:
        self.post(m.Queued(position.position, position.ahead, position.eta_ms, position.deadline_ms))

    async def _await_opened(self, opening: Opening, message: m.Open) -> None:
        # `close` may have come between the start of the task and its first step.
        if self._opening is not opening:
            return  # the client gave up before this task ran
        try:
            # Shielded: the opening belongs to the registry, and outlives this socket.
            opened = await asyncio.shield(opening.done)
            # A closing connection must not take the session: its client would never get the token. The
            # opening then stays undelivered, and a repeated `open` with the same nonce finds it.
            if self._opening is opening and self._client.opening(True):
                self._begin(opened, message)
                opening.delivered = True
        except asyncio.CancelledError:
            if opening.done.cancelled():
                self._client.fail(Draining(retry_after_ms=2000))
            raise
        except CodeRunnerError as error:
            self._opening = None
            # A new `open` begins with nothing kept.
            self._pipelined.clear()
            self._client.keep(0)
            if self._client.opening(False):
                self.expect_first()
            self._client.fail(error)

    def _begin(self, opened: Opened, message: m.Open) -> None:
        session = opened.session
        # `opened` says the same as `attached`, so that is not sent.
        attachment = session.attach(message.client, "control", "control", {}, announce=False)
        attachment.post(opened_message(self._parts, opened))
        session.hand.introduce(attachment)
        self._finish(session, attachment)
        # After `opened`, so that errors and output of the pipelined messages come behind it.
        for item in self._pipelined:
            try:
                if isinstance(item, codec.InputFrame):
                    session.input(attachment, item.channel, item.offset, item.payload)
                else:
                    session.handle(attachment, item)
            except CodeRunnerError as error:
                # One refused message does not keep the next from being tried.
                attachment.post(m.ErrorMessage.of(error))
        self._pipelined.clear()

    def _attach(self, message: m.Attach, caller: Caller) -> None:
        if self._session_id != message.session:
            raise BadMessage("the session of `attach` must be the one of the address, /ws/<session>")
        if message.token is None:
            self._attach_teacher(message, caller)
            return
        if serial_of(message.token) is not None:
            self._admitting = True
            self._client.start(self._admit(message, message.token, caller), "ws-guest")
            return
        # Raises before anything is attached.
        session, granted = self._parts.registry.find(message.session, message.token)
        role = message.role or granted
        # A token that only allows watching cannot be raised by asking.
        if granted == "watch":
            role = "watch"
        metrics.resumes.labels(role).inc()
        watches = self._parts.registry.watches
        operator = watches.whose(session.id, message.token) if role == "watch" else None
        attachment = session.attach(
            message.client, role, granted, message.cursors, operator=operator is not None,
            principal=operator.subject if operator is not None else caller.principal, address=caller.address,
        )  # fmt: skip
        watches.use(session.id, message.token)
        if operator is not None:
            self._client.stands_for(operator)
        self._finish(session, attachment)

    def _attach_teacher(self, message: m.Attach, caller: Caller) -> None:
        """Attaches a teacher of the session's room, who watches first. Raises NoSession."""
        session = self._parts.registry.seen(message.session, caller.who)
        room = session.record.room
        if room is None or not caller.who.teaches(room):
            raise NoSession()
        metrics.resumes.labels("watch").inc()
        attachment = session.attach(
            message.client, "watch", "control", message.cursors,
            principal=caller.principal, address=caller.address, guest=teacher(session.id, caller.who, room),
        )  # fmt: skip
        self._finish(session, attachment)

    async def _admit(self, message: m.Attach, token: str, caller: Caller) -> None:
        """Attaches a guest, whose token is looked up in the database."""
        registry = self._parts.registry
        try:
            registry.check_arrived(message.session)
            # Before the session is looked for: the time of the answer must not show whether it exists.
            guest = await self._parts.guests.admit(message.session, token)
            session = registry.live(message.session)
            if session.company.revoked(guest.serial):
                raise NoSession()
            if self._over or not self._client.waits():
                return  # the client is gone
            # A guest watches first, unless its token lets it take the control.
            role = "control" if message.role == "control" and guest.take else "watch"
            metrics.resumes.labels(role).inc()
            attachment = session.attach(
                message.client, role, guest.role, message.cursors,
                principal=caller.principal, address=caller.address, guest=guest,
            )  # fmt: skip
            self._finish(session, attachment)
        except CodeRunnerError as error:
            self._client.fail(error)
        finally:
            self._admitting = False

    def _finish(self, session: Session, attachment: Attachment) -> None:
        self._opening = None
        self._expect_nothing()
        self._client.attached(session, attachment)
        self.end()

    # --- writing -----------------------------------------------------------------------------------------

    def post(self, message: m.ServerMessage) -> None:
        """Queues a message. If MAX_QUEUED are waiting, the peer does not read, and is closed with 1011."""
        # Whoever reads nothing would otherwise fill this queue.
        if len(self._queue) >= MAX_QUEUED:
            self._client.close(1011)
            return
        self._queue.append(message)
        self._wake.set()

    async def next(self) -> str | bytes | None:
        """Waits for the next frame for the client; None when the handshake has ended."""
        while not self._queue:
            if self._over:
                return None
            self._wake.clear()
            await self._wake.wait()
        return codec.encode_server(self._queue.popleft())

    # --- the end -----------------------------------------------------------------------------------------

    def shut(self, code: int) -> None:
        """Called when the server stops: answers a waiting `open` with Draining, else closes with `code`."""
        if self._opening is not None:
            self._client.fail(Draining(retry_after_ms=2000))
        else:
            self._client.close(code)

    def end(self) -> None:
        """Ends the handshake: `next` returns the queued messages, then None."""
        self._over = True
        self._wake.set()

    def lost(self) -> None:
        """Called when the socket is closed. An `open` with a nonce keeps its place for some seconds."""
        self._expect_nothing()
        # Without a nonce nobody could claim it again, so its place in the queue is given up.
        self._give_up(hold=self._hold)

    def _give_up(self, *, hold: bool) -> None:
        if self._opening is not None:
            self._opening.abandon(self._on_position, hold=hold)
            self._opening = None
