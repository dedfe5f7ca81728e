"""A session's files once the session is over."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from coderunner.errors import NoSession
from coderunner.sessions.container import Broadcast
from coderunner.sessions.files import Files


async def test_a_session_that_is_over_tells_nothing_more_of_its_files():
    """Its container may have to wait for a worker to end it, and would answer until then."""
    later = asyncio.get_running_loop().create_future
    link = SimpleNamespace(closed=later(), asked=0)

    async def call(op, raw=b"", **body):
        link.asked += 1
        return {"size": 9, "inode": 1}, b"a"

    link.call = call
    container = SimpleNamespace(gone=later(), fault=later(), changed=Broadcast(), link=link)
    files = Files(container)  # type: ignore[arg-type]
    first = await files.read("a.txt")
    pieces = files.pieces("a.txt", first, 0, first.size)
    assert await anext(pieces) == b"a"
    files.end()
    with pytest.raises(NoSession):
        await anext(pieces)
    assert link.asked == 1
    link.closed.set_result("broken")  # and for a stream that is to be mended nobody waits
    async with asyncio.timeout(1):
        with pytest.raises(NoSession):
            await files.read("a.txt")
