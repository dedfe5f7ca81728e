"""Sockets of the server's own, one for each container, to which its agent connects: a stream past the engine.

The folder of a socket is mounted into its container, read-only; only PID 1 of that container is let in, by
what the kernel says of the peer.  The parent of these folders is this user's alone.  A socket listens only
while its agent is to connect, so that between these moments a program in the container finds nobody there.

Where a container cannot reach a socket of the server's (an engine on another machine, a runtime with sockets
of its own), or the server does not see who is there (in a container of its own), the engine's attach stream
serves.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

from coderunner import timing
from coderunner.engine.direct import DirectStream
from coderunner.errors import AgentLost
from coderunner.logs import fields
from coderunner.wire import SOCKET_NAME

log = logging.getLogger(__name__)

AUTO, SOCKET, ATTACH = CHOICES = ("auto", "socket", "attach")
UNTRIED = "untried"
CONNECT_SECONDS = 2.0  # an agent tries five times a second
BACKLOG = 8
STRANGER_SECONDS = 0.02  # seconds for which a peer that is not the agent may delay the next one
FAILURES = 3  # agents in a row that did not come, before any did
IsAgent = Callable[[int], Awaitable[bool]]
"""Whether the process with this id is the agent whose socket it is."""
_PEER = struct.Struct("3i")  # pid, uid, gid


class NobodyCame(Exception):
    """The agent did not connect; the message says why, as far as is known."""


class AgentSocket:
    """Of one container.  ``folder``: on this machine, mounted into the container."""

    def __init__(self, owner: AgentSockets, folder: Path) -> None:
        self.folder = folder
        self._owner = owner
        self._listener: socket.socket | None = None

    @property
    def usable(self) -> bool:
        """Whether its agent may still connect."""
        return self._owner.usable

    def listen(self) -> None:
        """Starts listening for the agent. Raises OSError."""
        if self._listener is not None:
            return
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            # By the folder's descriptor: its path may be longer than the address of a socket.
            folder = os.open(self.folder, os.O_PATH | os.O_DIRECTORY)
            try:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(SOCKET_NAME, dir_fd=folder)
                listener.bind(f"/proc/self/fd/{folder}/{SOCKET_NAME}")
                os.chmod(SOCKET_NAME, 0o666, dir_fd=folder)
            finally:
                os.close(folder)
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
        self._listener = listener

    def close(self) -> None:
        """Closes it; connections that were not accepted are aborted."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def accept(self, is_agent: IsAgent, write_seconds: float) -> DirectStream:
        """The stream to the agent; whoever else connects is cut off.

        ``write_seconds``: what the agent may take to read.  Raises NobodyCame after CONNECT_SECONDS, and
        what ``is_agent`` raises.
        """
        strangers = 0
        try:
            async with timing.within(CONNECT_SECONDS):
                while True:
                    one = await self._next()
                    peer, _, _ = _PEER.unpack(
                        one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
                    )
                    try:
                        if peer != 0 and await is_agent(peer):
                            break
                    except BaseException:
                        one.close()
                        raise
                    one.close()
                    strangers += 1
                    if peer == 0:
                        raise NobodyCame("this server does not see the processes of containers")
                    await asyncio.sleep(STRANGER_SECONDS)
        except TimeoutError:
            raise NobodyCame(f"not within {CONNECT_SECONDS:g} s; {strangers} others did") from None
        try:
            loop = asyncio.get_running_loop()
            _, stream = await loop.create_unix_connection(lambda: DirectStream(write_seconds), sock=one)
        except BaseException:
            one.close()
            raise
        self._owner.came()
        return stream

    async def _next(self) -> socket.socket:
        if self._listener is None:
            raise NobodyCame("its socket is closed")
        try:
            one, _ = await asyncio.get_running_loop().sock_accept(self._listener)
        except OSError as error:  # no descriptor left, or it was closed
            raise NobodyCame(str(error)) from None
        return one

    def failed(self, why: str) -> None:
        """Notes that its agent, which is alive, did not connect."""
        self._owner.failed(why)


class AgentSockets:
    """Of one instance.  ``folder``: the parent of their folders.  ``choice``: one of CHOICES.

    With ``auto`` the first containers show whether agents come; where none does, the sockets are given up
    until the next start.
    """

    def __init__(self, folder: Path, instance: str, choice: str) -> None:
        self._parent = folder.absolute() / instance
        self._choice = choice
        self._came = False
        self._failures = 0
        self._given_up: str | None = None

    @property
    def usable(self) -> bool:
        """Whether containers are made with a socket, and agents waited for."""
        return self._choice != ATTACH and self._given_up is None

    @property
    def doubtful(self) -> bool:
        """Whether it may turn out that containers cannot have one."""
        return self._choice == AUTO and not self._came and self._given_up is None

    @property
    def kind(self) -> str:
        """What connects server and agents: ``socket``, ``attach``, or not known yet."""
        if not self.usable:
            return ATTACH
        return SOCKET if self._came else UNTRIED

    def warnings(self) -> list[str]:
        """Warnings for the operator: why sockets are not used although the setting asks for them."""
        if self._given_up is None:
            return []
        return [
            "Agents are reached over the engine's attach streams, which are slower than sockets:"
            f" {self._given_up}. AGENT_STREAM=attach says that this is meant."
        ]

    def make(self, session: str) -> AgentSocket:
        """With a folder of its own, which is new. Raises AgentLost where the disk does not allow it."""
        folder = self._parent / session
        try:
            self._parent.mkdir(mode=0o700, exist_ok=True, parents=True)
            os.chmod(self._parent, 0o700)
            folder.mkdir()
            os.chmod(folder, 0o711)  # whatever the umask is: its container's user goes through it
        except OSError as error:
            raise AgentLost(f"no folder for the agent's socket: {error}") from error
        return AgentSocket(self, folder)

    def find(self, session: str) -> AgentSocket | None:
        """That of a container that a server before made; None where there is none to be used."""
        folder = self._parent / session
        if not self.usable or session in ("", "..") or "/" in session or not folder.is_dir():
            return None
        return AgentSocket(self, folder)

    def came(self) -> None:
        """An agent connected."""
        self._came = True

    def failed(self, why: str) -> None:
        """Notes that an agent that is alive did not connect."""
        self._failures += 1
        if self.doubtful and self._failures >= FAILURES:
            self.give_up(f"agents do not connect to the server's sockets ({why})")

    def give_up(self, why: str) -> None:
        """Stops using sockets: containers on this engine cannot reach them."""
        if self.doubtful:
            self._given_up = why
            log.warning("agents are reached over the engine's attach streams", extra=fields(why=why))

    def remove(self, session: str) -> None:
        """Removes the folder of a session's container that is gone."""
        remove_folder(self._parent / session)

    def clear(self) -> None:
        """Removes all of them and their parents, where no server lives and no container is left."""
        self.keep(0, ())
        for folder in (self._parent, self._parent.parent):
            with contextlib.suppress(OSError):  # another instance has some, or it is not there
                os.rmdir(folder)

    def keep(self, older_than: float, sessions: Collection[str]) -> None:
        """Removes the folders that belong to none of these, and have been there for so many seconds."""
        with contextlib.suppress(OSError), os.scandir(self._parent) as folders:
            for one in folders:
                if one.name not in sessions and time.time() - one.stat().st_ctime >= older_than:
                    self.remove(one.name)


def remove_folder(folder: str | Path) -> None:
    """That of a container which is gone; what else is in it stays, and the folder with it."""
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(folder, SOCKET_NAME))
    with contextlib.suppress(OSError):
        os.rmdir(folder)
