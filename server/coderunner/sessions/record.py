"""What is known of a session only when it opens: kept by its agent, so that a restarted server finds it.

The record is sealed with the instance's key and bound to the container's id.  A program cannot read it
(the agent's memory is hidden), and could not forge or move one if it did.  The token itself is not in it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import asdict, dataclass

import orjson

from coderunner.core.limits import Limits


@dataclass(frozen=True, slots=True)
class Record:
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


def new_token() -> str:
    """192 random bits; the protocol asks for 128 at least."""
    return secrets.token_urlsafe(24)


def digest(token: str) -> str:
    """A token has full entropy, so a plain hash keeps it."""
    return hashlib.sha256(token.encode()).hexdigest()


def _mac(key: bytes, container: str, body: bytes) -> str:
    return hmac.new(key, container.encode() + b"\0" + body, hashlib.sha256).hexdigest()


def seal(record: Record, key: bytes, container: str) -> str:
    """Text for the agent to keep."""
    body = orjson.dumps(asdict(record))
    return _mac(key, container, body) + "." + base64.b64encode(body).decode()


def unseal(text: str, key: bytes, container: str) -> Record:
    """Raises ValueError for what this instance did not seal for this container."""
    mac, _, encoded = text.partition(".")
    body = base64.b64decode(encoded, validate=True)
    if not hmac.compare_digest(mac.encode(), _mac(key, container, body).encode()):
        raise ValueError("the record's seal does not hold")
    fields = orjson.loads(body)
    fields["limits"] = Limits(**fields["limits"])
    return Record(**fields)
