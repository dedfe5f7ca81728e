"""A connection whose one half fails does not live on with the other."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from multidict import CIMultiDict

from coderunner import config
from coderunner.schema import messages as m
from coderunner.web import connection
from coderunner.web.tcp import TcpConnection
from coderunner.web.tcp_limits import TcpConnections


class Transport:
    """Tells ``gone`` of its abort."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    def abort(self) -> None:
        self.gone.set()

    def get_extra_info(self, name: str) -> tuple[str, int] | None:
        return ("127.0.0.1", 1) if name == "peername" else None


class Socket:
    """Takes everything; brings nothing until its transport is gone."""

    closed = False

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def receive(self) -> SimpleNamespace:
        await self._transport.gone.wait()
        return SimpleNamespace(type="closed", data=None)

    async def send_str(self, text: str) -> None:
        pass

    async def close(self, *, code: int) -> None:
        pass


async def test_a_writer_that_fails_takes_the_connection_with_it(monkeypatch):
    def fail(message):
        raise TypeError("not to be written")

    monkeypatch.setattr(connection.codec, "encode_server", fail)
    parts = SimpleNamespace(settings=config.load({}))
    transport = Transport()
    request = SimpleNamespace(transport=transport, headers=CIMultiDict())
    connections = TcpConnections(lambda address: False)
    tcp = TcpConnection(connections, lambda: None)
    one = connection.Connection(parts, Socket(transport), request, None, connections, tcp)
    hello = m.Hello(protocol="x", server="x", environment="x", limits={}, features=(), keepalive_s=1)
    async with asyncio.timeout(5):
        await one.serve([], hello)
    assert transport.gone.is_set()
