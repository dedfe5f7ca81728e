"""What a client says: the messages from client to server."""

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
    Secret,
    at_most,
    one_of,
    text,
)


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
