"""Every address of the server, in one table, and the small handlers behind them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

import coderunner
from coderunner.schema.languages import Language
from coderunner.web import files
from coderunner.web.keys import PARTS, SOCKETS, WIRES, Parts
from coderunner.web.middleware import add_headers, guard_requests
from coderunner.web.page import WebClient, document_reply, smaller_json
from coderunner.web.replies import json_reply
from coderunner.web.sessions import session
from coderunner.web.stats import queue_stats
from coderunner.web.view import keep, view
from coderunner.web.wires import Wires
from coderunner.web.ws import websocket

_STARTED: web.AppKey[float] = web.AppKey("started", float)
_CLIENT: web.AppKey[WebClient] = web.AppKey("client", WebClient)
_DOCUMENTS: web.AppKey[dict[str, Any]] = web.AppKey("documents", dict)


def application(parts: Parts, wires: Wires) -> web.Application:
    """The table of routes, with the guard in front of all of them."""
    app = web.Application(middlewares=[guard_requests], client_max_size=64 * 1024)
    app.on_response_prepare.append(add_headers)
    app[PARTS] = parts
    app[SOCKETS] = set()
    app[WIRES] = wires
    app[_STARTED] = time.monotonic()
    app[_CLIENT] = WebClient(parts.static, watched=not parts.settings.production)
    offered = parts.catalog.languages
    # A new caller begins with the first that is ready.
    order = sorted(offered, key=lambda name: parts.declared.demand.index(name))
    app[_DOCUMENTS] = {name: _document(parts, offered[name]) for name in order}
    app.add_routes(
        [
            web.get("/", page),
            web.get("/ws", websocket),
            web.get("/ws/{session}", websocket),
            web.get("/api/health", health),
            web.get("/api/ready", ready),
            web.get("/api/queue-stats", stats),
            web.get("/api/languages", languages),
            web.get("/view/{session}/{capability}/{path:.+}", view),
            web.get("/api/sessions/{session}", session),
            web.post("/api/sessions/{session}/views", keep),
            web.get("/api/sessions/{session}/files", files.listing),
            web.get("/api/sessions/{session}/files/{path:.+}", files.read),
            web.put("/api/sessions/{session}/files/{path:.+}", files.write),
            web.patch("/api/sessions/{session}/files/{path:.+}", files.rename),
            web.post("/api/sessions/{session}/files/{path:.+}", files.make_folder),
            web.delete("/api/sessions/{session}/files/{path:.+}", files.remove),
            web.get("/api/sessions/{session}/archive", files.download),
            web.put("/api/sessions/{session}/archive", files.upload),
            web.static("/static", parts.static, append_version=False),
        ]
    )
    return app


async def page(request: web.Request) -> web.Response:
    """The web client."""
    return document_reply(request, request.app[_CLIENT])


async def health(request: web.Request) -> web.Response:
    """The server is alive; says nothing of the engine."""
    uptime = time.monotonic() - request.app[_STARTED]
    return json_reply({"status": "ok", "version": coderunner.__version__, "uptime_s": round(uptime, 1)})


async def ready(request: web.Request) -> web.Response:
    """Could a session start now?  If not: 503 and the reasons."""
    parts = request.app[PARTS]
    reasons = await parts.ready()
    document = {
        "ready": not reasons,
        "reasons": reasons,
        "languages": parts.catalog.summary(),
        "warnings": [
            *parts.surroundings.warnings(), *parts.agents.warnings(), *parts.catalog.warnings()
        ],
        "confinement": parts.surroundings.confinement,
        "agent_stream": parts.agents.kind,
    }
    return json_reply(document, 503 if reasons else 200)


async def stats(request: web.Request) -> web.Response:
    """Queue, worker pool and warm pool, as they are at this moment."""
    parts = request.app[PARTS]
    document = queue_stats(
        timestamp=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        queue=parts.registry.queue.stats(),
        workers=parts.workers.stats(),
        warm_pool=parts.warm.stats(),
        warnings=parts.catalog.warnings(),
    )
    return json_reply(document)


async def languages(request: web.Request) -> web.Response:
    """Languages, whether each is ready, and its sample programs.  ``want`` in the query: the one that the
    client looks at; where it is not ready, it is built next."""
    parts = request.app[PARTS]
    wanted = request.query.get("want", "")
    if wanted in parts.catalog.languages:
        parts.catalog.ask(wanted)
    rows = []
    for name, document in request.app[_DOCUMENTS].items():
        state = parts.catalog.state(name)
        rows.append({**document, "status": state.status, "message": state.message})
    return smaller_json(request, {"languages": rows, "limits": {"file_bytes": parts.settings.max_file_size}})


def _document(parts: Parts, language: Language) -> dict[str, Any]:
    contents = parts.declared.samples(language)
    samples = []
    for sample in language.samples:
        files = [{"path": path, "content": data.decode()} for path, data in contents[sample.name].items()]
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
        "repl": language.repl is not None,
        "samples": samples,
    }
