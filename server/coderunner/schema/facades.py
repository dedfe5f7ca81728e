"""Models of the data of `facades/`: how other systems name and number languages, and their default limits."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

from coderunner.schema.types import Word, whole

Amount = Annotated[int, whole(0, 2**40)]


class PistonRuntime(Struct, frozen=True, forbid_unknown_fields=True):
    """A language as Piston names it. `runs`: our language. `version`: what it is here. `also`: versions of
    Piston's own packages that are taken for it. `runtime`: the package, if that has another name."""

    runs: Word
    language: Word
    version: Word
    aliases: tuple[Word, ...] = ()
    also: tuple[Word, ...] = ()
    runtime: Word | None = None


class PistonLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """Piston's limits: milliseconds and bytes; a memory limit of -1 is unlimited."""

    compile_timeout: Amount
    run_timeout: Amount
    compile_cpu_time: Amount
    run_cpu_time: Amount
    compile_memory_limit: int
    run_memory_limit: int
    output_max_size: Amount


class Piston(Struct, frozen=True, forbid_unknown_fields=True):
    """`piston.toml`."""

    limits: PistonLimits
    runtimes: Annotated[tuple[PistonRuntime, ...], Meta(max_length=256)]


Seconds = Annotated[float, Meta(ge=0, le=3600)]


class Judge0Language(Struct, frozen=True, forbid_unknown_fields=True):
    """A language as Judge0 numbers it. `runs`: our language. `flags`: the variable for the compiler's
    options; "" if they cannot be set. `project`: it is a program of many files, whose own scripts compile and
    run it."""

    id: Annotated[int, whole(1, 10_000)]
    runs: Word
    name: Word
    flags: Word = ""
    project: bool = False


class Judge0Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """Judge0's limits, by the names of its configuration: seconds, kB and counts."""

    cpu_time_limit: Seconds
    max_cpu_time_limit: Seconds
    cpu_extra_time: Seconds
    max_cpu_extra_time: Seconds
    wall_time_limit: Seconds
    max_wall_time_limit: Seconds
    memory_limit: Amount
    max_memory_limit: Amount
    stack_limit: Amount
    max_stack_limit: Amount
    max_processes_and_or_threads: Amount
    max_max_processes_and_or_threads: Amount
    max_file_size: Amount
    max_max_file_size: Amount
    max_number_of_runs: Amount
    max_extract_size: Amount
    max_queue_size: Amount
    max_submission_batch_size: Amount
    callbacks_max_tries: Amount
    callbacks_timeout: Seconds


class Judge0(Struct, frozen=True, forbid_unknown_fields=True):
    """`judge0.toml`."""

    version: Word
    homepage: Word
    source_code: Word
    limits: Judge0Limits
    languages: Annotated[tuple[Judge0Language, ...], Meta(max_length=512)]


class JobeLanguage(Struct, frozen=True, forbid_unknown_fields=True):
    """A language as Jobe names it; its fields are explained in `jobe.toml`."""

    id: Word
    runs: Word
    version: Word
    file: Word
    flags: Word = ""
    compileargs: tuple[Word, ...] = ()
    linkargs: tuple[Word, ...] = ()
    interpreterargs: tuple[Word, ...] = ()
    named_by: str = field(name="class", default="")
    syntax: str = ""
    memorylimit: Amount | None = None
    numprocs: Amount | None = None


class JobeLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """Jobe's limits: seconds, MB and counts."""

    cputime: Amount
    max_cputime: Amount
    memorylimit: Amount
    streamsize: Amount
    numprocs: Amount


class Jobe(Struct, frozen=True, forbid_unknown_fields=True):
    """`jobe.toml`."""

    limits: JobeLimits
    languages: Annotated[tuple[JobeLanguage, ...], Meta(max_length=64)]
