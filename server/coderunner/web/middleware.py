"""Checks and headers of every request: the host it names, its origin, its request id."""

from __future__ import annotations

import logging

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from coderunner.errors import CodeRunnerError
from coderunner.logs import fields
from coderunner.web import guard
from coderunner.web.keys import PARTS, TCP_CONNECTIONS
from coderunner.web.page import FOR_EVER, HASHED
from coderunner.web.replies import error_reply, shown
from coderunner.web.tcp import tcp_of

log = logging.getLogger(__name__)

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class ClientFaults(logging.Filter):
    """Logs a request that is not HTTP as one line without a traceback: it is the client's fault."""

    def filter(self, record: logging.LogRecord) -> bool:
        """False for a record about a client's fault: it is logged shorter elsewhere."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError) or error.code >= 500:
            return True
        log.info("request refused", extra=fields(status=error.code, why=type(error).__name__))
        release(error)
        return False


def release(error: BaseException | None) -> None:
    """Drops the frames of an exception: what a crowd of requests had would wait for the garbage
    collector, which then stops the loop for all."""
    if error is not None:
        error.__traceback__ = error.__context__ = None


BEGUN: web.RequestKey[web.StreamResponse] = web.RequestKey("begun", web.StreamResponse)
"""The answer to a request, as soon as its first byte may be out."""
LONGEST_STATIC = 200  # characters of an address of the page's own files
REFUSED = 10.0  # requests: what one that is refused counts as


@web.middleware
async def guard_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The outermost middleware: bounds the rate of requests, and begins no answer twice."""
    tcp, connections = tcp_of(request), request.app[TCP_CONNECTIONS]
    if tcp is not None:
        tcp.begin(request.content if request.body_exists and request.content_length is None else None)
    address = guard.address_of(request.app[PARTS].settings, request)
    try:
        await connections.pace(address)
        response = await _guarded(request, handler)
    except Exception as error:
        if BEGUN in request:
            return _broken_off(request, error)
        if not isinstance(error, web.HTTPException):
            raise
        release(error)
        # An exception that is the answer refers to the request, and that to the exception.
        response = web.Response(
            status=error.status, reason=error.reason, text=error.text, headers=error.headers
        )
    finally:
        request.pop(BEGUN, None)  # they refer to each other
        if tcp is not None:
            tcp.done()
    if response.status >= 400:
        connections.charge(address, REFUSED)
    return response


def _broken_off(request: web.Request, error: Exception) -> web.StreamResponse:
    """What has begun to be answered ends as it should or not at all: bytes of anything else behind the ones
    that are out would be part of it."""
    why = error.code if isinstance(error, CodeRunnerError) else type(error).__name__
    if not isinstance(error, CodeRunnerError | ConnectionError | TimeoutError):
        log.error("an answer failed", exc_info=error, extra=fields(path=shown(request)))
    about = guard.about(request.app[PARTS].settings, request)
    log.info("answer broken off", extra=fields(path=shown(request), why=why, **about))
    if request.transport is not None:
        request.transport.abort()
    return request[BEGUN]


async def _guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    settings = request.app[PARTS].settings
    host = request.headers.get("Host", "")
    if not guard.host_allowed(settings, host) and not guard.from_here(request, host):
        raise web.HTTPMisdirectedRequest(text="this server is not known under that name: see ALLOWED_HOSTS\n")
    if request.path.startswith("/static/") and ("/." in request.path or len(request.path) > LONGEST_STATIC):
        raise web.HTTPNotFound  # what tools note for themselves; what no file system takes as a name
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        # Unpacking what anybody sends is work without a bound.
        raise web.HTTPUnsupportedMediaType(text="send the body as it is, without Content-Encoding\n")
    if request.path == "/ws" or request.path.startswith("/ws/"):
        # A WebSocket is not bound by the same-origin policy; a foreign page could open one with our cookies.
        if not guard.origin_allowed(settings, request.headers.get("Origin"), host):
            raise web.HTTPForbidden(text="this origin may not connect: see ALLOWED_ORIGINS\n")
        return await handler(request)
    return await _answered(request, handler)


async def add_headers(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Adds the headers of every answer, also where it is streamed. Those that a handler has set stay."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if isinstance(request, web.Request):
        request[BEGUN] = response
    if request.path.startswith("/static/"):
        kept = response.status in (200, 206, 304) and HASHED.match(request.path)
        response.headers["Cache-Control"] = FOR_EVER if kept else "no-cache"


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """An error as JSON, with the fields of the WebSocket's `error` and the status of its code."""
    try:
        return await handler(request)
    except CodeRunnerError as error:
        if BEGUN in request:
            raise
        return error_reply(request, error)
