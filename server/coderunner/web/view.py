"""Files of a session for what cannot send a header: images of the page, frames, and what those load.

The address itself is the capability to read: one file, or a page and what lies beside it. What a program
wrote is shown in no origin of ours: a page or an image that can hold scripts comes with a policy that takes
its origin away and lets it load nothing but what its own address opens.
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
from coderunner.web.files import body_of, send_file, session_of
from coderunner.web.keys import PARTS
from coderunner.web.replies import json_reply, query_of
from coderunner.wire import artifacts

# What pages may load beside what is shown by itself. Nothing here is markup: that could carry scripts.
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
"""What pages fetch as well. At the top of a tab it is a download."""

OURS = "'self'"
PAGES = ("text/html", "image/svg+xml")
"""What can hold scripts: shown in a frame, never at the top."""

_FRAMES = ("iframe", "frame", "embed", "object")


async def view(request: web.Request) -> web.StreamResponse:
    """GET /view/{session}/{capability}/{path}."""
    text, path = request.match_info["capability"], request.match_info["path"]
    session, capability = request.app[PARTS].registry.look(request.match_info["session"], text, path)
    check_path(path)
    kind = _kind(capability, path)
    place = guard.place(request.app[PARTS].settings, request, f"/view/{session.id}/{text}/")
    own = place + quote(capability.folder) if place and capability.folder is not None else ""
    if kind in PAGES and _at_the_top(request, session.views):
        async with session.files.request():
            await session.files.read(path, 0, 1)  # what is not there is no frame either
        return _framed(path, own or (place and place + quote(path)), session.views.word())
    headers = {
        "Content-Type": kind or "application/octet-stream",
        "Content-Security-Policy": policy(kind, own),
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        "Vary": "Sec-Fetch-Dest, Accept",
        # Frames have no origin, so to a browser everything is another's; who knows the address may look.
        "Cross-Origin-Resource-Policy": "cross-origin",
        "Access-Control-Allow-Origin": "*",
    }
    if kind is None:
        headers["Content-Disposition"] = "attachment"
    elif kind.startswith("text/"):
        headers["Content-Type"] += "; charset=utf-8"
    return await send_file(request, session, path, headers)


async def keep(request: web.Request) -> web.Response:
    """POST /api/sessions/{session}/views: keeps the addresses that are in use, each as it was told.  `frame`:
    the answer has a word with which a frame may ask for a page."""
    views = session_of(request).views
    wanted = await body_of(request, KeepViews)
    kept = tuple(views.keep(one) for one in wanted.urls)
    word = views.word() if wanted.frame else UNSET
    return json_reply(ViewsKept(kept, int(views.seconds * 1000), word))


def _kind(capability: Capability, path: str) -> str | None:
    """What it is served as.  Raises NoSession for what lies beside a page and is nothing that pages load: the
    source of the program, what has no ending, what is hidden."""
    dot = path.rfind(".")
    ending = path[dot:].lower() if dot >= 0 else ""
    if capability.folder is not None:
        beside = path[len(capability.folder) :].split("/")
        if (ending not in TYPES and ending not in _DATA) or any(name.startswith(".") for name in beside):
            raise NoSession()
    return TYPES.get(ending)


def _at_the_top(request: web.Request, views: Views) -> bool:
    """Whether the answer may become what a tab shows, and not a frame in it or what a script reads."""
    to = request.headers.get("Sec-Fetch-Dest")
    if to is not None:
        return to not in _FRAMES and request.headers.get("Sec-Fetch-Mode", "navigate") == "navigate"
    # An old browser, or any without TLS. Where it goes somewhere, it asks for HTML; a frame that we have made
    # asks with a word, which is used up before what it loads can read it.
    if "text/html" not in request.headers.get("Accept", "text/html"):
        return False
    return not views.use_word(query_of(request, ViewQuery).framed)


def _framed(path: str, place: str, word: str) -> web.Response:
    """A page of ours around one that a program wrote, for a tab of its own.  At the top that page could go to
    any address, with what it has read in it, also from a sandbox; a frame goes only where the policy around
    it allows: `place`, or where that cannot be said, this server."""
    nonce = secrets.token_urlsafe(16)
    title = html.escape(path.rpartition("/")[2])
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<style nonce="{nonce}">html,body,iframe{{margin:0;border:0;width:100%;height:100%}}</style>'
        f'<iframe title="{title}" sandbox="allow-scripts" referrerpolicy="no-referrer" src="?framed={word}">'
        "</iframe>"
    )
    rules = (
        f"default-src 'none'; frame-src {place or OURS}; style-src 'nonce-{nonce}'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'self'"
    )
    vary = "Sec-Fetch-Dest, Accept"
    headers = {"Content-Security-Policy": rules, "Cache-Control": "no-store", "Vary": vary}
    return web.Response(text=text, content_type="text/html", headers=headers)


def policy(kind: str | None, place: str) -> str:
    """`place`: what its address opens beside it, as a source that a policy understands, or empty."""
    if kind == "application/pdf":
        # A browser's own reader shows it, which a sandbox would forbid; it runs nothing as a page of ours.
        return "default-src 'none'; style-src 'unsafe-inline'; object-src 'self'; frame-ancestors 'self'"
    if kind not in PAGES:
        return "sandbox; default-src 'none'; frame-ancestors 'self'"
    own = f" {place}" if place else ""
    return (
        "sandbox allow-scripts; default-src 'none'; "
        f"script-src 'unsafe-inline' 'unsafe-eval' blob:{own}; style-src 'unsafe-inline'{own}; "
        f"img-src data: blob:{own}; font-src data:{own}; media-src data: blob:{own}; "
        f"connect-src data: blob:{own}; worker-src blob:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )
