"""What the server says: the messages from server to client."""

from __future__ import annotations

from typing import Annotated

from msgspec import field

from coderunner.errors import CodeRunnerError
from coderunner.schema.parts import (
    CLOSED_REASONS,
    LIMITS_HIT,
    REASONS,
    SEVERITIES,
    STOPPED_BY,
    Message,
    Modes,
    Offsets,
    Part,
    Phases,
    Roles,
)
from coderunner.schema.types import (
    Cell,
    Channel,
    Count,
    Id,
    Line,
    Note,
    Number,
    Offset,
    Path,
    Secret,
    Word,
    at_most,
    one_of,
    text,
    whole,
)


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
    hints: Annotated[tuple[Line, ...], at_most(8)] = ()


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
