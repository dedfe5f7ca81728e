"""Every message of `coderunner.v1` as a value. The fields are the protocol's, in its order.

A field with a default may be absent on the wire, and is left out when it has that default; a field without
one is always there (null where the value is None). `from_` is `from` on the wire.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import UNSET, Meta, Struct, UnsetType, field
from msgspec.structs import force_setattr

from coderunner.errors import CodeRunnerError
from coderunner.schema.types import (
    MAX_FILES,
    Cell,
    Channel,
    Count,
    EnvName,
    HostName,
    Id,
    Line,
    Number,
    Offset,
    Path,
    Positive,
    Random,
    Secret,
    Word,
    at_most,
    one_of,
    text,
    whole,
)

PROTOCOL = "coderunner.v1"

SIGNALS = ("INT", "TERM", "QUIT", "HUP", "KILL", "TSTP", "CONT", "USR1", "USR2")
ROLES = ("control", "watch")
MODES = ("tty", "pipe")
STOPPED_BY = ("STOP", "TSTP", "TTIN", "TTOU", "output")
PHASES = ("compiling", "running", "exited")
NETWORKS = ("none", "group")
REASONS = (
    "exited", "signaled", "compile_failed", "oom", "wall_timeout", "cpu_timeout", "output_limit",
    "killed", "evicted", "session_closed", "engine_lost",
)  # fmt: skip
LIMITS_HIT = ("memory", "pids", "disk")
CLOSED_REASONS = ("client", "idle_timeout", "lifetime", "resume_timeout", "evicted", "engine_lost")
SEVERITIES = ("error", "warning", "info")


Signals = Annotated[str, one_of(SIGNALS)]
Roles = Annotated[str, one_of(ROLES)]
Modes = Annotated[str, one_of(MODES)]
Phases = Annotated[str, one_of(PHASES)]
MIN_CELLS, MAX_CELLS = 2, 1000
Size = Annotated[int, Meta(description="a whole number")]
"""Columns or rows that a client asks for: any number, of which the nearest possible one is taken.
A number that stands there is from MIN_CELLS to MAX_CELLS."""


class Part(Struct, frozen=True, omit_defaults=True):
    """A part of messages."""


class Message(Part, frozen=True):
    """A message: `type` on the wire is the tag of its class."""


if TYPE_CHECKING:
    FileContent = bytes
else:  # what stands on the wire under `content`; `File.__post_init__` makes bytes of it
    FileContent = str | UnsetType


class File(Part, frozen=True):
    """A file of a project: `{path, content}`, or `{path, content_base64}` where it is not UTF-8.

    `content` is bytes in any case: `content_base64` is there on the wire only.
    """

    path: str
    content: FileContent = UNSET  # type: ignore[assignment]
    content_base64: bytes | UnsetType = UNSET

    def __post_init__(self) -> None:
        if (self.content is UNSET) is (self.content_base64 is UNSET):  # type: ignore[comparison-overlap]
            raise ValueError("must have either content or content_base64")
        if isinstance(self.content, str):
            force_setattr(self, "content", self.content.encode())
        elif self.content_base64 is not UNSET:
            force_setattr(self, "content", self.content_base64)
            force_setattr(self, "content_base64", UNSET)


Files = Annotated[tuple[File, ...], at_most(MAX_FILES)]
WantedLimits = Annotated[dict[Word, Positive], at_most(16)]
Offsets = Annotated[dict[Channel, Offset], at_most(4096)]


# --- client to server ---------------------------------------------------------------------------------


class Open(Message, frozen=True, tag="open"):
    language: Annotated[str, text(64, least=1)]
    client: Random
    nonce: Random | None = None
    files: Files = ()
    limits: WantedLimits = {}
    network: Annotated[str, one_of(NETWORKS)] = "none"
    group: Id | None = None
    group_token: Secret | None = None
    member: HostName | None = None
    record: bool = False


class Attach(Message, frozen=True, tag="attach"):
    session: Id
    token: Secret
    client: Random
    role: Roles | None = None
    cursors: Offsets = {}


class Take(Message, frozen=True, tag="take"):
    pass


class Run(Message, frozen=True, tag="run"):
    channel: Channel
    mode: Modes
    files: Files = ()
    entry: Path | None = None
    args: Annotated[tuple[Annotated[str, text(65536)], ...], at_most(1024)] = ()
    env: Annotated[dict[EnvName, Annotated[str, text(32768)]], at_most(256)] = {}
    cols: Size | None = None
    rows: Size | None = None
    limits: WantedLimits = {}
    stdin: Annotated[str, text(1024, least=1)] | None = None

    def __post_init__(self) -> None:
        _clamp(self, self.cols, self.rows)


class Shell(Message, frozen=True, tag="shell"):
    channel: Channel
    cols: Size
    rows: Size

    def __post_init__(self) -> None:
        _clamp(self, self.cols, self.rows)


class Resize(Message, frozen=True, tag="resize"):
    channel: Channel
    cols: Size
    rows: Size

    def __post_init__(self) -> None:
        _clamp(self, self.cols, self.rows)


def _clamp(message: Run | Shell | Resize, cols: int | None, rows: int | None) -> None:
    """Of any whole number, the nearest size that a terminal has."""
    if cols is not None and not MIN_CELLS <= cols <= MAX_CELLS:
        force_setattr(message, "cols", min(max(cols, MIN_CELLS), MAX_CELLS))
    if rows is not None and not MIN_CELLS <= rows <= MAX_CELLS:
        force_setattr(message, "rows", min(max(rows, MIN_CELLS), MAX_CELLS))


class Signal(Message, frozen=True, tag="signal"):
    channel: Channel
    name: Signals


class Eof(Message, frozen=True, tag="eof"):
    channel: Channel
    offset: Offset


class Kill(Message, frozen=True, tag="kill"):
    channel: Channel


class Ack(Message, frozen=True, tag="ack"):
    channel: Channel
    offset: Offset
    exit: bool = False


class Extend(Message, frozen=True, tag="extend"):
    pass


class Close(Message, frozen=True, tag="close"):
    pass


class Ping(Message, frozen=True, tag="ping"):
    t: Number


ClientMessage = (
    Open | Attach | Take | Run | Shell | Resize | Signal | Eof | Kill | Ack | Extend | Close | Ping
)


# --- server to client ---------------------------------------------------------------------------------


class Expiry(Part, frozen=True):
    """`idle_ms` is None while nothing counts as idle (a program lives)."""

    idle_ms: Count | None
    total_ms: Count


class Isolation(Part, frozen=True):
    runtime: Word
    network: Word


class ChannelView(Part, frozen=True):
    """What `attached` tells of a channel. `from_` to `to` is the output that can still be had."""

    channel: Channel
    mode: Modes
    phase: Phases
    from_: Offset = field(name="from")
    to: Offset
    input_offset: Offset
    input_eof: bool
    cols: Cell | None
    rows: Cell | None


class Usage(Part, frozen=True):
    """None where there is no evidence."""

    wall_ms: Count | None
    cpu_ms: Count | None
    memory_peak_bytes: Count | None
    output_bytes: Count | None


class Diagnostic(Part, frozen=True):
    """`line` and `column` count from 1; a column of 0 is not known. `path` is below the workspace."""

    path: Path
    line: Count
    column: Count
    severity: Annotated[str, one_of(SEVERITIES)]
    message: Line


class Hello(Message, frozen=True, tag="hello"):
    protocol: Word
    server: Word
    environment: Word
    limits: Annotated[dict[Word, Count], at_most(64)]
    features: Annotated[tuple[Word, ...], at_most(64)]
    keepalive_s: Count


class Queued(Message, frozen=True, tag="queued"):
    position: Count
    ahead: Count
    eta_ms: Count | None
    deadline_ms: Count


class Opened(Message, frozen=True, tag="opened"):
    session: Id
    token: Secret
    language: Word
    warm: bool
    expires: Expiry
    isolation: Isolation
    timings_ms: Annotated[dict[Word, Number], at_most(64)]
    group: Id | None = None
    group_token: Secret | None = None
    member: Word | None = None


class Attached(Message, frozen=True, tag="attached"):
    session: Id
    role: Roles
    channels: Annotated[tuple[ChannelView, ...], at_most(65536)]
    expires: Expiry


class Role(Message, frozen=True, tag="role"):
    role: Roles
    input_offsets: Offsets


class State(Message, frozen=True, tag="state"):
    channel: Channel
    phase: Phases
    offset: Offset


class Stopped(Message, frozen=True, tag="stopped"):
    """`by`: the signal that stopped the program, `output` where its terminal holds it; None: it goes on."""

    channel: Channel
    by: Annotated[str, one_of(STOPPED_BY)] | None


class InAck(Message, frozen=True, tag="in_ack"):
    channel: Channel
    offset: Offset


class Gap(Message, frozen=True, tag="gap"):
    channel: Channel
    from_: Offset = field(name="from")
    to: Offset
    restore: Line | None = None


class Resized(Message, frozen=True, tag="resized"):
    channel: Channel
    cols: Cell
    rows: Cell


class Diagnostics(Message, frozen=True, tag="diagnostics"):
    channel: Channel
    items: Annotated[tuple[Diagnostic, ...], at_most(10_000)]


class Artifact(Message, frozen=True, tag="artifact"):
    """`url` is relative to the page's own address."""

    channel: Channel
    path: Path
    mime: Word
    size: Count
    url: Annotated[str, text(4096)]


class Workspace(Message, frozen=True, tag="workspace"):
    """Files have changed. `revision` only grows, also over a restart of the server."""

    revision: Count


class Exit(Message, frozen=True, tag="exit"):
    """`code` or `signal` (a name without SIG, as `SEGV`), or neither where the end was not seen."""

    channel: Channel
    code: Annotated[int, whole(0, 255)] | None
    signal: Word | None
    reason: Annotated[str, one_of(REASONS)]
    limits_hit: Annotated[tuple[Annotated[str, one_of(LIMITS_HIT)], ...], at_most(8)]
    left_behind: Count
    usage: Usage
    offset: Offset
    shared: bool = False


class Expires(Message, frozen=True, tag="expires"):
    idle_ms: Count | None
    total_ms: Count


class Notice(Message, frozen=True, tag="notice"):
    code: Word
    message: Line


class Closed(Message, frozen=True, tag="closed"):
    reason: Annotated[str, one_of(CLOSED_REASONS)]


class ErrorMessage(Message, frozen=True, tag="error"):
    code: Word
    message: Line
    retryable: bool
    channel: Channel | None = None
    retry_after_ms: Count | None = None
    expected: Offset | None = None

    @classmethod
    def of(cls, error: CodeRunnerError) -> ErrorMessage:
        return cls(
            code=error.code,
            message=error.message,
            retryable=error.retryable,
            channel=error.channel,
            retry_after_ms=error.retry_after_ms,
            expected=error.expected,
        )


class Pong(Message, frozen=True, tag="pong"):
    t: Number


ServerMessage = (
    Hello | Queued | Opened | Attached | Role | State | Stopped | InAck | Gap | Resized | Diagnostics
    | Artifact | Workspace | Exit | Expires | Notice | Closed | ErrorMessage | Pong
)  # fmt: skip
