"""A response that has begun is complete or aborted; nothing else ever follows it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import random
import re
import tarfile
import zipfile
from urllib.parse import urlsplit

import pytest

from coderunner.client.rest import Rest
from coderunner.schema import messages as m
from tests.harness import session

SIZE = 24_000_000
WRITE = f"import random; open('big.html', 'wb').write(random.Random(1).randbytes({SIZE}))"


async def begun(client, server, path: str, header: str = ""):
    """Returns (reader, writer, head) of a download of which a little has been read."""
    parts = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=65536)
    token = client.opened.token
    first = f"GET /{path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
    writer.write(f"{first}Authorization: Bearer {token}\r\n{header}\r\n".encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    await reader.readexactly(1000)
    return reader, writer, head


async def rest(reader) -> bytes:
    async with asyncio.timeout(30):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


DATA = random.Random(1).randbytes(SIZE)
PATHS = {
    "file": "api/sessions/{one}/files/big.html", "range": "api/sessions/{one}/files/big.html",
    "view": "{url}", "zip": "api/sessions/{one}/archive?format=zip",
    "tar": "api/sessions/{one}/archive?format=tar",
    "tar.gz": "api/sessions/{one}/archive?format=tar.gz",
}  # fmt: skip
RARE = (
    "is written over", "is mapped and written over", "is another", "shrinks", "becomes a folder",
    "becomes a link",
)  # fmt: skip
HEADERS = {"range": "Range: bytes=5-\r\n", "view": "Sec-Fetch-Dest: iframe\r\n"}
CHANGES = {
    "vanishes": "os.remove('big.html')",
    "shrinks": "os.truncate('big.html', 1000)",
    "is written over": "f = open('big.html', 'r+b'); f.seek(500); f.write(bytes(9)); f.close()",
    "is mapped and written over": (
        "import mmap; f = open('big.html', 'r+b'); m = mmap.mmap(f.fileno(), 0); m[700:709] = bytes(9)"
    ),
    "grows": "open('big.html', 'ab').write(bytes(1000000))",
    "becomes a folder": "os.remove('big.html'); os.mkdir('big.html')",
    "is another": "open('new', 'wb').truncate(24_000_000); os.replace('new', 'big.html')",
    "becomes a link": "os.remove('big.html'); os.symlink('/etc/passwd', 'big.html')",
}


@contextlib.asynccontextmanager
async def in_the_middle(client, server, what: str):
    """Returns (reader, head, what was read) of a download that has begun and is not being read."""
    assert (await client.result(1, WRITE)).exit.code == 0
    path = PATHS[what].format(one=client.opened.session, url=(await client.message(m.Artifact)).url)
    reader, writer, head = await begun(client, server, path, HEADERS.get(what, ""))
    assert head.split()[1] == (b"206" if what == "range" else b"200")
    try:
        yield reader, head
    finally:
        writer.close()


@pytest.mark.parametrize(
    "how", ["vanishes", "ends", *(pytest.param(one, marks=pytest.mark.long) for one in RARE)]
)
@pytest.mark.parametrize("what", PATHS)
async def test_a_download_breaks_off_and_tells_nothing_else(server, what, how):
    async with session(server, keep=how == "ends") as client:
        async with in_the_middle(client, server, what) as (reader, head):
            if how == "ends":
                await client.send(m.Close())
                await client.closed()
            else:
                assert (await client.result(2, f"import os; {CHANGES[how]}")).exit.code == 0
            got = await rest(reader)
            assert b"HTTP/1.1" not in got
            assert b'{"error"' not in got
            assert len(got) + 1000 < SIZE
            if b"chunked" in head:
                assert not got.endswith(b"0\r\n\r\n"), "an archive that lacks something ends as if it did not"
        if how != "ends":
            assert (await client.result(3, "print('there')")).text == "there\n"


async def test_no_part_of_another_file_is_told_behind_the_first(server):
    await test_a_download_breaks_off_and_tells_nothing_else(server, "file", "is another")


async def test_a_mix_of_what_was_there_before_and_after_is_not_told_as_whole(server):
    await test_a_download_breaks_off_and_tells_nothing_else(server, "file", "is written over")


@pytest.mark.parametrize("what", PATHS)
async def test_a_file_that_grows_meanwhile_is_had_as_it_was(server, what):
    async with session(server) as client:
        async with in_the_middle(client, server, what) as (reader, head):
            assert (await client.result(2, f"import os; {CHANGES['grows']}")).exit.code == 0
            if b"chunked" not in head:
                size = int(re.search(rb"Content-Length: (\d+)", head)[1])
                got = await asyncio.wait_for(reader.readexactly(size - 1000), 60)
                assert got == DATA[5 if what == "range" else 0 :][1000:]
                return
        # Of an archive the bytes are framed: once more, through a library that takes that apart.
        answer = await Rest(server.url, client.opened)("GET", f"/archive?format={what}")
        with archive_of(what, answer.body) as file:
            assert file.read() == DATA + bytes(1_000_000)


def archive_of(kind: str, data: bytes):
    if kind == "zip":
        return zipfile.ZipFile(io.BytesIO(data)).open("big.html")
    return tarfile.open(fileobj=io.BytesIO(data)).extractfile("big.html")
