"""Serves the web client's document, with compression, caching and its content security policy.

`scripts/bundle.mjs` makes `static/dist/page/`: the page in few files, with a content hash in each name and
with compressed copies (gzip, Brotli), from which aiohttp chooses. The bundle's document is sent if the
bundle was made from the present sources. Otherwise the document that loads the sources directly is sent, so
that in development a change is visible without a build.
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

FOLDERS = ("admin", "app", "core", "room", "style", "vendor")
HASHED = re.compile(r"^/static/dist/(?:page/)?[a-z-]+-[A-Z0-9]{8}\.(?:js|css)$")
"""Files with a content hash in their names. They never change, so caches may keep them for ever."""
FOR_EVER = "public, max-age=31536000, immutable"
LEAST_SMALLER = 1024  # bytes of a JSON response; shorter ones fit into one packet anyway
# No 'unsafe-inline', not even for styles: the libraries use constructed style sheets. `frame-src 'self'` is
# for pages that programs wrote; each is sent with its own policy, whose sandbox takes the origin away
# (`web/view.py`).
POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self'; style-src 'self'; frame-src 'self'; manifest-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'"
)
# As POLICY, but in no frame: against clickjacking on buttons that end a session or take it over.
STAFF_POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data: blob:; "
    "style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE, ADMIN, WALL = "index.html", "admin/index.html", "room/index.html"
"""The documents; in the bundle the others are `admin.html` and `room.html`."""


class WebClient:
    """The web client's files. `folder`: `static/`. `watched`: they may change while the server runs."""

    def __init__(self, folder: Path, *, watched: bool) -> None:
        self._folder = folder
        self._watched = watched
        self._seen: tuple[int, ...] | None = None
        self._bundled = False

    def smallest(self, accepted: str, name: str = PAGE) -> tuple[bytes, str | None]:
        """Returns a document and its Content-Encoding (None: uncompressed).

        `accepted`: the header Accept-Encoding. `name`: PAGE, ADMIN or WALL.

        In development an attribute is added, by which the page offers additional tools.
        """
        file = self.document(name)
        if not self._watched:
            return _smallest(file, accepted)
        body = file.read_bytes().replace(b"<html ", b"<html data-development ", 1)
        # Compressed also in development, so that sizes can be observed there.
        return (_packed(body), "gzip") if takes(accepted, "gzip") else (body, None)

    def document(self, name: str = PAGE) -> Path:
        """The document to send: the bundle's if it is up to date, else the one that loads the sources."""
        if self._seen is None or self._watched:
            # Times are compared first: hashing all sources for each request would be slow.
            # A missing stamp is left out, and its appearance changes the tuple.
            seen = tuple(file.stat().st_mtime_ns for file in (*self._sources(), self._stamp) if file.exists())
            if seen != self._seen:
                self._seen = seen
                self._bundled = self._is_current()
                log.info("web client", extra=fields(bundled=self._bundled))
        bundled = "dist/page/" + name.removesuffix("/index.html").removesuffix(".html") + ".html"
        return self._folder / (bundled if self._bundled else name)

    @property
    def _stamp(self) -> Path:
        return self._folder / "dist/page/sources.txt"

    def _sources(self) -> list[Path]:
        """The source files in the order in which `scripts/bundle.mjs` hashes them; both must agree."""
        found = [
            file
            for folder in FOLDERS
            for file in (self._folder / folder).rglob("*")
            if file.suffix in (".js", ".css")
        ]
        # Sorted by name, as the script does it.
        return sorted([*found, *(self._folder / name for name in (PAGE, ADMIN, WALL))], key=self._name)

    def _name(self, file: Path) -> str:
        return file.relative_to(self._folder).as_posix()

    def _is_current(self) -> bool:
        if not self._stamp.is_file():
            return False
        # By content and not by time: a checkout or a copy changes the times of all files.
        digest = hashlib.sha256()
        for file in self._sources():
            digest.update(self._name(file).encode() + b"\0")
            digest.update(file.read_bytes())
        return digest.hexdigest() == self._stamp.read_text("ascii").strip()


async def document_reply(request: web.Request, client: WebClient, name: str = PAGE) -> web.Response:
    """Returns a document in the smallest encoding that the client accepts, or 304 if its copy is current.
    `name`: PAGE, ADMIN or WALL."""
    accepted = request.headers.get("Accept-Encoding", "")
    # In a thread, as it reads files and may hash all sources.
    body, encoding = await asyncio.to_thread(client.smallest, accepted, name)
    # 128 bits are more than enough to tell versions apart.
    tag = hashlib.sha256(body).hexdigest()[:32]
    headers = {
        # `no-cache` means: ask each time, which costs a 304.
        "Content-Security-Policy": POLICY if name == PAGE else STAFF_POLICY,
        "Cache-Control": "no-cache",
        "ETag": f'"{tag}"',
        "Vary": "Accept-Encoding",
    }
    if name != PAGE:
        headers["X-Frame-Options"] = "DENY"
    if any(known.value == tag for known in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    if encoding is not None:
        headers["Content-Encoding"] = encoding
    return web.Response(body=body, content_type="text/html", charset="utf-8", headers=headers)


def _smallest(file: Path, accepted: str) -> tuple[bytes, str | None]:
    # Brotli first: it is the smaller one.
    for encoding, suffix in (("br", ".br"), ("gzip", ".gz")):
        smaller = file.with_name(file.name + suffix)
        if takes(accepted, encoding) and smaller.is_file():
            return smaller.read_bytes(), encoding
    return file.read_bytes(), None


def takes(accepted: str, encoding: str) -> bool:
    """Whether the header `Accept-Encoding` names this encoding, and not as one that is refused."""
    for word in accepted.lower().split(","):
        name, *parameters = word.replace(" ", "").split(";")
        if name == encoding:
            # `gzip;q=0` means that the client does not accept it.
            return not any(re.fullmatch(r"q=0(\.0*)?", one) for one in parameters)
    return False


def smaller_json(request: web.Request, document: Struct) -> web.Response:
    """A JSON response, compressed if the client accepts it. For long documents that many clients request: the
    compressed form is cached."""
    # Encoded each time, and compressed only if it has changed (`_packed` remembers).
    body = encode_answer(document)
    headers = {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}
    if len(body) >= LEAST_SMALLER and takes(request.headers.get("Accept-Encoding", ""), "gzip"):
        body = _packed(body)
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=body, content_type="application/json", headers=headers)


@functools.lru_cache(maxsize=4)
def _packed(body: bytes) -> bytes:
    return gzip.compress(body, 6, mtime=0)  # without the time, so that the ETag stays the same
