"""A run over HTTP: one program in a session of its own, whose output an attachment in this process receives.

The attachment has a token and a cursor, like that of a client. What it receives is written to the run's spool
before it is acknowledged. So after a restart the next server continues where this one stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from pathlib import Path
from typing import Any

import msgspec

from coderunner import timing
from coderunner.core import codec
from coderunner.core.codec import STDERR
from coderunner.errors import CodeRunnerError, Draining, NoSession, StartFailed, TooManySessions
from coderunner.errors.table import leaves
from coderunner.fleet.registry import Opening, Registry
from coderunner.jobs.about import CHANNEL, About, messages, stored, typed
from coderunner.jobs.answer import Heard, Whose, answers, cancelled, pieces, text
from coderunner.jobs.spool import Record
from coderunner.jobs.typed import Typed
from coderunner.jobs.work import ANSWER, END, Work, store
from coderunner.logs import fields
from coderunner.schema import messages as m
from coderunner.schema.api import MAX_CONTENT, MadeFile, RunRequest, RunStatus
from coderunner.sessions.attachment import Attachment
from coderunner.sessions.session import Session
from coderunner.wire import flow

log = logging.getLogger(__name__)

END_AGAIN_SECONDS = 0.5  # after which the end of a terminal's input is typed again; doubled each time
MOST_END_AGAIN_SECONDS = 10.0
RETRY_SECONDS = 0.25  # between checks for a session that is being recovered or adopted
RETRIES = 240  # in all a minute
PATIENT_SECONDS = 1.0  # between attempts to get a place, for a run with `patient`
MOST_PATIENT_SECONDS = 600.0  # that it waits in all
ENDING_SECONDS, MOST_ENDING_SECONDS = 0.1, 30.0  # the same, while its caller's ended sessions are removed
ARTIFACT_SECONDS = 10.0  # to read an artifact
# Small, so that readers of events see output soon, but large compared with a record's overhead.
RECORD_BYTES = 16 * 1024  # of output in a record; each is sent as one event
IN_THREAD = 256 * 1024  # bytes of a spool; from a larger one the answer is made in a thread
ABOUT, NOTE = "about.json", "note"


class Job(Work):
    """A run, from its request to its stored answer."""

    place = "runs"

    def __init__(self, about: About, folder: Path, registry: Registry, *, resumed: bool = False) -> None:
        super().__init__(about, folder, resumed=resumed)
        self._registry = registry
        self._heard = Heard()
        self._opening: Opening | None = None
        self._session: Session | None = None
        self._control: Attachment | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._again: asyncio.TimerHandle | None = None
        self._timed = ""  # the phase of the timer
        self._live = Typed(b"", ended=False) if about.plan.live else None

    # --- what callers see --------------------------------------------------------------------------------

    @property
    def begun(self) -> bool:
        """Whether it has a session."""
        return bool(self.about.session)

    @property
    def patient(self) -> bool:
        """As `Work.patient`."""
        return bool(self.about.plan.patient)

    def note(self) -> bytes:
        """The interface's data about the run (`Plan.note`). Raises OSError."""
        return (self.folder / NOTE).read_bytes()

    def type(self, data: bytes) -> None:
        """Appends to the input of a program that was begun with `live`. Raises InputOverflow if too much of
        the earlier input has not been read."""
        assert self._live is not None
        self._live.append(data)
        if self._session is not None and self._control is not None:
            self._feed(self._session, self._control)

    def signal(self, name: str) -> None:
        """Sends a signal, by its name without SIG. Does nothing if the program does not run."""
        if self._session is not None and self._control is not None:
            with contextlib.suppress(CodeRunnerError):  # raised if it has just ended
                self._session.handle(self._control, m.Signal(CHANNEL, name))

    def state(self) -> RunStatus:
        """The status that is returned while the run is not done."""
        return RunStatus(self.id, self.status, self.about.language)

    def event(self, record: Record) -> tuple[str, Any]:
        """A piece of output, or a message of the protocol without the fields that only a WebSocket client
        needs."""
        if isinstance(record.frame, bytes):
            frame = codec.decode_output(record.frame)
            stream = "stderr" if frame.stream == STDERR else "stdout"
            return "output", {"stream": stream, "offset": frame.offset, **text("text", frame.payload)}
        message = codec.decode_server_text(record.frame)
        told: dict[str, Any] = msgspec.to_builtins(message, str_keys=True)
        # A `url` is a capability of the session, which readers of the run must not get.
        for name in ("type", "channel", "url"):
            told.pop(name, None)
        return codec.TYPES[type(message)], told

    def cancel(self) -> None:
        """Ends the run. Its answer has the output so far."""
        self._cancelled = True
        if self._opening is not None:
            self._opening.abandon(self._on_position, hold=False)
        if self._session is not None:
            self._kill(self._session, "killed")

    def shed(self) -> None:
        """Drops the request from memory: the answer is stored, and the request is not needed any more."""
        self.about.request = RunRequest(language=self.about.request.language, source="")

    # --- running -----------------------------------------------------------------------------------------

    async def _work(self) -> None:
        self._heard.hear(self.spool.records())
        await self._follow()

    async def _follow(self) -> None:
        for _ in range(RETRIES):
            if self._heard.exit is not None:
                break
            session = await self._find()
            if session is None:
                break
            attachment = session.attach(
                self.id, "control", "control", {CHANNEL: self._heard.offset}, announce=True
            )
            self._session, self._control = session, attachment
            try:
                self._watch_time(session)
                if (end := self._input_end()) is not None:
                    self._end_later(session, attachment, end, END_AGAIN_SECONDS)
                await self._pump(session, attachment)
            except Exception as error:
                if not isinstance(error, CodeRunnerError):
                    session.end("client")  # nobody else can reach it, and it would keep its slot for minutes
                raise
            finally:
                self._session = self._control = None
                self._stop_watching()
                if self._again is not None:
                    self._again.cancel()
                session.detach(attachment)
            if attachment.close_code == 1012:
                raise Draining(retry_after_ms=1000)
            if self.done:
                return
            await asyncio.sleep(RETRY_SECONDS)
        await self._finish()

    async def _find(self) -> Session | None:
        """Finds its session, or opens one. Returns None if the session has ended or the run was cancelled."""
        ending_until = time.time() + MOST_ENDING_SECONDS
        while True:
            try:
                if self.about.session:
                    return self._registry.find(self.about.session, self.about.token)[0]
                # The previous server may have ended between opening the session and storing its id. Such a
                # session is looked up, also for a cancelled run, as it must be ended.
                returned = self._resumed and self._registry.returned(messages(self.about)[0], self._caller)
                if self._cancelled and not returned:
                    self._append(cancelled())
                    return None
                return await self._open()
            except NoSession:
                return None
            except Draining:
                raise
            except CodeRunnerError as error:
                # A caller that sends one run after another is delayed instead of refused while containers of
                # its ended runs are being removed.
                if isinstance(error, TooManySessions) and error.ending and time.time() < ending_until:
                    await asyncio.sleep(ENDING_SECONDS)
                    continue
                # A session that was opened is found again later; otherwise the caller gets the error.
                if not (error.retryable and (self.about.session or self._resumed or self._may_wait())):
                    raise
                if not self.about.session and not self._resumed:
                    await asyncio.sleep(PATIENT_SECONDS)
            await asyncio.sleep(RETRY_SECONDS)

    def _may_wait(self) -> bool:
        return self.patient and time.time() < self.about.created + MOST_PATIENT_SECONDS

    async def _open(self) -> Session:
        request, _ = messages(self.about)
        opening = self._opening = self._registry.open(request, self._caller)
        opening.claim(self._on_position)
        try:
            # Shielded: a cancellation of this task must not cancel the opening's own future: which of the two
            # it was is decided below.
            opened = await asyncio.shield(opening.done)
        except asyncio.CancelledError:
            if not opening.done.cancelled():
                opening.abandon(self._on_position, hold=False)
                raise
            if self._cancelled:
                self._append(cancelled())
                raise NoSession from None
            raise Draining(retry_after_ms=1000) from None
        finally:
            self._opening = None
        opening.delivered = True
        self.about.session, self.about.token = opened.session.id, opened.token
        # Before the program starts, so that the next server finds the session and starts no second program.
        try:
            store(self.folder / ABOUT, (stored(self.about),))
        except OSError:
            opened.session.end("client")
            raise
        return opened.session

    # --- following a session -----------------------------------------------------------------------------

    async def _pump(self, session: Session, attachment: Attachment) -> None:
        """Stores what the attachment receives, until the answer is stored or the attachment ends."""
        if CHANNEL not in session.channels and self._cancelled:
            self._append(cancelled())
            await self._complete(session)
            return
        if CHANNEL not in session.channels:
            try:
                session.handle(attachment, messages(self.about)[1], self.about.plan.scripts)
            except CodeRunnerError:
                session.end("client")  # the caller gets the error and cannot reach the session
                raise
        self._feed(session, attachment)
        if self._cancelled:
            self._kill(session, "killed")
        while (frame := await attachment.next()) is not None:
            if isinstance(frame, bytes):
                self._take_output(session, attachment, frame)
                continue
            message = codec.decode_server_text(frame)
            if isinstance(message, m.Gap) and session.over:
                return  # lost with its container, which the exit of a program that had ended would hide
            if isinstance(message, m.InAck):
                self._feed(session, attachment)
            elif isinstance(message, m.ErrorMessage):
                if message.channel == CHANNEL and CHANNEL not in session.channels:
                    session.end("client")
                    raise refusal(message)
            elif self._heard.news(message):
                self._append(message, heard=True)
                self._watch_time(session)
            if self._heard.exit is not None:
                await self._complete(session)
                return

    def _take_output(self, session: Session, attachment: Attachment, data: bytes) -> None:
        frame = codec.decode_output(data)
        end = frame.offset + len(frame.payload)
        if frame.channel != CHANNEL:
            return
        # The cost instead of the size: the tiny records of a program that prints byte by byte take the most
        # time to read.
        if self.spool.cost > self.about.room:
            self._kill(session, "output_limit")
        for begin in range(0, len(frame.payload), RECORD_BYTES):
            part = frame.payload[begin : begin + RECORD_BYTES]
            self.spool.append(codec.encode_output(CHANNEL, frame.stream, frame.offset + begin, part))
        self._heard.offset = end
        # After it is in the spool: what is acknowledged is dropped from the container's journal.
        session.handle(attachment, m.Ack(CHANNEL, end))
        self._tell()

    def _append(self, message: m.ServerMessage, *, heard: bool = False) -> None:
        if not heard:
            self._heard.news(message)
        self.spool.append(codec.encode_server(message))
        self._tell()

    def _feed(self, session: Session, attachment: Attachment) -> None:
        # Made anew each time instead of kept: the request has the same bytes, and these are counted.
        feed(session, attachment, CHANNEL, self._live or Typed(typed(self.about.request)))

    def _end_later(self, session: Session, attachment: Attachment, end: int, pause: float) -> None:
        loop = asyncio.get_running_loop()
        self._again = loop.call_later(pause, self._end_again, session, attachment, end, pause)

    def _end_again(self, session: Session, attachment: Attachment, end: int, pause: float) -> None:
        """Types Ctrl-D again, behind the offset `end` where a terminal's input has ended, and does so once
        more later. One that comes before a program sets its terminal's modes, as readline does, is dropped by
        the kernel (termios(3)), and it ends one read alone; the input of a pipe ends for good."""
        channel = session.channels.all.get(CHANNEL)
        # Not behind input that the terminal has no room for.
        if (
            channel is not None
            and channel.phase == "running"
            and end <= channel.in_acked == channel.input_offset
        ):
            with contextlib.suppress(CodeRunnerError):  # raised if it has just ended
                session.input(attachment, CHANNEL, channel.input_offset, b"\4")
            pause = min(2 * pause, MOST_END_AGAIN_SECONDS)
        self._end_later(session, attachment, end, pause)

    def _input_end(self) -> int | None:
        """Where a terminal's input ends; None for a pipe, and while more may come."""
        wanted = self.about.request
        return None if self._live or wanted.mode == "pipe" else len(typed(wanted))

    def _watch_time(self, session: Session) -> None:
        """Ends the program when the present phase has taken longer than planned: the agent's own limit is
        the same for the compiler and the program."""
        phase = self._heard.phase or ("compiling" if self.about.compiles else "running")
        if self._timer is not None and phase == self._timed:
            return
        self._stop_watching()
        self._timed = phase
        # After a restart the timer begins anew; the agent's own limit still holds.
        if phase in self.about.plan.walls:
            seconds = self.about.plan.walls[phase] / 1000
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(seconds, self._kill, session, "wall_timeout")

    def _stop_watching(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _kill(self, session: Session, intent: str) -> None:
        channel = session.channels.all.get(CHANNEL)
        if channel is not None:
            session.channels.kill(channel, intent)

    # --- the end -----------------------------------------------------------------------------------------

    async def _complete(self, session: Session) -> None:
        """Adds diagnostics and artifacts, stores the answer, and ends the session."""
        channel = session.channels.all.get(CHANNEL)
        if channel is not None and channel.diagnostics:
            told = m.Diagnostics(CHANNEL, channel.diagnostics)
            if self._heard.news(told):
                self._append(told, heard=True)
        made = await self._made(session)
        await self._finish(made)
        session.end("client")

    async def _made(self, session: Session) -> tuple[MadeFile, ...]:
        found, left = [], MAX_CONTENT
        for one in session.artifacts.of(CHANNEL):
            content: dict[str, str | bytes] = {}
            # `left` bounds the answer as a whole; larger files are named without their content.
            if one.size <= min(left, self.about.request.artifact_bytes) and not session.over:
                with contextlib.suppress(TimeoutError, CodeRunnerError):
                    async with timing.within(ARTIFACT_SECONDS), session.files.request():
                        begin = await session.files.read(one.path)
                        if begin.size <= min(left, self.about.request.artifact_bytes):
                            pieces_of = session.files.pieces(one.path, begin, 0, begin.size)
                            data = b"".join([piece async for piece in pieces_of])
                            if len(data) == begin.size:  # otherwise the file changed during the read
                                content = text("content", data)
                                left -= len(data)
            found.append(MadeFile(one.path, one.mime, one.size, **content))  # type: ignore[arg-type]
        return tuple(found)

    async def _finish(self, made: tuple[MadeFile, ...] | None = None) -> None:
        """Stores the answer. `made`: the artifacts; None: those that the records name, without content."""
        if self._heard.exit is None:  # the session ended while no server was running
            usage = m.Usage(
                wall_ms=None, cpu_ms=None, memory_peak_bytes=None, output_bytes=self._heard.offset
            )
            self._append(
                m.Exit(
                    channel=CHANNEL,
                    code=None,
                    signal=None,
                    reason="engine_lost",
                    limits_hit=(),
                    left_behind=0,
                    usage=usage,
                    offset=self._heard.offset,
                )
            )
        if made is None:
            told = self._heard.artifacts.values()
            made = tuple(MadeFile(one.path, one.mime, one.size) for one in told)
        if self.spool.size > IN_THREAD:
            await asyncio.to_thread(self._store_answer, made)
        else:
            self._store_answer(made)
        self.shed()
        store(self.folder / ABOUT, (stored(self.about),))
        self.ended_at = time.time()
        self.done = True
        ended = self._heard.exit
        assert ended is not None
        facts = fields(session=self.about.session, reason=ended.reason, **self.about.facts)
        log.info("run ended", extra=facts)

    def _store_answer(self, made: tuple[MadeFile, ...]) -> None:
        about = Whose(
            id=self.id, status="done", language=self.about.request.language, version=self.about.version
        )
        short, whole = answers(
            about, self._heard, lambda: pieces(self.spool.records()), made, compiles=self.about.compiles
        )
        store(self.folder / END, (short,))
        store(self.folder / ANSWER, whole)


def feed(session: Session, attachment: Attachment, number: int, typed: Typed) -> None:
    """Sends as much of the input as the channel's window allows, and after its last byte a pipe's end.

    `number`: the channel. Called again when the channel has acknowledged input, or there is more.
    """
    channel = session.channels.all.get(number)
    if channel is None or not channel.live:
        return
    # The window of docs/protocol.md, counted as a WebSocket client counts it.
    room = channel.in_acked + flow.INPUT_WINDOW - channel.input_offset
    at = channel.input_offset
    if room > 0 and at < typed.end:
        with contextlib.suppress(CodeRunnerError):  # raised if it has just ended
            session.input(attachment, number, at, typed.part(at, room))
    if (
        channel.mode == "pipe"
        and typed.ended
        and channel.input_offset >= typed.end
        and channel.eof_at is None
    ):
        session.handle(attachment, m.Eof(number, typed.end))


def refusal(message: m.ErrorMessage) -> CodeRunnerError:
    """The exception for the error that a message reports; StartFailed if its code is unknown."""
    kinds = {kind.code: kind for kind in leaves()}
    return kinds.get(message.code, StartFailed)(message.message)
