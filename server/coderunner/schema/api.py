"""Models of the requests and answers of `/api/run` and `/api/runs`. The docstrings appear at `/api/docs`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import UNSET, Meta, Struct, UnsetType

from coderunner.errors import CodeRunnerError
from coderunner.schema.answers import ArchiveUnpacked
from coderunner.schema.check import Problems
from coderunner.schema.messages import Diagnostic, Files, Modes, Size, Usage, WantedLimits
from coderunner.schema.types import (
    NO_NUL,
    EnvName,
    Path,
    at_most,
    either,
    matching,
    not_both,
    text,
    whole,
)

MAX_BODY = 4 * 1024 * 1024  # bytes
MAX_SOURCE = 4 * 1024 * 1024  # characters: the body's own bound is reached first
MAX_CONTENT = 1024 * 1024
"""The most bytes of artifacts' content in one answer, all artifacts together."""


class RunRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """`POST /api/run`: a program and its input.

    Either `source`, which becomes the file `entry` (default: the language's own), or `files`. `stdin` is
    closed after its last byte; `stdin_base64` is for input that is not UTF-8. In the mode `tty` the program
    has a terminal of `cols` by `rows` characters, into which `stdin` is typed. `artifact_bytes`: files that
    the program makes are returned with their content up to this size."""

    RULES: ClassVar[dict[str, Any]] = {
        "allOf": [either("source", "files"), not_both("stdin", "stdin_base64")]
    }
    EXAMPLE: ClassVar[dict[str, Any]] = {
        "language": "python",
        "source": "print(input()[::-1])",
        "stdin": "abc",
    }

    language: Annotated[str, text(64, minimum=1)]
    source: Annotated[str, Meta(max_length=MAX_SOURCE)] | None = None
    files: Files = ()
    entry: Path | None = None
    # The bounds of the message `run`.
    args: Annotated[tuple[Annotated[str, Meta(max_length=65536), NO_NUL], ...], at_most(1024)] = ()
    env: Annotated[dict[EnvName, Annotated[str, Meta(max_length=32768), NO_NUL]], at_most(256)] = {}
    stdin: Annotated[str, Meta(max_length=MAX_SOURCE)] | None = None
    stdin_base64: bytes | None = None
    mode: Modes = "pipe"
    cols: Size | None = None
    rows: Size | None = None
    limits: WantedLimits = {}
    artifact_bytes: Annotated[int, whole(0, MAX_CONTENT)] = 0

    def __post_init__(self) -> None:
        # Rules between fields, and those that cannot be a type's: a pattern against NUL would be matched
        # against every element before their number is checked.
        if (self.source is None) is (not self.files):
            raise Problems(("", "must have either source or files"))
        if self.stdin is not None and self.stdin_base64 is not None:
            raise Problems(("stdin", "must not be given together with stdin_base64"))
        held = [f"args[{index}]" for index, word in enumerate(self.args) if "\0" in word]
        held += [f"env.{name}" for name, word in self.env.items() if "\0" in word]
        if held:
            raise Problems(*((name, "must not hold a NUL") for name in held))

    @property
    def input(self) -> bytes:
        """The bytes of the program's standard input."""
        # JSON may contain escaped lone surrogates, which a strict encoder refuses.
        return self.stdin_base64 or (self.stdin or "").encode("utf-8", "surrogatepass")


class Printed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The output of a phase. `output`: both streams in the order in which they were read. `order`: lengths
    in bytes of its alternating pieces, the first of standard output, the next of standard error, and so on.
    Output that is not UTF-8 is in the field with `_base64` instead."""

    stdout: str | UnsetType = UNSET
    stdout_base64: bytes | UnsetType = UNSET
    stderr: str | UnsetType = UNSET
    stderr_base64: bytes | UnsetType = UNSET
    output: str | UnsetType = UNSET
    output_base64: bytes | UnsetType = UNSET
    order: tuple[int, ...] | UnsetType = UNSET


class CompileView(Printed, frozen=True, kw_only=True):
    """The compiler's output. `failed`: it made no program to run. `usage`: its part of `exit.usage`."""

    failed: bool
    usage: Usage | UnsetType = UNSET


class RunExit(Struct, frozen=True):
    """How the program ended: the fields of the message `exit`."""

    reason: str
    code: int | None
    signal: str | None
    limits_hit: tuple[str, ...]
    left_behind: int
    usage: Usage
    hints: tuple[str, ...] = ()


class MadeFile(Struct, frozen=True, omit_defaults=True):
    """A file that the program made: an image, a table or a page. `content` is set if it was requested and
    the file is small enough; `content_base64` if it is not UTF-8."""

    path: str
    mime: str
    size: int
    content: str | UnsetType = UNSET
    content_base64: bytes | UnsetType = UNSET


class Missing(Struct, frozen=True):
    """A range of output offsets whose bytes are lost; `end` is exclusive."""

    begin: int
    end: int


class RunAnswer(Printed, frozen=True, kw_only=True):
    """The result of a run. `compile` is null for languages without a compiler. `gaps`: terminal output that
    was lost because the program printed more than is buffered while the server restarted;
    never in the mode `pipe`.

    The event `done` has the same fields without the output.
    """

    id: str
    status: str
    language: str
    version: str
    exit: RunExit
    compile: CompileView | None
    diagnostics: tuple[Diagnostic, ...]
    artifacts: tuple[MadeFile, ...]
    gaps: tuple[Missing, ...]


class RunQuery(Struct, frozen=True):
    """`GET /api/runs/{run}`. `wait`: seconds to wait for the run's end, 0 to 60."""

    # A pattern and no integer: parameters of a query are strings.
    wait: Annotated[str, matching("[0-9]|[1-5][0-9]|60", "a whole number of seconds from 0 to 60")] = "0"


class RunStatus(Struct, frozen=True):
    """A run that has not ended. `status`: `queued` or `running`."""

    id: str
    status: str
    language: str


# UNSET and not None, so that the fields are missing in JSON for all other errors.
class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Problem details (RFC 9457). `code`: a code of docs/protocol.md, whose meaning never changes.
    `retryable`: the same request may succeed later, after `Retry-After` if it is sent. `expected`: the
    offset from which input is to be sent again. `written`, `folders` and `left_out` are set if an archive was
    unpacked in part."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    expected: int | UnsetType = UNSET
    written: tuple[str, ...] | UnsetType = UNSET
    folders: tuple[str, ...] | UnsetType = UNSET
    left_out: tuple[str, ...] | UnsetType = UNSET

    @classmethod
    def of(cls, error: CodeRunnerError, status: int, unpacked: ArchiveUnpacked | None = None) -> Problem:
        """The document for `error`. `status`: the HTTP status. `unpacked`: what was written to the workspace
        before an archive failed."""
        return cls(
            # A URN: RFC 9457 wants a URI, which need not lead anywhere.
            type=f"urn:coderunner:error:{error.code}",
            title=error.code.replace("_", " "),
            status=status,
            detail=error.message,
            code=error.code,
            retryable=error.retryable,
            expected=UNSET if error.expected is None else error.expected,
            written=UNSET if unpacked is None else unpacked.written,
            folders=UNSET if unpacked is None else unpacked.folders,
            left_out=UNSET if unpacked is None else unpacked.left_out,
        )
