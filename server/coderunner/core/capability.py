"""Leave to look at one session's files by an address alone: for images and frames, which send no header."""

from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import quote


def capability(key: bytes, session: str) -> str:
    """192 bits that only this instance can make, and only for this session. `key`: the instance's secret."""
    mac = hmac.new(key, b"view\0" + session.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(mac[:24]).decode()


def view_url(session: str, capability: str, path: str) -> str:
    """Relative to the page, wherever that is mounted."""
    return f"view/{session}/{capability}/{quote(path)}"
