"""Limits across all TCP connections: their number, rate and memory, by the client's networks.

Connections with a session are counted by session instead. If a bound is exceeded, connections of the network
that uses the most are cut, so that an attack costs the attacker and not new clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import logging
import os
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
from coderunner.core.bulk import Bulk
from coderunner.core.networks import customer, networks
from coderunner.core.rates import Rates
from coderunner.logs import fields
from coderunner.schema import messages as m
from coderunner.turns import Crowd
from coderunner.web.leftovers import Leftovers
from coderunner.web.tcp import PIECE, SMALL_PIECE, TcpConnection

log = logging.getLogger(__name__)

MEMBERS_HELD = 64 * 1024 * 1024  # bytes of buffered messages of all connections with a session
CROWD = 10  # closed connections after which free memory is returned to the system
GIVE_BACK_SECONDS = 5.0  # between two such returns, as each takes some milliseconds
# Different values, as aiohttp's error only has the bound: it shows whether the line or a header was too long.
MAX_LINE_BYTES, MAX_FIELD_BYTES = 8192, 8190
MAX_HEADERS = 64
SHARE = 0.25  # the most of the loop's time that decoding long texts may take


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits by address; wider IPv6 networks have multiples (`core.networks`). Rates are per second.

    `connections`: without a session at the same time; `in_all`: the same for all addresses together; `held`:
    bytes that these hold in memory. `opened`, `burst`: rate and burst of new connections. `asked`,
    `asked_burst`: of requests, and of frames without a session. `watched`, `watched_burst`: of frames of all
    connections that watch a session; `typed`, `typed_burst`: of all that control one.
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
    """Counts the bytes that connections hold, by network or session, with a bound of `maximum` bytes.

    `under`: by key its connections, the oldest first.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._total = 0
        self._counted: dict[TcpConnection, int] = {}
        self._keys: dict[TcpConnection, tuple[str, ...]] = {}
        self.under: dict[str, dict[TcpConnection, None]] = {}  # dicts as ordered sets

    def __len__(self) -> int:
        return len(self._counted)

    def __contains__(self, tcp: TcpConnection) -> bool:
        return tcp in self._counted

    def add(self, tcp: TcpConnection, keys: Iterable[str]) -> None:
        """Adds a connection under these keys, with 0 bytes."""
        self._counted[tcp] = 0
        self._keys[tcp] = tuple(keys)
        # A connection has several keys: its address and its wider networks.
        for key in self._keys[tcp]:
            self.under.setdefault(key, {})[tcp] = None

    def remove(self, tcp: TcpConnection) -> None:
        """Removes a connection; does nothing if it is not counted here."""
        self._total -= self._counted.pop(tcp, 0)
        for key in self._keys.pop(tcp, ()):
            del self.under[key][tcp]
            if not self.under[key]:
                del self.under[key]

    def count(self, tcp: TcpConnection) -> None:
        """Updates the count with `tcp.held`. Above the bound, cuts connections until a quarter is free.

        Each time, the largest connection of the key with the largest sum is cut.
        """
        held = tcp.held
        self._total += held - self._counted[tcp]
        self._counted[tcp] = held
        if self._total <= self._maximum:
            return
        # Down to three quarters: otherwise the search, which is slow, would be repeated with the next bytes.
        while self._total > self._maximum * 3 // 4:
            # Summed only now: it is rarely needed, and exact.
            among = max(self.under.values(), key=lambda held: sum(self._counted[one] for one in held))
            max(among, key=lambda one: self._counted[one]).cut("too many bytes held")


class TcpConnections:
    """All TCP connections of the server, with their common limits.

    `trusted`: whether an address is a trusted proxy's, whose connections are counted for its clients instead.
    """

    def __init__(self, trusted: Callable[[str], bool], bounds: Bounds = Bounds()) -> None:
        self.buffer = memoryview(bytearray(PIECE))  # shared by all connections, which copy from it at once
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
        self._ended = 0  # connections that were closed since memory was last returned
        self._given_back = 0.0
        self._reading = asyncio.Lock()
        self.leftovers = Leftovers()
        self.bulk = Bulk(os.cpu_count() or 1)  # delays output in bulk while people type
        self.crowd = Crowd()  # gives the sockets of low priority their turns to send

    def make(self, handler: Callable[[], Any]) -> TcpConnection:
        """Makes the protocol of a new connection. `handler`: makes aiohttp's protocol."""
        return TcpConnection(self, handler)

    @staticmethod
    def now() -> float:
        """The present time in seconds of `timing`'s clock, which stops while the event loop is blocked."""
        return timing.now()

    # --- coming and going --------------------------------------------------------------------------------

    def admit(self, tcp: TcpConnection) -> bool:
        """Counts a new connection. Returns False if its address has too many or opens them too often.

        A trusted proxy's connection is counted later, when a request names the client (`meet`).
        """
        assert tcp.transport is not None
        peer = tcp.transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else ""
        # An empty address is a Unix socket's, behind which a trusted proxy is.
        if address and not self._trusted(address) and not self.meet(tcp, address):
            return False
        self._all.add(tcp)
        return True

    def meet(self, tcp: TcpConnection, address: str) -> bool:
        """Counts a connection without a session under the client's `address` and its networks.

        Returns False if one of them has too many or opens them too often; the caller must then close it.
        """
        if tcp.address is not None:
            return True
        tcp.address = customer(address)
        # By address and its wider networks together (`Rates`).
        if not self._opened.allows(address, self.now()):
            self.note("opened too often")
            return False
        self._strangers.add(tcp, (key for key, _ in networks(tcp.address)))
        for key, allowance in networks(tcp.address):
            among = self._strangers.under[key]
            # A new client gets in where an idle connection can go; an attacker's own are the oldest.
            if len(among) > self._bounds.connections * allowance and not self._make_room(among, tcp):
                return False
        if len(self._strangers) > self._bounds.in_all:
            # The network with the most connections loses one, whoever is new.
            return self._make_room(max(self._strangers.under.values(), key=len), tcp)
        return True

    def _make_room(self, among: dict[TcpConnection, None], new: TcpConnection) -> bool:
        """Cuts the oldest idle connection of `among`. Without one, stops counting `new`, returns False."""
        oldest = next((tcp for tcp in among if tcp.idle and tcp is not new), None)
        if oldest is not None:
            oldest.cut("too many connections")
            return True
        self.note("too many connections")
        self._strangers.remove(new)
        return False

    def move_to_session(self, tcp: TcpConnection, session: str) -> None:
        """Counts the connection under its session instead of its address."""
        self._strangers.remove(tcp)
        self._members.add(tcp, (session,))

    def forget(self, tcp: TcpConnection) -> None:
        """Stops counting a closed connection."""
        # Only those that were admitted: an attack of refused ones needs no memory back.
        self._ended += tcp in self._all
        self._all.discard(tcp)
        self._strangers.remove(tcp)
        self._members.remove(tcp)

    def count(self, tcp: TcpConnection) -> None:
        """Called when the number of bytes that a connection holds has changed."""
        for ledger in (self._strangers, self._members):
            if tcp in ledger:
                ledger.count(tcp)

    # --- work --------------------------------------------------------------------------------------------

    async def pace(self, address: str, cost: float = 1.0) -> None:
        """Delays a request that costs `cost` as the rate of `address` requires.

        Requests are delayed instead of refused, as many users may share an address.
        """
        # The charge is counted also while the caller waits, so that many waiters wait longer.
        wait = self._asked.charge(address, self.now(), cost)
        if wait > 0:
            await asyncio.sleep(wait)

    async def pace_member(self, address: str, cost: float, *, watches: bool) -> None:
        """Delays a frame with the cost `cost`, of a connection with a session. `watches`: chooses the rate.

        A single connection with the control never waits here: its own rate (`web/attached.py`) is lower.
        """
        wait = (self._watched if watches else self._typed).charge(address, self.now(), cost)
        if wait > 0:
            await asyncio.sleep(wait)

    def charge(self, address: str, cost: float) -> None:
        """Charges `cost` further requests to `address`, for one that was refused or expensive."""
        self._asked.charge(address, self.now(), cost)

    async def read_text(self, data: bytes) -> m.ClientMessage:
        """Decodes a client's text. Raises as `codec.decode_client_text`.

        Long texts are decoded one at a time in steps, which take at most SHARE of the loop's time.
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
                    # The value of the generator is the message.
                    return message
                finally:
                    # After t seconds of work sleep for t * (1 / SHARE - 1), the last step included.
                    await asyncio.sleep((time.perf_counter() - began) * (1 / SHARE - 1))

    # --- time --------------------------------------------------------------------------------------------

    def note(self, why: str) -> None:
        """Counts a cut connection by its reason, for the log."""
        self._cut[why] += 1

    async def watch(self) -> None:
        """Ends connections whose deadline has passed; runs as long as the server.

        Logs once per second how many were cut and why: a line for each would let an attacker fill the log.
        """
        while True:
            await timing.sleep(1.0)
            now = timing.now()
            # A list, as `late` may end connections, which removes them from the set.
            for tcp in [one for one in self._all if one.due is not None and one.due < now]:
                tcp.late(now)
            if self._cut:
                log.info("connections cut", extra=fields(why=dict(self._cut)))
                self._cut.clear()
            if self._ended >= CROWD and now - self._given_back > GIVE_BACK_SECONDS:
                self._ended, self._given_back = 0, now
                # In a thread: it walks through the whole heap.
                await asyncio.to_thread(_give_back)


def _give_back() -> None:
    """Returns free memory to the system, which glibc does not do by itself for many small blocks."""
    with contextlib.suppress(AttributeError, OSError):  # other C libraries have no malloc_trim
        _c_library().malloc_trim(0)


@functools.cache
def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL(None)


class _Handler(web.RequestHandler):
    """aiohttp's request handler, with proper answers to heads that are too large."""

    __slots__ = ()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Called when the connection is closed. Requests that nobody took are dropped."""
        super().connection_lost(exc)
        # What was not valid HTTP waits as an exception whose traceback refers to this handler: a cycle, which
        # kept 28 KB for each connection of an attack until the garbage collector looked at everything.
        for message, _ in self._messages:
            error = getattr(message, "exc", None)
            if error is not None:
                error.__traceback__ = None
        self._messages.clear()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answers a failed request: 414 or 431 for a head that is too large. The answer does not repeat any
        of it, as aiohttp's would."""
        if isinstance(exc, LineTooLong):
            # The bound is the second argument of the exception, which has no other sign.
            line = exc.args[1:2] == (MAX_LINE_BYTES,)
            status = 414 if line else 431
            what, maximum = ("the address", MAX_LINE_BYTES) if line else ("a header", MAX_FIELD_BYTES)
            message = f"{what} has more than {maximum} bytes\n"
        elif isinstance(exc, BadHttpMessage) and exc.message == "Too many headers received":
            status, message = 431, f"there are more than {MAX_HEADERS} headers\n"
        return super().handle_error(request, status, exc, message)


def _handler(made: Callable[[], Any]) -> Any:
    found = made()
    found.__class__ = _Handler  # aiohttp's server has no option for another class
    return found


class Runner(web.AppRunner):
    """aiohttp's runner, with TcpConnection between each socket and aiohttp's protocol."""

    def __init__(self, app: web.Application, connections: TcpConnections, **options: Any) -> None:
        super().__init__(app, **options)
        self._connections = connections

    @property
    def server(self) -> Any:
        """The factory of connections' protocols, under the name that aiohttp expects."""
        made = super().server
        return None if made is None else lambda: self._connections.make(functools.partial(_handler, made))

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        # Before aiohttp looks at the header.
        made.request_factory = functools.partial(_without_unknown_expect, made.request_factory)
        return made


def _without_unknown_expect(make: Callable[..., Any], message: Any, *rest: Any) -> Any:
    """Makes a request, ignoring an `Expect` header with an unknown value, as RFC 9110 allows.

    aiohttp's refusal repeats the value, and fails with an internal error if that is not UTF-8.
    """
    if message.headers.get("Expect", "100-continue").lower() != "100-continue":
        headers = message.headers.copy()
        del headers["Expect"]
        message = message._replace(headers=CIMultiDictProxy(headers))
    return make(message, *rest)
