"""CORS: pages of ALLOWED_ORIGINS may use the HTTP API for runs and batches, pages of other origins may
not."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable

from aiohttp import web

from coderunner.errors import NotAllowed
from coderunner.web import guard
from coderunner.web.keys import PARTS
from coderunner.web.replies import CORS

MAX_AGE = "600"  # seconds for which a browser may cache the response to a preflight request
HEADERS = "Accept, Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Range"
EXPOSED = "Location, Retry-After"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def headers(request: web.Request) -> dict[str, str]:
    """The CORS headers of a response. Raises NotAllowed for a page of another origin."""
    # Browsers set Origin themselves; a page cannot change it.
    settings, origin = request.app[PARTS].settings, request.headers.get("Origin")
    if origin is None:
        return {}
    if not guard.origin_allowed(settings, origin, request.headers.get("Host", "")):
        raise NotAllowed("pages of this origin are not allowed; the operator can add it to ALLOWED_ORIGINS")
    # Caches must not answer one origin with the headers of another.
    told = {"Vary": "Origin"}
    if origin in settings.allowed_origins:
        told |= {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": EXPOSED,
            "Cross-Origin-Resource-Policy": "cross-origin",
        }
    return told


def across_origins(handler: Handler) -> Handler:
    """Decorates a handler, so that pages of allowed origins may use it."""

    @functools.wraps(handler)
    async def wrapped(request: web.Request) -> web.StreamResponse:
        request[CORS] = headers(request)  # the middleware adds them to the response, also to a refusal
        return await handler(request)

    return wrapped


async def preflight(request: web.Request) -> web.Response:
    """OPTIONS: which methods and headers a page may use."""
    told = headers(request)
    # Without the header a browser refuses the request itself.
    if "Access-Control-Allow-Origin" in told:
        told |= {
            "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE",
            "Access-Control-Allow-Headers": HEADERS,
            "Access-Control-Max-Age": MAX_AGE,
        }
    return web.Response(status=204, headers=told)
