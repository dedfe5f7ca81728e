"""The command `coderunner mcp`: over standard input and output, or as `/mcp` over HTTP."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp, Receive, Scope, Send

from coderunner.mcp.backend import TICKET
from coderunner.mcp.tools import MAX_SESSIONS, tools
from coderunner.schema.forms import UNIX

MAX_BODY = 4 * 1024 * 1024  # bytes of a request
MAX_OF_SERVER = 1024  # sessions: the server has its own limit, and one for each caller
BACKLOG = 512


def main(arguments: argparse.Namespace, url: str) -> int:
    """Serves until standard input ends, or until a signal. Returns the exit code."""
    return asyncio.run(_main(arguments, url))


async def _main(arguments: argparse.Namespace, url: str) -> int:
    most = MAX_OF_SERVER if arguments.of_server else MAX_SESSIONS
    # Over HTTP nobody says when an agent has left, and it may be back with its handles after a restart.
    ends = not arguments.listen
    async with tools(url, arguments.page or url, arguments.bearer, most=most, ends=ends) as server:
        if arguments.of_server:
            await _of_server(server, Path(arguments.listen.removeprefix(UNIX)))
        elif arguments.listen:
            await _http(server, arguments)
        else:
            await server.run_stdio_async()
    return 0


async def _http(server: MCPServer[Any], arguments: argparse.Namespace) -> None:
    host, _, port = arguments.listen.rpartition(":")
    own = [f"{name}:{port}" for name in {host, "localhost", "127.0.0.1"}]
    security = TransportSecuritySettings(
        # Without it, a page whose name resolves to this machine could use the tools.
        enable_dns_rebinding_protection=True,
        allowed_hosts=[*own, *arguments.allow_host],
        allowed_origins=[*(f"http://{one}" for one in own), *arguments.allow_origin],
    )
    application = server.streamable_http_app(
        stateless_http=True,  # each request stands alone, so that a restart costs agents nothing
        max_request_body_size=MAX_BODY,
        transport_security=security,
        host=host,
    )
    config = uvicorn.Config(
        application, host=host.strip("[]"), port=int(port), log_level="warning", timeout_graceful_shutdown=3
    )
    await uvicorn.Server(config).serve()


class _Server(uvicorn.Server):
    """One that leaves signals alone: its own handling ends the process before anything is tidied up."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield


class _Ticketed:
    """An ASGI application whose requests carry a ticket of the server's as their bearer."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
            TICKET.set(given.removeprefix("Bearer "))
        await self._application(scope, receive, send)


async def _of_server(server: MCPServer[Any], path: Path) -> None:
    """Listens for the server that has started this process, which checks Host, Origin and callers; ends with
    it. Removes the folder of the socket."""
    application = server.streamable_http_app(
        stateless_http=True,  # each request stands alone, so that a restart costs agents nothing
        max_request_body_size=MAX_BODY,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    config = uvicorn.Config(
        _Ticketed(application), log_level="warning", lifespan="on", timeout_graceful_shutdown=1
    )
    serving, reader, loop = _Server(config), asyncio.StreamReader(), asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, reader.feed_eof)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(BACKLOG)
            print("listening", file=sys.stderr, flush=True)  # who connects now waits for the application
            work = asyncio.create_task(serving.serve([listener]), name="mcp-serve")
            ends = asyncio.create_task(reader.read(1), name="mcp-stdin")
            await asyncio.wait((work, ends), return_when=asyncio.FIRST_COMPLETED)
            ends.cancel()
            serving.should_exit = True
            await work
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(path.parent)
