"""No route of the server fails with an internal error, whatever addresses and headers a client sends."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import urlsplit

import pytest

from coderunner.web.routes import OPERATIONS
from tests.harness import Server, running_server

pytestmark = pytest.mark.long

NUMBER = b"9" * 5000
WORDS = {"non-ASCII": "ü☃".encode(), "not UTF-8": b"\xff\xfe", "long": b"x" * 3000, "a number": NUMBER}
HEADERS = (
    "Accept", "Accept-Encoding", "Authorization", "Connection", "Content-Encoding", "Content-Length",
    "Content-Type", "Cookie", "Expect", "Forwarded", "Host", "If-Modified-Since", "If-None-Match", "If-Range",
    "Origin", "Range", "Referer", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Key", "Sec-WebSocket-Protocol", "Sec-WebSocket-Version", "Transfer-Encoding",
    "Upgrade", "User-Agent", "Via", "X-Forwarded-For", "X-Forwarded-Proto", "X-Original-URI",
    "X-Real-IP", "X-Request-ID",
)  # fmt: skip
SHAPED = {
    "Authorization": (b"Bearer \xff", b"Bearer ", b"Bearer", b"Basic \xff", b"Bearer " + "ü".encode()),
    "Content-Length": (b"-1", b"1e3", b"+5", b" ", b"5, 5", b"0x10"),
    "Forwarded": (b"for=\xff",),
    "If-Modified-Since": (b"Thu, 99 Foo 99999 99:99:99 GMT", b"Thu, 01 Jan 0000 00:00:00 GMT"),
    "Origin": (b"null", b"http://[::1", b"http://\xff", b"http://x:" + NUMBER, b"//"),
    "Range": (
        b"bytes=0-" + NUMBER, b"bytes=" + NUMBER + b"-", b"bytes=-" + NUMBER, b"bytes=" + "٣-٤".encode(),
        b"bytes=5-1", b"bytes=-", b"bytes=0-1,2-3", b"bytes=\xff-", b"items=0-1",
    ),
    "Host": (b"127.0.0.1:" + NUMBER, b"[::1", b"[]", b"a b", b"@", b"127.0.0.1:-1"),
    "Sec-WebSocket-Protocol": (b"coderunner.bearer.\xff", b"coderunner.v1,coderunner.bearer.A"),
    "Sec-WebSocket-Version": (b"0", b"-1", b"13, 8"),
    "Transfer-Encoding": (b"chunked, chunked", b"gzip", b"identity"),
    "X-Forwarded-For": (b"\xff", b"999.1.1.1", b"::ffff:999.1.1.1", b"1.1.1.1," * 300, b"fe80::1%x"),
    "X-Original-URI": (b"/view/\xff", b"\xff/view/x/y/"),
}  # fmt: skip
PIECES = (
    b"%ff", b"%00", b"%0d%0aX:%20y", b"..", b"%2e%2e", b"%2f", b"%5c", b"%", b"%zz", b"%c0%ae", "ü".encode(),
    b"\xff", NUMBER, b"-" + NUMBER, b"0x10", b"%d9%a3", b"%ed%a0%80", b"%f0%9f%98%80", b";", b"?", b"??",
    b"?=", b"?format=" + NUMBER, b"?format=%ff", b"?want=%ff", b"?into=" + NUMBER, b"?into=%00",
    b"?into=../x",
    b"?" + b"&" * 3000, b"?framed=%ff", b"?v=" + NUMBER, b"?" + b"a=b&" * 900, b"#x", b"/", b"//", b"/" * 900,
    b"[", b"]", b"@", b":",
)  # fmt: skip
METHODS = b"GET HEAD POST PUT PATCH DELETE OPTIONS TRACE CONNECT gEt \xff".split()


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory):
    """A server behind a proxy, so that forwarded headers are read as well."""
    folder = tmp_path_factory.mktemp("no-fault")
    settings = {"LANGUAGES": "bash", "WARM_MAX": "1", "TRUSTED_PROXIES": "127.0.0.1", "LOG_LEVEL": "debug"}
    with running_server(folder, ready=("bash",), **settings) as server:
        yield server


def routes() -> list[bytes]:
    """All routes of the table, with values for their variables."""
    found = [operation.path for operation in OPERATIONS]
    filled = {re.sub(r"\{[^}]*\}", "x", one).encode() for one in found}
    return sorted(filled | {b"/static/index.html", b"/nowhere"})


async def ask(server: Server, data: bytes) -> bytes:
    """Returns the first line of the answer; empty if the server closes the connection."""
    parts = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(data)
        async with asyncio.timeout(15):
            return await reader.readline()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def request(server: Server, method: bytes, path: bytes, **headers: bytes) -> bytes:
    lines = {"Host": urlsplit(server.url).netloc.encode(), "Connection": b"close", **headers}
    head = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in lines.items())
    return method + b" " + path + b" HTTP/1.1\r\n" + head + b"\r\n"


def cases(server: Server) -> list[bytes]:
    every = [(name, word) for name in HEADERS for word in WORDS.values()]
    every += [(name, value) for name, values in SHAPED.items() for value in values]
    upgrade = {
        "Upgrade": b"websocket", "Connection": b"Upgrade", "Sec-WebSocket-Version": b"13",
        "Sec-WebSocket-Key": b"x" * 22 + b"==", "Sec-WebSocket-Protocol": b"coderunner.v1",
    }  # fmt: skip
    body = {"Content-Length": b"3", "Authorization": b"Bearer \xff"}
    found = []
    for path in routes():
        found += [request(server, b"GET", path, **{name: value}) for name, value in every]
        found += [request(server, b"GET", begin + piece) for begin in (path, path[:-1]) for piece in PIECES]
        found += [request(server, method, path) for method in METHODS]
        found += [request(server, method, path, **body) + b"\xff{[" for method in METHODS[:7]]
    for path in (b"/ws", b"/ws/x"):
        found += [request(server, b"GET", path, **{**upgrade, name: value}) for name, value in every]
    return found


async def test_no_address_and_no_header_is_a_fault_of_ours(target: Server) -> None:
    """From addresses of many clients, as the rate of one is limited."""
    everything = cases(target)
    turn, seen = asyncio.Semaphore(48), {}

    async def one(number: int, data: bytes) -> None:
        head, _, rest = data.partition(b"\r\n")
        if b"X-Forwarded-For" not in rest:
            address = f"10.{number >> 8 & 255}.{number & 255}.1".encode()
            data = head + b"\r\nX-Forwarded-For: " + address + b"\r\n" + rest
        async with turn:
            line = await ask(target, data)
        seen.setdefault(line.split()[1] if line else b"", []).append(data)

    await asyncio.gather(*(one(number, data) for number, data in enumerate(everything)))
    faults = [data[:200] for status, sent in seen.items() if status.startswith(b"5") for data in sent]
    assert faults == []
    assert {b"200", b"400", b"404"} <= set(seen), sorted(seen)
    assert sum(map(len, seen.values())) == len(everything) > 4000
    assert b" 200 " in await ask(target, request(target, b"GET", b"/api/health"))
    log = target.log.read_text()
    assert "Traceback" not in log
    assert "ERROR" not in log
