"""From a declaration and a client's `run` or `shell` to what the agent is to start.  No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from coderunner.core.limits import LimitRules
from coderunner.core.project import check_files, check_path
from coderunner.errors import BadMessage
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
MAX_WORDS = 1024 * 1024  # bytes of all arguments and values of the environment
COLS, ROWS = 80, 24  # the classic terminal, where a client does not say


@dataclass(frozen=True, slots=True)
class ProjectRules:
    """How many files a client may send at once, and of how many bytes each."""

    max_files: int
    max_file_bytes: int


def companions_of(language: Language) -> Companions:
    """What an agent has to have ready before a user of this language comes."""
    service, preload = language.service, language.preload
    return Companions(
        service=None
        if service is None
        else ServiceSpec(
            command=service.command,
            env={**language.env, **service.env},
            folder=SERVICE_FOLDER,
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


def run_spec(message: Run, language: Language, limits: Limits, rules: LimitRules) -> ProgramSpec:
    """Raises BadPath, BadLimit, BadMessage."""
    _check_words(message)
    spec = _spec(message, language, rules.with_requested(limits, message.limits, RunLimits))
    return replace(
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
        env={**language.env, **message.env},
    )


def _check_words(message: Run) -> None:
    """The kernel takes no more for a program; and they are kept until it has begun."""
    size = sum(len(word.encode("utf-8", "replace")) for word in (*message.args, *message.env.values()))
    if size > MAX_WORDS:
        raise BadMessage(
            f"args and env have {size} bytes; send at most {MAX_WORDS} together, and more as a file",
            channel=message.channel,
        )


def shell_spec(message: Shell, language: Language, limits: Limits) -> ProgramSpec:
    """Raises BadPath, and BadMessage where the language has no prompt of its own that was asked for."""
    # A shell lives as long as its session; what is run in it, compilers as well, is bounded by the container.
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
    loading = (ProgramVariant(entry, (), repl.load),) if repl.load else ()
    return replace(spec, entry=entry, run=repl.command, variants=loading)


def _spec(message: Run | Shell, language: Language, limits: Limits) -> ProgramSpec:
    return ProgramSpec(
        kind="shell",
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
    """Raises TooManyFiles, FileTooLarge, BadPath."""
    check_files(files, max_files=rules.max_files, max_file_bytes=rules.max_file_bytes)
