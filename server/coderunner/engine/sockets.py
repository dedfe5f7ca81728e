"""Unix sockets of the server, one for each container, to which its agent connects directly.

The socket's folder is mounted into its container, read-only. Only PID 1 of that container is accepted: the
kernel tells the peer's process id. The parent folder can be entered by the server's user only. A socket
listens only while its agent is expected to connect, so that programs in the container cannot connect at other
times.

The engine's attach stream is used instead if a container cannot reach the server's sockets (an engine on
another machine, a runtime with its own sockets), or the server cannot see the process ids of containers (it
runs in a container itself).
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

AUTO, SOCKET, ATTACH = "auto", "socket", "attach"
UNTRIED = "untried"
CONNECT_SECONDS = 2.0  # for an agent to connect; it tries five times a second at least
BACKLOG = 8
# Pause after a peer that is not the agent, so that a program cannot keep the loop busy.
STRANGER_SECONDS = 0.02
FAILURES = 3  # agents that did not connect, before any did, after which `auto` gives up sockets
IsAgent = Callable[[int], Awaitable[bool]]
"""Whether the process with this id is the agent whose socket it is."""
_PEER = struct.Struct("3i")  # pid, uid, gid


class NobodyCame(Exception):
    """The agent did not connect; the message has the reason, if it is known."""


class AgentSocket:
    """The socket of one container. `folder`: on this machine, mounted into the container."""

    def __init__(self, owner: AgentSockets, folder: Path) -> None:
        self.folder = folder
        self._owner = owner
        self._listener: socket.socket | None = None

    @property
    def usable(self) -> bool:
        """Whether sockets are in use, so that its agent may connect."""
        return self._owner.usable

    @property
    def proven(self) -> bool:
        """Whether the last agent that was expected at a socket came, so that the next one will, too."""
        return self._owner.proven

    def listen(self) -> None:
        """Starts listening for the agent. Raises OSError."""
        if self._listener is not None:
            return
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            # By the folder's descriptor, as a socket's address has at most 107 bytes.
            folder = os.open(self.folder, os.O_PATH | os.O_DIRECTORY)
            try:
                # One that an earlier process left: binding to an existing name fails.
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(SOCKET_NAME, dir_fd=folder)
                listener.bind(f"/proc/self/fd/{folder}/{SOCKET_NAME}")
                # For any user id: each session has its own. Who connects is checked by process id, not by
                # permissions.
                os.chmod(SOCKET_NAME, 0o666, dir_fd=folder)
            finally:
                os.close(folder)
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
        self._listener = listener

    def close(self) -> None:
        """Stops listening; connections that were not accepted are aborted."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def accept(self, is_agent: IsAgent, write_seconds: float) -> DirectStream:
        """Accepts the agent's connection and returns its stream. Connections of other processes are closed.

        `is_agent`: tells the agent by its process id. `write_seconds`: how long a write may wait for the
        agent to read. Raises NobodyCame if it does not connect within CONNECT_SECONDS, and what `is_agent`
        raises."""
        strangers = 0
        deadline = timing.now() + CONNECT_SECONDS
        while True:
            left = deadline - timing.now()
            try:
                if left <= 0:  # where somebody always waits, accepting never does
                    raise TimeoutError
                async with timing.within(left):
                    one = await self._next()
            except TimeoutError:
                raise NobodyCame(
                    f"not within {CONNECT_SECONDS:g} s; {strangers} connections of other processes were"
                    " refused"
                ) from None
            asked = timing.now()
            try:
                peer, _, _ = _PEER.unpack(one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
                if peer != 0 and await is_agent(peer):
                    break
            except BaseException:
                one.close()
                raise
            # Not counted: the engine may have to be asked, and has deadlines of its own.
            deadline += timing.now() - asked
            one.close()
            strangers += 1
            if peer == 0:  # the peer is in a process namespace that this one does not include
                raise NobodyCame("this server cannot see the processes of containers")
            await asyncio.sleep(STRANGER_SECONDS)
        try:
            loop = asyncio.get_running_loop()
            # The socket is non-blocking already, so asyncio takes it over as it is.
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

    def missed(self) -> None:
        """Records that no agent came, whatever the reason."""
        self._owner.proven = False

    def failed(self, why: str) -> None:
        """Records that its agent, which is running, did not connect. `why`: for the log."""
        self._owner.failed(why)


class AgentSockets:
    """The sockets of one instance. `folder`: where their folders are made. `choice`: AUTO, SOCKET or ATTACH.

    With `auto`, the first containers show whether agents can connect; if none does, the server uses attach
    streams until its next start. `proven`: as of `AgentSocket`.
    """

    def __init__(self, folder: Path, instance: str, choice: str) -> None:
        self._parent = folder.absolute() / instance
        self._choice = choice
        self._came = False
        self.proven = False
        self._failures = 0
        self._given_up: str | None = None

    @property
    def usable(self) -> bool:
        """Whether containers are made with a socket."""
        return self._choice != ATTACH and self._given_up is None

    @property
    def doubtful(self) -> bool:
        """Whether it is not known yet that agents can connect."""
        return self._choice == AUTO and not self._came and self._given_up is None

    @property
    def kind(self) -> str:
        """How server and agents are connected: `socket`, `attach`, or `untried` if not known yet."""
        if not self.usable:
            return ATTACH
        return SOCKET if self._came else UNTRIED

    def warnings(self) -> list[str]:
        """Warnings for the operator: why sockets are not used although the setting asks for them."""
        if self._given_up is None:
            return []
        return [
            "Agents are connected by the engine's attach streams, which are slower than sockets:"
            f" {self._given_up}. Fix: set AGENT_STREAM=attach if this is intended"
        ]

    def make(self, session: str) -> AgentSocket:
        """Makes the folder for a session's socket. Raises AgentLost if the disk does not allow it."""
        folder = self._parent / session
        try:
            # Only this server's user can enter the parent, so nobody else on the machine reaches a socket.
            self._parent.mkdir(mode=0o700, exist_ok=True, parents=True)
            os.chmod(self._parent, 0o700)
            folder.mkdir()
            # Whatever the umask is: the container's user must be able to enter it.
            os.chmod(folder, 0o711)
        except OSError as error:
            raise AgentLost(f"the folder for the agent's socket cannot be made: {error}") from error
        return AgentSocket(self, folder)

    def find(self, session: str) -> AgentSocket | None:
        """That of a container that a server before made; None where there is none to be used."""
        folder = self._parent / session
        # The name comes from a label, which is not to be trusted: no part of it may lead elsewhere.
        if not self.usable or session in ("", "..") or "/" in session or not folder.is_dir():
            return None
        return AgentSocket(self, folder)

    def came(self) -> None:
        """An agent connected."""
        self._came = self.proven = True

    def failed(self, why: str) -> None:
        """Records that an agent, which is running, did not connect. `why`: for the log."""
        self._failures += 1
        # Once an agent has connected, sockets work: later failures have other causes.
        if self.doubtful and self._failures >= FAILURES:
            self.give_up(f"agents do not connect to the server's sockets ({why})")

    def give_up(self, why: str) -> None:
        """Stops using sockets, as containers on this engine cannot reach them. `why`: for the log."""
        if self.doubtful:
            self._given_up = why
            log.warning("agents are connected by the engine's attach streams", extra=fields(why=why))

    def remove(self, session: str) -> None:
        """Removes the folder of a session whose container is removed."""
        remove_folder(self._parent / session)

    def clear(self, left: Collection[str] = ()) -> None:
        """Removes all folders but those of the sessions `left`, and their parents if they are empty then.

        Only where no server runs."""
        self.keep(0, left)
        for folder in (self._parent, self._parent.parent):
            with contextlib.suppress(OSError):  # another instance has some, or it is not there
                os.rmdir(folder)

    def keep(self, older_than: float, sessions: Collection[str]) -> None:
        """Removes folders that belong to none of `sessions` and are at least `older_than` seconds old."""
        with contextlib.suppress(OSError), os.scandir(self._parent) as folders:
            for one in folders:
                # By the change time of the folder: one that is being made has no session yet.
                if one.name not in sessions and time.time() - one.stat().st_ctime >= older_than:
                    self.remove(one.name)


def remove_folder(folder: str | Path) -> None:
    """Removes a socket's folder with the socket. A folder with anything else in it is kept."""
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(folder, SOCKET_NAME))
    with contextlib.suppress(OSError):
        os.rmdir(folder)
