"""A room's wall: small pictures of the terminals of all its sessions, for its teachers and for operators.

Whoever has a wall open watches all sessions of the room: their users are told, as of everybody who watches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coderunner.core.tile import LOOKED_AT, tile
from coderunner.errors import NotAllowed
from coderunner.identity.principal import OPERATOR, Principal
from coderunner.schema.rooms import Tile, Tiles
from coderunner.sessions.channel import Channel
from coderunner.sessions.overseers import OPERATOR as THE_OPERATOR
from coderunner.sessions.session import Session

if TYPE_CHECKING:
    from coderunner.fleet.registry import Registry

MAX_TILES = 100  # of a wall; raised hands first, then the oldest sessions


def require_teacher(who: Principal, room: str) -> None:
    """Raises NotAllowed for who is neither a teacher of `room` nor an operator: in the same words for a room
    that does not exist, one of which `who` is no teacher, and one that is another's."""
    if not who.teaches(room) and not (OPERATOR in who.roles and who.may("operate")):
        raise NotAllowed("this credential is not that of a teacher of this room")


def in_words(who: Principal, room: str) -> str:
    """A teacher or an operator of the room, in words for its sessions' users."""
    return f"{who.name}, a teacher of {room}" if who.teaches(room) else THE_OPERATOR


def sessions_of(registry: Registry, room: str) -> list[Session]:
    """The live sessions of a room, the oldest first."""
    live = [one for one in registry.sessions.values() if one.record.room == room and not one.over]
    return sorted(live, key=lambda one: one.record.opened)


@dataclass(slots=True)
class _Shown:
    """What was sent of a session. `seen`: from what its tile was made, so that it is made again only after a
    change."""

    session: Session
    seen: object
    tile: Tile


class Wall:
    """One open wall. `who`: looks at it. Raises NotAllowed as `require_teacher`. To be closed by `close`."""

    def __init__(self, registry: Registry, who: Principal, room: str) -> None:
        require_teacher(who, room)
        self._registry = registry
        self._room = room
        self._words = in_words(who, room)
        self._shown: dict[str, _Shown] = {}

    def changes(self) -> Tiles:
        """The tiles that are new or other than before, and the sessions that are gone."""
        live = sessions_of(self._registry, self._room)
        if len(live) > MAX_TILES:
            # Stable. A hand that is raised behind the last tile would wait for ever.
            live = sorted(live, key=lambda one: one.hand.since is None)[:MAX_TILES]
        here = {one.id: one for one in live}
        # Also where one was adopted again after a fault: another object, whose users were not told.
        gone = [name for name, shown in self._shown.items() if here.get(name) is not shown.session]
        for name in gone:
            self._shown.pop(name).session.overseers.unlook(self._words)
        made = [changed for one in live if (changed := self._changed(one)) is not None]
        return Tiles(tuple(made), tuple(name for name in gone if name not in here))

    def _changed(self, session: Session) -> Tile | None:
        before = self._shown.get(session.id)
        channel = _newest(session)
        seen = (
            _state(session),
            session.hand.since,
            None if channel is None else (channel.number, channel.cache.end, channel.cache.start),
        )
        if before is not None and before.seen == seen:
            return None
        made = Tile(
            session=session.id,
            name=session.record.name,
            owner=session.record.principal,
            language=session.language.name,
            opened=session.record.opened,
            state=_state(session),
            text="" if channel is None else _text(channel),
            hand=session.hand.since,
        )
        if before is None:
            session.overseers.look(self._words)
        self._shown[session.id] = _Shown(session, seen, made)
        return made if before is None or before.tile != made else None

    def close(self) -> None:
        """Nobody looks at it any longer."""
        for shown in self._shown.values():
            shown.session.overseers.unlook(self._words)
        self._shown.clear()


def _newest(session: Session) -> Channel | None:
    """The channel to be shown: the one that began last of those whose program runs, or of all."""
    found = None
    for channel in session.channels.values():
        if found is None or channel.exit is None or found.exit is not None:
            found = channel
    return found


def _state(session: Session) -> str:
    if not any(one.overseer is None for one in session.channels.attachments):
        return "away"
    return "running" if session.channels.busy else "idle"


def _text(channel: Channel) -> str:
    cache = channel.cache
    data = bytearray()
    at = max(cache.start, cache.end - LOOKED_AT)
    # In pieces of one stream each; both are shown in the order in which they were written.
    while at < cache.end:
        _, piece = cache.read(at, cache.end - at)
        data += piece
        at += len(piece)
    return tile(bytes(data))
