"""What the routes below `/api/rooms/` answer (teachers and operators)."""

from __future__ import annotations

from msgspec import Struct


class Tile(Struct, frozen=True, kw_only=True):
    """A session on the wall of its room.

    `name`, `owner`: the name and the principal of who opened it. `state`: `running` (a program runs), `idle`,
    or `away` (nobody of its own is attached). `opened`: seconds since 1970. `text`: the last lines of the
    newest program's output, as plain text; at most 12 lines of 80 characters.
    """

    session: str
    name: str
    owner: str | None
    language: str
    opened: float
    state: str
    text: str


class Tiles(Struct, frozen=True):
    """The event `tiles` of a wall: the tiles that have changed, and the sessions that are gone."""

    tiles: tuple[Tile, ...]
    gone: tuple[str, ...]
