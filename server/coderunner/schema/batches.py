"""Models of the requests and answers of `/api/batch` and `/api/batches`, for graders.

The docstrings appear at `/api/docs`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import UNSET, Meta, Struct, UnsetType

from coderunner.schema.api import MAX_SOURCE, CompileView
from coderunner.schema.check import Problems
from coderunner.schema.messages import Files, Usage, WantedLimits
from coderunner.schema.types import NO_NUL, EnvName, Path, at_most, either, not_both, one_of, text, whole

MAX_BATCH_BODY = 8 * 1024 * 1024  # bytes
# Each value becomes a Python object of 50 bytes or more.
MAX_BATCH_VALUES = 256 * 1024  # JSON values of a body, counted before it is parsed (`core.codec`)
MAX_CASES = 10_000
MAX_PARALLEL = 8  # sessions of one batch
MAX_SHOWN = 64 * 1024  # bytes of output in one verdict
MAX_ALL_SHOWN = 8 * 1024 * 1024
"""The most bytes of output in all verdicts of a batch together: it bounds the size of the stored answer."""
MAX_COMPILE_MS = 600_000
MAX_CASE_OUTPUT = 8 * 1024 * 1024
# Below the kernel's bound for arguments and environment together (execve(2), a quarter of the stack).
MAX_ARGS = 128 * 1024  # bytes of all arguments together

CHECKERS = ("exact", "tokens", "floats", "program")
VERDICTS = (
    "passed", "wrong_answer", "time_limit", "memory_limit", "output_limit", "runtime_error", "checker_failed",
    "lost", "not_run",
)  # fmt: skip
ENDS = ("done", "compile_failed", "stopped", "cancelled", "deadline")

Args = Annotated[tuple[Annotated[str, Meta(max_length=65536), NO_NUL], ...], at_most(1024)]
Text = Annotated[str, Meta(max_length=MAX_SOURCE)]


class Case(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One test case. `expected`: the output to compare with; without it, exit code 0 is enough. `args`:
    appended to those of the batch."""

    RULES: ClassVar[dict[str, Any]] = {
        "allOf": [not_both("stdin", "stdin_base64"), not_both("expected", "expected_base64")]
    }

    name: Annotated[str, text(128)] | None = None
    stdin: Text | None = None
    stdin_base64: bytes | None = None
    args: Args = ()
    expected: Text | None = None
    expected_base64: bytes | None = None

    def __post_init__(self) -> None:
        # A field and its `_base64` form exclude each other.
        for name in ("stdin", "expected"):
            if getattr(self, name) is not None and getattr(self, f"{name}_base64") is not None:
                raise Problems((name, f"must not be given together with {name}_base64"))
        _check_args(self.args)

    @property
    def input(self) -> bytes:
        """The bytes of the program's standard input."""
        # "surrogatepass": JSON may contain half of a surrogate pair, which a strict encoder refuses.
        return self.stdin_base64 or (self.stdin or "").encode("utf-8", "surrogatepass")

    @property
    def wanted(self) -> bytes | None:
        """The expected output; None if the case has none."""
        # An empty expected output is one: None and "" differ.
        if self.expected is None and self.expected_base64 is None:
            return None
        return self.expected_base64 or (self.expected or "").encode("utf-8", "surrogatepass")


class Checker(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How the output is compared with the expected one. `exact`: byte by byte. `tokens`: the words are equal,
    whatever space is between them. `floats`: as `tokens`, but numbers may differ by `tolerance`, absolute or
    relative. `program`: a program gets the names of the files `input`, `output` and `expected` as arguments,
    and exits with 0 (passed) or 1 (wrong answer).
    """

    RULES: ClassVar[dict[str, Any]] = {
        "oneOf": [
            {
                "properties": {
                    "kind": {"enum": [kind for kind in CHECKERS if kind != "program"]},
                    "language": {"type": "null"}, "source": {"type": "null"}, "files": {"maxItems": 0},
                }
            },
            {
                "required": ["kind", "language"],
                "properties": {"kind": {"const": "program"}, "language": {"type": "string"}},
                **either("source", "files"),
            },
        ]
    }  # fmt: skip

    kind: Annotated[str, one_of(CHECKERS)] = "tokens"
    tolerance: Annotated[float, Meta(ge=0, le=1, description="a number from 0 to 1")] = 1e-6
    language: Annotated[str, text(64, minimum=1)] | None = None
    source: Text | None = None
    files: Files = ()
    entry: Path | None = None

    def __post_init__(self) -> None:
        program = self.language is not None or self.source is not None or bool(self.files)
        if (self.kind == "program") is not program:
            raise Problems(("kind", "must be program where one is given, and only there"))
        if program and self.language is None:
            raise Problems(("language", "is missing"))
        if program and (self.source is None) is (not self.files):
            raise Problems(("", "must have either source or files"))


class BatchRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """`POST /api/batch`: a program that is compiled once and run on many inputs.

    Either `source`, which becomes the file `entry` (default: the language's own), or `files`. `limits`: for
    each case. `compile_ms`: for the compiler, whatever a case may take. `parallel`: number of sessions that
    run cases at the same time, each of which compiles the program. `stop_at_first`: start no further case
    after the first that did not pass. `shown_bytes`: how many bytes of its output a verdict contains.
    """

    RULES: ClassVar[dict[str, Any]] = either("source", "files")
    EXAMPLE: ClassVar[dict[str, Any]] = {
        "language": "python",
        "source": "print(sum(map(int, input().split())))",
        "cases": [{"stdin": "1 2", "expected": "3"}],
    }

    language: Annotated[str, text(64, minimum=1)]
    source: Text | None = None
    files: Files = ()
    entry: Path | None = None
    args: Args = ()
    env: Annotated[dict[EnvName, Annotated[str, Meta(max_length=32768), NO_NUL]], at_most(256)] = {}
    limits: WantedLimits = {}
    cases: Annotated[
        tuple[Case, ...],
        Meta(min_length=1, max_length=MAX_CASES, description=(f"a list of 1 to {MAX_CASES} cases")),
    ]
    checker: Checker = Checker()
    # Apart from `limits`, so that a case's limits need not be those of a compiler; a minute, as for a run.
    compile_ms: Annotated[int, whole(100, MAX_COMPILE_MS)] = 60_000
    parallel: Annotated[int, whole(1, MAX_PARALLEL)] = 1
    stop_at_first: bool = False
    shown_bytes: Annotated[int, whole(0, MAX_SHOWN)] = 256

    def __post_init__(self) -> None:
        if (self.source is None) is (not self.files):
            raise Problems(("", "must have either source or files"))
        _check_args(self.args)
        held = [f"env.{name}" for name, word in self.env.items() if "\0" in word]
        if held:
            raise Problems(*((name, "must not hold a NUL") for name in held))
        # Checked here, so that a batch is refused before it runs and not
        # when its answer has become too large.
        if self.shown_bytes * len(self.cases) > MAX_ALL_SHOWN:
            most = MAX_ALL_SHOWN // len(self.cases)
            raise Problems(("shown_bytes", f"must be at most {most} for {len(self.cases)} cases"))


def _check_args(args: tuple[str, ...]) -> None:
    """Raises Problems for a NUL, and for more than MAX_ARGS bytes together."""
    held = [f"args[{index}]" for index, word in enumerate(args) if "\0" in word]
    if held:
        raise Problems(*((name, "must not hold a NUL") for name in held))
    if sum(len(word.encode("utf-8", "replace")) for word in args) > MAX_ARGS:
        raise Problems(("args", f"must have at most {MAX_ARGS} bytes in all"))


class Verdict(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The result of a case with its evidence: the fields of the message `exit`, the beginning of the output,
    and the checker's `message`. Output that is not UTF-8 is in the field with `_base64`.
    """

    index: int
    name: str | UnsetType = UNSET
    verdict: Annotated[str, one_of(VERDICTS)]
    reason: str | UnsetType = UNSET
    code: int | UnsetType | None = UNSET
    signal: str | UnsetType | None = UNSET
    limits_hit: tuple[str, ...] = ()
    left_behind: int = 0
    usage: Usage | UnsetType = UNSET
    stdout: str | UnsetType = UNSET
    stdout_base64: bytes | UnsetType = UNSET
    stderr: str | UnsetType = UNSET
    stderr_base64: bytes | UnsetType = UNSET
    message: str | UnsetType = UNSET


class BatchAnswer(Struct, frozen=True, kw_only=True):
    """The result of a batch. `end`: `done`, or why some cases were not run.
    `counts`: number of cases by verdict.

    The event `done` has the same fields without `cases`.
    """

    id: str
    status: str
    language: str
    version: str
    end: str
    compile: CompileView | None
    passed: int
    counts: dict[str, int]
    cases: tuple[Verdict, ...]


class BatchStatus(Struct, frozen=True):
    """A batch that has not ended. `status`: `queued` or `running`.
    `finished`: number of cases with a verdict."""

    id: str
    status: str
    language: str
    cases: int
    finished: int
