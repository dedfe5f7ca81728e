"""A run: one program in a session of its own, followed by an attachment within this process.

It is a client like any other, with a token and cursors, and what it hears goes into its spool before it is
acknowledged. So another server goes on with it where this one was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from coderunner import timing
from coderunner.core import codec
from coderunner.core.admission import Position
from coderunner.errors import CodeRunnerError, Draining, InternalError, NoSession, StartFailed
from coderunner.errors.table import leaves
from coderunner.fleet.registry import Caller, Opening, Registry
from coderunner.jobs.answer import Heard, answers, cancelled, pieces, text
from coderunner.jobs.spool import Spool
from coderunner.logs import fields
from coderunner.schema import messages as m
from coderunner.schema.api import MAX_CONTENT, MadeFile, RunRequest
from coderunner.schema.limits import RUN_LIMITS
from coderunner.sessions.attachment import Attachment
from coderunner.sessions.session import Session
from coderunner.wire import flow

log = logging.getLogger(__name__)

CHANNEL = 1
RETRY_SECONDS = 0.25  # before a session is looked for again that is about to be there again
RETRIES = 240
ARTIFACT_SECONDS = 10.0  # to read what was made
RECORD_BYTES = 16 * 1024  # of output in a record: a reader of events is sent one as a whole
IN_THREAD = 256 * 1024  # bytes of a spool from which on its answer is made beside the loop
ABOUT, OUTPUT, END, ANSWER = "about.json", "output", "end.json", "answer.json"


class About(Struct, kw_only=True, omit_defaults=True):
    """What is stored of a run before anything is opened. `key`: a digest of its `Idempotency-Key` and
    principal; empty: it goes when its caller goes. `digest`: of the request. `room`: bytes that its output
    may take. `session` and `token`: once it is open."""

    id: str
    nonce: str
    key: str = ""
    digest: str
    principal: str | None
    address: str
    version: str
    compiles: bool
    room: int
    created: float
    request: RunRequest
    session: str = ""
    token: str = ""


class Job:
    """`folder`: with all that is stored of it. It is `done` when its answer is stored, or `error` says why
    there is none. `suspended`: this server stops, the next one goes on with it. `resumed`: a server before
    this one began it, and its caller was told so. `unwanted`: nobody can ask for its answer."""

    def __init__(self, about: About, folder: Path, registry: Registry, *, resumed: bool = False) -> None:
        self.about = about
        self.id = about.id
        self.folder = folder
        self.spool = Spool(folder / OUTPUT)
        self.position: Position | None = None
        self.error: CodeRunnerError | None = None
        self.done = (folder / ANSWER).exists()
        if self.done:
            self._shed()
        self.suspended = False
        self.unwanted = False
        self.ended_at = (folder / ANSWER).stat().st_mtime if self.done else 0.0
        self._registry = registry
        self._heard = Heard()
        self._cancelled = False
        self._resumed = resumed
        self._opening: Opening | None = None
        self._session: Session | None = None
        self._news = asyncio.Event()

    # --- what callers see --------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Nothing more comes of it here."""
        return self.done or self.error is not None or self.suspended

    @property
    def status(self) -> str:
        """`queued`, `running` or `done`."""
        return "done" if self.done else "running" if self.about.session else "queued"

    async def news(self) -> None:
        """Until there is something that was not there: a record, a place in the queue, the end."""
        if not self.over:
            await self._news.wait()

    def answer(self) -> BinaryIO:
        """The stored answer, which may be long. Raises OSError."""
        return (self.folder / ANSWER).open("rb")

    def end(self) -> bytes:
        """The answer without what was printed. Raises OSError."""
        return (self.folder / END).read_bytes()

    @property
    def stored(self) -> int:
        """Bytes that it takes in its folder, once it is done."""
        names = (ABOUT, OUTPUT, END, ANSWER)
        return sum((self.folder / name).stat().st_size for name in names) if self.done else 0

    def cancel(self) -> None:
        """Ends it; the answer tells what came of it until now."""
        self._cancelled = True
        if self._opening is not None:
            self._opening.abandon(self._on_position, hold=False)
        if self._session is not None:
            self._kill(self._session, "killed")

    def remove(self) -> None:
        """Nothing of it is kept."""
        self.spool.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _shed(self) -> None:
        """What it was given is of no use any more once its answer is stored."""
        self.about.request = RunRequest(language=self.about.request.language, source="")

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    # --- from the request to the end ---------------------------------------------------------------------

    async def run(self) -> None:
        """Until it is over. Never raises what is an answer to its caller."""
        try:
            self._heard.hear(self.spool.records())
            await self._follow()
        except Draining:
            self.suspended = True
        except CodeRunnerError as error:
            self.error = error
        except asyncio.CancelledError:
            self.suspended = True
            raise
        except BaseException:
            self.error = InternalError()
            raise
        finally:
            self._tell()

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
            self._session = session
            try:
                await self._pump(session, attachment)
            finally:
                self._session = None
                session.detach(attachment)
            if attachment.close_code == 1012:
                raise Draining(retry_after_ms=1000)
            if self.done:
                return
            await asyncio.sleep(RETRY_SECONDS)
        await self._finish()

    async def _find(self) -> Session | None:
        """Its session, opened where there was none; None where it is over, or cancelled before it began."""
        while True:
            try:
                if self.about.session:
                    return self._registry.find(self.about.session, self.about.token)[0]
                if self._cancelled and not self._registry.returned(messages(self.about)[0], self._caller):
                    self._append(cancelled())
                    return None
                return await self._open()
            except NoSession:
                return None
            except Draining:
                raise
            except CodeRunnerError as error:
                # What was begun is found again; of what was not, the caller is told.
                if not (error.retryable and (self.about.session or self._resumed)):
                    raise
            await asyncio.sleep(RETRY_SECONDS)

    @property
    def _caller(self) -> Caller:
        return Caller(self.about.address, self.about.principal)

    async def _open(self) -> Session:
        request, _ = messages(self.about)
        opening = self._opening = self._registry.open(request, self._caller)
        opening.claim(self._on_position)
        try:
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
        store(self.folder / ABOUT, (stored(self.about),))
        return opened.session

    def _on_position(self, position: Position) -> None:
        self.position = position
        self._tell()

    # --- following a session -----------------------------------------------------------------------------

    async def _pump(self, session: Session, attachment: Attachment) -> None:
        """Until its end is stored, or the attachment has ended."""
        if CHANNEL not in session.channels and self._cancelled:
            self._append(cancelled())
            await self._complete(session)
            return
        if CHANNEL not in session.channels:
            session.handle(attachment, messages(self.about)[1])
        self._feed(session, attachment)
        if self._cancelled:
            self._kill(session, "killed")
        while (frame := await attachment.next()) is not None:
            if isinstance(frame, bytes):
                self._take_output(session, attachment, frame)
                continue
            message = codec.decode_server_text(frame)
            if isinstance(message, m.InAck):
                self._feed(session, attachment)
            elif isinstance(message, m.ErrorMessage):
                if message.channel == CHANNEL and CHANNEL not in session.channels:
                    session.end("client")
                    raise _refusal(message)
            elif self._heard.news(message):
                self._append(message, heard=True)
            if self._heard.exit is not None:
                await self._complete(session)
                return

    def _take_output(self, session: Session, attachment: Attachment, data: bytes) -> None:
        frame = codec.decode_output(data)
        end = frame.offset + len(frame.payload)
        if frame.channel != CHANNEL:
            return
        if self.spool.cost > self.about.room:
            self._kill(session, "output_limit")
        for begin in range(0, len(frame.payload), RECORD_BYTES):
            part = frame.payload[begin : begin + RECORD_BYTES]
            self.spool.append(codec.encode_output(CHANNEL, frame.stream, frame.offset + begin, part))
        self._heard.offset = end
        session.handle(attachment, m.Ack(CHANNEL, end))
        self._tell()

    def _append(self, message: m.ServerMessage, *, heard: bool = False) -> None:
        if not heard:
            self._heard.news(message)
        self.spool.append(codec.encode_server(message))
        self._tell()

    def _feed(self, session: Session, attachment: Attachment) -> None:
        """As much of the input as there is room for."""
        channel = session.channels.all.get(CHANNEL)
        if channel is None or not channel.live:
            return
        data = typed(self.about.request)
        room = channel.in_acked + flow.INPUT_WINDOW - channel.input_offset
        at = channel.input_offset
        if room > 0 and at < len(data):
            with contextlib.suppress(CodeRunnerError):  # it has ended in this moment
                session.input(attachment, CHANNEL, at, data[at : at + room])
        if channel.mode == "pipe" and channel.input_offset >= len(data) and channel.eof_at is None:
            session.handle(attachment, m.Eof(CHANNEL, len(data)))

    def _kill(self, session: Session, intent: str) -> None:
        channel = session.channels.all.get(CHANNEL)
        if channel is not None:
            session.channels.kill(channel, intent)

    # --- the end -----------------------------------------------------------------------------------------

    async def _complete(self, session: Session) -> None:
        """What is known only now; the session ends when the answer is stored."""
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
            if one.size <= min(left, self.about.request.artifact_bytes) and not session.over:
                with contextlib.suppress(TimeoutError, CodeRunnerError):
                    async with timing.within(ARTIFACT_SECONDS), session.files.request():
                        begin = await session.files.read(one.path)
                        if begin.size <= min(left, self.about.request.artifact_bytes):
                            pieces_of = session.files.pieces(one.path, begin, 0, begin.size)
                            data = b"".join([piece async for piece in pieces_of])
                            content = text("content", data)
                            left -= len(data)
            found.append(MadeFile(one.path, one.mime, one.size, **content))  # type: ignore[arg-type]
        return tuple(found)

    async def _finish(self, made: tuple[MadeFile, ...] | None = None) -> None:
        """Stores the answer."""
        if self._heard.exit is None:  # its container is gone, and was while no server lived
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
        self._shed()
        store(self.folder / ABOUT, (stored(self.about),))
        self.ended_at = time.time()
        self.done = True
        ended = self._heard.exit
        assert ended is not None
        log.info("run ended", extra=fields(session=self.about.session, reason=ended.reason))

    def _store_answer(self, made: tuple[MadeFile, ...]) -> None:
        about = {
            "id": self.id,
            "status": "done",
            "language": self.about.request.language,
            "version": self.about.version,
        }
        short, whole = answers(
            about, self._heard, lambda: pieces(self.spool.records()), made, compiles=self.about.compiles
        )
        store(self.folder / END, (short,))
        store(self.folder / ANSWER, whole)


def typed(request: RunRequest) -> bytes:
    """The bytes of input. A terminal's ends with what a person types there: Ctrl-D, behind a line twice."""
    if request.mode == "pipe":
        return request.input
    return request.input + (b"\4" if request.input[-1:] in (b"", b"\n") else b"\4\4")


def messages(about: About) -> tuple[m.Open, m.Run]:
    """What a client would send for it."""
    wanted = about.request
    files = wanted.files
    if wanted.source is not None:
        assert wanted.entry is not None  # `Runs.begin` has seen to it
        files = (m.File(wanted.entry, wanted.source.encode("utf-8", "surrogatepass")),)
    of_run = {name: value for name, value in wanted.limits.items() if name in RUN_LIMITS}
    of_session = {name: value for name, value in wanted.limits.items() if name not in of_run}
    opening = m.Open(wanted.language, about.id, nonce=about.nonce, limits=of_session)
    run = m.Run(
        CHANNEL,
        wanted.mode,
        files=files,
        entry=wanted.entry,
        args=wanted.args,
        env=wanted.env,
        cols=wanted.cols,
        rows=wanted.rows,
        limits=of_run,
    )
    return opening, run


def stored(about: About) -> bytes:
    """What is written of it, from which it is read again."""
    document = msgspec.to_builtins(about)
    for file in document["request"].get("files", ()):
        file["content_base64"] = file.pop("content")  # as bytes become base64, whatever the name
    return msgspec.json.encode(document)


def store(path: Path, data: Iterable[bytes]) -> None:
    """A file that is there as a whole, or as it was before. Raises OSError."""
    draft = path.with_suffix(".new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.writelines(data)
    draft.replace(path)


def _refusal(message: m.ErrorMessage) -> CodeRunnerError:
    """The error that an agent's refusal was told by."""
    kinds = {kind.code: kind for kind in leaves()}
    return kinds.get(message.code, StartFailed)(message.message)
