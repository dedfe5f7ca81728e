"""What a client of the protocol waits for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from coderunner.client.peer import Peer, Unexpected


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
