"""A session in which a program is compiled once and run many times, each time from the same state.

Before each run the agent ends all processes, and restores the workspace as the compiler left it.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from msgspec.structs import replace

from coderunner.core import codec
from coderunner.errors import CodeRunnerError, Draining, FilesBusy, NoSession, Unsupported
from coderunner.jobs.job import feed, refusal
from coderunner.jobs.typed import Typed
from coderunner.jobs.verdicts import LOST, Outcome
from coderunner.schema import messages as m
from coderunner.schema.calls import Keep, ProgramLimits, ProgramSpec
from coderunner.schema.languages import Language
from coderunner.sessions.session import Session

# A frame has 16 bits for a channel's number.
FIRST, LAST = 1, 60_000  # channel numbers; a session may use each number once
BUSY_SECONDS, BUSY_TRIES = 0.05, 60  # pause and attempts while processes of the previous run are being killed
COMPILE_OUTPUT = 256 * 1024  # bytes that a compiler may print, at least
NOTHING = ("true",)  # the command that runs after the compiler, to compile only


class Lost(Exception):
    """The session ended while the program ran. The caller may try again in another session."""


class Full(Exception):
    """No further program can be run in this session."""


def check_language(language: Language) -> None:
    """Raises Unsupported for a language whose container cannot be restored between runs."""
    if language.service is not None:
        raise Unsupported(
            f"{language.name} has a service, which keeps state from one case to the next; send each case to"
            " /api/run"
        )


class Bench:
    """Runs a program repeatedly in `session`, which nothing else may use and which ends with it.

    `client`: id of the attachment's client. `spec`: the program, with the limits of a run of it.
    `compile_ms`: how long its compiler may take.
    """

    def __init__(self, session: Session, client: str, spec: ProgramSpec, compile_ms: int) -> None:
        self.session = session
        self._spec, self._compile_ms = spec, compile_ms
        # Quotas must not end a program, as this would look like a verdict; the batch is checked at its
        # beginning.
        session.charges.graded = True
        self._attachment = session.attach(client, "control", "control", {}, announce=False)
        self._number = FIRST
        self._running = 0
        self.ended = False  # whether the session was ended, so that the next server need not do it

    async def __aenter__(self) -> Bench:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.session.detach(self._attachment)
        # 1012: the close code for a service restart (registered by IANA for RFC 6455).
        if self._attachment.close_code != 1012 and not isinstance(error, asyncio.CancelledError | Draining):
            # Otherwise this server is stopping: the next one ends the session.
            self.ended = True
            self.session.end("client")

    def kill(self) -> None:
        """Kills the program that runs now."""
        channel = self.session.channels.all.get(self._running)
        if channel is not None:
            self.session.channels.kill(channel, "killed")

    async def compile(self) -> Outcome | None:
        """Compiles if the language has a compiler, and has the agent save the workspace for all later runs.

        Returns the compiler's outcome, None without a compiler. Raises Lost, and FileTooLarge if the
        workspace is too large to be saved.
        """
        spec, outcome = self._spec, None
        if spec.first_phase == "compiling":
            # The agent has no command that compiles only: it runs `true` afterwards.
            only = tuple(replace(one, run=NOTHING) for one in spec.variants)
            alone = replace(spec, run=NOTHING, variants=only, mode="pipe", limits=self._of_compiler())
            outcome = await self._run(alone, b"", ())
            if outcome.exit.reason in LOST:
                raise Lost
            if not outcome.compiled:
                return outcome
        try:
            await self.session.container.call(Keep())
        except CodeRunnerError as error:
            if error.retryable or self.session.over:
                raise Lost from error
            raise
        # From now on the compiler's result is in the saved workspace.
        bare = tuple(replace(one, compile=()) for one in spec.variants)
        self._spec = replace(spec, compile=(), variants=bare, restored=True)
        return outcome

    def _of_compiler(self) -> ProgramLimits:
        """The compiler's limits, as those of a run may be too low for it."""
        limits = self._spec.limits
        return replace(
            limits,
            wall_ms=self._compile_ms,
            cpu_ms=round(self._compile_ms * max(1.0, limits.cpus)),  # of all its processors
            output_bytes=max(limits.output_bytes, COMPILE_OUTPUT),
        )

    async def run(self, stdin: bytes, args: tuple[str, ...] = (), files: tuple[m.File, ...] = ()) -> Outcome:
        """Runs the program. `stdin`: its input. `args`: added to its own. `files`: added to the saved
        workspace.

        Raises Lost, Full, Draining.
        """
        spec = replace(self._spec, args=(*self._spec.args, *args))
        # The agent may still be killing the processes of the previous run, and refuses programs until then.
        for _ in range(BUSY_TRIES):
            try:
                outcome = await self._run(spec, stdin, files)
            except FilesBusy:
                await asyncio.sleep(BUSY_SECONDS)
                continue
            if outcome.exit.reason in LOST:
                raise Lost
            return outcome
        raise Lost

    async def _run(self, spec: ProgramSpec, stdin: bytes, files: tuple[m.File, ...]) -> Outcome:
        number = self._running = self._number
        self._number += 1
        if number > LAST:
            raise Full
        session, attachment = self.session, self._attachment
        frames: list[codec.OutputFrame] = []
        run_offset, began = 0, False
        try:
            if session.over:
                raise Lost
            session.channels.run(attachment, number, spec, files)
            typed = Typed(stdin)
            feed(session, attachment, number, typed)
            while (data := await attachment.next()) is not None:
                if isinstance(data, bytes):
                    frame = codec.decode_output(data)
                    if frame.channel == number:
                        frames.append(frame)
                    session.handle(attachment, m.Ack(frame.channel, frame.offset + len(frame.payload)))
                    continue
                message = codec.decode_server_text(data)
                match message:
                    case m.InAck() if message.channel == number:
                        feed(session, attachment, number, typed)
                    case m.State() if message.channel == number and message.phase == "running":
                        run_offset, began = message.offset, True
                    # Output was lost with the container, and is not to be judged without it.
                    case m.Gap() if message.channel == number:
                        raise Lost
                    # Not in the channels: the program was refused. Other errors are about input to one that
                    # runs.
                    case m.ErrorMessage() if message.channel == number and number not in session.channels:
                        raise refusal(message)
                    case m.Exit() if message.channel == number:
                        session.handle(attachment, m.Ack(number, message.offset, exit=True))
                        return Outcome(message, tuple(frames), run_offset, began)
        except NoSession:
            raise Lost from None
        finally:
            self._running = 0
        if attachment.close_code == 1012:
            raise Draining(retry_after_ms=1000)
        raise Lost
