"""Files of a session for what cannot send a header: images of the page, frames, and what those load.

The address itself is the leave to look. What a program wrote is shown in no origin of ours: a page or an
image that can hold scripts comes with a policy that takes its origin away and lets it load nothing but the
files of its own session.
"""

from __future__ import annotations

import html
import secrets

from aiohttp import web

from coderunner.core.project import check_path
from coderunner.web import guard
from coderunner.web.files import send_file
from coderunner.web.keys import PARTS
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


OURS = "'self'"
PAGES = ("text/html", "image/svg+xml")
"""What can hold scripts: shown in a frame, never at the top."""


async def view(request: web.Request) -> web.StreamResponse:
    """GET /view/{session}/{capability}/{path}."""
    capability = request.match_info["capability"]
    session = request.app[PARTS].registry.look(request.match_info["session"], capability)
    path = check_path(request.match_info["path"])
    dot = path.rfind(".")
    kind = TYPES.get(path[dot:].lower()) if dot >= 0 else None
    place = guard.place(request.app[PARTS].settings, request, f"/view/{session.id}/{capability}/")
    if kind in PAGES and request.headers.get("Sec-Fetch-Dest") == "document":
        return _framed(path, place)
    headers = {
        "Content-Type": kind or "application/octet-stream",
        "Content-Security-Policy": policy(kind, place),
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        # Frames have no origin, so to a browser everything is another's; who knows the address may look.
        "Cross-Origin-Resource-Policy": "cross-origin",
        "Access-Control-Allow-Origin": "*",
    }
    if kind is None:
        headers["Content-Disposition"] = "attachment"
    elif kind.startswith("text/"):
        headers["Content-Type"] += "; charset=utf-8"
    return await send_file(request, session, path, headers)


def _framed(path: str, place: str) -> web.Response:
    """A page of ours around one that a program wrote, for a tab of its own.  At the top that page could go to
    any address, with what it has read in it; a frame goes only where the policy around it allows."""
    nonce = secrets.token_urlsafe(16)
    title = html.escape(path.rpartition("/")[2])
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<style nonce="{nonce}">html,body,iframe{{margin:0;border:0;width:100%;height:100%}}</style>'
        f'<iframe title="{title}" sandbox="allow-scripts" referrerpolicy="no-referrer" src="?framed">'
        "</iframe>"
    )
    rules = (
        f"default-src 'none'; frame-src {place or OURS}; style-src 'nonce-{nonce}'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
    headers = {"Content-Security-Policy": rules, "Cache-Control": "no-store", "Vary": "Sec-Fetch-Dest"}
    return web.Response(text=text, content_type="text/html", headers=headers)


def policy(kind: str | None, place: str) -> str:
    """`place`: the session's files as a source that a policy understands, or empty."""
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
