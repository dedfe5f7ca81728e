"""Combines a language's declaration with a client's `run` or `shell`
into what the agent has to start. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from coderunner.core.limits import LimitRules
from coderunner.core.project import check_files, check_path
from coderunner.errors import BadMessage, FileTooLarge
from coderunner.schema.calls import (
    Companions,
    PreloadSpec,
    ProgramLimits,
    ProgramSpec,
    ProgramVariant,
    ServiceSpec,
)
from coderunner.schema.languages import SERVICE_FOLDER, Language
from coderunner.schema.limits import Limits, RunLimits
from coderunner.schema.messages import File, Run, Shell

WORKSPACE = "/workspace"
BUILD = "/workspace/.build"
MAX_WORDS = 1024 * 1024  # bytes of all arguments and environment values; Linux takes 2 MiB in all
COLS, ROWS = 80, 24  # the size of a VT100, if the client does not request another


@dataclass(frozen=True, slots=True)
class ProjectRules:
    """Bounds of the files in one message: their number, and bytes of each."""

    max_files: int
    max_file_bytes: int


def companions_of(language: Language) -> Companions:
    """The companion processes (service, preload) that an agent starts
    in a warm container of this language."""
    service, preload = language.service, language.preload
    return Companions(
        service=None
        if service is None
        else ServiceSpec(
            command=service.command,
            # A companion's own variables win over the language's.
            env={**language.env, **service.env},
            folder=SERVICE_FOLDER,  # not among the user's files
            start_ms=service.start_ms,
            ready=service.ready,
        ),
        preload=None
        if preload is None
        else PreloadSpec(
            command=preload.command,
            env={**language.env, **preload.env},
            folder=SERVICE_FOLDER,
            start_ms=preload.start_ms,
            run=language.run,
            entries=preload.entries,
            fixed=preload.fixed,
        ),
    )


def run_spec(
    message: Run,
    language: Language,
    limits: Limits,
    rules: LimitRules,
    scripts: tuple[str, str] | None = None,
) -> ProgramSpec:
    """Returns the specification of a `run`. `limits`: the session's. `scripts`: files that bash compiles and
    runs the program by, in place of the language's commands; the first is "" if nothing is compiled.

    Raises BadPath, BadLimit, BadMessage."""
    _check_words(message)
    spec = _spec(message, language, rules.with_requested(limits, message.limits, RunLimits))
    spec = replace(
        spec,
        kind="run",
        mode=message.mode,
        entry=check_path(message.entry or language.entry),
        args=message.args,
        compile=language.compile or (),
        run=language.run,
        variants=tuple(
            ProgramVariant(variant.when, variant.compile or (), variant.run) for variant in language.variants
        ),
        stdin=check_path(message.stdin) if message.stdin is not None else None,
        env={**language.env, **message.env},  # the client's values win
    )
    if scripts is None:
        return spec
    compiles, runs = scripts
    # Every image has bash, as the shells are one.
    return replace(spec, compile=("bash", compiles) if compiles else (), run=("bash", runs), variants=())


def _check_words(message: Run) -> None:
    """Raises BadMessage if arguments and environment are too large for `execve`.

    The bound also limits memory, as they are kept until the program has been started.
    """
    # `replace`: lone surrogates are possible in JSON, and are refused by the agent later.
    size = sum(len(word.encode("utf-8", "replace")) for word in (*message.args, *message.env.values()))
    if size > MAX_WORDS:
        raise BadMessage(
            f"args and env have {size} bytes; send at most {MAX_WORDS} together, and more as a file",
            channel=message.channel,
        )


def shell_spec(message: Shell, language: Language, limits: Limits) -> ProgramSpec:
    """Returns the specification of a `shell`. `limits`: the session's.

    Raises BadPath, and BadMessage if `repl` is requested and the language has no prompt.
    """
    # A shell may last as long as its session.
    # Programs and compilers in it share the container's memory limit.
    unhurried = replace(
        limits,
        wall_ms=limits.lifetime_ms,
        cpu_ms=limits.lifetime_ms,
        memory_bytes=limits.container_bytes,
    )
    spec = _spec(message, language, unhurried)
    if not message.repl:
        return spec
    repl = language.repl
    if repl is None:
        raise BadMessage(
            f"{language.name} has no prompt of its own; send shell without repl", channel=message.channel
        )
    entry = check_path(message.entry or language.entry)
    # The agent looks for the file at the start: a client may send it with the same message.
    # As a variant: only the agent knows whether the file exists when the prompt starts.
    loading = (ProgramVariant(entry, (), repl.load),) if repl.load else ()
    return replace(spec, entry=entry, run=repl.command, variants=loading)


def _spec(message: Run | Shell, language: Language, limits: Limits) -> ProgramSpec:
    """A shell's specification, from which `run_spec` replaces what is different for a program."""
    return ProgramSpec(
        kind="shell",
        # A shell is always a terminal.
        mode="tty",
        cols=message.cols or COLS,
        rows=message.rows or ROWS,
        workspace=WORKSPACE,
        build=BUILD,
        entry=language.entry,
        sources=language.sources,
        main=language.main,
        extensions=language.extensions,
        run=language.shell,
        env=language.env,
        limits=ProgramLimits(
            limits.wall_ms, limits.cpu_ms, limits.output_bytes, limits.cpus, limits.memory_bytes
        ),
    )


def check_project(files: tuple[File, ...], rules: ProjectRules) -> None:
    """Checks the files of a message. Raises TooManyFiles, FileTooLarge, BadPath."""
    try:
        check_files(files, max_files=rules.max_files, max_file_bytes=rules.max_file_bytes)
    except FileTooLarge as error:
        more = (
            "in a message (MAX_FILE_SIZE); a session takes larger ones at .../files/PATH, or `coderunner cp`"
        )
        raise FileTooLarge(f"{error} {more}") from None
