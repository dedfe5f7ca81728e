"""Guests of a session, and the form of their tokens."""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass

from coderunner.identity.keys import digest
from coderunner.identity.principal import Principal

PREFIX = "crg_"
MAX_GUESTS = 64  # tokens of one session that are neither revoked nor expired
_TOKEN = re.compile(r"crg_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class Guest:
    """What is stored of a guest's token.

    `serial`: its number, which is not secret. `role`: `control` or `watch`. `take`: whether it may take the
    control without asking the owner. Times are seconds since 1970; None for never. `room`: set for a teacher,
    whose own credential is used: then `serial` is the subject of its principal. None for other guests.
    """

    serial: str
    session: str
    name: str
    role: str
    digest: str
    take: bool = False
    created: float = 0.0
    expires: float | None = None
    revoked: float | None = None
    room: str | None = None

    def good(self, now: float) -> bool:
        """Whether it is valid at the time `now`."""
        return self.revoked is None and (self.expires is None or now < self.expires)

    def shown(self, token: str) -> bool:
        """Whether `token` is its token."""
        match = _TOKEN.fullmatch(token)
        return match is not None and hmac.compare_digest(digest(match[2]), self.digest)


def teacher(session: str, who: Principal, room: str) -> Guest:
    """A teacher of the session's room, as a guest who may take the control without asking."""
    return Guest(who.subject or "", session, who.name, "control", "", take=True, room=room)


def new_guest_token() -> tuple[str, str, str]:
    """Makes a new token. Returns (serial, the token's text, the digest to store)."""
    serial, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    return serial, f"{PREFIX}{serial}_{secret}", digest(secret)


def serial_of(token: str) -> str | None:
    """The serial in a guest's token; None for another token."""
    match = _TOKEN.fullmatch(token)
    return match[1] if match else None


def is_serial(text: str) -> bool:
    """Whether `text` has the form of a serial."""
    return re.fullmatch("[0-9a-f]{12}", text) is not None
