"""Limits for connections with a session: what the server holds and does for them."""

from __future__ import annotations

import asyncio
import time

import pytest

from coderunner.attack import raw
from coderunner.core import codec
from coderunner.web.tcp import CHUNKING_BYTES, FREE, FULL, TcpConnection
from coderunner.web.tcp_limits import Bounds, TcpConnections

PING = raw.frame(raw.TEXT, b'{"type":"ping","t":1}')


class Transport(asyncio.Transport):
    """The transport of a peer that sends whatever is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads, self.gone = True, False

    def abort(self) -> None:
        self.gone = True

    def get_extra_info(self, name, default=None):
        return ("192.0.2.1", 1) if name == "peername" else default

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True


class Handler:
    """A handler that accepts everything."""

    def connection_made(self, transport) -> None:
        pass

    def data_received(self, data: bytes) -> None:
        pass


@pytest.fixture
def transport() -> Transport:
    return Transport()


@pytest.fixture
async def tcp(transport) -> TcpConnection:
    connections = TcpConnections(lambda address: False)
    made = connections.make(Handler)
    made.connection_made(transport)
    made.begin()
    made.upgrade(codec.MAX_FIRST_TEXT, codec.HEADER_SIZE + codec.MAX_PAYLOAD, pytest.fail)
    made.admit_session("one", codec.MAX_TEXT)
    return made


def reads(tcp: TcpConnection, data: bytes) -> None:
    room = tcp.get_buffer(-1)
    for at in range(0, len(data), len(room)):
        piece = data[at : at + len(room)]
        room[: len(piece)] = piece
        tcp.buffer_updated(len(piece))


async def test_of_small_messages_no_more_are_read_than_are_taken(tcp, transport):
    reads(tcp, PING * FULL)
    assert transport.reads
    reads(tcp, PING)
    assert not transport.reads
    for _ in range(FULL - FREE + 1):
        tcp.taken()
        assert not transport.reads
    tcp.taken()
    assert transport.reads
    reads(tcp, PING * FULL)
    assert not transport.reads


async def test_what_was_refused_is_not_read_on(tcp, transport):
    reads(tcp, PING * (FULL + 1))
    tcp.upgrade(10, 10, lambda error: None)
    reads(tcp, PING)
    for _ in range(2 * FULL):
        tcp.taken()
    assert not transport.reads


async def test_who_is_sent_a_close_is_read_on_for_its_own(tcp, transport):
    reads(tcp, PING * (FULL + 1))
    assert not transport.reads
    tcp.finish()
    assert transport.reads
    reads(tcp, PING * (4 * FULL))
    assert transport.reads, "nobody takes these, and they are not counted"


class Body:
    def __init__(self) -> None:
        self.total_bytes, self.over = 0, False

    def is_eof(self) -> bool:
        return self.over


async def test_a_body_of_little_but_what_stands_around_it_is_cut(tcp, transport):
    body = Body()
    tcp.begin(body)
    reads(tcp, b"x" * CHUNKING_BYTES)
    body.total_bytes = 1_000_000
    reads(tcp, b"x" * 1_500_000)
    assert not transport.gone
    body.over = True
    reads(tcp, b"x" * 1_000_000)
    assert not transport.gone, "what comes behind it is another request's"
    lines = Body()  # of three bytes, each in a chunk of its own
    tcp.begin(lines)
    for _ in range(100):
        lines.total_bytes += 1000
        reads(tcp, b"x" * 2667)
    assert not transport.gone
    tcp.begin(Body())
    reads(tcp, b"x" * (CHUNKING_BYTES + 1))
    assert transport.gone


async def _seconds(connections: TcpConnections, address: str, frames: int) -> float:
    began = time.monotonic()
    for _ in range(frames):
        await connections.pace_member(address, 1, watches=False)
    return time.monotonic() - began


async def test_all_sockets_of_an_address_share_what_they_may_have_done():
    connections = TcpConnections(lambda address: False, Bounds(typed=100.0, typed_burst=20.0))
    await asyncio.gather(*(_seconds(connections, "192.0.2.1", 4) for _ in range(5)))
    five = asyncio.gather(*(_seconds(connections, "192.0.2.1", 10) for _ in range(5)))
    other = await _seconds(connections, "203.0.113.1", 20)
    took = max(await five)
    assert took > 0.4, "fifty frames at a hundred a second"
    assert other < took
