"""Detects another running server with the same key, by a Unix socket with an abstract name.

The lock in STATE_DIR cannot show whether a server with the same key runs in another folder, which happens if
STATE_DIR was copied. The kernel removes the name when the process ends, however it ends.

Any user of the machine may bind such a name. So its holder only counts if it is root, this user or the owner
of STATE_DIR, or if it proves that it has the key, by authenticating a random number.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hmac
import logging
import os
import secrets
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from coderunner.errors import CannotStart
from coderunner.sessions.record import owner_of

log = logging.getLogger(__name__)

# At a restart, the old process still closes its sockets when the new one begins.
LEAVING_SECONDS = 2.0  # in which a server that has released its lock ends
ANSWER_SECONDS = 1.0  # for the holder of a name to show that it has the key
PAUSE_SECONDS = 0.02  # between two looks
ASKED = 16  # bytes of the number that is to be authenticated
AT_ONCE = 8  # processes that are answered at one time; others are cut
_SIGN = "coderunner/"  # begin of the names
_PEER = struct.Struct("3i")  # pid, uid, gid


@contextlib.asynccontextmanager
async def alone(name: str, key: bytes, state_dir: Path) -> AsyncIterator[None]:
    """Holds the name of a server with this name and key, which the kernel lets only one process bind.

    Waits LEAVING_SECONDS for one that is ending. `name`: INSTANCE_NAME. Raises CannotStart if another server
    has the key: each would adopt the other's sessions, and remove the other's containers.
    """
    deadline = asyncio.get_running_loop().time() + LEAVING_SECONDS
    # A fingerprint of the key: the name is visible to all users of the machine.
    place = f"\0{_SIGN}{name}/{owner_of(key)}"
    async with contextlib.AsyncExitStack() as stack:
        sign = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
        while not _took(sign, place):
            held = await _held(place, key, _trusted(state_dir))
            late = asyncio.get_running_loop().time() > deadline
            if held is False or (held is None and late):
                log.warning("another user has taken the name by which this server would be recognised")
                break
            if late:
                raise CannotStart(
                    f"a server named {name!r} is already running, with the same key but another folder:"
                    f" {state_dir} is a copy of its STATE_DIR. Stop that server, or give this one another"
                    " INSTANCE_NAME"
                )
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            await _answer(stack, sign, key)
        yield


def _took(sign: socket.socket, place: str) -> bool:
    try:
        sign.bind(place)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise CannotStart(f"the name {place[1:]} cannot be bound: {error.strerror or error}") from None
        return False
    sign.listen()  # at once: other servers connect as soon as the name exists
    return True


async def _answer(stack: contextlib.AsyncExitStack, sign: socket.socket, key: bytes) -> None:
    """Until the stack is closed, proves to every client that this process has the key."""
    busy = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal busy
        busy += 1
        try:
            if busy <= AT_ONCE:
                async with asyncio.timeout(ANSWER_SECONDS):
                    writer.write(_proof(key, await reader.readexactly(ASKED)))
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # not a request of a server
        finally:
            busy -= 1
            writer.close()

    server = await asyncio.start_unix_server(answer, sock=sign, limit=ASKED)
    stack.callback(server.close)


def _proof(key: bytes, asked: bytes) -> bytes:
    # With a prefix, so that no other use of the key can be made to produce such a proof.
    return hmac.digest(key, b"alive" + asked, "sha256")


async def _held(place: str, key: bytes, trusted: set[int]) -> bool | None:
    """Whether a server with this key has this name; None if its holder cannot be asked now."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as caller:
        try:
            caller.connect(place)  # does not wait: there is room, or it fails
        except OSError:
            return None
        _, user, _ = _PEER.unpack(caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        # SO_PEERCRED is filled in by the kernel at connect() and cannot be forged (unix(7)).
        if user in trusted:
            return True
        # A new number each time: a proof that was seen before is worth nothing.
        asked = secrets.token_bytes(ASKED)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await loop.sock_sendall(caller, asked)
                proof = await loop.sock_recv(caller, 64)
        except (OSError, TimeoutError):
            return False
        return hmac.compare_digest(proof, _proof(key, asked))


def _trusted(state_dir: Path) -> set[int]:
    """The users that are trusted not to bind the name in order to keep a server from starting."""
    with contextlib.suppress(OSError):
        return {0, os.geteuid(), state_dir.stat().st_uid}
    return {0, os.geteuid()}


async def lives_elsewhere(name: str, key: bytes, state_dir: Path) -> bool:
    """Whether a server of this machine runs with this name and key, whatever its STATE_DIR."""
    return bool(await _held(f"\0{_SIGN}{name}/{owner_of(key)}", key, _trusted(state_dir)))


@dataclass(frozen=True, slots=True)
class Holders:
    """Who holds the names of servers, by the fingerprints of their keys. `alive`: processes of root, this
    user or the owner of STATE_DIR. `strangers`: others, each with words about it: a server of another user,
    or somebody who has only taken the name."""

    alive: set[str] = field(default_factory=set)
    strangers: dict[str, str] = field(default_factory=dict)


def holders(name: str, state_dir: Path, table: Path = Path("/proc/net/unix")) -> Holders:
    """Who on this machine holds names of servers with this INSTANCE_NAME, whatever their keys. Servers on
    other machines, or in another network namespace, are not seen. `table`: the kernel's list of Unix sockets.
    """
    found, trusted = Holders(), _trusted(state_dir)
    for owner in owners_named(name, table):
        peer = _peer(f"\0{_SIGN}{name}/{owner}")
        if peer is not None and peer[1] in trusted:
            found.alive.add(owner)
        else:
            found.strangers[owner] = f"process {peer[0]} of user {peer[1]}" if peer else "a process"
    return found


def _peer(place: str) -> tuple[int, int] | None:
    """Process and user who listen at a name; None if none listens there, or too many wait."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as caller:
        try:
            caller.connect(place)  # does not wait: there is room, or it fails
        except OSError:
            return None
        process, user, _ = _PEER.unpack(caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        return process, user


def owners_named(name: str, table: Path = Path("/proc/net/unix")) -> set[str]:
    """The fingerprints in the names of sockets, whoever has them. `table`: as for `holders`."""
    try:
        lines = table.read_text("ascii", "replace").splitlines()
    except OSError:
        return set()
    begin = f"@{_SIGN}{name}/"
    # proc(5): the eighth column is the path, where @ stands for the \0 of an abstract name.
    names = [line.split(" ", 7)[-1] for line in lines]
    return {one[len(begin) :] for one in names if one.startswith(begin)}
