"""The web client as it is sent: its document, what may be kept of its files, and answers made smaller.

`scripts/bundle.mjs` makes `static/dist/page/`: the page in few files, each with a hash of its content in its
name and with copies in gzip and Brotli beside it (aiohttp sends the one that a client takes).  Its document
is sent as long as the bundle is of the sources that are here; else, in development, the document that names
the sources themselves, so that a change is seen without a build.
"""

from __future__ import annotations

import asyncio
import functools
import gzip
import hashlib
import logging
import re
from pathlib import Path

from aiohttp import web
from msgspec import Struct

from coderunner.core.codec import encode_answer
from coderunner.logs import fields

log = logging.getLogger(__name__)

FOLDERS = ("app", "core", "style", "vendor")
HASHED = re.compile(r"^/static/dist/(?:page/)?[a-z-]+-[A-Z0-9]{8}\.(?:js|css)$")
"""Names that carry a hash of the content: what is there once need not be asked for again."""
FOR_EVER = "public, max-age=31536000, immutable"
LEAST_SMALLER = 1024  # bytes: what is shorter is sent as it is
# The page's libraries bring their styles as constructed sheets, so that not even styles need an exception.
# Frames are pages that programs wrote: each comes with a policy of its own that takes its origin away.
POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self'; style-src 'self'; frame-src 'self'; manifest-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'"
)


class WebClient:
    """``folder`` is `static/`; ``watched``: its files may change while the server runs."""

    def __init__(self, folder: Path, *, watched: bool) -> None:
        self._folder = folder
        self._watched = watched
        self._seen: tuple[int, ...] | None = None
        self._bundled = False

    def smallest(self, accepted: str) -> tuple[bytes, str | None]:
        """The document, and how it is packed. In development it says so: the page offers more there then."""
        file = self.document()
        if not self._watched:
            return _smallest(file, accepted)
        body = file.read_bytes().replace(b"<html ", b"<html data-development ", 1)
        return (_packed(body), "gzip") if _takes(accepted, "gzip") else (body, None)

    def document(self) -> Path:
        """The document to send: the bundle's, or the one that names the sources where these are others."""
        if self._seen is None or self._watched:
            seen = tuple(file.stat().st_mtime_ns for file in (*self._sources(), self._stamp) if file.exists())
            if seen != self._seen:
                self._seen = seen
                self._bundled = self._is_current()
                log.info("web client", extra=fields(bundled=self._bundled))
        return self._folder / ("dist/page/index.html" if self._bundled else "index.html")

    @property
    def _stamp(self) -> Path:
        return self._folder / "dist/page/sources.txt"

    def _sources(self) -> list[Path]:
        """As the bundle's script counts them."""
        found = [
            file
            for folder in FOLDERS
            for file in (self._folder / folder).rglob("*")
            if file.suffix in (".js", ".css")
        ]
        return sorted([*found, self._folder / "index.html"], key=self._name)

    def _name(self, file: Path) -> str:
        return file.relative_to(self._folder).as_posix()

    def _is_current(self) -> bool:
        if not self._stamp.is_file():
            return False
        digest = hashlib.sha256()
        for file in self._sources():
            digest.update(self._name(file).encode() + b"\0")
            digest.update(file.read_bytes())
        return digest.hexdigest() == self._stamp.read_text("ascii").strip()


async def document_reply(request: web.Request, client: WebClient) -> web.Response:
    """The page's document, in the smallest form that the client takes; nothing where it has it already."""
    accepted = request.headers.get("Accept-Encoding", "")
    body, encoding = await asyncio.to_thread(client.smallest, accepted)
    tag = hashlib.sha256(body).hexdigest()[:32]
    headers = {
        "Content-Security-Policy": POLICY,
        "Cache-Control": "no-cache",
        "ETag": f'"{tag}"',
        "Vary": "Accept-Encoding",
    }
    if any(known.value == tag for known in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    if encoding is not None:
        headers["Content-Encoding"] = encoding
    return web.Response(body=body, content_type="text/html", charset="utf-8", headers=headers)


def _smallest(file: Path, accepted: str) -> tuple[bytes, str | None]:
    for encoding, suffix in (("br", ".br"), ("gzip", ".gz")):
        smaller = file.with_name(file.name + suffix)
        if _takes(accepted, encoding) and smaller.is_file():
            return smaller.read_bytes(), encoding
    return file.read_bytes(), None


def _takes(accepted: str, encoding: str) -> bool:
    for word in accepted.lower().split(","):
        name, *parameters = word.replace(" ", "").split(";")
        if name == encoding:
            return not any(re.fullmatch(r"q=0(\.0*)?", one) for one in parameters)
    return False


def smaller_json(request: web.Request, document: Struct) -> web.Response:
    """A long answer that many ask for: packed once, as long as it is the same."""
    body = encode_answer(document)
    headers = {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}
    if len(body) >= LEAST_SMALLER and _takes(request.headers.get("Accept-Encoding", ""), "gzip"):
        body = _packed(body)
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=body, content_type="application/json", headers=headers)


@functools.lru_cache(maxsize=4)
def _packed(body: bytes) -> bytes:
    return gzip.compress(body, 6, mtime=0)
