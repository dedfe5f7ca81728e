"""Capability URLs for reading a session's files.

A browser sends no Authorization header for images and frames, so the permission is a part of the URL. It
covers one file or, for a page, the page's folder and everything below, from where the page loads its own
files. It carries the time of its issue, from which the caller computes its end. It is authenticated with the
instance's key and not stored anywhere, so every server of the instance can verify it, also after a restart.

The text is base64url of: u8 depth of the folder (255: one file) | u40 seconds since 1970 | 24 bytes of
HMAC-SHA256 over the session, the head and the file's or folder's path.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from urllib.parse import quote

_TEXT = re.compile(r"[A-Za-z0-9_-]{40}")  # 30 bytes fill 40 characters exactly: each value has one text only
_FILE = 255  # in place of a folder's depth, which is at most 32 (`schema.paths.MAX_DEPTH`)
_MAC_BYTES = 24
_TIME_BYTES = 5  # four would overflow in 2106


@dataclass(frozen=True, slots=True)
class Capability:
    """A verified capability.

    `given`: time of issue, seconds since 1970. `folder`: the folder that it covers, "" for the whole
    workspace, otherwise with `/` at its end; None if it covers one file only.
    """

    given: int
    folder: str | None


def grant(key: bytes, session: str, path: str, now: float, *, page: bool) -> str:
    """Returns the capability's text for a URL, 40 characters of base64url.

    `key`: the instance's secret. `path`: the file in the workspace. `now`: seconds since 1970. `page`:
    whether it covers the file's whole folder, so that a page can load what lies beside it.
    """
    head = bytes([path.count("/") if page else _FILE]) + int(now).to_bytes(_TIME_BYTES)
    return base64.urlsafe_b64encode(head + _mac(key, session, head, path)).decode()


def read(key: bytes, session: str, text: str, path: str) -> Capability | None:
    """Verifies a capability's text for the file `path`. Returns None if it is not valid for that file.

    Its age is not checked: the caller compares `given` with the clock.
    """
    # A malformed text takes the same way as a well-formed one, so that the time tells nothing about either.
    fits = _TEXT.fullmatch(text) is not None
    raw = base64.urlsafe_b64decode(text if fits else "A" * 40)
    head, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
    right = _mac(key, session, head, path)
    alone = head[0] == _FILE
    if not hmac.compare_digest(mac, right) or not fits or (not alone and path.count("/") < head[0]):
        return None
    return Capability(int.from_bytes(head[1:]), None if alone else _folder(path, head[0]))


def _folder(path: str, depth: int) -> str:
    return "".join(f"{part}/" for part in path.split("/")[:depth])


def _mac(key: bytes, session: str, head: bytes, path: str) -> bytes:
    scope = path if head[0] == _FILE else _folder(path, head[0])
    # "view" separates this use of the key from others. Only the last part could hold a NUL, so the joint is
    # unambiguous. A program may name its files with bytes that are not UTF-8, which arrive as lone
    # surrogates.
    words = "\0".join(("view", session, head.hex(), scope)).encode("utf-8", "surrogatepass")
    return hmac.new(key, words, hashlib.sha256).digest()[:_MAC_BYTES]


def view_url(session: str, capability: str, path: str) -> str:
    """The URL of a file under a capability, relative to the page, as the server may be below a prefix."""
    return f"view/{session}/{capability}/{quote(path)}"
