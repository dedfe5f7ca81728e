"""Serves a session's files under capability URLs, for images and frames, which cannot send a header.

The URL contains the permission (`core.capability`) for one file, or for a page and the files beside it.
Files are written by untrusted programs, so none may run scripts in the server's origin: documents that can
contain scripts are sent with a content security policy that sandboxes them and lets them load only what
their own URL permits.
"""

from __future__ import annotations

import html
import secrets
from urllib.parse import quote

from aiohttp import web
from msgspec import UNSET

from coderunner.core.capability import Capability
from coderunner.core.project import check_path
from coderunner.errors import NoSession
from coderunner.schema.answers import ViewsKept
from coderunner.schema.rest import KeepViews, ViewQuery
from coderunner.sessions.views import Views
from coderunner.web import guard
from coderunner.web.files import body_of, present_of, send_file
from coderunner.web.keys import PARTS
from coderunner.web.replies import json_reply, query_of
from coderunner.wire import artifacts

# Types that pages may load, in addition to those that are displayed by themselves.
# No markup, which could contain scripts.
TYPES = artifacts.KINDS | {
    ".css": "text/css",
    ".gz": "application/gzip",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".md": "text/plain",
    ".mjs": "text/javascript",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".ogg": "audio/ogg",
    ".otf": "font/otf",
    ".tsv": "text/tab-separated-values",
    ".ttf": "font/ttf",
    ".txt": "text/plain",
    ".wasm": "application/wasm",
    ".wav": "audio/wav",
    ".webm": "video/webm",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}


_DATA = (
    ".arrow", ".bin", ".dat", ".geojson", ".glb", ".gltf", ".mtl", ".npy", ".obj", ".parquet", ".stl",
    ".topojson", ".xml", ".yaml", ".yml",
)  # fmt: skip
"""Data files that pages may fetch, without a type of their own: opened in a tab, they are downloads."""

OURS = "'self'"
PAGES = ("text/html", "image/svg+xml")
"""Types that can contain scripts. They are displayed in a frame only, never as a tab's own document."""

CONNECTIONS = {"Connection-Allowlist": "(response-origin)"}
"""For documents that can contain scripts. No directive of a content security policy stops WebRTC, which sends
UDP to any host, or names that are looked up in advance; this header does, in browsers that know it."""

_FRAMES = ("iframe", "frame", "embed", "object")


async def view(request: web.Request) -> web.StreamResponse:
    """Returns a file that a capability URL permits to read."""
    text, path = request.match_info["capability"], request.match_info["path"]
    # Before `check_path`, so that a wrong URL is always answered in the same way.
    session, capability = request.app[PARTS].registry.look(request.match_info["session"], text, path)
    check_path(path)
    kind = _kind(capability, path)
    place = guard.place(request.app[PARTS].settings, request, f"/view/{session.id}/{text}/")
    # Empty for a single file, or where the server's own name is not known for sure.
    own = place + quote(capability.folder) if place and capability.folder is not None else ""
    if kind in PAGES and _at_the_top(request, session.views):
        async with session.files.request():
            await session.files.read(path, 0, 1)  # a missing file must give an error, not an empty frame
        # A page may load itself, and what lies beside it.
        return _framed(path, own or (place and place + quote(path)), session.views.word())
    headers = {
        "Content-Type": kind or "application/octet-stream",
        "Content-Security-Policy": policy(kind, own),
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        "Vary": "Sec-Fetch-Dest, Accept",
        # A sandboxed page has an opaque origin, so its own files are cross-origin for the browser. Opening
        # them to all origins is no risk: only someone who knows the secret URL can request them.
        "Cross-Origin-Resource-Policy": "cross-origin",
        "Access-Control-Allow-Origin": "*",
    }
    if kind in PAGES:
        headers |= CONNECTIONS
    # A type that no browser is to interpret.
    if kind is None:
        headers["Content-Disposition"] = "attachment"
    elif kind.startswith("text/"):
        headers["Content-Type"] += "; charset=utf-8"
    return await send_file(request, session, path, headers)


async def keep(request: web.Request) -> web.Response:
    """Keeps capability URLs valid that the client still displays. With `frame` the answer has a word that
    lets a frame load a page."""
    views = present_of(request).views
    wanted = await body_of(request, KeepViews)
    # In the order of the request, which the client relies on.
    kept = tuple(views.keep(one) for one in wanted.urls)
    word = views.word() if wanted.frame else UNSET
    return json_reply(ViewsKept(kept, int(views.seconds * 1000), word))


def _kind(capability: Capability, path: str) -> str | None:
    """The media type to serve a file with; None for a download.

    Raises NoSession for a file beside a page that pages do not load: source files, files without an
    extension, hidden files. A page's URL may be shared, and must not reveal the program.
    """
    dot = path.rfind(".")
    ending = path[dot:].lower() if dot >= 0 else ""
    if capability.folder is not None:
        beside = path[len(capability.folder) :].split("/")
        # Hidden files are left out everywhere in the path.
        if (ending not in TYPES and ending not in _DATA) or any(name.startswith(".") for name in beside):
            raise NoSession()
    return TYPES.get(ending)


def _at_the_top(request: web.Request, views: Views) -> bool:
    """Whether the answer may become a tab's own document, rather than a frame or a script's data."""
    to = request.headers.get("Sec-Fetch-Dest")
    if to is not None:
        # A `fetch` of a document is no navigation.
        return to not in _FRAMES and request.headers.get("Sec-Fetch-Mode", "navigate") == "navigate"
    # Without Sec-Fetch-Dest: an old browser, or any one without TLS. Then a navigation is recognised by
    # `Accept`, and a frame of ours by a word in its URL.
    # The word is valid once, so the page in the frame cannot reuse it.
    if "text/html" not in request.headers.get("Accept", "text/html"):
        return False
    return not views.use_word(query_of(request, ViewQuery).framed)


def _framed(path: str, place: str, word: str) -> web.Response:
    """A document of the server that shows a program's page in a frame, for a tab of its own.

    As a tab's own document, even a sandboxed page could navigate to any URL, and so send away what it has
    read. A frame can only navigate where the surrounding policy allows: to `place`, or to this server if
    that is "". `word`: permits the frame to load the page.
    """
    # A new one for each answer: an old page cannot use it for its own styles.
    nonce = secrets.token_urlsafe(16)
    title = html.escape(path.rpartition("/")[2])
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<style nonce="{nonce}">html,body,iframe{{margin:0;border:0;width:100%;height:100%}}</style>'
        # The sandbox is set here as well as in the page's own policy: either would be enough.
        f'<iframe title="{title}" sandbox="allow-scripts" referrerpolicy="no-referrer" src="?framed={word}">'
        "</iframe>"
    )
    rules = (
        f"default-src 'none'; frame-src {place or OURS}; style-src 'nonce-{nonce}'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'self'"
    )
    vary = "Sec-Fetch-Dest, Accept"
    headers = {"Content-Security-Policy": rules, "Cache-Control": "no-store", "Vary": vary, **CONNECTIONS}
    return web.Response(text=text, content_type="text/html", headers=headers)


def policy(kind: str | None, place: str) -> str:
    """The content security policy for a file. `kind`: its media type. `place`: the source expression of the
    files that its URL permits, "" if there are none."""
    if kind == "application/pdf":
        # No sandbox, as browsers refuse to show their PDF viewer in one.
        # The viewer runs no scripts in our origin.
        return "default-src 'none'; style-src 'unsafe-inline'; object-src 'self'; frame-ancestors 'self'"
    if kind not in PAGES:
        return "sandbox; default-src 'none'; frame-ancestors 'self'"
    own = f" {place}" if place else ""
    return (
        "sandbox allow-scripts; default-src 'none'; "
        f"script-src 'unsafe-inline' 'unsafe-eval' blob:{own}; style-src 'unsafe-inline'{own}; "
        # `unsafe-eval`: plotting libraries need it; within the sandbox it reaches nothing.
        f"img-src data: blob:{own}; font-src data:{own}; media-src data: blob:{own}; "
        f"connect-src data: blob:{own}; worker-src blob:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )
