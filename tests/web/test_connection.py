"""If one half of a connection fails, the other one ends as well."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import aiohttp
import pytest
from multidict import CIMultiDict

from coderunner import config
from coderunner.core import codec
from coderunner.errors import NotControl
from coderunner.fleet.registry import Caller
from coderunner.identity.principal import Principal
from coderunner.schema import messages as m
from coderunner.schema.reports import ChannelState, read
from coderunner.web import connection
from coderunner.web.attached import Attached
from coderunner.web.outgoing import Outgoing
from coderunner.web.tcp import TcpConnection
from coderunner.web.tcp_limits import TcpConnections
from coderunner.wire import flow
from tests.sessions.fakes import Agent, World, state, until
from tests.sessions.fakes import hello as hello_of


class Transport:
    """Sets `gone` when it is aborted."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    def abort(self) -> None:
        self.gone.set()

    def get_extra_info(self, name: str) -> tuple[str, int] | None:
        return ("127.0.0.1", 1) if name == "peername" else None


class Socket:
    """Accepts all output, and receives nothing until its transport is gone."""

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


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes every caller known, so that the reader does not fail as well."""

    async def caller(*_: object) -> Caller:
        return Caller("192.0.2.1", "somebody", who=Principal("somebody"))

    monkeypatch.setattr(connection.guard, "caller", caller)


async def test_a_writer_that_fails_takes_the_connection_with_it(monkeypatch):
    def fail(message):
        raise TypeError("not to be written")

    monkeypatch.setattr(connection.codec, "encode_server", fail)
    parts = SimpleNamespace(settings=config.load({}))
    transport = Transport()
    request = SimpleNamespace(transport=transport, headers=CIMultiDict(), get=lambda _: None)
    connections = TcpConnections(lambda address: False)
    tcp = TcpConnection(connections, lambda: None)
    one = connection.Connection(parts, Socket(transport), request, None, connections, tcp)
    hello = m.Hello(protocol="x", server="x", environment="x", limits={}, features=(), keepalive_s=1)
    async with asyncio.timeout(5):
        await one.serve([], hello)
    assert transport.gone.is_set()


class Told(TcpConnection):
    """An attachment that keeps what is sent, and whose session cannot be counted."""

    def __init__(self, connections: TcpConnections) -> None:
        super().__init__(connections, lambda: None)
        self.sent: list[str | bytes] = []

    def send(self, messages: Sequence[str | bytes]) -> None:
        self.sent += messages

    def admit_session(self, session: str, text: int) -> None:
        raise ZeroDivisionError


class Attachment:
    """The interface of an attachment that a connection needs."""

    role = "control"

    def __init__(self) -> None:
        self.close_code = 0
        self._posted: list[m.ServerMessage] = []
        self._ended = asyncio.Event()

    def post(self, message: m.ServerMessage) -> None:
        self._posted.append(message)

    def end(self, code: int, *, flush: bool = True) -> None:
        self.close_code = code
        self._ended.set()

    async def next(self) -> str | bytes | None:
        await self._ended.wait()
        return codec.encode_server(self._posted.pop(0)) if self._posted else None

    def at_hand(self, most: int | None = None) -> None:
        return None


async def test_a_fault_while_a_session_is_handed_over_ends_the_connection():
    """Regression: the writer waited for ever for the end of the handshake."""
    parts = SimpleNamespace(settings=config.load({}))
    transport, attachment = Transport(), Attachment()
    request = SimpleNamespace(transport=transport, headers=CIMultiDict(), get=lambda _: None)
    connections = TcpConnections(lambda address: False)
    tcp = Told(connections)
    one = connection.Connection(parts, Socket(transport), request, None, connections, tcp)
    hello = m.Hello(protocol="x", server="x", environment="x", limits={}, features=(), keepalive_s=1)
    session = SimpleNamespace(id="s", detach=lambda attachment: None)

    async def hand_over() -> None:
        one.attached(session, attachment)

    async with asyncio.timeout(5):
        serving = asyncio.create_task(one.serve([], hello))
        await asyncio.sleep(0)
        one.start(hand_over(), "ws-open")
        await serving
    assert '"internal"' in str(tcp.sent[-1])
    assert attachment.close_code == 1011


class Typing(Socket):
    """Brings one key, and is gone."""

    closed = True
    brought = False

    async def receive(self) -> SimpleNamespace:
        if self.brought:
            return SimpleNamespace(type="closed", data=None)
        self.brought = True
        return SimpleNamespace(type=aiohttp.WSMsgType.BINARY, data=codec.encode_input(1, 0, b"k"))


class Admitted(Told):
    """Counts no session."""

    over = False

    def admit_session(self, session: str, text: int) -> None:
        pass


@pytest.mark.parametrize(("who", "slows"), [("stranger", False), ("watcher", False), ("control", True)])
async def test_only_keys_that_are_taken_slow_down_the_output_of_others(who, slows):
    """Anybody with a socket and no session could do so, with one byte a second."""
    parts = SimpleNamespace(settings=config.load({}))
    transport = Transport()
    request = SimpleNamespace(transport=transport, headers=CIMultiDict(), get=lambda _: None)
    connections = TcpConnections(lambda address: False)
    tcp = Admitted(connections)
    one = connection.Connection(parts, Typing(transport), request, None, connections, tcp)
    hello = m.Hello(protocol="x", server="x", environment="x", limits={}, features=(), keepalive_s=1)
    came = []

    def take(attachment: Attachment, channel: int, offset: int, data: bytes) -> None:
        came.append(data)
        if who == "watcher":
            raise NotControl("this attachment only watches")

    async with asyncio.timeout(5):
        if who != "stranger":
            session = SimpleNamespace(id="s", detach=lambda attachment: attachment.end(1000), input=take)
            one.attached(session, Attachment())
        await one.serve([], hello)
    assert came == ([] if who == "stranger" else [b"k"])
    now = asyncio.get_running_loop().time()
    assert (connections.bulk.rest("another", 65536, now) > 0) is slows


async def resting(types: Callable[[], bool]) -> tuple[World, Attachment, Admitted, asyncio.Task[int]]:
    """A client whose connection rests behind a piece of a program's output, as others type: for hours."""
    world = await World(Agent()).begin()
    world.session.on_attached(hello_of([state(1)]))
    attachment = world.control()
    world.session.channels.on_output(1, 1, 0, bytes(flow.WINDOW))
    connections = TcpConnections(lambda address: False)
    connections.bulk = SimpleNamespace(
        rest=lambda session, size, now: 3600.0 if size > 4096 else 0.0, waits=lambda session, now: types()
    )
    tcp = Admitted(connections)
    tcp.transport = SimpleNamespace(is_closing=lambda: False)
    outgoing = Outgoing(SimpleNamespace(closed=False), tcp, connections, lambda error, name: None)
    outgoing.attach("s", Attached(world.session, attachment))
    attachment.sender = outgoing
    pump = asyncio.create_task(outgoing.pump())
    await until(lambda: outgoing.resting, "a rest")
    return world, attachment, tcp, pump


def texts(tcp: Told) -> list[m.ServerMessage]:
    return [codec.decode_server_text(frame) for frame in tcp.sent if isinstance(frame, str)]


async def test_the_end_of_a_session_does_not_wait_until_others_have_typed():
    """Only what is sent within the deadline of the end arrives: the rest of the output, and every `exit`."""
    world, _, tcp, pump = await resting(lambda: True)
    ended = {"phase": "exited", "to": flow.WINDOW, "end": flow.WINDOW, "evidence": {"main": {"code": 0}}}
    world.session.channels.on_state(read(ChannelState, state(1, **ended), "state"))
    async with asyncio.timeout(5):
        await world.close()
        assert await pump == 1000
    assert [type(one) for one in texts(tcp)[-2:]] == [m.Exit, m.Closed]


async def test_a_message_does_not_wait_until_others_have_typed():
    world, attachment, tcp, pump = await resting(lambda: True)
    world.session.handle(attachment, m.Ping(7))
    assert m.Pong(7) in texts(tcp)
    assert not pump.done()
    await world.close()
    await pump


async def test_output_goes_on_when_nobody_types_any_more():
    quiet = asyncio.Event()
    world, _, tcp, pump = await resting(lambda: not quiet.is_set())
    quiet.set()
    await until(lambda: sum(len(one) for one in tcp.sent) > flow.WINDOW, "the output")
    await world.close()
    await pump
