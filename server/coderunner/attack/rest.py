"""Sessions whose files a case accesses over HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import aiohttp

from coderunner.attack.stage import Stage
from coderunner.client.peer import Peer
from coderunner.client.rest import Answer as Answer
from coderunner.client.rest import Rest as Rest


@contextlib.asynccontextmanager
async def session(stage: Stage, program: str = "") -> AsyncIterator[tuple[Peer, Rest]]:
    """Opens a session, runs `program` in it, and yields a WebSocket peer and
    an HTTP client for the session's files."""
    # Not decompressed: cases compare the bytes that were sent.
    async with stage.session() as peer, aiohttp.ClientSession(auto_decompress=False) as http:
        assert peer.opened is not None
        if program:
            await peer.result(1, program)
        yield peer, Rest(stage.url, peer.opened, http)
