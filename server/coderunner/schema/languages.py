"""The model of `language.toml`: a language's commands, its companion processes,
its tools' messages, its samples.

Placeholders in `compile` and `run`, which the agent expands in the container:

    {entry}    the program's first file
    {build}    the folder for compiled files (/workspace/.build)
    {args}     an element of its own, replaced by the run's arguments, one element each
    {sources}  an element of its own, replaced by the workspace's files that match `sources`, sorted; if the
               language declares with `main` what a main function looks like, only by the files of the
               entry's program (agent/sources.py)

A `[[variants]]` table has other commands, for projects that contain the file `when`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from signal import Signals
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from coderunner.errors import BadPath
from coderunner.schema.check import Problems
from coderunner.schema.limits import SomeLimits
from coderunner.schema.messages import SEVERITIES
from coderunner.schema.paths import check_path
from coderunner.schema.templates import Template, parse_template
from coderunner.schema.types import one_of, whole

SERVICE_FOLDER = "/workspace/.service"
START_MS = 10_000  # milliseconds for a service or a preload to start, where it declares nothing else
MAX_START_MS = 60_000
MAX_PATTERNS = 16  # each is tried on every line of a program's output
MAX_WITHIN = 200  # lines between the two lines of a pattern
MAX_SAY = 240  # characters of a hint
MIN_LITERAL = 8  # characters of fixed text in a hint's line: shorter ones would match unrelated output

# A language's name becomes part of image tags, labels and file names.
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_EXTENSION = re.compile(r"\.[A-Za-z0-9_+-]+")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_ABSOLUTE = r"^(/[A-Za-z0-9@._+-]+)+\Z"  # of a file in an image; a shell takes it as it is
_WHOLE = {"args", "sources"}  # expand to several elements, so they cannot be a part of one
_PART = {"entry", "build"}

Texts = Annotated[tuple[str, ...], Meta(description="a list of texts")]
StartMs = Annotated[int, whole(100, MAX_START_MS)]
Env = Annotated[
    dict[
        Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z")],
        Annotated[str, Meta(pattern=r"^[^\0]*\Z")],
    ],
    Meta(description="a table", extra={"entry": 'has a bad entry {name!r}; write NAME = "text"'}),
]

Found = Iterator[tuple[str, str]]
"""Pairs of a field's name and what is wrong with it."""


class _Declared(Struct, frozen=True, forbid_unknown_fields=True):
    """Base of tables with checks beyond their fields' types. Subclasses yield the problems from `_wrong`."""

    def __post_init__(self) -> None:
        found = list(self._wrong())
        if found:
            raise Problems(*found)

    def _wrong(self) -> Found:
        """The problems that are not those of a single field's type."""
        return iter(())


def _bad_path(key: str, path: str) -> Found:
    """The problem of a path in a workspace."""
    try:
        check_path(path)
    except BadPath as error:
        yield key, str(error)


def _bad_name(name: str) -> Found:
    """The problem of a language's or sample's name."""
    if not _NAME.fullmatch(name):
        yield "name", "must be small letters, digits, _ and -, beginning with a letter"


def _bad_argv(key: str, argv: tuple[str, ...] | None) -> Found:
    """The problems of a command with placeholders; None is one that is not declared."""
    if argv is None:
        return
    if not argv:
        yield key, "must name a program"
    for item in argv:
        if not item or "\0" in item:
            yield key, "has an empty element or a NUL"
        for placeholder in _PLACEHOLDER.findall(item):
            if placeholder in _WHOLE and item != f"{{{placeholder}}}":
                yield key, f"must have {{{placeholder}}} as an element of its own"
            elif placeholder not in _WHOLE | _PART:
                yield key, f"has an unknown placeholder {{{placeholder}}}"


def _bad_command(command: tuple[str, ...]) -> Found:
    """The problems of a companion's command, which has no placeholders."""
    if not command:
        yield "command", "must name a program"
    if any("\0" in word for word in command):
        yield "command", "has a NUL"


def _twice(what: str, names: list[str], more: str = "") -> Found:
    """A problem for each name that occurs more than once."""
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield "", f"two {what} {name}{more}"


class Warm(_Declared, frozen=True):
    """Number of warm containers: at least `floor`, at most `ceiling`. None: the server's setting applies."""

    floor: Annotated[int, whole(0, 1000)] | None = None
    ceiling: Annotated[int, whole(0, 1000)] | None = None

    def _wrong(self) -> Found:
        if self.floor is not None and self.ceiling is not None and self.floor > self.ceiling:
            yield "floor", "is above the ceiling"


class Variant(_Declared, frozen=True):
    """Commands that replace the language's own for projects with the file `when` in the workspace."""

    when: str
    compile: Texts | None = None
    run: Texts = ()

    def _wrong(self) -> Found:
        yield from _bad_path("when", self.when)
        yield from _bad_argv("compile", self.compile)
        if self.run:
            yield from _bad_argv("run", self.run)
        else:
            yield "run", "is missing, or names no program"


class Repl(_Declared, frozen=True):
    """The language's interactive prompt. `load`: the command to use if the program's first file exists in the
    workspace, which the prompt then loads; without it, `command` is always used.

    `prompt`, `ask` and `answer` are for the test of the image: at the prompt, the typed line `ask` must make
    the language print `answer`."""

    command: Texts
    prompt: str
    ask: str
    answer: str
    load: Texts | None = None

    def _wrong(self) -> Found:
        for key in ("prompt", "ask", "answer"):
            if not getattr(self, key):
                yield key, "is empty"
        # The test looks for the answer in the terminal's output, which contains the echo of what was typed.
        if self.answer and self.answer in self.ask:
            yield "answer", "must not stand in ask, which the terminal shows as it is typed"
        yield from _bad_argv("command", self.command)
        yield from _bad_argv("load", self.load)


class Service(_Declared, frozen=True):
    """A background process for the session's whole life, such as a database server. `ready`: a path that
    exists once it can be used. `start_ms`: the most milliseconds until then."""

    command: Texts
    ready: str
    env: Env = {}
    start_ms: StartMs = START_MS

    def _wrong(self) -> Found:
        yield from _bad_command(self.command)
        # A folder apart from users' files: listings do not show it,
        # and a reset of the workspace leaves it alone.
        inside = self.ready.startswith(SERVICE_FOLDER + "/") and posixpath.normpath(self.ready) == self.ready
        if not inside or "\0" in self.ready:
            yield "ready", f"must be a path below {SERVICE_FOLDER}/"


class Preload(_Declared, frozen=True):
    """A process with its runtime loaded, from which programs are forked to start faster. A program must not
    be able to tell the difference.

    `entries`: patterns of the entry files that it can run. `fixed`: patterns of environment variables that
    the runtime reads only at its own start; a run with another value for one of them is executed instead.
    `agent`: the command of a container's first process, in place of the agent's own: it forks the preload and
    becomes the agent. Empty: the agent starts `command` beside it.
    """

    command: Texts
    entries: Texts
    agent: Texts = ()
    fixed: Texts = ()
    env: Env = {}
    start_ms: StartMs = START_MS

    def _wrong(self) -> Found:
        yield from _bad_command(self.command)
        if self.agent:
            yield from _bad_argv("agent", self.agent)
        if not self.entries:
            yield "entries", "must name at least one pattern, like *.py"


if TYPE_CHECKING:
    Lines = tuple[Template, ...]
    Overrides = Mapping[str, Any]
else:  # the types in the file, which msgspec reads; `__post_init__` converts them to the types above
    Lines = Texts
    Overrides = SomeLimits


def _templates(name: str, lines: Lines, problems: list[tuple[str, str]]) -> list[Template]:
    """Those of a key's lines; what is wrong with them is added to the problems."""
    templates = []
    for text in lines:
        try:
            templates.append(text if isinstance(text, Template) else parse_template(text))
        except ValueError as error:
            problems.append((name, f"cannot be read: {error}"))
    return templates


class Pattern(_Declared, frozen=True):
    """A diagnostic as a tool prints it: in one line, or in two with at most `within` others between them.

    Of two lines, one has the location and the other the message. If several locations come before a message,
    the last one is used; if several come after it, the first. Lines of `skip` are neither.

    The other keys are lists of templates, too, of which one must match. `only`: what the line of a pattern of
    one line must match as well. `then`: the line behind the first one, or the first one does not count.
    `after`: the line before the second one, but for empty ones. `end`: no second line comes behind such a
    line. `more`: lines behind the message that are parts of it.

    `extension`: `{path}` is a unit's name, and a file of the workspace is this name with the extension.
    """

    lines: Lines
    within: Annotated[int, whole(1, MAX_WITHIN)] = 20
    severity: Annotated[str, one_of(SEVERITIES)] = "error"
    skip: Lines = ()
    only: Lines = ()
    then: Lines = ()
    after: Lines = ()
    end: Lines = ()
    more: Lines = ()
    extension: str = ""

    def __post_init__(self) -> None:
        problems: list[tuple[str, str]] = []
        templates = _templates("lines", self.lines, problems)
        others = {
            name: _templates(name, getattr(self, name), problems)
            for name in ("skip", "only", "then", "after", "end", "more")
        }
        if not 1 <= len(self.lines) <= 2:
            problems.append(("lines", "must be one line or two"))
        # Both lines together, as one has the location and the other the message.
        names = [name for template in templates for name in template.names]
        for name in ("line", "message"):
            if names.count(name) != 1 and templates:
                problems.append(("lines", f"must have {{{name}}} once"))
        if self.extension and not _EXTENSION.fullmatch(self.extension):
            problems.append(("extension", f"cannot be {self.extension!r}; write it like .py"))
        if problems:
            raise Problems(*problems)
        force_setattr(self, "lines", tuple(templates))
        for name, found in others.items():
            force_setattr(self, name, tuple(found))


class Hint(_Declared, frozen=True):
    """An explanation for users, `say`, that is shown if a program's output contains one of `lines` (for
    example that there is no network), or if it ended in a way that its output does not explain. `say` may
    contain `{name}` and `{word}` of the line.

    `ended`: how: `thrashed` (memory was so short that files were read again and again), `oom`, or the name,
    without SIG, of a signal."""

    say: str
    lines: Lines = ()
    ended: str = ""

    def __post_init__(self) -> None:
        problems: list[tuple[str, str]] = []
        templates = _templates("lines", self.lines, problems)
        if bool(self.lines) == bool(self.ended):
            problems.append(("lines", "must have at least one, or there must be `ended`"))
        if self.ended not in ("", "thrashed", "oom") and f"SIG{self.ended}" not in Signals.__members__:
            problems.append(("ended", "must be `thrashed`, `oom` or the name of a signal without SIG"))
        if any(len(template.literal) < MIN_LITERAL for template in templates):
            problems.append(("lines", f"must each have {MIN_LITERAL} characters of text in one piece"))
        # A placeholder must be in every line, as any of them may be the one that matches.
        wanted = set(_PLACEHOLDER.findall(self.say))
        lacking = any(not wanted <= template.names & {"name", "word"} for template in templates)
        if lacking or (wanted and not self.lines):
            problems.append(("say", "may have {name} and {word} of the lines, where all have them"))
        if not 1 <= len(self.say) <= MAX_SAY:
            problems.append(("say", f"must have 1 to {MAX_SAY} characters"))
        if problems:
            raise Problems(*problems)
        force_setattr(self, "lines", tuple(templates))


class HintsFile(Struct, frozen=True, forbid_unknown_fields=True):
    """`hints.toml`: the hints for all languages."""

    hints: Annotated[tuple[Hint, ...], Meta(description="tables under [[hints]]")] = ()


class Sample(_Declared, frozen=True):
    """A sample program, which the page offers and which tests the language's image.

    Its files are in `samples/<name>/`. The `expect_...` fields are the test's conditions. `expect_code`: 0
    by default if `expect_reason` is `exited`, otherwise None, which allows any. `needs`: a path of the image;
    if it is not there, the image was built where no package index was reached, and the test is left out.
    """

    name: str
    title: str
    entry: str
    files: Texts
    args: Texts = ()
    stdin: str = ""
    expect_stdout: str | None = None
    expect_code: Annotated[int, whole(0, 255)] | None = None
    expect_reason: str = "exited"
    needs: Annotated[str, Meta(pattern=_ABSOLUTE)] | None = None

    def _wrong(self) -> Found:
        yield from _bad_name(self.name)
        for path in (self.entry, *self.files):
            yield from _bad_path("entry" if path is self.entry else "files", path)
        if self.entry not in self.files:
            yield "entry", "must be one of the files"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.expect_code is None and self.expect_reason == "exited":
            force_setattr(self, "expect_code", 0)


class CheckProgram(_Declared, frozen=True):
    """A program that tests an image. `beside`: the name of a second file with the same code, which is to be
    left alone; then NAME in the code stands for the file's own name without its ending."""

    entry: str
    code: str
    beside: str = ""

    def _wrong(self) -> Found:
        yield from _bad_path("entry", self.entry)
        if self.beside:
            yield from _bad_path("beside", self.beside)

    def runs(self, stdout: str) -> Iterator[tuple[str, str, dict[str, bytes]]]:
        """(entry, expected output, files) of each run. `stdout`: as the check has it."""
        if not self.beside:
            yield self.entry, stdout, {self.entry: self.code.lstrip().encode()}
            return
        stems = {path: posixpath.splitext(posixpath.basename(path))[0] for path in (self.entry, self.beside)}
        files = {path: self.code.lstrip().replace("NAME", stem).encode() for path, stem in stems.items()}
        for path, stem in stems.items():
            yield path, stdout.replace("NAME", stem), files


class Check(_Declared, frozen=True):
    """A file of `checks/`: something that programs of most languages do, with a program for each that can.

    `expect_stdout`: what all of them print. `without`: the other languages, by the reason."""

    expect_stdout: str
    programs: dict[str, CheckProgram]
    without: dict[str, Texts] = {}


class Language(_Declared, frozen=True, kw_only=True):
    """A language's declaration. `limits`: only those that it overrides. `machines`: the architectures that
    it supports, as `uname -m` prints them; empty for all."""

    name: str
    title: str
    version: str = ""
    editor: str
    entry: str
    extensions: Texts
    sources: Texts = ()
    main: str = ""
    indent: Annotated[int, whole(1, 16)] = 4
    runtime: str | None = None
    machines: Texts = ()
    compile: Texts | None = None
    run: Texts
    variants: Annotated[tuple[Variant, ...], Meta(description="tables under [[variants]]")] = ()
    shell: Texts
    repl: Repl | None = None
    env: Env = {}
    limits: Overrides = SomeLimits()  # type: ignore[assignment]
    warm: Warm = Warm()
    preload: Preload | None = None
    service: Service | None = None
    diagnostics: Annotated[
        tuple[Pattern, ...],
        Meta(max_length=MAX_PATTERNS, description=f"at most {MAX_PATTERNS} tables under [[diagnostics]]"),
    ] = ()
    hints: Annotated[
        tuple[Hint, ...],
        Meta(max_length=MAX_PATTERNS, description=f"at most {MAX_PATTERNS} tables under [[hints]]"),
    ] = ()
    samples: Annotated[tuple[Sample, ...], Meta(description="tables under [[samples]]")] = ()

    def _wrong(self) -> Found:
        yield from _bad_name(self.name)
        yield from _bad_path("entry", self.entry)
        if not self.extensions:
            yield "extensions", "must name at least one"
        for extension in self.extensions:
            if not _EXTENSION.fullmatch(extension):
                yield "extensions", f"cannot hold {extension!r}; write them like .py"
        for key, argv in (("compile", self.compile), ("run", self.run), ("shell", self.shell)):
            yield from _bad_argv(key, argv)
        files = [variant.when for variant in self.variants]
        yield from _twice("variants are for", files, "; the second would never be taken")
        yield from _twice("samples are named", [sample.name for sample in self.samples])
        if any("{sources}" in argv for argv in self._commands()) and not self.sources:
            yield "sources", "must name patterns, as {sources} is used"
        try:  # compiled only as a check: a mistake must show when the server starts, not at the first run
            re.compile(self.main, re.M)
        except re.error as error:
            yield "main", f"is not a valid regular expression: {error}"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.limits, Struct):
            limits = msgspec.structs.asdict(self.limits)
            # Only those that are set, so that the result can be laid over the defaults.
            given = {name: value for name, value in limits.items() if value is not msgspec.UNSET}
            force_setattr(self, "limits", given)

    def _commands(self) -> list[tuple[str, ...]]:
        plain = [self.compile or (), self.run]
        return plain + [argv for each in self.variants for argv in (each.compile or (), each.run)]


class Demand(Struct, frozen=True, forbid_unknown_fields=True):
    """`demand.toml`: the order in which languages are built and offered."""

    order: Annotated[tuple[str, ...], Meta(description="a list of names of languages")]


class Layers(Struct, frozen=True, forbid_unknown_fields=True):
    """Layers of images: their size together, and the languages that share them."""

    megabytes: Annotated[int, Meta(ge=1, description="a number of megabytes, at least 1")]
    languages: Annotated[tuple[str, ...], Meta(min_length=1, description="a list of names of languages")]


class Sizes(Struct, frozen=True, forbid_unknown_fields=True):
    """`sizes.toml`: what the languages' images take on the disk."""

    layers: Annotated[tuple[Layers, ...], Meta(description="a list of tables")] = ()


def sample_files(sample: Sample, read: Callable[[str], bytes]) -> dict[str, bytes]:
    """Reads a sample's files; returns their contents by path.
    `read`: takes a path below the language's folder."""
    return {path: read(f"samples/{sample.name}/{path}") for path in sample.files}
