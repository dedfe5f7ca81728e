"""The messages from server to client. Their docstrings become rows of docs/protocol.md (`schema.write`)."""

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
    """Milliseconds until the session ends. `idle_ms`: without input; None while a program runs, as no time
    counts as idle then. `total_ms`: in any case."""

    idle_ms: Count | None
    total_ms: Count


class Isolation(Part, frozen=True):
    """How a session is isolated: the container runtime, and the kind of network."""

    runtime: Word
    network: Word


class ChannelView(Part, frozen=True):
    """A channel in `attached`. `from_` to `to`: the output that is still available, as far as the server
    knows; what has gone meanwhile a `gap` tells. `input_offset`: the next input byte that the server
    expects."""

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
    """What a program used; a value that could not be measured is None."""

    wall_ms: Count | None
    cpu_ms: Count | None
    memory_peak_bytes: Count | None
    output_bytes: Count | None


class Diagnostic(Part, frozen=True):
    """A problem in a file. `path`: in the workspace. `line`, `column`: from 1; a column of 0 is unknown."""

    path: Path
    line: Count
    column: Count
    severity: Annotated[str, one_of(SEVERITIES)]
    message: Line


class QuotaLeft(Part, frozen=True):
    """What is left of a quota: `remaining` `of` a `kind` (`runs`; `cpu` in seconds; `output` in bytes) in a
    period of `seconds`. `reset_s`: seconds until the next period begins."""

    kind: Word
    of: Count
    remaining: Count
    seconds: Count
    reset_s: Count


class Hello(Message, frozen=True, tag="hello"):
    """The first message of a connection. `limits` has at least `text_bytes`, `first_text_bytes`,
    `payload_bytes`, `window_bytes`, `input_window_bytes`, `journal_bytes`, `channels`, `files`,
    `file_bytes`, `resume_ms`, `view_ms`. `quotas`: what is left of those that the caller has.
    """

    protocol: Word
    server: Word
    environment: Word
    limits: Annotated[dict[Word, Count], at_most(64)]
    features: Annotated[tuple[Word, ...], at_most(64)]
    keepalive_s: Count
    quotas: Annotated[tuple[QuotaLeft, ...], at_most(16)] = ()


class Quotas(Message, frozen=True, tag="quotas"):
    """What is left of the quotas of whose session it is; sent to the control when a program begins or
    ends."""

    quotas: Annotated[tuple[QuotaLeft, ...], at_most(16)]


class Queued(Message, frozen=True, tag="queued"):
    """The place in the queue; sent again whenever it changes. If the connection is lost, the place is kept
    for 10 seconds, for an `open` with the same `nonce`. At the deadline: `error queue_timeout`.
    """

    position: Annotated[Count, Note("1 is next")]
    ahead: Count
    eta_ms: Annotated[Count | None, Note("null when unknown")]
    deadline_ms: Count


class Opened(Message, frozen=True, tag="opened"):
    """The session has started, and this attachment has the control.
    The last three fields are for sessions with a group."""

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
    """This socket is bound to the session. For each channel, `from` and `to` tell the output that is still
    available, as far as the server knows; a `gap` tells what has gone. `input_offset`: the next input byte
    that the server expects.
    """

    session: Id
    role: Roles
    channels: Annotated[tuple[ChannelView, ...], at_most(65536)]  # a channel's number has 16 bits
    expires: Expiry


class Role(Message, frozen=True, tag="role"):
    """The control was handed over; sent to both attachments, or to the new holder alone if it was free."""

    role: Roles
    input_offsets: Offsets


class Person(Part, frozen=True):
    """Somebody who is attached. `who`: names this attachment; `name`: of a guest's token or a
    teacher, empty for an owner. `asks`: whether it waits for an answer to its `take`.
    """

    who: Id
    name: Word
    role: Roles
    owner: bool
    asks: bool


class People(Message, frozen=True, tag="people"):
    """Who is attached; sent to the owner's attachments when it changes, if there are guests."""

    people: Annotated[tuple[Person, ...], at_most(256)]


class State(Message, frozen=True, tag="state"):
    """The channel's phase. `exited` is sent as soon as the process tree has ended,
    even if output is still to come."""

    channel: Channel
    phase: Phases
    offset: Annotated[Offset, Note("where the phase began")]


class Stopped(Message, frozen=True, tag="stopped"):
    """The program is stopped, while its time limits continue: `by` is the signal that stopped it (`STOP`,
    `TSTP` as by Ctrl-Z, `TTIN`, `TTOU`), or `output` if its terminal is held (Ctrl-S); null: it continues. A
    `signal` `CONT` continues it in all cases.
    Sent if the stop lasts longer than 0.1 s, and to new attachments.
    """

    channel: Channel
    by: Annotated[str, one_of(STOPPED_BY)] | None


class InAck(Message, frozen=True, tag="in_ack"):
    """Every input byte below `offset` reached the program's terminal or pipe."""

    channel: Channel
    offset: Offset


class Gap(Message, frozen=True, tag="gap"):
    """A range of output that this attachment will never receive. For a terminal, `restore` holds the escape
    sequences of the modes in force (alternate screen, cursor, mouse, paste, …): the client resets its
    terminal and applies them, and the server makes the program repaint.
    """

    channel: Channel
    from_: Offset = field(name="from")
    to: Offset
    restore: Line | None = None


class Resized(Message, frozen=True, tag="resized"):
    """The terminal has a new size. Never answered with a `resize`."""

    # Two clients with different windows would otherwise resize it in turns, endlessly.
    channel: Channel
    cols: Cell
    rows: Cell


class Diagnostics(Message, frozen=True, tag="diagnostics"):
    """All problems that the compiler or the failed program has reported in this channel so far; see below."""

    channel: Channel
    items: Annotated[tuple[Diagnostic, ...], at_most(10_000)]


class Artifact(Message, frozen=True, tag="artifact"):
    """The program has written a file that can be displayed; sent again when it has changed; see below."""

    channel: Channel
    path: Path
    mime: Word
    size: Count
    url: Annotated[str, text(4096)]


class Workspace(Message, frozen=True, tag="workspace"):
    """Files of the workspace have changed; `GET /files` lists them. At most four a second, and a slow client
    gets only the latest. `revision` only increases. A new attachment is sent the present one.
    """

    revision: Count


# The shared fields are repeated in `answers.ExitView` and `api.RunExit`, which are documents of their own.
class Exit(Message, frozen=True, tag="exit"):
    """How the program ended; sent after its last output byte; see below."""

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
    compile_usage: Usage | None = None


class Expires(Message, frozen=True, tag="expires"):
    """Milliseconds until the session ends. `idle_ms` is null while a program runs."""

    idle_ms: Count | None
    total_ms: Count


class Notice(Message, frozen=True, tag="notice"):
    """A text for the user. Codes: `idle_warning`, `lifetime_warning`, `artifact_limit`, `evicted` (the
    reason, before `closed`), `operator` (words of the server's operator), `teacher` (words of a teacher of
    the session's room, after the teacher's name), `watched` and `unwatched` (the operator or a teacher has
    begun to watch this session, or has stopped), `taken_over` and `handed_back` (a teacher has taken the
    control, with a word, or has given it back), `handed_out` and `collected` (a teacher of the room has put
    files into a folder of the workspace, or has taken all files), `quota_exceeded`; others may be added.
    """

    code: Word
    message: Line


class Hand(Message, frozen=True, tag="hand"):
    """Whether the hand is raised: after `opened` and `attached` in a session that belongs to a room, and when
    it changes."""

    up: bool


class Closed(Message, frozen=True, tag="closed"):
    """The session has ended. The last message, after the output and the `exit` that the client still
    received; a close frame follows.
    """

    reason: Annotated[str, one_of(CLOSED_REASONS)]


class ErrorMessage(Message, frozen=True, tag="error"):
    """An error; see the table of codes."""

    code: Word
    message: Line
    retryable: bool
    channel: Channel | None = None
    retry_after_ms: Count | None = None
    expected: Offset | None = None

    @classmethod
    def of(cls, error: CodeRunnerError) -> ErrorMessage:
        """The message for `error`."""
        return cls(
            code=error.code,
            message=error.message,
            retryable=error.retryable,
            channel=error.channel,
            retry_after_ms=error.retry_after_ms,
            expected=error.expected,
        )


class Pong(Message, frozen=True, tag="pong"):
    """The answer to `ping`, with its `t`."""

    t: Number


ServerMessage = (
    Hello | Queued | Opened | Attached | Role | People | State | Stopped | InAck | Gap | Resized | Diagnostics
    | Artifact | Workspace | Exit | Expires | Notice | Hand | Closed | ErrorMessage | Pong | Quotas
)  # fmt: skip
