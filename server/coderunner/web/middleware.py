"""What holds for every request: the host it names, the page it comes from, headers of every answer."""

from __future__ import annotations

import logging

from aiohttp import web
from aiohttp.typedefs import Handler

from coderunner.web import guard
from coderunner.web.keys import PARTS

log = logging.getLogger(__name__)

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


@web.middleware
async def guard_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    settings = request.app[PARTS].settings
    host = request.headers.get("Host", "")
    if not guard.host_allowed(settings, host):
        raise web.HTTPMisdirectedRequest(text="this server is not known under that name: see ALLOWED_HOSTS\n")
    if request.path == "/ws" or request.path.startswith("/ws/"):
        # A WebSocket is not bound by the same-origin policy; a foreign page could open one with our cookies.
        if not guard.origin_allowed(settings, request.headers.get("Origin"), host):
            raise web.HTTPForbidden(text="this origin may not connect: see ALLOWED_ORIGINS\n")
        return await handler(request)
    try:
        response = await handler(request)
    except web.HTTPException as error:
        error.headers.update(HEADERS)
        raise
    response.headers.update(HEADERS)
    if request.path.startswith("/static/"):
        response.headers["Cache-Control"] = "no-cache"
    return response
