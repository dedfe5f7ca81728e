"""Capabilities: addresses that open files of one session where no header is sent.

It is for one file, or, for a page, for what is in its own folder and below, which the page may load. It says
when it was given, so that it ends by itself, and nobody keeps a list: any server of the instance can read it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from urllib.parse import quote

_TEXT = re.compile(r"[A-Za-z0-9_-]{40}")  # 30 bytes: no two texts are the same one
_FILE = 255  # where else is written how many folders deep it begins
_MAC_BYTES = 24
_TIME_BYTES = 5


@dataclass(frozen=True, slots=True)
class Capability:
    """`given`: when, in seconds since 1970. `folder`: below which it is good, empty or with `/` at its end;
    None: for the one file."""

    given: int
    folder: str | None


def grant(key: bytes, session: str, path: str, now: float, *, page: bool) -> str:
    """As it stands in an address. `key`: the instance's secret; `page`: it may load what lies beside it."""
    head = bytes([path.count("/") if page else _FILE]) + int(now).to_bytes(_TIME_BYTES)
    return base64.urlsafe_b64encode(head + _mac(key, session, head, path)).decode()


def read(key: bytes, session: str, text: str, path: str) -> Capability | None:
    """What was granted with this text, where that is a file of this path; however long ago."""
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
    words = "\0".join(("view", session, head.hex(), scope)).encode("utf-8", "surrogatepass")
    return hmac.new(key, words, hashlib.sha256).digest()[:_MAC_BYTES]


def view_url(session: str, capability: str, path: str) -> str:
    """Relative to the page, wherever that is mounted."""
    return f"view/{session}/{capability}/{quote(path)}"
