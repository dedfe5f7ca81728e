"""The WebSocket endpoint of sessions: the subprotocol, and `hello`."""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

import coderunner
from coderunner.core import codec
from coderunner.errors import CodeRunnerError, RateLimited
from coderunner.identity.principal import Principal
from coderunner.schema import messages as m
from coderunner.web import guard
from coderunner.web.connection import KEEPALIVE_SECONDS, Connection
from coderunner.web.keys import PARTS, SOCKETS, TCP_CONNECTIONS, Parts
from coderunner.web.sockets import Socket, serve_socket
from coderunner.web.tcp import TcpConnection
from coderunner.wire import flow

REVOKED_SECONDS = 1.0  # between two checks for sockets whose credential has ended
HELLO_SECONDS = 1.0  # that `hello` waits for the check of a credential


async def websocket(request: web.Request) -> web.StreamResponse:
    """Opens a WebSocket with the subprotocol `coderunner.v1`: `/ws` for a new session, `/ws/{session}` to
    attach."""
    parts = request.app[PARTS]
    protocols = guard.offered(request)
    if guard.PROTOCOL not in protocols:
        # A client that does not know the protocol would misread everything.
        raise web.HTTPBadRequest(text=f"offer the WebSocket subprotocol {guard.PROTOCOL}\n")
    socket = Socket(
        protocols=(guard.PROTOCOL,),
        max_msg_size=codec.MAX_TEXT + 1,  # `Framing` enforces the exact bound, with an error of the protocol
        autoping=False,  # pings are charged to the client's rate first
        compress=False,  # a compressed message's size is unknown until it is unpacked
        decode_text=False,  # msgspec decodes UTF-8 together with the JSON
    )

    async def serve(tcp: TcpConnection, refusal: RateLimited | None) -> None:
        connections, session = request.app[TCP_CONNECTIONS], request.match_info.get("session")
        connection = Connection(parts, socket, request, session, connections, tcp)
        if refusal is not None:
            connection.refuse(refusal)
        sockets = request.app[SOCKETS]
        sockets.add(connection)
        try:
            await connection.serve(protocols, hello(parts, await _quotas(parts, request, protocols)))
        finally:
            sockets.discard(connection)

    return await serve_socket(request, socket, serve)


async def end_revoked(app: web.Application) -> None:
    """Closes the sockets whose key was revoked or has expired, and those of teachers and operators whose
    credential has ended in another way, until it is cancelled."""
    parts = app[PARTS]

    def ended(who: Principal, oversees: bool) -> bool:
        return parts.identity.ended(who, time.time(), oversees=oversees)

    sockets = app[SOCKETS]
    while True:
        await asyncio.sleep(REVOKED_SECONDS)
        parts.registry.watches.drop(lambda who: ended(who, True))
        for connection in list(sockets):
            connection.check(ended)


async def _quotas(parts: Parts, request: web.Request, protocols: list[str]) -> tuple[m.QuotaLeft, ...]:
    """What is left of the caller's quotas. Empty for an unknown credential, which is refused later, and for
    one that cannot be checked within HELLO_SECONDS."""
    try:
        async with asyncio.timeout(HELLO_SECONDS):
            await guard.caller(parts, request, protocols)
    except (CodeRunnerError, TimeoutError):
        return ()
    return request[guard.ACCOUNT].told()


def hello(parts: Parts, quotas: tuple[m.QuotaLeft, ...] = ()) -> m.Hello:
    """The first message of every connection: the server's version, its limits and features, and what is left
    of the caller's quotas."""
    settings = parts.settings
    return m.Hello(
        protocol=m.PROTOCOL,
        server=f"coderunner/{coderunner.__version__}",
        environment=settings.app_env,
        limits={
            "text_bytes": codec.MAX_TEXT,
            "first_text_bytes": codec.MAX_FIRST_TEXT,
            "payload_bytes": codec.MAX_PAYLOAD,
            "window_bytes": flow.WINDOW,
            "input_window_bytes": flow.INPUT_WINDOW,
            "journal_bytes": flow.JOURNAL_BYTES,
            "channels": flow.MAX_CHANNELS,
            "files": settings.max_files_per_session,
            "file_bytes": settings.max_file_size,
            "archive_bytes": settings.max_archive_size,
            # Both in milliseconds.
            "resume_ms": settings.session_resume_min,
            "view_ms": settings.view_ttl,
        },
        features=("tty", "pipe", "shell", "watch", "resume", *(("groups",) if settings.max_groups else ())),
        keepalive_s=int(KEEPALIVE_SECONDS),
        quotas=quotas,
    )
