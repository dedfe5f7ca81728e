"""Limits of all connections: how many, how often and how much, by the networks that they come from.

Who has a session is counted by that instead. What goes beyond a bound is taken from whoever has most of it,
so that a crowd of connections costs itself, and no newcomer.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from multidict import CIMultiDictProxy

from coderunner import timing
from coderunner.core import codec
from coderunner.core.networks import customer, networks
from coderunner.core.rates import Rates
from coderunner.logs import fields
from coderunner.schema import messages as m
from coderunner.turns import Crowd
from coderunner.web.leftovers import Leftovers
from coderunner.web.tcp import PIECE, SMALL_PIECE, TcpConnection

log = logging.getLogger(__name__)

MEMBERS_HELD = 64 * 1024 * 1024  # bytes of unfinished messages of all sockets with a session
CROWD = 10  # closed connections after which free memory is returned to the system
GIVE_BACK_SECONDS = 5.0  # between two such returns: each takes some milliseconds
MAX_LINE_BYTES, MAX_FIELD_BYTES = 8192, 8190  # bytes; not equal, so that one knows which it was
MAX_HEADERS = 64
SHARE = 0.25  # of the loop's time goes at most into reading long texts


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of connections that have no session.

    `connections`: of one address at one time; `in_all`: of all addresses; `held`: bytes that all hold.
    `opened`, `burst`: new connections of one address a second, and at once. `asked`, `asked_burst`: the same
    of its requests, and of its frames before there is a session. `watched`, `watched_burst`: frames of all
    its connections that watch a session; `typed`, `typed_burst`: of all that control one.
    """

    connections: int = 512
    in_all: int = 2048
    held: int = 32 * 1024 * 1024
    opened: float = 200.0
    burst: float = 4000.0
    asked: float = 200.0
    asked_burst: float = 2000.0
    watched: float = 2000.0
    watched_burst: float = 1000.0
    typed: float = 6000.0
    typed_burst: float = 12000.0


class Ledger:
    """Counts the bytes that connections hold, by keys (networks or sessions); at most `most` bytes in all."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._total = 0
        self._counted: dict[TcpConnection, int] = {}
        self._keys: dict[TcpConnection, tuple[str, ...]] = {}
        self.under: dict[str, dict[TcpConnection, None]] = {}  # in the order in which they came

    def __len__(self) -> int:
        return len(self._counted)

    def __contains__(self, tcp: TcpConnection) -> bool:
        return tcp in self._counted

    def add(self, tcp: TcpConnection, keys: Iterable[str]) -> None:
        """Counts a connection under these keys, with nothing held yet."""
        self._counted[tcp] = 0
        self._keys[tcp] = tuple(keys)
        for key in self._keys[tcp]:
            self.under.setdefault(key, {})[tcp] = None

    def remove(self, tcp: TcpConnection) -> None:
        """Counts it no more. A connection that is not counted is ignored."""
        self._total -= self._counted.pop(tcp, 0)
        for key in self._keys.pop(tcp, ()):
            del self.under[key][tcp]
            if not self.under[key]:
                del self.under[key]

    def count(self, tcp: TcpConnection) -> None:
        """Counts `tcp.held` anew. Beyond the bound connections are cut until a quarter of it is free again.

        Under the key that holds most, the connection that holds most goes first.
        """
        held = tcp.held
        self._total += held - self._counted[tcp]
        self._counted[tcp] = held
        if self._total <= self._most:
            return
        # Down to three quarters, so that the search does not begin again with the next byte.
        while self._total > self._most * 3 // 4:
            among = max(self.under.values(), key=lambda held: sum(self._counted[one] for one in held))
            max(among, key=lambda one: self._counted[one]).cut("too many bytes held")


class TcpConnections:
    """All TCP connections of the server, and the limits that they share.

    `trusted` says whether an address is that of a proxy, whose connections are counted for its clients.
    """

    def __init__(self, trusted: Callable[[str], bool], bounds: Bounds = Bounds()) -> None:
        self.buffer = memoryview(bytearray(PIECE))  # one for all: what is read is copied out of it at once
        self.small = self.buffer[:SMALL_PIECE]
        self._trusted = trusted
        self._bounds = bounds
        self._opened = Rates(bounds.opened, bounds.burst)
        self._asked = Rates(bounds.asked, bounds.asked_burst)
        self._watched = Rates(bounds.watched, bounds.watched_burst)
        self._typed = Rates(bounds.typed, bounds.typed_burst)
        self._all: set[TcpConnection] = set()
        self._strangers = Ledger(bounds.held)
        self._members = Ledger(MEMBERS_HELD)
        self._cut: Counter[str] = Counter()
        self._ended = 0  # since memory was given back
        self._given_back = 0.0
        self._reading = asyncio.Lock()
        self.leftovers = Leftovers()
        self.crowd = Crowd()  # what those are sent who come second

    def make(self, handler: Callable[[], Any]) -> TcpConnection:
        """The protocol of a new connection; ``handler`` makes aiohttp's own."""
        return TcpConnection(self, handler)

    @staticmethod
    def now() -> float:
        """Seconds of the clock of all deadlines here, which stands still while this loop does."""
        return timing.now()

    # --- coming and going --------------------------------------------------------------------------------

    def admit(self, tcp: TcpConnection) -> bool:
        """Counts a new connection; False where its address has or makes too many."""
        assert tcp.transport is not None
        peer = tcp.transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else ""
        if address and not self._trusted(address) and not self.meet(tcp, address):
            return False
        self._all.add(tcp)
        return True

    def meet(self, tcp: TcpConnection, address: str) -> bool:
        """Counts a connection without a session for the client's `address`, and for the networks around it.

        False where one of them has too many or opens them too often; then it must not stay.
        """
        if tcp.address is not None:
            return True
        tcp.address = customer(address)
        if not self._opened.allows(address, self.now()):
            self.note("opened too often")
            return False
        self._strangers.add(tcp, (key for key, _ in networks(tcp.address)))
        for key, allowance in networks(tcp.address):
            among = self._strangers.under[key]
            if len(among) > self._bounds.connections * allowance and not self._make_room(among, tcp):
                return False
        if len(self._strangers) > self._bounds.in_all:
            return self._make_room(max(self._strangers.under.values(), key=len), tcp)
        return True

    def _make_room(self, among: dict[TcpConnection, None], new: TcpConnection) -> bool:
        """Cuts the oldest idle connection of `among`; False where none is idle, and `new` must not stay."""
        oldest = next((tcp for tcp in among if tcp.idle and tcp is not new), None)
        if oldest is not None:
            oldest.cut("too many connections")
            return True
        self.note("too many connections")
        self._strangers.remove(new)
        return False

    def move_to_session(self, tcp: TcpConnection, session: str) -> None:
        """Counts the connection for its session from now on, no longer for its address."""
        self._strangers.remove(tcp)
        self._members.add(tcp, (session,))

    def forget(self, tcp: TcpConnection) -> None:
        """Counts a closed connection no more."""
        self._ended += tcp in self._all
        self._all.discard(tcp)
        self._strangers.remove(tcp)
        self._members.remove(tcp)

    def count(self, tcp: TcpConnection) -> None:
        """The bytes that a connection holds have changed."""
        for ledger in (self._strangers, self._members):
            if tcp in ledger:
                ledger.count(tcp)

    # --- work --------------------------------------------------------------------------------------------

    async def pace(self, address: str, cost: float = 1.0) -> None:
        """Waits as long as `address` has to, for a request that costs `cost`.

        Waiting, not refusing: of many users behind one address, nobody is refused for what another does.
        """
        wait = self._asked.charge(address, self.now(), cost)
        if wait > 0:
            await asyncio.sleep(wait)

    async def pace_member(self, address: str, cost: float, *, watches: bool) -> None:
        """Waits as long as those of `address` who watch sessions have to, or control them, for a frame that
        costs `cost`.  One socket alone that controls never waits: it is refused before."""
        wait = (self._watched if watches else self._typed).charge(address, self.now(), cost)
        if wait > 0:
            await asyncio.sleep(wait)

    def charge(self, address: str, cost: float) -> None:
        """Counts `cost` more requests for `address`: what was refused, or cost more than it seemed."""
        self._asked.charge(address, self.now(), cost)

    async def read_text(self, data: bytes) -> m.ClientMessage:
        """A client's text as a message. Raises as `codec.decode_client_text`.

        Long texts are read one after the other, in steps, with SHARE of the loop's time at most.
        """
        if len(data) <= codec.SMALL_TEXT:
            return codec.decode_client_text(data)
        async with self._reading:
            steps = codec.decode_client_steps(data)
            while True:
                began = time.perf_counter()
                try:
                    next(steps)
                except StopIteration as done:
                    message: m.ClientMessage = done.value
                    return message
                finally:
                    await asyncio.sleep((time.perf_counter() - began) * (1 / SHARE - 1))

    # --- time --------------------------------------------------------------------------------------------

    def note(self, why: str) -> None:
        """Counts one that was cut, for the log's line of this second."""
        self._cut[why] += 1

    async def watch(self) -> None:
        """Runs as long as the server: ends connections whose deadline has passed.

        Logs once a second how many were cut and why, so that a crowd does not fill the log.
        """
        while True:
            await timing.sleep(1.0)
            now = timing.now()
            for tcp in [one for one in self._all if one.due is not None and one.due < now]:
                tcp.late(now)
            if self._cut:
                log.info("connections cut", extra=fields(why=dict(self._cut)))
                self._cut.clear()
            if self._ended >= CROWD and now - self._given_back > GIVE_BACK_SECONDS:
                self._ended, self._given_back = 0, now
                await asyncio.to_thread(_give_back)


def _give_back() -> None:
    """Returns free memory to the system: the C library keeps the small pieces that a crowd has left."""
    with contextlib.suppress(AttributeError, OSError):  # another C library than glibc
        _c_library().malloc_trim(0)


@functools.cache
def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL(None)


class _Handler(web.RequestHandler):
    """aiohttp's, which answers what is too large as it does what is no HTTP."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """With the status that says what to send less of, and without a repetition of it."""
        if isinstance(exc, LineTooLong):
            line = exc.args[1:2] == (MAX_LINE_BYTES,)
            status = 414 if line else 431
            what, most = ("the address", MAX_LINE_BYTES) if line else ("a header", MAX_FIELD_BYTES)
            message = f"{what} has more than {most} bytes\n"
        elif isinstance(exc, BadHttpMessage) and exc.message == "Too many headers received":
            status, message = 431, f"there are more than {MAX_HEADERS} headers\n"
        return super().handle_error(request, status, exc, message)


def _handler(made: Callable[[], Any]) -> Any:
    found = made()
    found.__class__ = _Handler  # aiohttp's server takes no other class of it
    return found


class Runner(web.AppRunner):
    """aiohttp's runner, whose connections all pass `TcpConnections`."""

    def __init__(self, app: web.Application, connections: TcpConnections, **options: Any) -> None:
        super().__init__(app, **options)
        self._connections = connections

    @property
    def server(self) -> Any:
        """aiohttp's name for what makes a connection's protocol."""
        made = super().server
        return None if made is None else lambda: self._connections.make(functools.partial(_handler, made))

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        made.request_factory = functools.partial(_without_unknown_expect, made.request_factory)
        return made


def _without_unknown_expect(make: Callable[..., Any], message: Any, *rest: Any) -> Any:
    """Makes a request without its `Expect` header where the value is unknown, as RFC 9110 allows.

    aiohttp refuses an unknown one with an answer that repeats it, and fails where it is not UTF-8.
    """
    if message.headers.get("Expect", "100-continue").lower() != "100-continue":
        headers = message.headers.copy()
        del headers["Expect"]
        message = message._replace(headers=CIMultiDictProxy(headers))
    return make(message, *rest)
