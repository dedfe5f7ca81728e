"""A connection before it has a session: from `hello` to `opened` or `attached`.

A stranger is on the other end.  The time for its first message is bounded, and so is what may come behind
`open` while the session is being made: one `run` or `shell`, its input, and acknowledgements.
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
    UnexpectedMessage,
)
from coderunner.fleet.registry import Caller, Opened, Opening
from coderunner.schema import messages as m
from coderunner.sessions.attachment import Attachment
from coderunner.sessions.session import Session
from coderunner.web.keys import Parts
from coderunner.wire import flow

FIRST_MESSAGE_SECONDS = 10.0
MAX_PIPELINED = 256  # frames behind `open`
MAX_QUEUED = 256  # messages that wait for the writer; a peer that reads none of them is disconnected

Pipelined = m.Run | m.Shell | codec.InputFrame | m.Eof | m.Ack


class Client(Protocol):
    """What the handshake needs of its connection."""

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Runs work that ends with the connection; its unexpected failure ends the connection."""

    def fail(self, error: CodeRunnerError) -> None:
        """Answers with an error, and closes where the error says so."""

    def close(self, code: int) -> None:
        """Closes once what is queued has been sent."""

    def keep(self, size: int) -> None:
        """Counts `size` bytes of text that are held until there is a session."""

    def opening(self, under_way: bool) -> bool:
        """A session is being made, or (`under_way` false) that has failed. False: it closes already."""

    def attached(self, session: Session, attachment: Attachment) -> None:
        """Ends the handshake: the connection has this session from now on."""


class Handshake:
    """A connection's messages until it has a session: `open` or `attach`, and what is pipelined behind them.

    ``session_id``: the one in the address, None where the address is for `open`.
    """

    def __init__(self, parts: Parts, client: Client, session_id: str | None) -> None:
        self._parts = parts
        self._client = client
        self._session_id = session_id
        self._opening: Opening | None = None
        self._hold = False  # whether a lost socket keeps its place: its client can find it by a nonce
        self._pipelined: list[Pipelined] = []
        self._pipelined_bytes = 0
        self._waiting_bytes = 0  # of texts that wait for `opened`
        self._first_due: timing.Timer | None = None  # of `open` or `attach`, whatever else comes
        self._queue: deque[m.ServerMessage] = deque()
        self._wake = asyncio.Event()
        self._over = False

    # --- reading -----------------------------------------------------------------------------------------

    def text(self, message: m.ClientMessage, size: int, caller: Caller) -> None:
        """Handles a message of ``size`` bytes. Raises CodeRunnerError, which is the answer to it."""
        if isinstance(message, m.Ping):
            self.post(m.Pong(message.t))
        elif self._opening is not None:
            self._while_opening(message, size)
        elif isinstance(message, m.Open):
            self._open(message, size, caller)
        elif isinstance(message, m.Attach):
            self._attach(message)
        else:
            raise UnexpectedMessage("send `open` or `attach` first")

    def input(self, frame: codec.InputFrame) -> None:
        """Input behind a `run`, kept until that is begun.  Raises InputOverflow, UnexpectedMessage."""
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
        expected = (m.Eof | m.Ack) if self._pipelined else (m.Run | m.Shell)
        if not isinstance(message, expected) or len(self._pipelined) >= MAX_PIPELINED:
            raise UnexpectedMessage("wait for `opened`: only one `run` or `shell` may be sent before it")
        self._hold_text(size)
        self._pipelined.append(message)

    def _hold_text(self, size: int) -> None:
        """Counts a text that is held until there is a session. Raises UnexpectedMessage.

        All of them together may have as many bytes as one: a connection without a session holds no more.
        """
        if self._waiting_bytes + size > codec.MAX_FIRST_TEXT:
            raise UnexpectedMessage(
                f"wait for `opened`: before it at most {codec.MAX_FIRST_TEXT} bytes of text are kept"
            )
        self._waiting_bytes += size
        self._client.keep(self._waiting_bytes)

    # --- opening and attaching ---------------------------------------------------------------------------

    def expect_first(self) -> None:
        """Sets the deadline for `open` or `attach` anew; passed, it closes with NoFirstMessage."""
        self._expect_nothing()
        late = NoFirstMessage("send `open` or `attach` first")
        self._first_due = timing.Timer(FIRST_MESSAGE_SECONDS, lambda: self._client.fail(late))

    def _expect_nothing(self) -> None:
        if self._first_due is not None:
            self._first_due.cancel()
            self._first_due = None

    def _open(self, message: m.Open, size: int, caller: Caller) -> None:
        self.expect_first()
        if self._session_id is not None:
            raise BadMessage("`open` belongs to /ws; this address is for `attach`")
        self._waiting_bytes = 0
        opening = self._parts.registry.open(message, caller)
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
        if self._opening is not opening:
            return  # the client gave up before this task ran
        try:
            opened = await asyncio.shield(opening.done)
            # A connection that is closing must not take the session: nobody would receive its token.
            if self._opening is opening and self._client.opening(True):
                self._begin(opened, message)
                opening.delivered = True
        except asyncio.CancelledError:
            if opening.done.cancelled():
                self._client.fail(Draining(retry_after_ms=2000))
            raise
        except CodeRunnerError as error:
            self._opening = None
            self._pipelined.clear()
            self._client.keep(0)
            if self._client.opening(False):
                self.expect_first()
            self._client.fail(error)

    def _begin(self, opened: Opened, message: m.Open) -> None:
        session = opened.session
        attachment = session.attach(message.client, "control", "control", {}, announce=False)
        group = session.record.group
        runtime = session.language.runtime or self._parts.settings.docker_runtime or "runc"
        attachment.post(
            m.Opened(
                session=session.id,
                token=opened.token,
                language=session.language.name,
                warm=opened.warm,
                expires=session.expiry(),
                isolation=m.Isolation(runtime, "none" if group is None else "group"),
                timings_ms=opened.timings_ms,
                group=group,
                group_token=self._parts.registry.group_token(group),
                member=session.record.member,
            )
        )
        self._finish(session, attachment)
        for item in self._pipelined:
            try:
                if isinstance(item, codec.InputFrame):
                    session.input(attachment, item.channel, item.offset, item.payload)
                else:
                    session.handle(attachment, item)
            except CodeRunnerError as error:
                attachment.post(m.ErrorMessage.of(error))
        self._pipelined.clear()

    def _attach(self, message: m.Attach) -> None:
        if self._session_id != message.session:
            raise BadMessage("the session of `attach` must be the one of the address, /ws/<session>")
        session, granted = self._parts.registry.find(message.session, message.token)
        role = message.role or granted
        if granted == "watch":
            role = "watch"
        metrics.resumes.labels(role).inc()
        self._finish(session, session.attach(message.client, role, granted, message.cursors))

    def _finish(self, session: Session, attachment: Attachment) -> None:
        self._opening = None
        self._expect_nothing()
        self._client.attached(session, attachment)
        self.end()

    # --- writing -----------------------------------------------------------------------------------------

    def post(self, message: m.ServerMessage) -> None:
        """Queues a message; where MAX_QUEUED wait, the peer reads none and is closed with 1011."""
        if len(self._queue) >= MAX_QUEUED:
            self._client.close(1011)
            return
        self._queue.append(message)
        self._wake.set()

    async def next(self) -> str | bytes | None:
        """The next frame for the client; None when the handshake has ended."""
        while not self._queue:
            if self._over:
                return None
            self._wake.clear()
            await self._wake.wait()
        return codec.encode_server(self._queue.popleft())

    # --- the end -----------------------------------------------------------------------------------------

    def shut(self, code: int) -> None:
        """The server stops: a waiting `open` gets Draining, any other connection is closed with ``code``."""
        if self._opening is not None:
            self._client.fail(Draining(retry_after_ms=2000))
        else:
            self._client.close(code)

    def end(self) -> None:
        """Ends the handshake: `next` returns what is queued, and then None."""
        self._over = True
        self._wake.set()

    def lost(self) -> None:
        """The socket is closed; an `open` in the queue keeps its place for some seconds."""
        self._expect_nothing()
        self._give_up(hold=self._hold)

    def _give_up(self, *, hold: bool) -> None:
        if self._opening is not None:
            self._opening.abandon(self._on_position, hold=hold)
            self._opening = None
