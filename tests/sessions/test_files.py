"""A session's files after its end."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from coderunner.errors import NoSession
from coderunner.sessions.container import Broadcast
from coderunner.sessions.files import MAX_ARCHIVES, Files


async def test_a_session_that_is_over_tells_nothing_more_of_its_files():
    """Its container may wait for a worker to remove it, and would answer until then."""
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


async def test_of_archives_two_at_a_time_and_the_rest_of_the_files_beside_them():
    later = asyncio.get_running_loop().create_future
    files = Files(SimpleNamespace(gone=later(), fault=later(), changed=Broadcast(), link=None))  # type: ignore[arg-type]
    begun: list[int] = []
    gates = [asyncio.Event() for _ in range(MAX_ARCHIVES + 2)]

    async def pack(number: int) -> None:
        async with files.request(archive=True):
            begun.append(number)
            await gates[number].wait()

    works = [asyncio.create_task(pack(number)) for number in range(len(gates))]
    for _ in range(5):
        await asyncio.sleep(0)
    assert MAX_ARCHIVES == 2
    assert begun == [0, 1]
    async with asyncio.timeout(5), files.request():
        pass  # a file waits for no archive
    works[2].cancel()  # one that waits is given up, and takes nobody's turn
    gates[0].set()
    await works[0]
    gates[3].set()
    async with asyncio.timeout(5):
        await works[3]
    assert begun == [0, 1, 3]
    gates[1].set()
    await works[1]
