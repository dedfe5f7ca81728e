"""nginx counts by network, as the server does: whoever has a thousand addresses has one allowance, and a
neighbour from another network gets in.

The addresses come by the word of a proxy in front, as nginx.conf describes it. Its numbers are a tenth here,
so that a test can reach them; their proportions are the shipped ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import Iterator

import aiohttp
import pytest

from coderunner.attack import raw
from coderunner.schema import messages as m
from tests.nginx.front import NAME, SHIPPED, Front, edit, running_nginx

PROTOCOLS = ("coderunner.v1",)
PROXY = "# Behind another proxy, take the address from it: set_real_ip_from <its address>; real_ip_header"
OPEN = 25
BODIES = 10
FILES = 600


def tenth(text: str) -> str:
    """The shipped limits, as they are believed to be here, by ten."""
    for zone, most in (
        ("open", 250), ("open56", 500), ("open48", 1000), ("bodies", 100), ("bodies48", 400),
    ):  # fmt: skip
        text, count = re.subn(rf"(limit_conn +coderunner_{zone} +){most};", rf"\g<1>{most // 10};", text)
        # Bodies: files of a session, programs, and those of the facades.
        assert count == (3 if zone.startswith("bodies") else 1), zone
    for zone, burst in (
        ("sockets", 250), ("sockets56", 500), ("sockets48", 1000), ("files", 6000), ("files48", 24000),
    ):  # fmt: skip
        text, count = re.subn(rf"(zone=coderunner_{zone} +burst=){burst} ", rf"\g<1>{burst // 10} ", text)
        assert count == 1, zone
    return text


@pytest.fixture
def behind(tmp_path, upstream, monkeypatch) -> Iterator[Front]:
    """Each test has one of its own, whose counts begin at nothing."""
    text = edit(SHIPPED.read_text(), PROXY, "set_real_ip_from 127.0.0.1; real_ip_header")
    shipped = tmp_path / "shipped.conf"
    shipped.write_text(tenth(text))
    monkeypatch.setattr("tests.nginx.front.SHIPPED", shipped)
    with running_nginx(tmp_path, upstream) as one:
        yield one


class Crowd:
    """Sockets that stay open, from wherever one says."""

    def __init__(self, front: Front, http: aiohttp.ClientSession) -> None:
        self.front = front
        self.http = http
        self._stay: list[aiohttp.ClientWebSocketResponse] = []

    async def ask(self, address: str, count: int) -> Counter[int]:
        """How many came in (101), and how many were refused with what."""
        waiting = (
            self.http.ws_connect(
                self.front.url + "ws", protocols=PROTOCOLS, headers={"X-Forwarded-For": address}
            )
            for _ in range(count)
        )
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        refused = [one.status for one in answers if isinstance(one, aiohttp.WSServerHandshakeError)]
        self._stay += [one for one in answers if isinstance(one, aiohttp.ClientWebSocketResponse)]
        return Counter([101] * (count - len(refused)) + refused)

    async def get(self, address: str, path: str = "api/health") -> int:
        headers = {"X-Forwarded-For": address}
        async with self.http.get(self.front.url + path, headers=headers) as answer:
            return answer.status


@contextlib.asynccontextmanager
async def crowd(front: Front):
    async with front.http() as http:
        yield Crowd(front, http)


@pytest.mark.parametrize(
    ("same", "neighbour"), [("198.51.100.7", "198.51.100.8"), ("2001:db8:5:1::{}", "2001:db8:6::1")]
)
async def test_sockets_of_a_network_are_numbered(behind, same, neighbour):
    async with crowd(behind) as one:
        seen: Counter[int] = Counter()
        for number in range(3):
            seen += await one.ask(same.format(number), 10)
        assert seen == {101: OPEN, 429: 30 - OPEN}
        assert await one.ask(neighbour, 1) == {101: 1}
        assert await one.get(same.format(9)) == 200  # files are counted apart


async def test_another_64_of_the_same_site_is_no_neighbour(behind):
    async with crowd(behind) as one:
        for number in range(2):
            assert await one.ask(f"2001:db8:7:{number:x}::1", OPEN) == {101: OPEN}
        assert await one.ask("2001:db8:7:2::1", 3) == {429: 3}  # the /56 has twice what a /64 has
        for number in range(2):
            assert await one.ask(f"2001:db8:7:{0x100 + number:x}::1", OPEN) == {101: OPEN}
        assert await one.ask("2001:db8:7:200::1", 3) == {429: 3}  # and the /48 twice that
        assert await one.ask("2001:db8:8::1", 3) == {101: 3}
        assert await one.ask("192.0.2.1", 3) == {101: 3}


async def test_openings_have_a_rate(behind):
    async def come_and_go(one: Crowd, address: str) -> int:
        try:
            socket = await one.http.ws_connect(
                behind.url + "ws", protocols=PROTOCOLS, headers={"X-Forwarded-For": address}
            )
        except aiohttp.WSServerHandshakeError as error:
            return error.status
        await socket.close()
        return 101

    async with crowd(behind) as one:
        seen = Counter([await come_and_go(one, f"2001:db8:9:1::{n:x}") for n in range(150)])
        assert set(seen) == {101, 429}
        assert seen[101] >= OPEN
        assert await come_and_go(one, "2001:db8:a::1") == 101


async def test_requests_have_a_rate(behind):
    """Refused ones are slowed by the server, long before they reach this."""
    async with crowd(behind) as one:
        seen: Counter[int] = Counter()
        while not seen[429]:
            seen += Counter(await asyncio.gather(*(one.get(f"2001:db8:b:1::{n:x}") for n in range(50))))
        assert set(seen) == {200, 429}
        assert seen[200] >= FILES
        assert await one.get("2001:db8:c::1") == 200


@contextlib.asynccontextmanager
async def plugs(front: Front, count: int, address: str, head: str):
    """Connections with TLS that have sent the beginning of a request and stay."""
    port = int(front.url.rsplit(":", 1)[1].strip("/"))
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for _ in range(count):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=front.tls(), server_hostname=NAME
            )
            stack.callback(writer.transport.abort)
            writer.write(f"{head} HTTP/1.1\r\nHost: {NAME}:{port}\r\nX-Forwarded-For: {address}\r\n".encode())
            found.append(raw.Raw(reader, writer))
        yield found


@pytest.mark.long
async def test_nobody_waits_for_the_body_of_a_stranger(behind):
    """Each is for a file of a session, of 16 MB, of which nothing more comes; nginx keeps none of it."""
    head = "PUT /api/sessions/x/archive"
    async with plugs(behind, 3 * BODIES, "2001:db8:d:1::1", head) as found, crowd(behind) as one:
        for plug in found:
            await plug.send(b"Content-Length: 16000000\r\n\r\n" + b"x" * 20_000)
        answers = Counter(await asyncio.gather(*(plug.status(10) for plug in found)))
        assert answers[404] >= BODIES
        assert set(answers) <= {404, 429}
        assert await one.get("2001:db8:e::1", "api/sessions/x/archive") == 404
        await asyncio.gather(*(plug.ended(25) for plug in found))


@pytest.mark.long
async def test_unfinished_headers_end_and_keep_nobody_out(behind):
    async with plugs(behind, 100, "2001:db8:10::1", "GET /api/health") as found, crowd(behind) as one:
        assert await one.get("2001:db8:11::1") == 200
        assert await one.ask("2001:db8:11::1", 1) == {101: 1}
        await asyncio.gather(*(plug.ended(25) for plug in found))


@pytest.mark.long
async def test_who_connects_and_says_nothing_keeps_nobody_out(behind):
    """No request is counted before TLS is agreed on; each such connection ends by itself."""
    port = int(behind.url.rsplit(":", 1)[1].strip("/"))
    async with contextlib.AsyncExitStack() as stack, crowd(behind) as one:
        ends = []
        for number in range(400):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.transport.abort)
            if number % 2:
                writer.write(b"\x16\x03\x01\x02\x00\x01\x00")  # the beginning of a ClientHello
            ends.append(asyncio.create_task(ended(reader)))
        assert await one.get("2001:db8:14::1") == 200
        assert await one.ask("2001:db8:14::1", 1) == {101: 1}
        _, waiting = await asyncio.wait(ends, timeout=25)
        assert not waiting, f"{len(waiting)} of {len(ends)} are still open"


async def ended(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        await reader.read()


async def test_the_server_counts_the_same_networks(behind):
    """Behind nginx it has the address of whoever nginx has it from: one session an address here."""
    async with crowd(behind):
        async with behind.session(address="127.0.0.1", headers={"X-Forwarded-For": "2001:db8:12:1::1"}):
            same = {"X-Forwarded-For": "2001:db8:12:1:ffff::1"}
            async with behind.connect(headers=same) as second:
                await second.send(m.Open("python", second.client))
                await second.error("too_many_sessions")
            other = {"X-Forwarded-For": "2001:db8:13:1::1"}
            async with behind.session(address="127.0.0.1", headers=other) as third:
                assert third.opened is not None
