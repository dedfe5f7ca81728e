"""Every address of the server, in one table, and the small handlers behind them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web

import coderunner
from coderunner.core.languages import Language
from coderunner.sessions import workspace
from coderunner.web import guard
from coderunner.web.keys import PARTS, SOCKETS, Parts
from coderunner.web.middleware import guard_requests
from coderunner.web.stats import queue_stats
from coderunner.web.ws import websocket

# The page's libraries bring their styles as constructed sheets, so that not even styles need an exception.
POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; "
    "manifest-src 'self'"
)
_STARTED: web.AppKey[float] = web.AppKey("started", float)
_DOCUMENTS: web.AppKey[dict[str, Any]] = web.AppKey("documents", dict)


def application(parts: Parts) -> web.Application:
    app = web.Application(middlewares=[guard_requests], client_max_size=64 * 1024)
    app[PARTS] = parts
    app[SOCKETS] = set()
    app[_STARTED] = time.monotonic()
    app[_DOCUMENTS] = {name: _document(parts, one) for name, one in parts.catalog.languages.items()}
    app.add_routes(
        [
            web.get("/", page),
            web.get("/ws", websocket),
            web.get("/ws/{session}", websocket),
            web.get("/api/health", health),
            web.get("/api/ready", ready),
            web.get("/api/queue-stats", stats),
            web.get("/api/languages", languages),
            web.get("/api/sessions/{session}/archive", archive),
            web.static("/static", parts.static, append_version=False),
        ]
    )
    return app


def _json(document: Any, status: int = 200) -> web.Response:
    return web.Response(
        body=orjson.dumps(document),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


async def page(request: web.Request) -> web.Response:
    """The web client."""
    text = (request.app[PARTS].static / "index.html").read_text("utf-8")
    response = web.Response(text=text, content_type="text/html")
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = "no-store"
    return response


async def health(request: web.Request) -> web.Response:
    """The server is alive; says nothing of the engine."""
    uptime = time.monotonic() - request.app[_STARTED]
    return _json({"status": "ok", "version": coderunner.__version__, "uptime_s": round(uptime, 1)})


async def ready(request: web.Request) -> web.Response:
    """Could a session start now?  If not: 503 and the reasons."""
    reasons = await request.app[PARTS].ready()
    return _json({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)


async def stats(request: web.Request) -> web.Response:
    """Queue, worker pool and warm pool, as they are at this moment."""
    parts = request.app[PARTS]
    document = queue_stats(
        timestamp=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        queue=parts.registry.queue.stats(),
        workers=parts.workers.stats(),
        warm_pool=parts.warm.stats(),
    )
    return _json(document)


async def languages(request: web.Request) -> web.Response:
    """Languages, whether each is ready, and its sample programs."""
    parts = request.app[PARTS]
    rows = []
    for name, document in request.app[_DOCUMENTS].items():
        state = parts.catalog.state(name)
        rows.append({**document, "status": state.status, "message": state.message})
    return _json({"languages": rows})


async def archive(request: web.Request) -> web.StreamResponse:
    """The workspace of a live session as a zip; the session's token is the bearer."""
    session, _ = request.app[PARTS].registry.find(request.match_info["session"], guard.bearer(request))
    response = web.StreamResponse(
        headers={
            "Content-Type": "application/zip",
            "Content-Disposition": f'attachment; filename="{session.language.name}-project.zip"',
            "Cache-Control": "no-store",
        }
    )
    await response.prepare(request)
    async for piece in workspace.archive(session.container.link):
        await response.write(piece)
    await response.write_eof()
    return response


def _document(parts: Parts, language: Language) -> dict[str, Any]:
    contents = parts.declared.samples(language)
    samples = []
    for sample in language.samples:
        files = [
            {"path": path, "content": data.decode()} for path, data in contents[sample.name].items()
        ]
        samples.append(
            {
                "name": sample.name,
                "title": sample.title,
                "entry": sample.entry,
                "args": list(sample.args),
                "stdin": sample.stdin,
                "files": files,
            }
        )
    return {
        "name": language.name,
        "title": language.title,
        "version": language.version,
        "entry": language.entry,
        "editor": language.editor,
        "extensions": list(language.extensions),
        "indent": language.indent,
        "samples": samples,
    }
