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
from coderunner.schema.reports import Hello


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


def owner_of(key: bytes) -> str:
    """A fingerprint of the instance's key, for labels: it tells two keys apart, and nothing of either."""
    return hmac.new(key, b"owner", hashlib.sha256).hexdigest()[:16]


def seal(record: Record, key: bytes, container: str) -> str:
    """Text for the agent to keep."""
    body = orjson.dumps(asdict(record))
    return _mac(key, container, body) + "." + base64.b64encode(body).decode()


class BadSeal(Exception):
    """This instance did not seal the record, or not for this container."""


def unseal(text: str, key: bytes, container: str) -> Record:
    """Raises BadSeal; ValueError for a record of ours that another release wrote, which says other things."""
    mac, _, encoded = text.partition(".")
    try:
        body = base64.b64decode(encoded, validate=True)
    except ValueError:
        body = b""
    if not hmac.compare_digest(mac.encode(), _mac(key, container, body).encode()):
        raise BadSeal("its record was sealed with another key")
    try:
        fields = orjson.loads(body)
        fields["limits"] = Limits(**fields["limits"])
        return Record(**fields)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"its record is of another release: {error}") from None


def record_in(hello: Hello, key: bytes, container: str) -> Record:
    """What an agent's greeting brought.  Raises LookupError where it never had a tenant, and as `unseal`."""
    if hello.sealed is None:
        raise LookupError
    return unseal(hello.sealed, key, container)
