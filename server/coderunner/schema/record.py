"""The record of a session, which its agent keeps so that a restarted server can adopt the session.

A container's labels are fixed when it is made, before it has a session, so they cannot hold this.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from coderunner.schema.limits import Limits

VERSION = 4
"""The format's version. With every change of the fields: increase it, keep `read` able to read the versions
before, and add a record to `tests/fleet/records`.
An updated server finds sessions that the old one opened."""


# Unknown fields are refused: a record of a newer server may hold something
# without which it must not be adopted.
class Record(Struct, frozen=True, forbid_unknown_fields=True):
    """A session's record.

    `token_digest`: of the control token, which itself is not stored. `client`, `nonce`: from the message
    `open`, so that a repeated `open` finds the session also after a restart. `opened`, `expires`: seconds
    since 1970. `group`, `member`: id of the session's group and its host name there; None without a group.
    `room`: whose teachers may watch, None for nobody's. `name`: of who opened it, for people.
    """

    session: str
    language: str
    limits: Limits
    token_digest: str
    client: str
    nonce: str | None
    principal: str | None
    address: str
    opened: float
    expires: float
    group: str | None = None
    member: str | None = None
    room: str | None = None
    name: str = ""
    version: int = VERSION


class _Version(Struct):
    """Only the version of a record, whose other fields may be of another format."""

    version: int = 1  # the first format had no number


def read(text: bytes) -> Record:
    """Parses a record of any known version. Raises ValueError if this server cannot read it."""
    version = msgspec.json.decode(text, type=_Version).version
    if not 1 <= version <= VERSION:
        raise ValueError(f"its record is of version {version}, and this server reads 1 to {VERSION}")
    # All versions are read by one model: what later ones added (a number, a limit, a room) is optional.
    # With the present version, as if this server had written it.
    return msgspec.structs.replace(msgspec.json.decode(text, type=Record), version=VERSION)
