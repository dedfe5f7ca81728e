"""The command `coderunner mcp`: over standard input and output, or as `/mcp` over HTTP."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings

from coderunner.mcp.tools import tools

MAX_BODY = 4 * 1024 * 1024  # bytes of a request
MAX_CONNECTED = 256  # agents over HTTP at one time
IDLE_SECONDS = 1800.0  # after which one that asks for nothing is forgotten


def main(arguments: argparse.Namespace, url: str) -> int:
    """Serves until standard input ends, or until a signal. Returns the exit code."""
    return asyncio.run(_main(arguments, url))


async def _main(arguments: argparse.Namespace, url: str) -> int:
    async with tools(url, arguments.page or url, arguments.bearer) as server:
        if arguments.listen:
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
        max_request_body_size=MAX_BODY,
        max_sessions=MAX_CONNECTED,
        session_idle_timeout=IDLE_SECONDS,
        transport_security=security,
        host=host,
    )
    config = uvicorn.Config(
        application, host=host.strip("[]"), port=int(port), log_level="warning", timeout_graceful_shutdown=3
    )
    await uvicorn.Server(config).serve()
