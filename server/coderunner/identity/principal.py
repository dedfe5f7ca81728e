"""Principals: the users and programs whose requests the server can distinguish."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from coderunner.errors import NotAllowed, Unauthenticated
from coderunner.schema.types import MAX_ROOMS, SCOPES

USER, TEACHER, OPERATOR = "user", "teacher", "operator"
ROLES = (USER, TEACHER, OPERATOR)
_OF_ROLE = {
    USER: frozenset(("session", "run")),
    TEACHER: frozenset(("session", "run")),
    OPERATOR: frozenset(SCOPES),
}
# The column `principal` has 256 characters, and the longest prefix is `proxy:`. Providers' identifiers have
# at most 255 characters (OpenID Connect Core, section 2), in practice a UUID or a number.
MAX_SUBJECT = 248  # characters of the identifier without its prefix
MAX_NAME = 100  # characters of a name; longer ones are cut
_ROOM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Principal:
    """The identity behind a request.

    `subject`: the identifier, which begins with the kind of credential (`key:`, `oidc:`), so that it is
    unique over all kinds; None for an unknown caller. `name`: for display only, never for decisions. `roles`:
    of ROLES; empty if nothing is allowed. `rooms`: courses or teams that it belongs to. `scopes`: restricts
    the scopes of its roles, None for all of them. `how`: the kind of its credential. `until`: when that
    expires, in seconds since 1970; None if it does not, and for a key, as the key ring has its end.
    `sign_in`: the id of its sign-in to the page, by which that can be ended.
    """

    subject: str | None = None
    name: str = ""
    roles: frozenset[str] = frozenset()
    rooms: frozenset[str] = frozenset()
    scopes: frozenset[str] | None = None
    how: str = "none"
    until: float | None = None
    sign_in: str | None = None

    @property
    def known(self) -> bool:
        """Whether it has shown a credential."""
        return self.subject is not None

    def may(self, scope: str) -> bool:
        """Whether its roles and its credential allow `scope`, one of SCOPES."""
        allowed = any(scope in _OF_ROLE[role] for role in self.roles)
        return allowed and (self.scopes is None or scope in self.scopes)

    def require(self, scope: str) -> None:
        """Raises Unauthenticated if an unknown caller lacks `scope`, NotAllowed if a known one does."""
        if self.may(scope):
            return
        if not self.known:
            raise Unauthenticated(
                "this server needs a credential for this: sign in, or send a key or token as"
                " `Authorization: Bearer`"
            )
        raise NotAllowed(
            f"this credential does not allow {_MEANINGS[scope]}; ask the operator for one that does"
        )

    def owns(self, owner: str | None) -> bool:
        """Whether it is the principal `owner`. What an unknown caller has made has the owner None, and is
        accessible by its token only."""
        return self.subject is not None and owner == self.subject

    def sees(self, owner: str | None, room: str | None) -> bool:
        """Whether it may see a session of the principal `owner` in `room`: its own, those of its rooms as a
        teacher, all as an operator. For everybody else such a session is like one that does not exist."""
        if self.owns(owner):
            return True
        return (OPERATOR in self.roles and self.may("operate")) or self.teaches(room)

    def teaches(self, room: str | None) -> bool:
        """Whether it is a teacher of `room`; False for None."""
        # Restricted by scopes, too: a key with the scope `metrics` only must not see sessions.
        return TEACHER in self.roles and room is not None and room in self.rooms and self.may("session")

    def room(self, wanted: str | None) -> str | None:
        """The room of a session that it opens: `wanted`, or its only room; None if it has none or several.
        Raises NotAllowed for a room that is not its own, whether that exists or not."""
        if wanted is None:
            return next(iter(self.rooms)) if len(self.rooms) == 1 else None
        if wanted not in self.rooms:
            raise NotAllowed("this credential does not belong to this room")
        return wanted


_MEANINGS = {
    "session": "sessions",
    "run": "runs over HTTP",
    "metrics": "reading the metrics",
    "operate": "what only operators may",
}
NOBODY = Principal()
"""A caller without a credential on a server that requires one."""
ANONYMOUS = Principal(roles=frozenset((USER,)))
"""A caller without a credential on a server that requires none."""
ADMIN = Principal(subject="admin", name="admin", roles=frozenset((USER, OPERATOR)), how="admin_key")
"""A caller with ADMIN_KEY."""
HERE = Principal(subject="here", name="here", roles=frozenset((USER, OPERATOR)), how="here")
"""A caller on the server's machine, in development without ADMIN_KEY: an operator."""


def subject_of(how: str, given: object) -> str:
    """The identifier `how:given`. Raises ValueError if `given` is empty, too long or not printable."""
    if not isinstance(given, str) or not 0 < len(given) <= MAX_SUBJECT or not given.isprintable():
        raise ValueError(f"the subject must be 1 to {MAX_SUBJECT} printable characters")
    return f"{how}:{given}"


def name_of(given: object, otherwise: str) -> str:
    """A name for display: printable, on one line, of at most MAX_NAME characters. `otherwise`: the
    default."""
    text = given if isinstance(given, str) and given.strip() else otherwise
    # No control or direction characters: a name in a list must not change how others are shown.
    return "".join(c for c in text if c.isprintable()).strip()[:MAX_NAME]


def roles_of(given: object) -> frozenset[str]:
    """The roles in a claim or header, and always USER. Unknown words are ignored."""
    return frozenset((USER, *(word for word in _words(given) if word in ROLES)))


def rooms_of(given: object) -> frozenset[str]:
    """The rooms in a claim or header: at most MAX_ROOMS names that are valid; others are ignored."""
    # A dict removes duplicates and keeps the order, so that the same ones are cut each time.
    found = dict.fromkeys(word for word in _words(given) if room_name(word))
    return frozenset(list(found)[:MAX_ROOMS])


def room_name(text: str) -> bool:
    """Whether `text` is a room's name: up to 64 of A-Z a-z 0-9 _ . -, the first a letter or digit."""
    return _ROOM.fullmatch(text) is not None


def _words(given: object) -> Iterable[str]:
    if isinstance(given, str):
        # Providers write a list, words with spaces (as in `scope`), or words with commas (as in proxies'
        # headers).
        return re.split(r"[\s,]+", given[:8192].strip())
    if isinstance(given, list | tuple):
        return [word for word in given[:1000] if isinstance(word, str)]
    return ()
