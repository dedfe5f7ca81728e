"""An answer that has begun is whole, or it breaks off: nothing else ever follows it."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import pytest

from coderunner.schema import messages as m
from tests.harness import session

SIZE = 24_000_000
WRITE = f"import os; open('big.html', 'wb').write(os.urandom({SIZE}) + b'end')"


async def begun(client, server, path: str, header: str = ""):
    """(reader, writer, head) of a download of which a little has been read."""
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


@pytest.mark.parametrize("how", ["vanishes", "ends"])
@pytest.mark.parametrize("what", ["file", "range", "archive", "view"])
async def test_a_download_breaks_off_and_tells_nothing_else(server, what, how):
    async with session(server, keep=how == "ends") as client:
        assert (await client.result(1, WRITE)).exit.code == 0
        one = client.opened.session
        path = f"api/sessions/{one}/files/big.html"
        if what == "archive":
            path = f"api/sessions/{one}/archive?format=tar"
        if what == "view":
            path = (await client.message(m.Artifact)).url
        extra = "Range: bytes=5-\r\n" if what == "range" else ""
        extra += "Sec-Fetch-Dest: iframe\r\n" if what == "view" else ""
        reader, writer, head = await begun(client, server, path, extra)
        try:
            assert head.split()[1] in (b"200", b"206")
            if how == "ends":
                await client.send(m.Close())
                await client.closed()
            else:
                assert (await client.result(2, "import os; os.remove('big.html')")).exit.code == 0
            got = await rest(reader)
            assert b"HTTP/1.1" not in got
            assert len(got) + 1000 < SIZE
        finally:
            writer.close()
