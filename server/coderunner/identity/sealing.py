"""Encrypted cookies for sign-ins that are under way or completed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import zlib
from typing import Any

import orjson
from cryptography.fernet import Fernet, InvalidToken

MAX_COOKIE = 3800  # characters; browsers keep 4096 with name and attributes
MAX_PLAIN = 64 * 1024  # bytes


class Sealer:
    """Encrypts values with a key that is derived from the instance's, so that they are valid after a
    restart."""

    def __init__(self, key: bytes) -> None:
        # A derived key, as the instance's own key is used for other signatures.
        derived = hmac.new(key, b"cookies", hashlib.sha256).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(derived))

    def seal(self, kind: str, value: dict[str, Any]) -> str:
        """Returns the text of a cookie. `kind`: must be the same in `unseal`. Raises ValueError if too
        long."""
        # Compressed, as names of rooms are repetitive and the size is limited.
        text = self._fernet.encrypt(zlib.compress(orjson.dumps({"kind": kind, **value}))).decode("ascii")
        if len(text) > MAX_COOKIE:
            raise ValueError("the sign-in has too many rooms for a cookie")
        return text

    def unseal(self, kind: str, text: str, now: float) -> dict[str, Any] | None:
        """The value in a cookie's text; None if it is forged, of another kind, or has expired."""
        if len(text) > MAX_COOKIE:
            return None
        try:
            # Bounded, although only this server can have made it: a leaked key must not cost memory, too.
            plain = zlib.decompressobj().decompress(self._fernet.decrypt(text.encode()), MAX_PLAIN)
            value = orjson.loads(plain)
        except (InvalidToken, ValueError, zlib.error):
            return None
        # The time is in the value, and not Fernet's own, as each kind of cookie lasts differently.
        if value.get("kind") != kind or not now < value.get("expires", 0):
            return None
        return dict(value)
