"""The middleware of all requests: rate limit, checks of Host and Origin, security headers, errors as JSON."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from coderunner import audit, logs
from coderunner.errors import (
    BadMedia,
    BadMethod,
    BodyTooLarge,
    CodeRunnerError,
    InternalError,
    NoAddress,
    NotAllowed,
    Unauthenticated,
    WrongHost,
)
from coderunner.logs import fields
from coderunner.web import guard
from coderunner.web.keys import PARTS, TCP_CONNECTIONS
from coderunner.web.page import FOR_EVER, HASHED
from coderunner.web.quotas import headers
from coderunner.web.replies import CORS, error_reply, shown
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
    """A filter for aiohttp's log: requests that are not valid HTTP get one line without a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns False for a record about a client's fault, after logging it in short."""
        error = record.exc_info[1] if record.exc_info else None
        # Errors of our own keep their traceback.
        if not isinstance(error, HttpProcessingError) or error.code >= 500:
            return True
        log.info("request refused", extra=fields(status=error.code, why=type(error).__name__))
        release(error)
        return False


def release(error: BaseException | None) -> None:
    """Drops an exception's traceback and context.

    They form reference cycles with the objects of the request. After many refused requests, the garbage
    collector would need so long for these that it stops the event loop.
    """
    if error is not None:
        # Both: each of them refers to the frames, and the frames to the request.
        error.__traceback__ = error.__context__ = None


BEGUN: web.RequestKey[web.StreamResponse] = web.RequestKey("begun", web.StreamResponse)
"""Key of a request's response, set as soon as its first byte may have been sent."""
LONGEST_STATIC = 200  # characters of the path of one of the page's files; longer ones raise errors in `stat`
REFUSED = 10.0  # as many requests a refused one counts as, to slow down probing and guessing


@web.middleware
async def guard_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The outermost middleware: limits the rate of requests, and prevents a second response."""
    tcp, connections = tcp_of(request), request.app[TCP_CONNECTIONS]
    if tcp is not None:
        # A body of unknown length is bounded while it arrives.
        tcp.begin(request.content if request.body_exists and request.content_length is None else None)
    guard.note_ticket(request.app[PARTS], request)
    about = guard.about(request.app[PARTS].settings, request)  # now: it goes with the connection
    address = about["address"]
    # The task also serves the connection's next request, so fields without a value are reset.
    session = request.match_info.get("session")
    live = session in request.app[PARTS].registry.sessions
    logs.within(request=about["request"], session=session if live else None)
    try:
        # Before anything else: a refused request is the cheapest.
        await connections.pace(address)
        response = await _guarded(request, handler)
    except Exception as error:
        # An answer has begun; nothing else can be said on this connection.
        if BEGUN in request:
            return _broken_off(request, error, about)
        if isinstance(error, ConnectionError) and _gone(request):
            release(error)
            log.info("request broken off", extra=fields(path=shown(request), **about))
            connections.charge(address, REFUSED)
            return web.Response(status=400)  # which nobody reads; aiohttp would log a traceback for the error
        if not isinstance(error, web.HTTPException):
            # aiohttp answers with a page of its own, and logs the error.
            if not request.path.startswith("/api/"):
                raise
            log.error("a request failed", exc_info=error, extra=fields(path=shown(request), **about))
            release(error)
            return error_reply(request, InternalError())
        release(error)
        response = _refused(request, error)
    finally:
        request.pop(BEGUN, None)  # request and response refer to each other as well
        if tcp is not None:
            tcp.done()
    if response.status >= 400:
        # Slows down guessing of addresses and tokens; a single wrong link is not noticed.
        connections.charge(address, REFUSED)
    return response


PROBLEMS: dict[int, type[CodeRunnerError]] = {
    404: NoAddress, 405: BadMethod, 413: BodyTooLarge, 415: BadMedia, 421: WrongHost
}  # fmt: skip
"""Errors that replace refusals of the HTTP library and of this middleware below /api/, by status."""


def _refused(request: web.Request, error: web.HTTPException) -> web.Response:
    """The response for a refusal of the HTTP library or of this middleware."""
    kind = PROBLEMS.get(error.status)
    if kind is not None and request.path.startswith("/api/"):
        # aiohttp's own text only repeats the status; the message of our error says more.
        own = error.text and not error.text.startswith(str(error.status))
        response = error_reply(request, kind(str(error.text).strip() if own else ""))
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    # Copied into a plain response: the exception and the request refer to each other, a cycle that only the
    # garbage collector would free.
    return web.Response(status=error.status, reason=error.reason, text=error.text, headers=error.headers)


def _gone(request: web.Request) -> bool:
    """Whether the connection has ended: its client left in the middle of a body, or it was cut."""
    return request.transport is None or request.transport.is_closing()


def _broken_off(request: web.Request, error: Exception, about: Mapping[str, str]) -> web.StreamResponse:
    """Aborts the connection after an error in the middle of a response.

    An error document would become part of the body that has begun; only an aborted connection shows the
    client that the response is incomplete. `about`: fields for the log.
    """
    why = error.code if isinstance(error, CodeRunnerError) else type(error).__name__
    # A fault of the server, and not of the connection.
    if not isinstance(error, CodeRunnerError | ConnectionError | TimeoutError):
        log.error("an answer failed", exc_info=error, extra=fields(path=shown(request)))
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
        raise web.HTTPNotFound  # hidden files of tools; names that no file system accepts
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        # A compressed body may expand a thousandfold.
        raise web.HTTPUnsupportedMediaType(text="send the body as it is, without Content-Encoding\n")
    if request.path == "/ws" or request.path.startswith("/ws/"):
        # The same-origin policy does not apply to WebSockets: without this, any page could connect from a
        # user's browser, and reach a server in the user's network.
        if not guard.origin_allowed(settings, request.headers.get("Origin"), host):
            audit.note("refused", address=guard.address_of(settings, request), code="origin",
                       origin=request.headers.get("Origin", ""))  # fmt: skip
            raise web.HTTPForbidden(text="this origin may not connect: see ALLOWED_ORIGINS\n")
        try:
            guard.shown(settings, request, guard.offered(request))
        except NotAllowed as error:  # before the upgrade: another site's page gets no socket at all
            raise web.HTTPForbidden(text=f"{error.message}\n") from None
        except Unauthenticated:
            pass  # answered by an error message of the protocol
        return await handler(request)
    return await _answered(request, handler)


async def add_headers(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Adds the headers of all responses, also of streamed ones. Keeps headers that a handler has set."""
    if isinstance(request, web.Request):
        response.headers.update(request.get(CORS, {}))
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if (own := logs.context().get("request")) is not None:
        response.headers.setdefault("X-Request-ID", own)
    # Once a connection has ended nothing is sent, and nobody would undo the cycle of request and response.
    if isinstance(request, web.Request) and not _gone(request):
        request[BEGUN] = response
    if isinstance(request, web.Request) and (account := request.get(guard.ACCOUNT)) is not None:
        response.headers.update(headers(account))
    if request.path.startswith("/static/"):
        kept = response.status in (200, 206, 304) and HASHED.match(request.path)
        response.headers["Cache-Control"] = FOR_EVER if kept else "no-cache"


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Calls the handler, and turns a CodeRunnerError into a JSON response with the status of its code."""
    try:
        return await handler(request)
    except CodeRunnerError as error:
        # The headers are sent: the outer handler aborts the connection.
        if BEGUN in request:
            raise
        return error_reply(request, error)
