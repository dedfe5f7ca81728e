"""What the routes below `/api/rooms/` answer (teachers and operators)."""

from __future__ import annotations

from msgspec import Struct

from coderunner.schema.admin import Words


class Tile(Struct, frozen=True, kw_only=True):
    """A session on the wall of its room.

    `name`, `owner`: the name and the principal of who opened it. `state`: `running` (a program runs), `idle`,
    or `away` (nobody of its own is attached). `opened`: seconds since 1970. `text`: the last lines of the
    newest program's output, as plain text; at most 12 lines of 80 characters. `hand`: since when its hand is
    raised, in seconds since 1970, or null.
    """

    session: str
    name: str
    owner: str | None
    language: str
    opened: float
    state: str
    text: str
    hand: float | None


class Tiles(Struct, frozen=True):
    """The event `tiles` of a wall: the tiles that have changed, and the sessions that are gone."""

    tiles: tuple[Tile, ...]
    gone: tuple[str, ...]


class Tell(Struct, frozen=True):
    """`POST .../notices`. `text`: is shown to everybody who is attached, after the teacher's name. `session`:
    the only one that is told; null for all of the room."""

    text: Words
    session: str | None = None


class Told(Struct, frozen=True):
    """How many sessions of the room were told, and how many clients in them."""

    sessions: int
    attachments: int


class HandLowered(Struct, frozen=True):
    """The hand of this session is down."""

    session: str


class HandOutQuery(Struct, frozen=True):
    """`PUT .../project`. `into`: the folder of the workspaces that the files are put into."""

    into: str


class HandedOut(Struct, frozen=True):
    """What has come of a project that was handed out to a session. `error`: why the session has not all of
    it, or null."""

    session: str
    name: str
    error: str | None


class HandedOuts(Struct, frozen=True):
    """The answer to `PUT .../project`. `files`: how many each session was given."""

    files: int
    sessions: tuple[HandedOut, ...]
