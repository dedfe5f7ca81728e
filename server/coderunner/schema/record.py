"""What is known of a session only when it opens: kept by its agent, so that a restarted server finds it."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from coderunner.schema.limits import Limits

VERSION = 3
"""Raise it with every change of the fields, teach `read` the version before, and add a record of the new one
to `tests/fleet/records`: a server that is updated finds the sessions of the one before."""


class Record(Struct, frozen=True, forbid_unknown_fields=True):
    """``opened`` and ``expires``: seconds since the epoch.  ``token_digest``: of the control token.

    ``group`` and ``member``: where it has a group, and its name there.
    ``nonce``: of the `open`, so that its repetition finds the session after a restart as well.
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
    version: int = VERSION


class _Version(Struct):
    version: int = 1  # the first had none


def read(text: bytes) -> Record:
    """A record, whichever version wrote it.  Raises ValueError where this server cannot read it."""
    version = msgspec.json.decode(text, type=_Version).version
    if not 1 <= version <= VERSION:
        raise ValueError(f"its record is of version {version}, and this server reads 1 to {VERSION}")
    # Version 1 has no number; 3 has a limit more, which is not there for what began before.
    return msgspec.structs.replace(msgspec.json.decode(text, type=Record), version=VERSION)
