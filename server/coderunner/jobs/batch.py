"""A batch: one program that is compiled once and run with many inputs, each with a verdict.

Expected output and the checker program are never in the submission's container: outputs are compared in the
server, and the checker runs in a session of its own. A verdict is stored before it is sent, so that after a
restart the next server continues with the cases without a verdict.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from coderunner.core.admission import BACKGROUND
from coderunner.core.codec import STDERR, STDOUT
from coderunner.errors import (
    CodeRunnerError,
    Draining,
    NoSession,
    QueueFull,
    QueueTimeout,
    TooManySessions,
)
from coderunner.fleet.registry import Caller, Opening, Registry
from coderunner.jobs.about import AboutBatch, checking, stored, submission
from coderunner.jobs.bench import Bench, Full, Lost
from coderunner.jobs.spool import Record
from coderunner.jobs.verdicts import by_end, compared, compile_view, verdict_of, without_evidence
from coderunner.jobs.work import ANSWER, END, Work, store
from coderunner.logs import fields
from coderunner.schema import messages as m
from coderunner.schema.api import CompileView
from coderunner.schema.batches import BatchAnswer, BatchRequest, BatchStatus, Case, Verdict
from coderunner.sessions.session import Session

log = logging.getLogger(__name__)

ABOUT, SESSIONS = "batch.json", "sessions.json"
# Bounds what one request can take: cases times CASE_WALL_MS would be many hours.
MAX_SECONDS = 3600.0  # of a batch; cases that have not begun then are not run
RETRY_SECONDS = 0.25  # between checks for a session of an earlier server that is being adopted
TURN_SECONDS = 20.0  # for which it keeps a session while other callers are waiting for one
# A case may end its container each time, for example by filling its memory.
TRIES = 3  # for a case whose session was lost
IN_THREAD = 128 * 1024  # bytes; larger outputs are compared in a thread, so that the loop is not blocked
MESSAGE_BYTES = 1024  # of a checker's output that become the message
# Errors after which a worker ends, if another one of this batch continues.
FULL = (QueueFull, QueueTimeout, TooManySessions)


class Compiled(Struct, tag="compiled"):
    """A stored record: the compiler has ended. `view`: what it printed; null without a compiler."""

    view: CompileView | None


class Judged(Struct, tag="case"):
    """A stored record: the verdict on a case."""

    verdict: Verdict


class Opened(Struct):
    """A stored entry about a session that may be open, so that the next server can end it."""

    nonce: str
    language: str
    session: str = ""
    token: str = ""


class Batch(Work):
    """A batch that is judged. Its sessions are opened through `registry` with the priority BACKGROUND."""

    place = "batches"

    def __init__(self, about: AboutBatch, folder: Path, registry: Registry, *, resumed: bool = False) -> None:
        super().__init__(about, folder, resumed=resumed)
        self._registry = registry
        self._compiled: Compiled | None = None
        self._verdicts: dict[int, Verdict] = {}
        self._pending: deque[int] = deque()
        self._tries: Counter[int] = Counter()
        self._end = "done"
        self._openings: set[Opening] = set()
        self._benches: set[Bench] = set()
        self._opened: list[Opened] = []

    # --- what callers see --------------------------------------------------------------------------------

    @property
    def _request(self) -> BatchRequest:
        request: BatchRequest = self.about.request
        return request

    @property
    def begun(self) -> bool:
        """Whether it has had a session."""
        return len(self._benches) > 0 or self._compiled is not None

    def state(self) -> BatchStatus:
        """The status that is returned while the batch is not done."""
        # The verdicts are dropped from memory when the answer is stored.
        finished = self.about.count if self.done else len(self._verdicts)
        return BatchStatus(self.id, self.status, self.about.language, self.about.count, finished)

    def event(self, record: Record) -> tuple[str, Any]:
        """The event `compiled`, or `case` with its verdict."""
        read = _read(record)
        if isinstance(read, Compiled):
            return "compiled", {"compile": read.view}
        return "case", read.verdict

    def shed(self) -> None:
        """Drops the request from memory: the answer is stored, and the request is not needed any more."""
        self.about.request = BatchRequest(language=self.about.request.language, source="", cases=(Case(),))

    def cancel(self) -> None:
        """Kills what runs. Cases without a verdict are not run."""
        self._cancelled = True
        self._end = "cancelled"
        for opening in self._openings:
            opening.abandon(self._on_position, hold=False)
        for bench in self._benches:
            bench.kill()

    # --- running -----------------------------------------------------------------------------------------

    @property
    def _caller(self) -> Caller:
        return Caller(self.about.address, self.about.principal, BACKGROUND, self.about.told)

    @property
    def _late(self) -> bool:
        created: float = self.about.created
        return time.time() > created + MAX_SECONDS

    async def _work(self) -> None:
        for record in self.spool.records():
            self._take(_read(record))
        if self._resumed:
            await self._end_former()
        self._pending = deque(i for i in range(len(self._request.cases)) if i not in self._verdicts)
        self._stop_where_due()
        count = min(self._request.parallel, len(self._pending))
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(count):
                    group.create_task(self._worker(first=number == 0))
        # A task group wraps errors; callers want the one. OSError: the disk is full.
        except* (CodeRunnerError, OSError) as errors:
            raise _first(errors) from None
        await self._finish()

    def _take(self, read: Compiled | Judged) -> None:
        if isinstance(read, Compiled):
            self._compiled = self._compiled or read
        else:
            self._verdicts[read.verdict.index] = read.verdict

    def _append(self, read: Compiled | Judged) -> None:
        # Stored before readers see it, so that none sees what a restart would lose.
        self._take(read)
        self.spool.append(msgspec.json.encode(read).decode())
        self._tell()

    def _stop_where_due(self) -> None:
        failed = any(one.verdict != "passed" for one in self._verdicts.values())
        if self._compiled is not None and self._compiled.view is not None and self._compiled.view.failed:
            self._stop("compile_failed")
        elif self._request.stop_at_first and failed:
            self._stop("stopped")
        elif self._late:
            self._stop("deadline")

    def _stop(self, end: str) -> None:
        if self._pending and self._end == "done":
            self._end = end
        self._pending.clear()

    # --- sessions ----------------------------------------------------------------------------------------

    async def _worker(self, *, first: bool) -> None:
        """Runs cases until none is left. All workers but the first end if no slot is free: one session is
        enough to finish, and others may need the slots."""
        while self._pending and not self._cancelled:
            self._stop_where_due()
            try:
                async with contextlib.AsyncExitStack() as stack:
                    await self._judge_all(stack)
            # Continues in another session: the case is back in the queue with its count of attempts.
            except (Lost, Full):
                continue
            except CodeRunnerError as error:
                # Draining: the next server continues from the spool.
                if isinstance(error, Draining) or not error.retryable:
                    raise
                if not (self._compiled or self._resumed or self._benches):
                    raise  # nothing was done yet, so the caller can repeat the request
                if not first and isinstance(error, FULL):
                    return
                # A random pause, so that many batches do not retry at the same moment.
                await asyncio.sleep(random.uniform(0.5, 2.0))
            except asyncio.CancelledError:
                # A cancelled opening and a cancelled task raise the same; only the second has been asked to
                # stop.
                if not self._cancelled or _cancelling():
                    raise
                return

    async def _judge_all(self, stack: contextlib.AsyncExitStack) -> None:
        checker: Bench | None = None
        if self._request.checker.kind == "program":
            checker = await stack.enter_async_context(self._bench(*checking(self.about)))
            outcome = await checker.compile()
            # An error of the checker's author: reported in each case's verdict, so that it is not attributed
            # to the program.
            if outcome is not None and not outcome.compiled:
                said = outcome.stream(STDERR) + outcome.stream(STDOUT)
                self._judge_rest("checker_failed", said[:MESSAGE_BYTES].decode("utf-8", "replace"))
                return
        bench = await stack.enter_async_context(self._bench(*submission(self.about)))
        began = time.monotonic()
        await self._compile(bench)
        while self._pending and not self._cancelled:
            if self._registry.queue.wanted and time.monotonic() > began + TURN_SECONDS:
                return  # others are waiting: the worker queues again behind them
            index = self._pending.popleft()
            try:
                verdict = await self._judge(index, bench, checker)
            except (Lost, Full) as error:
                self._put_back(index, counted=isinstance(error, Lost))
                raise
            # The case has no verdict; a later server judges it.
            except BaseException:
                self._put_back(index, counted=False)
                raise
            # Any verdict but `passed` may be an effect of the kill.
            if self._cancelled and verdict.verdict != "passed":
                self._put_back(index, counted=False)
                return
            self._append(Judged(verdict))
            self._stop_where_due()

    def _put_back(self, index: int, *, counted: bool) -> None:
        # Only a lost session counts as an attempt, not one without room left.
        self._tries[index] += counted
        if self._tries[index] < TRIES:
            self._pending.appendleft(index)
        else:
            self._append(Judged(without_evidence(index, self._request.cases[index], "lost")))

    def _judge_rest(self, verdict: str, message: str) -> None:
        while self._pending:
            index = self._pending.popleft()
            case = self._request.cases[index]
            self._append(Judged(without_evidence(index, case, verdict, message)))

    async def _compile(self, bench: Bench) -> None:
        outcome = await bench.compile()
        view = compile_view(outcome) if outcome is not None else None
        if self._compiled is None:
            self._append(Compiled(view))
        self._stop_where_due()

    @contextlib.asynccontextmanager
    async def _bench(self, opening: m.Open, run: m.Run) -> AsyncIterator[Bench]:
        spec = self._registry.check(opening, run)
        session = await self._open(opening)
        bench = Bench(session, self.id, spec, self._request.compile_ms)
        self._benches.add(bench)
        try:
            async with bench:
                yield bench
        finally:
            self._benches.discard(bench)
            if bench.ended:
                self._opened = [one for one in self._opened if one.session != session.id]
                self._remember()

    async def _open(self, wanted: m.Open) -> Session:
        assert wanted.nonce is not None
        entry = Opened(wanted.nonce, wanted.language)
        # Stored before it is opened, so that a session is ended even if the server is killed in between.
        self._opened.append(entry)
        self._remember()
        try:
            opening = self._registry.open(wanted, self._caller)
        except CodeRunnerError:
            self._opened.remove(entry)
            raise
        opening.claim(self._on_position)
        self._openings.add(opening)
        try:
            # Shielded: a cancellation of this task must not cancel the opening's own future: which of the two
            # it was is decided below.
            opened = await asyncio.shield(opening.done)
        except asyncio.CancelledError:
            if not opening.done.cancelled():
                opening.abandon(self._on_position, hold=False)
                raise
            if self._cancelled:
                raise Lost from None
            raise Draining(retry_after_ms=1000) from None
        except CodeRunnerError:
            self._opened.remove(entry)
            raise
        finally:
            self._openings.discard(opening)
        opening.delivered = True
        entry.session, entry.token = opened.session.id, opened.token
        try:
            self._remember()
        except OSError:
            opened.session.end("client")  # nobody else can reach it
            raise
        self._tell()
        return opened.session

    def _remember(self) -> None:
        store(self.folder / SESSIONS, (msgspec.json.encode(self._opened),))

    async def _end_former(self) -> None:
        """Ends the sessions that an earlier server opened for this batch; their cases are run again."""
        try:
            former = msgspec.json.decode((self.folder / SESSIONS).read_bytes(), type=list[Opened])
        except (OSError, ValueError):
            return
        while former:
            former = [one for one in former if not await self._ended_former(one)]
            if former:
                await asyncio.sleep(RETRY_SECONDS)

    async def _ended_former(self, one: Opened) -> bool:
        """Ends one session. Returns False if its container or the engine does not answer, so that it has to
        be tried again. Raises Draining.
        """
        request = m.Open(one.language, self.id, nonce=one.nonce)
        try:
            if one.session:
                self._registry.find(one.session, one.token)[0].end("client")
            # Without the session's id: it was opened, but the server ended before it could store which one.
            elif self._registry.returned(request, self._caller):
                opened = await self._registry.open(request, self._caller).done
                opened.session.end("client")
        except NoSession:
            return True
        except CodeRunnerError as error:
            if isinstance(error, Draining) or not error.retryable:
                raise
            # False: tried again, as a paused container or a restarting engine may answer soon.
            return self._late or self._cancelled
        return True

    # --- judging -----------------------------------------------------------------------------------------

    async def _judge(self, index: int, bench: Bench, checker: Bench | None) -> Verdict:
        case, shown = self._request.cases[index], self._request.shown_bytes
        outcome = await bench.run(case.input, case.args)
        ended = by_end(outcome)
        if ended is not None:
            return verdict_of(index, case, ended, outcome, shown)
        got = outcome.stream(STDOUT)
        if checker is not None:
            name, message = await _checked(checker, case, got)
            return verdict_of(index, case, name, outcome, shown, message)
        wanted = case.wanted
        if wanted is None:
            return verdict_of(index, case, "passed", outcome, shown)
        if len(wanted) + len(got) > IN_THREAD:
            differs = await asyncio.to_thread(compared, self._request.checker, wanted, got)
        else:
            differs = compared(self._request.checker, wanted, got)
        name = "wrong_answer" if differs else "passed"
        return verdict_of(index, case, name, outcome, shown, differs)

    async def _finish(self) -> None:
        cases = tuple(
            self._verdicts.get(index) or without_evidence(index, case, "not_run")
            for index, case in enumerate(self._request.cases)
        )
        counts = Counter(one.verdict for one in cases)
        whole = BatchAnswer(
            id=self.id,
            status="done",
            language=self.about.language,
            version=self.about.version,
            end=self._end,
            compile=self._compiled.view if self._compiled is not None else None,
            passed=counts["passed"],
            counts=dict(counts),
            cases=cases,
        )
        await asyncio.to_thread(self._store_answer, whole)
        # Only after the answer is stored: until then, a restart needs the request.
        self.shed()
        self._verdicts.clear()
        store(self.folder / ABOUT, (stored(self.about),))
        self.ended_at = time.time()
        self.done = True
        ended = fields(cases=len(cases), passed=counts["passed"], reason=self._end, **self.about.facts)
        log.info("batch ended", extra=ended)

    def _store_answer(self, whole: BatchAnswer) -> None:
        short = msgspec.to_builtins(whole)
        del short["cases"]
        # Before ANSWER, whose presence means that the work is done.
        store(self.folder / END, (msgspec.json.encode(short),))
        store(self.folder / ANSWER, (msgspec.json.encode(whole),))


async def _checked(checker: Bench, case: Case, got: bytes) -> tuple[str, str]:
    files = (
        m.File("input", case.input), m.File("output", got), m.File("expected", case.wanted or b"")
    )  # fmt: skip
    outcome = await checker.run(b"", ("input", "output", "expected"), files)
    said = (outcome.stream(STDOUT) + outcome.stream(STDERR))[:MESSAGE_BYTES]
    message = said.decode("utf-8", "replace").strip()
    # Only these two codes are verdicts. Python exits with 1 after an exception, too, so the text is shown.
    if outcome.exit.reason == "exited" and outcome.exit.code in (0, 1):
        return ("wrong_answer" if outcome.exit.code else "passed"), message
    return "checker_failed", message or f"the checker: {outcome.exit.reason}"


def _read(record: Record) -> Compiled | Judged:
    kinds: Any = Compiled | Judged
    read: Compiled | Judged = msgspec.json.decode(record.frame, type=kinds)
    return read


def _first(errors: BaseExceptionGroup[Exception]) -> Exception:
    """The error to report: Draining before all others, as the next server continues the batch."""
    found = list(_leaves(errors))
    return next((one for one in found if isinstance(one, Draining)), found[0])


def _leaves(errors: BaseExceptionGroup[Exception]) -> list[Exception]:
    return [
        leaf
        for one in errors.exceptions
        for leaf in (_leaves(one) if isinstance(one, BaseExceptionGroup) else [one])
    ]


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
