"""Attacks on slow downloads: files that are changed meanwhile, archives that are requested and not read."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import zipfile
from collections.abc import AsyncIterator

import aiohttp

from coderunner.attack.case import Group
from coderunner.attack.programs import aftermath
from coderunner.attack.rest import Rest, session
from coderunner.attack.stage import Stage
from coderunner.client.peer import Peer, Unexpected

GROUP = Group("downloads")

SECONDS = 60.0
SIZE = 15_000_000  # more than lies between server and client in all buffers
WRITE = (
    f"import random, hashlib; data = random.Random(1).randbytes({SIZE})\n"
    "with open('big', 'wb') as file: file.write(data)\n"
)
DIGEST = "print(hashlib.sha256(data).hexdigest())"

CHANGES = {
    "in-place": "f = open('big', 'r+b'); f.seek(100); f.write(bytes(9)); f.close()",
    # A write through a mapping changes the file's time only later (mmap(2)).
    "by-a-mapping": (
        "import mmap; f = open('big', 'r+b'); m = mmap.mmap(f.fileno(), 0); m[200:209] = bytes(9)"
    ),
    "by-another": "import os; open('new', 'wb').truncate(15_000_000); os.replace('new', 'big')",
    "to-nothing": "import os; os.remove('big')",
}


@contextlib.asynccontextmanager
async def _begun(rest: Rest, path: str) -> AsyncIterator[aiohttp.ClientResponse]:
    """Yields a response of which only the head was read, for a client that takes little at a time."""
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    url = f"{rest.url}api/sessions/{rest.session}{path}"
    headers = {"Authorization": f"Bearer {rest.token}"}
    async with (
        aiohttp.ClientSession(auto_decompress=False, timeout=timeout, read_bufsize=4096) as http,
        http.get(url, headers=headers) as answer,
    ):
        yield answer


async def _after(stage: Stage, change: str) -> str:
    """Begins to download a file, has a program change it, and reads the rest. Returns the outcome."""
    async with session(stage) as (peer, rest):
        digest = (await peer.result(1, WRITE + DIGEST)).text.strip()
        async with _begun(rest, "/files/big") as answer:
            await peer.result(2, change)
            try:
                body = await answer.read()
            except (aiohttp.ClientError, ConnectionError):
                return "broken off" + await aftermath(peer)
        whole = hashlib.sha256(body).hexdigest() == digest
        return ("whole" if whole else f"{len(body)} other bytes as if whole") + await aftermath(peer)


for _name, _change in CHANGES.items():

    async def _changed(stage: Stage, change: str = _change) -> str:
        return await _after(stage, change)

    GROUP.add(
        f"download-written-over-{_name}", "a download of a file, by a program that changes it meanwhile",
        _changed, "broken off",
    )  # fmt: skip


async def _whole(rest: Rest) -> str:
    """Downloads an archive of the session. Returns `whole`, `torn`, or the status and code of a refusal."""
    answer = await rest("GET", "/archive?format=zip")
    if answer.status != 200:
        return answer.code
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        return "whole" if archive.testzip() is None else "torn"


async def _programs_and_files(peer: Peer, rest: Rest) -> str:
    """Whether the session still runs programs, returns a file and lists its files, as a text."""
    await peer.run(5, "print('runs')")
    ran = (await peer.ended(5)).last_line
    read = (await rest("GET", "/files/main.py")).status
    listed = "big" in await rest.paths()
    return f"{ran}, reads {read}, {'lists' if listed else 'lists nothing'}"


@GROUP.case(
    "slow-zips", "a session and others, by twenty clients that request an archive and do not read it",
    "runs, reads 200, lists | a neighbour's: whole | afterwards: whole",
)  # fmt: skip
async def _slow(stage: Stage) -> str:
    async with session(stage) as (peer, rest):
        await peer.result(1, WRITE)
        async with contextlib.AsyncExitStack() as stack:
            held: asyncio.Queue[None] = asyncio.Queue()

            async def hold() -> None:
                """Requests an archive, and reads nothing of it for SECONDS."""
                async with _begun(rest, "/archive?format=zip") as answer:
                    if answer.status == 200:
                        held.put_nowait(None)
                    await asyncio.sleep(SECONDS)

            # More than the two that a session may have at a time.
            crowd = [asyncio.create_task(hold()) for _ in range(20)]
            for one in crowd:
                stack.callback(one.cancel)
            try:
                async with asyncio.timeout(15):
                    await held.get()  # the first has its turn; others wait for theirs
            except TimeoutError:
                raise Unexpected("no archive has begun") from None
            seen = await _programs_and_files(peer, rest)
            async with session(stage, "open('small', 'wb').write(bytes(1000))") as (_, another):
                neighbour = await _whole(another)
        await asyncio.gather(*crowd, return_exceptions=True)
        afterwards = await _whole(rest)
        return f"{seen} | a neighbour's: {neighbour} | afterwards: {afterwards}" + await aftermath(peer)
