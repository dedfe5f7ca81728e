"""The messages from client to server. Their docstrings become rows of docs/protocol.md (`schema.write`)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta
from msgspec.structs import force_setattr

from coderunner.schema.check import Problems
from coderunner.schema.parts import (
    MAX_CELLS,
    MIN_CELLS,
    NETWORKS,
    Files,
    Message,
    Modes,
    Offsets,
    Roles,
    Signals,
    Size,
    WantedLimits,
)
from coderunner.schema.types import (
    Channel,
    EnvName,
    HostName,
    Id,
    Note,
    Number,
    Offset,
    Path,
    Random,
    Room,
    Secret,
    at_most,
    one_of,
    text,
)


class Open(Message, frozen=True, tag="open"):
    """Requests a new session. Repeating it with the same `nonce`, principal and client within a minute gives
    the same session. With `network: "group"` the session joins a private network: [groups](#groups).
    `room`: a room of the caller's, whose teachers may watch; without it the only one that the caller has.
    """

    language: Annotated[str, text(64, minimum=1)]  # whether it exists is checked later, with a better message
    client: Random
    nonce: Random | None = None
    files: Files = ()
    limits: WantedLimits = {}
    network: Annotated[str, one_of(NETWORKS)] = "none"
    group: Id | None = None
    group_token: Secret | None = None
    member: HostName | None = None
    record: bool = False  # reserved, and refused as unsupported
    room: Room | None = None


class Attach(Message, frozen=True, tag="attach"):
    """Binds this socket to a live session. `cursors` maps channels to offsets below which everything was
    received: output continues from there; a channel without one is replayed from the beginning of its
    journal. `role` may only lower what the token grants. With `control` (the default of such a token) it
    takes over the control, and the previous holder becomes `watch`. With `token` null the caller's credential
    must be that of a teacher of the session's room, who watches first.
    """

    session: Id
    token: Secret | None
    client: Random
    role: Roles | None = None
    cursors: Offsets = {}


class Take(Message, frozen=True, tag="take"):
    """Gives this attachment the control, if its token allows; the previous holder becomes `watch`. A guest
    gets `notice take_asked`, and the control when the owner has agreed, unless its token need not ask. A
    teacher of the room says why with `word`, which the owner is shown.
    """

    word: Annotated[str, text(200)] = ""


class Give(Message, frozen=True, tag="give"):
    """Hands the control back: to the owner's attachment that had it last, or to another of the owner's."""


class Run(Message, frozen=True, tag="run"):
    """Writes the files (adding or replacing), compiles if the language needs it, and runs the program.
    `stdin` is the path of a file in the workspace that becomes its standard input;
    error `no_file` if it does not exist.
    """

    channel: Channel
    mode: Modes
    files: Files = ()
    entry: Path | None = None
    # NUL is refused in `__post_init__` and not by a pattern: msgspec would match the pattern against every
    # element of a far too long list before it checks the length.
    args: Annotated[tuple[Annotated[str, Meta(max_length=65536)], ...], at_most(1024)] = ()
    env: Annotated[dict[EnvName, Annotated[str, Meta(max_length=32768)]], at_most(256)] = {}
    cols: Size | None = None
    rows: Size | None = None
    limits: WantedLimits = {}
    stdin: Annotated[str, text(1024, minimum=1)] | None = None

    def __post_init__(self) -> None:
        held = [f"args[{index}]" for index, word in enumerate(self.args) if "\0" in word]
        held += [f"env.{name}" for name, word in self.env.items() if "\0" in word]
        if held:
            raise Problems(*((name, "must not hold a NUL") for name in held))
        _clamp(self, self.cols, self.rows)


class Shell(Message, frozen=True, tag="shell"):
    """Starts an interactive shell in the same container; with `repl: true` the language's own prompt, which
    loads the file `entry` if it exists and the language supports that.
    `GET /api/languages` tells which have a prompt.
    """

    channel: Channel
    cols: Size
    rows: Size
    repl: bool = False
    entry: Path | None = None

    def __post_init__(self) -> None:
        _clamp(self, self.cols, self.rows)


class Resize(Message, frozen=True, tag="resize"):
    """Sets the terminal's size. Sizes in any message are clamped to 2–1000."""

    channel: Channel
    cols: Size
    rows: Size

    def __post_init__(self) -> None:
        _clamp(self, self.cols, self.rows)


def _clamp(message: Run | Shell | Resize, cols: int | None, rows: int | None) -> None:
    """Replaces sizes out of range by the nearest valid ones.

    They are not refused: a page computes them from its layout, and a program must not fail to start for it.
    """
    if cols is not None and not MIN_CELLS <= cols <= MAX_CELLS:
        force_setattr(message, "cols", min(max(cols, MIN_CELLS), MAX_CELLS))
    if rows is not None and not MIN_CELLS <= rows <= MAX_CELLS:
        force_setattr(message, "rows", min(max(rows, MIN_CELLS), MAX_CELLS))


class Signal(Message, frozen=True, tag="signal"):
    """Sends a signal to the foreground process group. Clients must not repeat it after a lost connection, as
    it may have been delivered."""

    channel: Channel
    name: Signals


# With an offset, so that a repetition cannot close stdin before input that is still to be sent again.
class Eof(Message, frozen=True, tag="eof"):
    """In `pipe` mode: closes stdin after the input below `offset`; may be repeated. On a terminal, send byte
    04 as input instead.
    """

    channel: Channel
    offset: Offset


class Kill(Message, frozen=True, tag="kill"):
    """Kills the channel's whole process tree."""

    channel: Channel


class Ack(Message, frozen=True, tag="ack"):
    """Confirms that every output byte below `offset` was consumed; with `exit: true` the channel's `exit` as
    well. An `offset` beyond what was sent is ignored and answered with `error ack_ahead`.
    """

    channel: Channel
    offset: Offset
    exit: bool = False


class Extend(Message, frozen=True, tag="extend"):
    """Restarts the idle time; answered with `expires`."""


class Answer(Message, frozen=True, tag="answer"):
    """The owner's answer to a guest that asks for the control: `who` is its name in `people`."""

    who: Id
    allow: bool


class RaiseHand(Message, frozen=True, tag="raise_hand"):
    """Raises the hand of a session's owner, which the teachers of its room see on their wall, or lowers it
    (`up: false`), as a teacher may, too. All are told by `hand`. Error `unsupported` without a room.
    """

    up: bool


class Close(Message, frozen=True, tag="close"):
    """Ends the session, or leaves the queue."""


class Ping(Message, frozen=True, tag="ping"):
    """Answered with `pong`."""

    t: Annotated[Number, Note("a number")]


ClientMessage = (
    Open
    | Attach
    | Take
    | Give
    | Run
    | Shell
    | Resize
    | Signal
    | Eof
    | Kill
    | Ack
    | Extend
    | Answer
    | RaiseHand
    | Close
    | Ping
)
