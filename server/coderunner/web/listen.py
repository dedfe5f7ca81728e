"""The server's sockets: bound at the very beginning, listening once everything is ready."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from aiohttp import web

from coderunner import turns
from coderunner.errors import CannotStart
from coderunner.schema.forms import UNIX
from coderunner.web.keys import TCP_CONNECTIONS
from coderunner.web.middleware import ClientFaults
from coderunner.web.tcp_limits import MAX_FIELD_BYTES, MAX_HEADERS, MAX_LINE_BYTES, Runner

BACKLOG = 1024
SHUTDOWN_SECONDS = 0.5  # for requests that are being answered when the server stops
AT_ONCE = 4  # connections that are accepted in a row, before the loop serves others
KEEPALIVE_SECONDS = 75.0  # above the minute for which nginx keeps a connection
LINGERING_SECONDS = 5.0  # for the rest of a body that was refused, so that its sender reads why
SOCKET_MODE = 0o660  # the user of the server in front is in our group


@contextlib.contextmanager
def bound(host: str, port: int) -> Iterator[list[socket.socket]]:
    """Binds the sockets without listening, so that no other server can take the address.

    ``host``: an address or a name; `::` is every address, of IPv4 as well; or `unix:` and a path,
    and ``port`` says nothing.  Raises CannotStart.
    """
    with contextlib.ExitStack() as stack:
        with _told(host, port):
            if host.startswith(UNIX):
                sockets = [_unix(stack, Path(host.removeprefix(UNIX)))]
            else:
                sockets = _internet(stack, host, port)
        yield sockets


@contextlib.contextmanager
def _told(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        place = host if host.startswith(UNIX) else f"{host}:{port}"
        raise CannotStart(
            f"{place} cannot be listened on ({error.strerror or error}): stop what does, or change HOST or"
            " PORT"
        ) from None


def _internet(stack: contextlib.ExitStack, host: str, port: int) -> list[socket.socket]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    places = dict.fromkeys((family, place[0]) for family, _, _, _, place in found)
    if host == "::":
        places[socket.AF_INET, "0.0.0.0"] = None
    sockets = []
    for family, address in places:
        one = stack.enter_context(contextlib.closing(socket.socket(family, socket.SOCK_STREAM)))
        one.setblocking(False)
        # What connections of the server before leave behind for a minute does not hold the port.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has a socket of its own
        one.bind((address, port))
        port = one.getsockname()[1]  # of port 0: all sockets get the same free port
        sockets.append(one)
    return sockets


def _unix(stack: contextlib.ExitStack, path: Path) -> socket.socket:
    """Binds a Unix socket under a temporary name until it listens: the former server's stays until then."""
    _refuse_taken(path)
    one = stack.enter_context(contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)))
    one.setblocking(False)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    one.bind(str(draft))
    stack.callback(draft.unlink, missing_ok=True)
    draft.chmod(SOCKET_MODE)
    return one


def _refuse_taken(path: Path) -> None:
    """Raises OSError where a server listens at this path, or where it is no socket."""
    if path.exists() and not path.is_socket():
        raise OSError(errno.EEXIST, "it exists, and is no socket")
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as caller:
        caller.settimeout(1)
        try:
            caller.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


@contextlib.asynccontextmanager
async def listening(
    app: web.Application, sockets: Sequence[socket.socket], host: str
) -> AsyncIterator[str]:
    """Accepts connections; yields the address to show.  ``host`` as `bound` had it.

    Raises CannotStart.
    """
    http_log = logging.getLogger("aiohttp.server")
    faults = ClientFaults()
    runner = Runner(
        app,
        app[TCP_CONNECTIONS],
        access_log=None,
        logger=http_log,
        handle_signals=False,
        shutdown_timeout=SHUTDOWN_SECONDS,
        auto_decompress=False,  # aiohttp would unpack whatever anybody sends, before a handler is asked
        keepalive_timeout=KEEPALIVE_SECONDS,
        lingering_time=LINGERING_SECONDS,
        max_headers=MAX_HEADERS,
        max_line_size=MAX_LINE_BYTES,
        max_field_size=MAX_FIELD_BYTES,
    )
    async with contextlib.AsyncExitStack() as stack:
        http_log.addFilter(faults)
        stack.callback(http_log.removeFilter, faults)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        stack.callback(app[TCP_CONNECTIONS].leftovers.close)
        with _told(host, _port(sockets)):
            if host.startswith(UNIX):
                _refuse_taken(Path(host.removeprefix(UNIX)))
            for one in sockets:
                await web.SockSite(runner, one, backlog=AT_ONCE).start()
                turns.second(one.fileno())
                one.listen(BACKLOG)  # asyncio takes `backlog` connections in a row; more may wait
            if host.startswith(UNIX):
                stack.callback(_place(sockets[0], Path(host.removeprefix(UNIX))).unlink, missing_ok=True)
        yield _address(sockets[0], host)


def _place(one: socket.socket, path: Path) -> Path:
    return Path(one.getsockname()).rename(path)


def _port(sockets: Sequence[socket.socket]) -> int:
    return 0 if sockets[0].family == socket.AF_UNIX else int(sockets[0].getsockname()[1])


def _address(one: socket.socket, host: str) -> str:
    if host.startswith(UNIX):
        return host
    name, port = one.getsockname()[:2]
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"
