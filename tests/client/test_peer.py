"""What a client of the protocol waits for."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from coderunner.client.peer import PASSING, Peer, Unexpected
from coderunner.errors.table import table


class Socket:
    """On which nothing ever comes."""

    close_code = None

    async def __aiter__(self) -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield


@pytest.mark.parametrize("slowness", [1.0, 3.0])
async def test_a_slow_server_is_waited_for_longer(slowness: float) -> None:
    peer = Peer(Socket(), slowness=slowness)  # type: ignore[arg-type]
    for act in (peer.wait(lambda: False, 0.1), peer.closed(0.1)):
        began = time.monotonic()
        with pytest.raises(Unexpected, match=f"in {0.1 * slowness:g} s"):
            await act
        assert time.monotonic() - began > 0.09 * slowness
    peer.reader.cancel()


class Refusing(Socket):
    """Which says one error about channel 1."""

    def __init__(self, code: str) -> None:
        self.text = json.dumps(
            {"type": "error", "code": code, "message": "no", "retryable": False, "channel": 1}
        )

    async def __aiter__(self) -> AsyncIterator[Any]:
        yield SimpleNamespace(type=aiohttp.WSMsgType.TEXT, data=self.text)
        await asyncio.Event().wait()


@pytest.mark.parametrize("code", [row.code for row in table()])
async def test_a_program_that_is_refused_is_not_waited_for(code: str) -> None:
    """More than 256 files were refused, and the library waited for the program that never began."""
    peer = Peer(Refusing(code))  # type: ignore[arg-type]
    await peer.error(code)
    assert (peer.channel(1).refused is None) == (code in PASSING)
    if code not in PASSING:
        with pytest.raises(Unexpected, match=code):
            await peer.ended(1, 1)
    peer.reader.cancel()
