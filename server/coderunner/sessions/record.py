"""The sealed record of a session, which its agent keeps for the next server.

It is authenticated with the instance's key and bound to the container's id.  Programs cannot read it, as the
agent's memory is hidden, and could neither forge one nor move it to another container.  It contains a hash of
the session's token, and not the token.
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
    """A new session token: 192 random bits, of which the protocol requires 128."""
    # 192 bits as URL-safe text, as the token is also used in addresses.
    return secrets.token_urlsafe(24)


def digest(token: str) -> str:
    """The hash of a token.  A token is random, so no slow hash is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


def authenticator(key: bytes, container: str, body: bytes) -> str:
    """The HMAC, in hexadecimal, with which a record's ``body`` is bound to a container's id."""
    return hmac.new(key, container.encode() + b"\0" + body, hashlib.sha256).hexdigest()


def owner_of(key: bytes) -> str:
    """A fingerprint of the instance's key, for labels.  It reveals nothing of the key."""
    return hmac.new(key, b"owner", hashlib.sha256).hexdigest()[:16]


def seal(record: Record, key: bytes, container: str) -> str:
    """The sealed record, as text for the agent.  ``container``: its id."""
    # orjson's bytes are what is authenticated, and they are kept as they are: nothing is encoded a second
    # time.
    body = orjson.dumps(msgspec.to_builtins(record))
    return authenticator(key, container, body) + "." + base64.b64encode(body).decode()


class BadSeal(Exception):
    """The record was sealed with another key, or for another container."""


def unseal(text: str, key: bytes, container: str) -> Record:
    """The record in a sealed text.

    Raises BadSeal; ValueError for a record of this instance that is of another release.
    """
    # The first part is never trusted before it was compared.
    mac, _, encoded = text.partition(".")
    try:
        body = base64.b64decode(encoded, validate=True)
    except ValueError:
        body = b""
    # compare_digest takes the same time for any difference, so the right value cannot be guessed byte by
    # byte.
    if not hmac.compare_digest(mac.encode(), authenticator(key, container, body).encode()):
        raise BadSeal("its record was sealed with another key")
    try:
        return schema.read(body)
    except ValueError as error:
        raise ValueError(f"its record is of another release: {error}") from None


def record_in(hello: Hello, key: bytes, container: str) -> Record:
    """The record in an agent's greeting.  Raises LookupError without one, and as `unseal`."""
    if hello.sealed is None:
        raise LookupError
    return unseal(hello.sealed, key, container)


def whose(record: Record) -> dict[str, str]:
    """A session's fields for the log; ``principal`` only if there is one."""
    told = {"session": record.session, "language": record.language, "address": record.address}
    return told if record.principal is None else told | {"principal": record.principal}
