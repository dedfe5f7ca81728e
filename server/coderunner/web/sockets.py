"""Opens WebSockets: checks the upgrade request, counts the connection, and serves it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from coderunner.errors import RateLimited
from coderunner.web import guard
from coderunner.web.keys import PARTS, TCP_CONNECTIONS
from coderunner.web.middleware import release
from coderunner.web.tcp import TcpConnection, tcp_of

CROWDED_RETRY_MS = 5000  # for an address that connects too often


class Socket(web.WebSocketResponse):
    """A WebSocket that keeps no exception after its end."""

    async def write_eof(self) -> None:  # type: ignore[override]  # as aiohttp has it
        """Called by aiohttp at the end of the connection; frees the exception that it keeps."""
        await super().write_eof()
        release(self.exception())


async def serve_socket(
    request: web.Request,
    socket: Socket,
    serve: Callable[[TcpConnection, RateLimited | None], Awaitable[None]],
) -> web.StreamResponse:
    """Answers an upgrade request, and serves the connection until it ends.

    `serve(tcp, refusal)`: called once the handshake was sent; `refusal` is the error for a client whose
    address connects too often, which `serve` has to send in its own protocol: browsers do not show scripts
    an HTTP error. Raises HTTPUpgradeRequired for a request that is no upgrade.
    """
    # Before `prepare`, which would fail with an internal error.
    if not _in_ascii(request) or not socket.can_prepare(request).ok:
        raise web.HTTPUpgradeRequired(text="this address is for WebSockets\n")
    connections, tcp = request.app[TCP_CONNECTIONS], tcp_of(request)
    # Counted here for connections of a proxy, whose client is known only now.
    welcome = tcp is None or connections.meet(tcp, guard.address_of(request.app[PARTS].settings, request))
    try:
        await socket.prepare(request)
    except ConnectionError:
        return web.Response()  # the peer is gone already; not a fault of ours to be logged
    if tcp is not None:  # else the connection has ended between the request and here
        refusal = RateLimited("this address connects too often", retry_after_ms=CROWDED_RETRY_MS)
        await serve(tcp, None if welcome else refusal)
    return socket


def _in_ascii(request: web.Request) -> bool:
    """Whether the headers of an upgrade are ASCII. aiohttp fails with an internal error on others."""
    names = ("Connection", "Upgrade", *(name for name in request.headers if name.lower().startswith("sec-")))
    return all(value.isascii() for name in names for value in request.headers.getall(name, ()))
