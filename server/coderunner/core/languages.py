"""A language is a folder of data; this reads its `language.toml` into a value.

In `compile` and `run`, which the agent expands in the container:

    {entry}    the file to begin with
    {build}    the folder for what compiling makes (/workspace/.build)
    {args}     a whole element: the arguments of the run, each its own element
    {sources}  a whole element: the workspace's files that match `sources`, sorted

A `[[variants]]` table has commands of its own for projects in which the file `when` is found.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from coderunner.core import limits as limit_rules
from coderunner.core.companions import Preload, Service, read_preload, read_service
from coderunner.core.diagnostics import Pattern, read_patterns
from coderunner.core.tables import Table
from coderunner.errors import ConfigError

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_WHOLE = {"args", "sources"}
_PART = {"entry", "build"}
_KEYS = {
    "name", "title", "version", "editor", "entry", "extensions", "sources", "indent", "runtime",
    "compile", "run", "shell", "env", "limits", "warm", "preload", "service", "samples", "variants",
    "diagnostics",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Warm:
    """How many waiting containers: at least `floor`, at most `ceiling`. None: the server's setting."""

    floor: int | None = None
    ceiling: int | None = None


@dataclass(frozen=True, slots=True)
class Variant:
    """The commands of a project that has the file `when` in its workspace, in place of the plain ones."""

    when: str
    compile: tuple[str, ...] | None
    run: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """A program that shows the language and tests its image. Its files lie under `samples/<name>/`."""

    name: str
    title: str
    entry: str
    files: tuple[str, ...]
    args: tuple[str, ...] = ()
    stdin: str = ""
    expect_stdout: str | None = None
    expect_code: int | None = 0
    expect_reason: str = "exited"


@dataclass(frozen=True, slots=True)
class Language:
    """A language as declared. `limits` holds only what it overrides."""

    name: str
    title: str
    version: str
    editor: str
    entry: str
    extensions: tuple[str, ...]
    sources: tuple[str, ...]
    indent: int
    runtime: str | None
    compile: tuple[str, ...] | None
    run: tuple[str, ...]
    variants: tuple[Variant, ...]
    shell: tuple[str, ...]
    env: Mapping[str, str]
    limits: Mapping[str, Any]
    warm: Warm
    preload: Preload | None
    service: Service | None
    diagnostics: tuple[Pattern, ...]
    samples: tuple[Sample, ...]


def parse_language(text: str, folder: str) -> Language:
    """Reads the text of `<folder>/language.toml`. Raises ConfigError with all problems."""
    where = f"languages/{folder}/language.toml"
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{where}: {error}"]) from None
    problems: list[str] = []
    table = Table(document, where, problems)
    table.only(_KEYS)
    language = Language(
        name=_name(table, folder),
        title=table.text("title"),
        version=table.text("version", ""),
        editor=table.text("editor"),
        entry=table.path("entry"),
        extensions=_extensions(table),
        sources=table.texts("sources"),
        indent=table.number("indent", 1, 16, 4) or 4,
        runtime=table.text("runtime") if "runtime" in document else None,
        compile=_argv(table, "compile") if "compile" in document else None,
        run=_argv(table, "run"),
        variants=_variants(document.get("variants", []), where, problems),
        shell=_argv(table, "shell"),
        env=table.env(),
        limits=limit_rules.check_table(document.get("limits", {}), f"{where} [limits]", problems),
        warm=_warm(Table(document.get("warm", {}), f"{where} [warm]", problems)),
        preload=read_preload(Table(document["preload"], f"{where} [preload]", problems))
        if "preload" in document
        else None,
        service=read_service(Table(document["service"], f"{where} [service]", problems))
        if "service" in document
        else None,
        diagnostics=read_patterns(document.get("diagnostics", []), where, problems),
        samples=_samples(document.get("samples", []), where, problems),
    )
    if any("{sources}" in argv for argv in _commands(language)) and not language.sources:
        table.problem("sources", "must name patterns, as {sources} is used")
    if problems:
        raise ConfigError(problems)
    return language


def _name(table: Table, folder: str) -> str:
    name = table.text("name")
    if name and not _NAME.fullmatch(name):
        table.problem("name", "must be small letters, digits, _ and -, beginning with a letter")
    if name and name != folder:
        table.problem("name", f"must be the folder's: {folder}")
    return name


def _extensions(table: Table) -> tuple[str, ...]:
    extensions = table.texts("extensions", None)
    if "extensions" in table.table and not extensions:
        table.problem("extensions", "must name at least one")
    for extension in extensions:
        if not re.fullmatch(r"\.[A-Za-z0-9_+-]+", extension):
            table.problem("extensions", f"cannot hold {extension!r}; write them like .py")
    return extensions


def _argv(table: Table, key: str) -> tuple[str, ...]:
    argv = table.texts(key, None)
    if key in table.table and not argv:
        table.problem(key, "must name a program")
    for item in argv:
        if not item or "\0" in item:
            table.problem(key, "has an empty element or a NUL")
        for placeholder in _PLACEHOLDER.findall(item):
            if placeholder in _WHOLE and item != f"{{{placeholder}}}":
                table.problem(key, f"must have {{{placeholder}}} as an element of its own")
            elif placeholder not in _WHOLE | _PART:
                table.problem(key, f"has an unknown placeholder {{{placeholder}}}")
    return argv


def _variants(value: Any, where: str, problems: list[str]) -> tuple[Variant, ...]:
    if not isinstance(value, list):
        problems.append(f"{where}: variants must be tables under [[variants]]")
        return ()
    variants = tuple(
        _variant(Table(item, f"{where} [[variants]] {number}", problems))
        for number, item in enumerate(value, start=1)
    )
    files = [variant.when for variant in variants if variant.when]
    for when in sorted({when for when in files if files.count(when) > 1}):
        problems.append(f"{where}: two variants are for {when}; the second would never be taken")
    return variants


def _variant(table: Table) -> Variant:
    table.only({"when", "compile", "run"})
    return Variant(
        when=table.path("when"),
        compile=_argv(table, "compile") if "compile" in table.table else None,
        run=_argv(table, "run"),
    )


def _commands(language: Language) -> list[tuple[str, ...]]:
    plain = [language.compile or (), language.run]
    return plain + [argv for each in language.variants for argv in (each.compile or (), each.run)]


def _warm(table: Table) -> Warm:
    table.only({"floor", "ceiling"})
    warm = Warm(table.number("floor", 0, 1000), table.number("ceiling", 0, 1000))
    if warm.floor is not None and warm.ceiling is not None and warm.floor > warm.ceiling:
        table.problem("floor", "is above the ceiling")
    return warm


def _samples(value: Any, where: str, problems: list[str]) -> tuple[Sample, ...]:
    if not isinstance(value, list):
        problems.append(f"{where}: samples must be tables under [[samples]]")
        return ()
    samples = tuple(
        _sample(Table(item, f"{where} [[samples]] {number}", problems))
        for number, item in enumerate(value, start=1)
    )
    names = [sample.name for sample in samples]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.append(f"{where}: two samples are named {name}")
    return samples


def _sample(table: Table) -> Sample:
    table.only({"name", "title", "entry", "files", "args", "stdin", "expect_stdout", "expect_code",
                "expect_reason"})  # fmt: skip
    name = table.text("name")
    if name and not _NAME.fullmatch(name):
        table.problem("name", "must be small letters, digits, _ and -, beginning with a letter")
    files = tuple(table.checked_path("files", path) for path in table.texts("files", None))
    entry = table.path("entry")
    if entry and entry not in files:
        table.problem("entry", "must be one of the files")
    given = table.table
    reason = table.text("expect_reason", "exited")
    return Sample(
        name=name,
        title=table.text("title"),
        entry=entry,
        files=files,
        args=table.texts("args"),
        stdin=table.text("stdin", ""),
        expect_stdout=table.text("expect_stdout") if "expect_stdout" in given else None,
        expect_code=table.number("expect_code", 0, 255, 0 if reason == "exited" else None),
        expect_reason=reason,
    )


def sample_files(sample: Sample, read: Callable[[str], bytes]) -> dict[str, bytes]:
    """The sample's files by path. `read` takes a path below the language's folder."""
    return {path: read(f"samples/{sample.name}/{path}") for path in sample.files}
