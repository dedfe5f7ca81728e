"""Every message of `coderunner.v1` as a value. The fields are the protocol's, in its order.

A field with a default may be absent on the wire, and is left out when it has that default; a field without
one is always there (null where the value is None). `from_` is `from` on the wire.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import UNSET, Meta, Struct, UnsetType, field
from msgspec.structs import force_setattr

from coderunner.errors import CodeRunnerError
from coderunner.schema.check import Problems
from coderunner.schema.types import (
    MAX_FILES,
    Cell,
    Channel,
    Count,
    EnvName,
    HostName,
    Id,
    Line,
    Note,
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
WantedLimits = Annotated[dict[Annotated[str, Meta(max_length=256)], Positive], at_most(16)]
Offsets = Annotated[dict[Channel, Offset], at_most(4096)]


# --- client to server ---------------------------------------------------------------------------------


class Open(Message, frozen=True, tag="open"):
    """Asks for a new session. The same `nonce` of the same principal and client within a minute is the same
    session. With `network: "group"` it has a private network: [groups](#groups).
    """

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
    """Binds this socket to a live session. `cursors` maps channels to offsets below which everything was
    received: output goes on from there; a channel without one is replayed from the beginning of its
    journal. `role` may only lower what the token grants. As `control` (the default of such a token) it
    takes the control over, and the attachment before becomes `watch`.
    """

    session: Id
    token: Secret
    client: Random
    role: Roles | None = None
    cursors: Offsets = {}


class Take(Message, frozen=True, tag="take"):
    """Makes this attachment the `control` one, if its token allows; the attachment before becomes `watch`."""


class Run(Message, frozen=True, tag="run"):
    """Writes the files (added or replaced), compiles where the language needs it, and runs the program.
    `stdin` is the path of a file in the workspace that is its standard input; `no_file` where there is
    none.
    """

    channel: Channel
    mode: Modes
    files: Files = ()
    entry: Path | None = None
    # Without a pattern: msgspec would search each of far too many before it counts them.
    args: Annotated[tuple[Annotated[str, Meta(max_length=65536)], ...], at_most(1024)] = ()
    env: Annotated[dict[EnvName, Annotated[str, Meta(max_length=32768)]], at_most(256)] = {}
    cols: Size | None = None
    rows: Size | None = None
    limits: WantedLimits = {}
    stdin: Annotated[str, text(1024, least=1)] | None = None

    def __post_init__(self) -> None:
        held = [f"args[{index}]" for index, word in enumerate(self.args) if "\0" in word]
        held += [f"env.{name}" for name, word in self.env.items() if "\0" in word]
        if held:
            raise Problems(*((name, "must not hold a NUL") for name in held))
        _clamp(self, self.cols, self.rows)


class Shell(Message, frozen=True, tag="shell"):
    """An interactive shell in the same container; with `repl: true` the language's own prompt, which loads
    the file `entry` where it is there and the language can. `GET /api/languages` tells which have one.
    """

    channel: Channel
    cols: Size
    rows: Size
    repl: bool = False
    entry: Path | None = None

    def __post_init__(self) -> None:
        _clamp(self, self.cols, self.rows)


class Resize(Message, frozen=True, tag="resize"):
    """A new size, everywhere clamped to 2–1000."""

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
    """To the foreground process group, at most once: a client does not repeat it after a cut."""

    channel: Channel
    name: Signals


class Eof(Message, frozen=True, tag="eof"):
    """In `pipe` mode: stdin closes behind the input below `offset`; may be repeated. On a terminal a client
    sends byte 04 as input.
    """

    channel: Channel
    offset: Offset


class Kill(Message, frozen=True, tag="kill"):
    """Ends the whole process tree."""

    channel: Channel


class Ack(Message, frozen=True, tag="ack"):
    """Every output byte below `offset` has been consumed; with `exit: true` the channel's `exit` as well. An
    ack above what was sent is answered with `error ack_ahead` and ignored.
    """

    channel: Channel
    offset: Offset
    exit: bool = False


class Extend(Message, frozen=True, tag="extend"):
    """Moves the idle deadline; answered with `expires`."""


class Close(Message, frozen=True, tag="close"):
    """Ends the session, or leaves the queue."""


class Ping(Message, frozen=True, tag="ping"):
    """Answered with `pong`."""

    t: Annotated[Number, Note("a number")]


ClientMessage = (
    Open | Attach | Take | Run | Shell | Resize | Signal | Eof | Kill | Ack | Extend | Close | Ping
)


# --- server to client ---------------------------------------------------------------------------------


class Expiry(Part, frozen=True):
    """`idle_ms` is None while nothing counts as idle (a program lives)."""

    idle_ms: Count | None
    total_ms: Count


class Isolation(Part, frozen=True):
    """What a session's programs are separated by."""

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
    """The greeting. `limits` has at least `text_bytes`, `first_text_bytes`, `payload_bytes`, `window_bytes`,
    `input_window_bytes`, `journal_bytes`, `channels`, `files`, `file_bytes`, `resume_ms`, `view_ms`.
    """

    protocol: Word
    server: Word
    environment: Word
    limits: Annotated[dict[Word, Count], at_most(64)]
    features: Annotated[tuple[Word, ...], at_most(64)]
    keepalive_s: Count


class Queued(Message, frozen=True, tag="queued"):
    """The place in the queue, again whenever the position changes. A socket lost while queued keeps its
    place for 10 seconds, for the same `nonce`. At the deadline: `error queue_timeout`.
    """

    position: Annotated[Count, Note("1 is next")]
    ahead: Count
    eta_ms: Annotated[Count | None, Note("null when unknown")]
    deadline_ms: Count


class Opened(Message, frozen=True, tag="opened"):
    """The session is there, and this attachment controls it. The last three where it has a group."""

    session: Id
    token: Secret
    language: Word
    warm: Annotated[bool, Note("a waiting container was used")]
    expires: Expiry
    isolation: Isolation
    timings_ms: Annotated[dict[Word, Number], at_most(64), Note("`queue`, `provision`, …")]
    group: Id | None = None
    group_token: Secret | None = None
    member: Word | None = None


class Attached(Message, frozen=True, tag="attached"):
    """This socket is bound to the session. Of a channel, `from` and `to` tell the output that can still be
    had, `input_offset` the next input byte that the server expects.
    """

    session: Id
    role: Roles
    channels: Annotated[tuple[ChannelView, ...], at_most(65536)]
    expires: Expiry


class Role(Message, frozen=True, tag="role"):
    """The control changed hands; sent to both, and to who takes it while nobody has it."""

    role: Roles
    input_offsets: Offsets


class State(Message, frozen=True, tag="state"):
    """`exited` is sent the moment the process tree is gone, whatever output is still on its way."""

    channel: Channel
    phase: Phases
    offset: Annotated[Offset, Note("where the phase began")]


class Stopped(Message, frozen=True, tag="stopped"):
    """The program stands still, and its limits go on: `by` is the signal that stopped it (`STOP`, `TSTP` as
    by Ctrl-Z, `TTIN`, `TTOU`), or `output` where its terminal holds its output back (Ctrl-S); null: it
    goes on. `signal` with `CONT` has it go on, whichever it was. Told when it lasts longer than 0.1 s,
    and to who attaches.
    """

    channel: Channel
    by: Annotated[str, one_of(STOPPED_BY)] | None


class InAck(Message, frozen=True, tag="in_ack"):
    """Every input byte below `offset` reached the program's terminal or pipe."""

    channel: Channel
    offset: Offset


class Gap(Message, frozen=True, tag="gap"):
    """Bytes that this attachment will never get. For a terminal `restore` holds the escape sequences of the
    modes in force (alternate screen, cursor, mouse, paste, …): the client resets its terminal and applies
    it, and the server has the program repaint.
    """

    channel: Channel
    from_: Offset = field(name="from")
    to: Offset
    restore: Line | None = None


class Resized(Message, frozen=True, tag="resized"):
    """Never answered with a `resize`."""

    channel: Channel
    cols: Cell
    rows: Cell


class Diagnostics(Message, frozen=True, tag="diagnostics"):
    """Problems that the compiler or the failed program named, all of the channel so far; below."""

    channel: Channel
    items: Annotated[tuple[Diagnostic, ...], at_most(10_000)]


class Artifact(Message, frozen=True, tag="artifact"):
    """The program has written a file to look at; again when it has changed. Below."""

    channel: Channel
    path: Path
    mime: Word
    size: Count
    url: Annotated[str, text(4096)]


class Workspace(Message, frozen=True, tag="workspace"):
    """Files have changed; which, `GET /files` tells. At most four a second; only the latest is kept for a
    slow client. `revision` only grows. An attachment is told the present one.
    """

    revision: Count


class Exit(Message, frozen=True, tag="exit"):
    """How the program ended, behind its last output byte: below."""

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
    """`idle_ms` is null while nothing counts as idle."""

    idle_ms: Count | None
    total_ms: Count


class Notice(Message, frozen=True, tag="notice"):
    """For people. Codes: `idle_warning`, `lifetime_warning`, `artifact_limit`, `evicted` (why, before
    `closed`); others may come.
    """

    code: Word
    message: Line


class Closed(Message, frozen=True, tag="closed"):
    """The session is over. It comes last, behind the output and the `exit` that the client still took; a
    close frame follows.
    """

    reason: Annotated[str, one_of(CLOSED_REASONS)]


class ErrorMessage(Message, frozen=True, tag="error"):
    """See the table of codes."""

    code: Word
    message: Line
    retryable: bool
    channel: Channel | None = None
    retry_after_ms: Count | None = None
    expected: Offset | None = None

    @classmethod
    def of(cls, error: CodeRunnerError) -> ErrorMessage:
        """The message that tells a client of an error."""
        return cls(
            code=error.code,
            message=error.message,
            retryable=error.retryable,
            channel=error.channel,
            retry_after_ms=error.retry_after_ms,
            expected=error.expected,
        )


class Pong(Message, frozen=True, tag="pong"):
    """The `t` of the `ping`."""

    t: Number


ServerMessage = (
    Hello | Queued | Opened | Attached | Role | State | Stopped | InAck | Gap | Resized | Diagnostics
    | Artifact | Workspace | Exit | Expires | Notice | Closed | ErrorMessage | Pong
)  # fmt: skip
