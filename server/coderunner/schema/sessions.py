"""Models of the requests and answers below `/api/sessions` that do what a WebSocket does. The docstrings
appear at `/api/docs`.

What a program is to be is the message of the protocol of the same name (`schema.client_messages`).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import UNSET, Meta, Struct, UnsetType

from coderunner.schema import messages as m
from coderunner.schema.check import Problems
from coderunner.schema.types import Channel, HostName, Id, Offset, Room, Secret, matching, one_of, text, whole

MAX_INPUT = 64 * 1024
"""Bytes of input of one request: a channel's window takes no more."""
MAX_MARK = 2048
"""Characters of an event's id."""
MARK = r"[A-Za-z0-9_-]{1,32}[.][0-9]{1,15}[.][0-9:,x-]{0,1900}"
"""The pattern of an event's id: an attachment, a number, and the position in each channel."""

# --- bodies -----------------------------------------------------------------------------------------------


class SessionRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """`POST /api/sessions`: the fields of the message `open`, without `client`, `nonce` and `record`."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"language": "python"}

    language: Annotated[str, text(64, minimum=1)]
    files: m.Files = ()
    limits: m.WantedLimits = {}
    network: Annotated[str, one_of(m.NETWORKS)] = "none"
    group: Id | None = None
    group_token: Secret | None = None
    member: HostName | None = None
    room: Room | None = None


class ProgramRequest(m.Run, frozen=True, tag=False, forbid_unknown_fields=True):
    """`POST .../run`: the message `run`. A channel's number is used once: repeating the request starts
    nothing."""


class ShellRequest(m.Shell, frozen=True, tag=False, forbid_unknown_fields=True):
    """`POST .../shell`: the message `shell`."""


class InputRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST .../input`: bytes for a program. `offset`: of the first in all input of the channel. What was
    sent before is dropped, so that a request may be repeated. `eof`: closes standard input behind them (in
    the mode `pipe`)."""

    RULES: ClassVar[dict[str, Any]] = {
        "anyOf": [{"properties": {name: {"type": "null"}}} for name in ("text", "base64")]
    }
    channel: Channel
    offset: Offset
    text: Annotated[str, Meta(max_length=MAX_INPUT)] | None = None
    base64: Annotated[bytes, Meta(max_length=MAX_INPUT)] | None = None
    eof: bool = False

    def __post_init__(self) -> None:
        if self.text is not None and self.base64 is not None:
            raise Problems(("text", "must not be given together with base64"))
        if len(self.data) > MAX_INPUT:
            raise Problems(("text", f"must have at most {MAX_INPUT} bytes in UTF-8"))

    @property
    def data(self) -> bytes:
        """The bytes."""
        return self.base64 or (self.text or "").encode("utf-8", "surrogatepass")


class ResizeRequest(m.Resize, frozen=True, tag=False, forbid_unknown_fields=True):
    """`POST .../resize`: the message `resize`."""


class SignalRequest(m.Signal, frozen=True, tag=False, forbid_unknown_fields=True):
    """`POST .../signal`: the message `signal`. It must not be repeated when the answer was lost."""


class KillRequest(m.Kill, frozen=True, tag=False, forbid_unknown_fields=True):
    """`POST .../kill`: the message `kill`."""


# --- queries ----------------------------------------------------------------------------------------------

_SECONDS = matching("[0-9]|[1-5][0-9]|60", "a whole number of seconds from 0 to 60")
Client = Annotated[str, matching(r"[A-Za-z0-9_-]{1,64}", "1 to 64 of A-Z a-z 0-9 _ -")]


class OpenQuery(Struct, frozen=True):
    """`POST /api/sessions`. `wait`: seconds to wait for a place, 0 to 60."""

    wait: Annotated[str, _SECONDS] = "30"


class ClientQuery(Struct, frozen=True):
    """`client`: which of several callers with the same token this one is; each has its own position in the
    output."""

    client: Client = "0"


class EventsQuery(ClientQuery, frozen=True):
    """`GET .../events`. `after`: the id of the last event that was received, as `Last-Event-ID`. It confirms
    all events up to this one. `wait`: seconds to wait for the first event, 0 to 60."""

    after: Annotated[str, matching(f"(?:{MARK})?", "the id of an event of this session")] = ""
    wait: Annotated[str, _SECONDS] = "0"


# --- answers ----------------------------------------------------------------------------------------------


class SessionQueued(Struct, frozen=True):
    """The session waits for a place: the fields of the message `queued`. `key`: sent as `Idempotency-Key` of
    the same request within ten seconds, it keeps the place."""

    status: Annotated[str, one_of(("queued",))]
    key: str
    position: int | None
    ahead: int | None
    eta_ms: int | None
    deadline_ms: int | None


class SessionRow(Struct, frozen=True):
    """A session that the caller may see. `opened`: seconds since 1970. `attached`: how many clients it has.
    `room`: whose teachers may watch. `own`: whether the caller has opened it. `name`: of who has."""

    session: str
    language: str
    opened: float
    expires: m.Expiry
    attached: int
    room: str | None = None
    own: bool = True
    name: str = ""


class SessionList(Struct, frozen=True):
    """`GET /api/sessions`: of a credential all sessions that it has opened, of a teacher also those of
    its rooms, of an operator all; of a session's token this one."""

    sessions: tuple[SessionRow, ...]


class SessionEnded(Struct, frozen=True):
    """`DELETE /api/sessions/{session}`. What its programs printed can be read for half a minute."""

    session: str


class Acted(Struct, frozen=True, omit_defaults=True):
    """The state of a channel after a request. `phase` is null where it has none (any more).
    `input_offset`: of the next byte of input; up to `in_ack` the program has taken it."""

    role: m.Roles
    expires: m.Expiry
    channel: Annotated[int, whole(0, 65535)] | UnsetType = UNSET
    phase: m.Phases | UnsetType | None = UNSET
    input_offset: int | UnsetType = UNSET
    in_ack: int | UnsetType = UNSET


class SessionEvent(Struct, frozen=True):
    """An event. `data`: a message of the server as in docs/protocol.md, with its `type`; or `output` with
    `channel`, `stream` (`stdout`, `stderr`), `offset`, and `text` or `text_base64`."""

    id: str
    data: dict[str, Any]


class SessionEvents(Struct, frozen=True):
    """`GET .../events`. `last`: the id for the next request's `after`. `over`: nothing comes any more."""

    events: tuple[SessionEvent, ...]
    last: str
    over: bool
