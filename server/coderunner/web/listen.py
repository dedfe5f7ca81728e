"""The listening sockets: bound when the server starts, listening once everything is ready.

Binding early reserves the address, and fails early if it is taken. Until `listen`, clients are refused by the
kernel and try again, instead of waiting for a server that still adopts its sessions.
"""

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

BACKLOG = 1024  # connections that the kernel keeps until they are accepted
SHUTDOWN_SECONDS = 0.5  # for requests that are being answered when the server stops
AT_ONCE = 4  # connections that are accepted in a row before other sockets get their turn
KEEPALIVE_SECONDS = 75.0  # longer than nginx's 60 s, so that nginx is always the one that closes
LINGERING_SECONDS = 5.0  # for reading the rest of a refused body, so that its sender gets the answer
SOCKET_MODE = 0o660  # the reverse proxy's user is a member of our group


@contextlib.contextmanager
def bound(host: str, port: int) -> Iterator[list[socket.socket]]:
    """Binds the sockets without listening, so that no other server can take the address.

    `host`: an address or a name; `::` for all addresses of IPv6 and IPv4; or `unix:` and a path, where
    `port` is ignored. Raises CannotStart.
    """
    with contextlib.ExitStack() as stack:
        with _as_cannot_start(host, port):
            if host.startswith(UNIX):
                sockets = [_unix(stack, Path(host.removeprefix(UNIX)))]
            else:
                sockets = _internet(stack, host, port)
        yield sockets


@contextlib.contextmanager
def _as_cannot_start(host: str, port: int) -> Iterator[None]:
    """Converts an OSError into CannotStart, whose message names the address."""
    try:
        yield
    except OSError as error:
        place = host if host.startswith(UNIX) else f"{host}:{port}"
        raise CannotStart(
            f"{place} cannot be listened on ({error.strerror or error}): {_advice(error.errno, host)}"
        ) from None


def _advice(reason: int | None, host: str) -> str:
    """What to do about an address that cannot be listened on, for a message."""
    if reason == errno.EADDRINUSE:
        return "stop what does, or change HOST or PORT"
    if host.startswith(UNIX):
        return "give this user a folder for it, and remove what is in its place, or change HOST"
    if reason in (errno.EACCES, errno.EPERM):
        return "this user may not; write a PORT of 1024 or more"
    return "write an address of this machine as HOST, or 0.0.0.0 for all"


def _internet(stack: contextlib.ExitStack, host: str, port: int) -> list[socket.socket]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    places = dict.fromkeys((family, place[0]) for family, _, _, _, place in found)
    if host == "::":
        # `::` means all addresses of both families, on every system alike.
        places[socket.AF_INET, "0.0.0.0"] = None
    sockets = []
    for family, address in places:
        one = stack.enter_context(contextlib.closing(socket.socket(family, socket.SOCK_STREAM)))
        one.setblocking(False)
        # Without this, connections of the previous server in TIME_WAIT block the port for a minute.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 gets its own socket
        one.bind((address, port))
        port = one.getsockname()[1]  # for port 0: all sockets use the free port that the first one got
        sockets.append(one)
    return sockets


def _unix(stack: contextlib.ExitStack, path: Path) -> socket.socket:
    """Binds a Unix socket under a temporary name, which is renamed once it listens.

    Until then the path belongs to the previous server, and there is no moment without a socket at it.
    """
    _refuse_taken(path)
    one = stack.enter_context(contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)))
    one.setblocking(False)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    # Left by a process that was killed.
    draft.unlink(missing_ok=True)
    one.bind(str(draft))
    stack.callback(draft.unlink, missing_ok=True)
    draft.chmod(SOCKET_MODE)
    return one


def _refuse_taken(path: Path) -> None:
    """Raises OSError if a server listens at this path, or if something other than a socket is there."""
    if path.exists() and not path.is_socket():
        raise OSError(errno.EEXIST, "it exists and is not a socket")
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as caller:
        # A listening server accepts at once; this only bounds one that hangs.
        caller.settimeout(1)
        try:
            caller.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return  # nothing is there, or the socket of a server that has ended
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


@contextlib.asynccontextmanager
async def listening(app: web.Application, sockets: Sequence[socket.socket], host: str) -> AsyncIterator[str]:
    """Accepts connections; yields the URL to show to users. `host`: as for `bound`.

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
        auto_decompress=False,  # aiohttp would unpack every body without a bound, before the handler runs
        keepalive_timeout=KEEPALIVE_SECONDS,
        lingering_time=LINGERING_SECONDS,
        max_headers=MAX_HEADERS,
        max_line_size=MAX_LINE_BYTES,
        max_field_size=MAX_FIELD_BYTES,
    )
    async with contextlib.AsyncExitStack() as stack:
        http_log.addFilter(faults)
        stack.callback(http_log.removeFilter, faults)
        # Everything that fails from here on is undone by the stack.
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        stack.callback(app[TCP_CONNECTIONS].leftovers.close)
        with _as_cannot_start(host, _port(sockets)):
            if host.startswith(UNIX):
                # Again: another server may have begun to listen since the socket was bound.
                _refuse_taken(Path(host.removeprefix(UNIX)))
            for one in sockets:
                await web.SockSite(runner, one, backlog=AT_ONCE).start()
                turns.second(one.fileno())
                # asyncio uses `backlog` for two things: the kernel's queue, and how many connections to
                # accept in a row. AT_ONCE is for the latter; this sets the former.
                one.listen(BACKLOG)
            if host.startswith(UNIX):
                stack.callback(_place(sockets[0], Path(host.removeprefix(UNIX))).unlink, missing_ok=True)
        yield _address(sockets[0], host)


def _place(one: socket.socket, path: Path) -> Path:
    """Renames a socket's temporary file to `path`, atomically replacing the previous one."""
    return Path(one.getsockname()).rename(path)


def _port(sockets: Sequence[socket.socket]) -> int:
    # A Unix socket has no port.
    return 0 if sockets[0].family == socket.AF_UNIX else int(sockets[0].getsockname()[1])


def _address(one: socket.socket, host: str) -> str:
    if host.startswith(UNIX):
        return host
    name, port = one.getsockname()[:2]
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"
