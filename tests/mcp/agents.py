"""An agent, as the SDK's own client is one."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from tests.harness import ROOT, Server, wait_until

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "server")}
COMMAND = [sys.executable, "-m", "coderunner", "--env-file", "/dev/null", "mcp"]


class Agent:
    def __init__(self, client: Client) -> None:
        self.client = client

    async def __call__(self, tool: str, **arguments: Any) -> str:
        answer = await self.client.call_tool(tool, arguments)
        text = "".join(part.text for part in answer.content)
        if answer.is_error:
            raise RuntimeError(text)
        return text

    async def open(self, language: str = "python") -> dict[str, str]:
        return dict(json.loads(await self("open", language=language)))


@contextlib.asynccontextmanager
async def by_stdio(server: Server) -> AsyncIterator[Agent]:
    words = [*COMMAND[1:], "--url", server.url]
    async with Client(StdioServerParameters(command=COMMAND[0], args=words, env=ENVIRONMENT)) as client:
        yield Agent(client)


@contextlib.contextmanager
def listening(server: Server, *more: str) -> Iterator[str]:
    """`coderunner mcp --listen`; the address of its /mcp."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    words = [*COMMAND, "--url", server.url, "--listen", f"127.0.0.1:{port}", *more]
    process = subprocess.Popen(words, env=ENVIRONMENT)

    def answers() -> bool:
        assert process.poll() is None, "it ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    try:
        wait_until(answers, 30, "an open port")
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        process.wait(20)


@contextlib.asynccontextmanager
async def by_http(url: str, mode: str = "auto", **headers: str) -> AsyncIterator[Agent]:
    """`mode`: "legacy" for the protocol with a handshake at the beginning."""
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        async with Client(streamable_http_client(url, http_client=http), mode=mode) as client:
            yield Agent(client)
