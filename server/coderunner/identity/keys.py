"""API keys: their form, what is stored of them, and how they are checked.

A key is `crk_ID_SECRET`. The id identifies it in the table, in logs and in lists. Of the secret, 256 random
bits, only the SHA-256 is stored; a slow hash is not needed for a secret that cannot be guessed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from coderunner.errors import BadMessage
from coderunner.identity.principal import MAX_NAME, USER, Principal, room_name
from coderunner.schema.types import MAX_ROOMS

PREFIX = "crk_"
DAY_SECONDS = 86400
# 12 hexadecimal digits, and 43 characters of base64url for 32 bytes.
_KEY = re.compile(r"crk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class Key:
    """What is stored of a key. Times are seconds since 1970; `expires` and `revoked` are None for never.

    `scopes`: None for all scopes of its roles. `digest`: of the secret, in hexadecimal.
    """

    id: str
    name: str
    digest: str
    roles: frozenset[str]
    rooms: frozenset[str] = frozenset()
    scopes: frozenset[str] | None = None
    created: float = 0.0
    expires: float | None = None
    revoked: float | None = None
    last_used: float | None = None

    def good(self, now: float) -> bool:
        """Whether it is valid at the time `now`."""
        return self.revoked is None and (self.expires is None or now < self.expires)

    def state(self, now: float) -> str:
        """Its state at the time `now`: `good`, `expired` or `revoked`."""
        return "revoked" if self.revoked is not None else ("good" if self.good(now) else "expired")

    def principal(self) -> Principal:
        """The principal of a caller with this key."""
        return Principal(f"key:{self.id}", self.name, self.roles, self.rooms, self.scopes, "api_key")


def new_key() -> tuple[str, str, str]:
    """Makes a new key. Returns (id, the key's text, the digest to store)."""
    # The id need not be secret, only unique; the primary key refuses a duplicate.
    ident, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    return ident, f"{PREFIX}{ident}_{secret}", digest(secret)


def made(
    name: str,
    roles: Iterable[str],
    rooms: Sequence[str],
    scopes: Iterable[str],
    days: float | None,
    now: float,
) -> tuple[str, Key]:
    """Makes a key. Returns its text, which is stored nowhere, and the key.

    `scopes`: empty for all scopes of its roles. `days`: until it expires, None for never. Raises BadMessage.
    """
    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise BadMessage(f"a key's name has 1 to {MAX_NAME} printable characters")
    if len(rooms) > MAX_ROOMS:
        raise BadMessage(f"a key is for at most {MAX_ROOMS} rooms")
    if not all(room_name(room) for room in rooms):
        raise BadMessage("a room has up to 64 of A-Z a-z 0-9 _ . -, and begins with a letter or digit")
    # 100 years; far above it, the time could not be shown as a date.
    if days is not None and not 0 < days <= 36500:
        raise BadMessage("the days (--days) must be above 0 and at most 36500")
    ident, text, digest = new_key()
    key = Key(
        ident, name, digest,
        roles=frozenset((USER, *roles)),
        rooms=frozenset(rooms),
        scopes=frozenset(scopes) or None,
        created=now,
        expires=now + days * DAY_SECONDS if days is not None else None,
    )  # fmt: skip
    # Otherwise the key would be refused at its first use, which is harder to understand.
    missing = sorted(scope for scope in key.scopes or () if not key.principal().may(scope))
    if missing:
        raise BadMessage(f"the scope {missing[0]} needs the role operator (--role operator)")
    return text, key


def digest(secret: str) -> str:
    """The stored hash of a key's secret, in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


def parts_of(text: str) -> tuple[str, str] | None:
    """(id, secret) of a key's text; None if it does not have the form of a key."""
    match = _KEY.fullmatch(text)
    return (match[1], match[2]) if match else None


@dataclass(slots=True)
class KeyRing:
    """The keys as they were last read from the store.

    `known`: by id. `awaited`: they have not been read yet, so an unknown key may be valid. `used`: times of
    the last use by id, since the last `take_used`.
    """

    known: dict[str, Key] = field(default_factory=dict)
    awaited: bool = False
    used: dict[str, float] = field(default_factory=dict)

    def replace(self, keys: Iterable[Key]) -> None:
        """Replaces the keys by those that were read from the store."""
        self.known = {key.id: key for key in keys}
        self.awaited = False

    def find(self, text: str, now: float) -> Principal | None:
        """The principal of a key at the time `now`; None if the key is not valid."""
        parts = parts_of(text)
        if parts is None:
            return None
        ident, secret = parts
        key = self.known.get(ident)
        # Compared also for an unknown id: the time of the answer must not show which ids exist.
        same = hmac.compare_digest(digest(secret), key.digest if key is not None else digest(""))
        if key is None or not same or not key.good(now):
            return None
        self.used[ident] = now  # only known keys, which limits the size
        return key.principal()

    def ended(self, who: Principal, now: float) -> bool:
        """Whether `who` has used a key that is not valid any more."""
        if who.how != "api_key" or who.subject is None or self.awaited:
            return False
        key = self.known.get(who.subject.removeprefix("key:"))
        return key is None or not key.good(now)

    def take_used(self) -> dict[str, float]:
        """Returns the contents of `used`, and empties it."""
        taken, self.used = self.used, {}
        return taken
