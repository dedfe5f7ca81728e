"""The record of a session, as its agent keeps it: sealed.

The record is sealed with the instance's key and bound to the container's id.  A program cannot read it
(the agent's memory is hidden), and could not forge or move one if it did.  The token itself is not in it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

import msgspec
import orjson

from coderunner.schema import record as schema
from coderunner.schema.record import Record
from coderunner.schema.reports import Hello


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
    body = orjson.dumps(msgspec.to_builtins(record))
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
        return schema.read(body)
    except ValueError as error:
        raise ValueError(f"its record is of another release: {error}") from None


def record_in(hello: Hello, key: bytes, container: str) -> Record:
    """What an agent's greeting brought.  Raises LookupError where it never had a tenant, and as `unseal`."""
    if hello.sealed is None:
        raise LookupError
    return unseal(hello.sealed, key, container)


def whose(record: Record) -> dict[str, str]:
    """A session's fields for the log; ``principal`` only where there is one."""
    told = {"session": record.session, "language": record.language, "address": record.address}
    return told if record.principal is None else told | {"principal": record.principal}
