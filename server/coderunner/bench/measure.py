"""The measurements of `coderunner bench`, made as a client of the server."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from coderunner.client.peer import Peer
from coderunner.client.visit import Visit
from coderunner.schema import messages as m

PATIENCE_SECONDS = 120.0  # to wait for a session of a busy server
RUN_SECONDS = 60.0  # to wait for a program's output or end
KEYS = 20  # per round
MEGABYTES = 4  # of output per round
MS, RATE = "ms", "MB/s"

_HELLO = "print('hello')"
# Raw mode: the program echoes each key itself, so that the figure includes the way through a program.
_ECHO = "import os, tty\ntty.setraw(0)\nos.write(1, b'!')\nwhile True:\n    os.write(1, os.read(0, 1000))\n"
_FLOOD = (
    "import os\n"
    f"command = \"head -c {MEGABYTES}000000 /dev/zero | tr '\\\\0' a\"\n"
    "os.execvp('sh', ['sh', '-c', command])\n"
)
_ECHOING = 1  # the number of the channel that echoes


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured quantity. `unit`: MS or RATE. `measure`: takes the measurement;
    returns one or several values."""

    title: str
    unit: str
    measure: Callable[[], Awaitable[list[float]]]


class Client:
    """A session in which programs are measured one after the other, beside one that echoes keys."""

    def __init__(self, visit: Visit, peer: Peer) -> None:
        self._visit = visit
        self._peer = peer
        self._channel = _ECHOING
        self._typed = 0

    def figures(self) -> list[Figure]:
        """All figures, in the order in which they are measured."""
        return [
            Figure("an HTTP request, there and back", MS, self._request),
            Figure("connection to `hello`", MS, self._connect),
            Figure("`open` to `opened`", MS, self._open),
            Figure("Python hello, `run` to its first byte", MS, self._first_byte),
            Figure("the same run again, to its end", MS, self._again),
            Figure("a keystroke's echo", MS, self._keys),
            Figure(f"{MEGABYTES} MB of output, tty", RATE, lambda: self._flood("tty")),
            Figure(f"{MEGABYTES} MB of output, pipe", RATE, lambda: self._flood("pipe")),
        ]

    async def begin(self) -> None:
        """Starts the program that echoes keys. Raises Unexpected."""
        await self._peer.run(_ECHOING, _ECHO, mode="tty", entry="echo.py")
        await self._peer.until(_ECHOING, "!", RUN_SECONDS)

    # --- before there is a session -----------------------------------------------------------------------

    async def _request(self) -> list[float]:
        """Milliseconds of an HTTP request."""
        began = time.perf_counter()
        await self._visit.get("api/ready")
        return [_since(began)]

    async def _connect(self) -> list[float]:
        """Milliseconds from connecting to the message `hello`."""
        began = time.perf_counter()
        async with self._visit.connect() as peer:
            await peer.message(m.Hello)
            return [_since(began)]

    async def _open(self) -> list[float]:
        """Milliseconds from `open` to `opened`, in a session of its own."""
        async with self._visit.connect() as peer:
            await peer.message(m.Hello)
            began = time.perf_counter()
            await peer.send(m.Open("python", peer.client))
            await peer.wait(lambda: peer.opened, PATIENCE_SECONDS, "session")
            took = _since(began)
            await peer.send(m.Close())
            await peer.closed()
            self._visit.forget(peer)  # its session is closed already
        return [took]

    # --- in the session ----------------------------------------------------------------------------------

    def _next(self) -> int:
        """The number of the next channel; each is used once."""
        self._channel += 1
        return self._channel

    async def _first_byte(self) -> list[float]:
        """Milliseconds from `run` to the first byte of output."""
        number = self._next()
        began = time.perf_counter()
        await self._peer.run(number, _HELLO)
        channel = self._peer.channel(number)
        await self._peer.wait(lambda: channel.end or channel.refused, RUN_SECONDS, "a first byte")
        took = _since(began)
        await self._peer.ended(number, RUN_SECONDS)
        return [took]

    async def _again(self) -> list[float]:
        """Milliseconds from `run`, without files, to the program's end."""
        number = self._next()
        began = time.perf_counter()
        await self._peer.run(number)
        await self._peer.ended(number, RUN_SECONDS)
        return [_since(began)]

    async def _keys(self) -> list[float]:
        """Milliseconds of KEYS keys' echoes."""
        channel, times = self._peer.channel(_ECHOING), []
        for _ in range(KEYS):
            end = channel.end
            began = time.perf_counter()
            await self._peer.input(_ECHOING, b"k")
            await self._peer.wait(lambda end=end: channel.end > end, RUN_SECONDS, "echo")  # type: ignore[misc]
            times.append(_since(began))
        return times

    async def _flood(self, mode: str) -> list[float]:
        """Megabytes per second of a program's output. `mode`: `tty` or `pipe`."""
        number = self._next()
        self._peer.keep = False
        try:
            began = time.perf_counter()
            await self._peer.run(number, _FLOOD, mode=mode, entry="flood.py")
            await self._peer.ended(number, RUN_SECONDS)
            return [self._peer.channel(number).end / 1000 / _since(began)]
        finally:
            self._peer.keep = True


@asynccontextmanager
async def client(visit: Visit) -> AsyncIterator[Client]:
    """Yields a client, whose session ends with the block.
    Raises Unexpected if the server gives no session."""
    async with visit.session("python", patience=PATIENCE_SECONDS) as peer:
        one = Client(visit, peer)
        await one.begin()
        yield one


def _since(began: float) -> float:
    """Milliseconds since `began`, a time of `perf_counter`."""
    return (time.perf_counter() - began) * 1000
