"""Every message of `coderunner.v1` as a value. The fields are the protocol's, in its order.

A field with a default may be absent on the wire, and is left out when it has that default; a field without
one is always there (null where the value is None). `from_` is `from` on the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from coderunner.errors import CodeRunnerError

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


@dataclass(frozen=True, slots=True)
class File:
    """A file of a project: `{path, content}`, or `{path, content_base64}` where it is not UTF-8."""

    path: str
    content: bytes


# --- client to server ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Open:
    language: str
    client: str
    nonce: str | None = None
    files: tuple[File, ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    network: str = "none"
    group: str | None = None
    group_token: str | None = None
    member: str | None = None
    record: bool = False


@dataclass(frozen=True, slots=True)
class Attach:
    session: str
    token: str
    client: str
    role: str | None = None
    cursors: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Take:
    pass


@dataclass(frozen=True, slots=True)
class Run:
    channel: int
    mode: str
    files: tuple[File, ...] = ()
    entry: str | None = None
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cols: int | None = None
    rows: int | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    stdin: str | None = None


@dataclass(frozen=True, slots=True)
class Shell:
    channel: int
    cols: int
    rows: int


@dataclass(frozen=True, slots=True)
class Resize:
    channel: int
    cols: int
    rows: int


@dataclass(frozen=True, slots=True)
class Signal:
    channel: int
    name: str


@dataclass(frozen=True, slots=True)
class Eof:
    channel: int
    offset: int


@dataclass(frozen=True, slots=True)
class Kill:
    channel: int


@dataclass(frozen=True, slots=True)
class Ack:
    channel: int
    offset: int
    exit: bool = False


@dataclass(frozen=True, slots=True)
class Extend:
    pass


@dataclass(frozen=True, slots=True)
class Close:
    pass


@dataclass(frozen=True, slots=True)
class Ping:
    t: int | float


ClientMessage = (
    Open | Attach | Take | Run | Shell | Resize | Signal | Eof | Kill | Ack | Extend | Close | Ping
)


# --- server to client ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Expiry:
    """`idle_ms` is None while nothing counts as idle (a program lives)."""

    idle_ms: int | None
    total_ms: int


@dataclass(frozen=True, slots=True)
class Isolation:
    runtime: str
    network: str


@dataclass(frozen=True, slots=True)
class ChannelView:
    """What `attached` tells of a channel. `from_` to `to` is the output that can still be had."""

    channel: int
    mode: str
    phase: str
    from_: int
    to: int
    input_offset: int
    input_eof: bool
    cols: int | None
    rows: int | None


@dataclass(frozen=True, slots=True)
class Usage:
    """None where there is no evidence."""

    wall_ms: int | None
    cpu_ms: int | None
    memory_peak_bytes: int | None
    output_bytes: int | None


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """`line` and `column` count from 1; a column of 0 is not known. `path` is below the workspace."""

    path: str
    line: int
    column: int
    severity: str
    message: str


@dataclass(frozen=True, slots=True)
class Hello:
    protocol: str
    server: str
    environment: str
    limits: Mapping[str, int]
    features: tuple[str, ...]
    keepalive_s: int


@dataclass(frozen=True, slots=True)
class Queued:
    position: int
    ahead: int
    eta_ms: int | None
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class Opened:
    session: str
    token: str
    language: str
    warm: bool
    expires: Expiry
    isolation: Isolation
    timings_ms: Mapping[str, int | float]
    group: str | None = None
    group_token: str | None = None
    member: str | None = None


@dataclass(frozen=True, slots=True)
class Attached:
    session: str
    role: str
    channels: tuple[ChannelView, ...]
    expires: Expiry


@dataclass(frozen=True, slots=True)
class Role:
    role: str
    input_offsets: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class State:
    channel: int
    phase: str
    offset: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """`by`: the signal that stopped the program, `output` where its terminal holds it; None: it goes on."""

    channel: int
    by: str | None


@dataclass(frozen=True, slots=True)
class InAck:
    channel: int
    offset: int


@dataclass(frozen=True, slots=True)
class Gap:
    channel: int
    from_: int
    to: int
    restore: str | None = None


@dataclass(frozen=True, slots=True)
class Resized:
    channel: int
    cols: int
    rows: int


@dataclass(frozen=True, slots=True)
class Diagnostics:
    channel: int
    items: tuple[Diagnostic, ...]


@dataclass(frozen=True, slots=True)
class Artifact:
    """`url` is relative to the page's own address."""

    channel: int
    path: str
    mime: str
    size: int
    url: str


@dataclass(frozen=True, slots=True)
class Workspace:
    """Files have changed. `revision` only grows, also over a restart of the server."""

    revision: int


@dataclass(frozen=True, slots=True)
class Exit:
    """`code` or `signal` (a name without SIG, as `SEGV`), or neither where the end was not seen."""

    channel: int
    code: int | None
    signal: str | None
    reason: str
    limits_hit: tuple[str, ...]
    left_behind: int
    usage: Usage
    offset: int
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Expires:
    idle_ms: int | None
    total_ms: int


@dataclass(frozen=True, slots=True)
class Notice:
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Closed:
    reason: str


@dataclass(frozen=True, slots=True)
class ErrorMessage:
    code: str
    message: str
    retryable: bool
    channel: int | None = None
    retry_after_ms: int | None = None
    expected: int | None = None

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


@dataclass(frozen=True, slots=True)
class Pong:
    t: int | float


ServerMessage = (
    Hello | Queued | Opened | Attached | Role | State | Stopped | InAck | Gap | Resized | Diagnostics
    | Artifact | Workspace | Exit | Expires | Notice | Closed | ErrorMessage | Pong
)  # fmt: skip
