"""A container and the link to its agent, which is made again whenever it breaks.

``gone`` is done, with the reason, when the container cannot be used any more: it has ended, was removed or
condemned, or its agent does not answer.  Until then a broken stream is replaced without the session's help.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from typing import Protocol

from msgspec.structs import replace

from coderunner import timing, wire
from coderunner.engine.docker import DockerEngine
from coderunner.engine.host import Host
from coderunner.engine.sockets import AgentSocket, NobodyCame
from coderunner.errors import AgentLost, ContainerGone, EngineError, EngineUnavailable
from coderunner.logs import fields
from coderunner.schema.calls import Call, Quit
from coderunner.schema.reports import AgentProtocolError, Hello
from coderunner.sessions.holdings import Holdings
from coderunner.sessions.link import (
    ATTACH_SECONDS,
    CALL_SECONDS,
    AgentLink,
    ByteStream,
    Reply,
)
from coderunner.sessions.listener import Listener
from coderunner.tasks import Tasks

log = logging.getLogger(__name__)

_kernel = Host()
MEND_SECONDS = 30.0  # how long the agent of a running container may be unreachable
ENGINE_SECONDS = 300.0  # how long the engine may be away; with live-restore its containers run on
RETRY_SECONDS = 0.2  # between two attempts
END_SECONDS = 0.5  # for an agent to end when it is told to, and the engine to know: 80 to 200 ms at load 7


class AnotherVersion(AgentLost):
    """The agent is of another release than this server. ``hello``: its greeting."""

    def __init__(self, hello: Hello) -> None:
        super().__init__(f"the agent speaks version {hello.version}, not {wire.VERSION}")
        self.hello = hello


class Broadcast:
    """An event that occurs repeatedly; ``wait`` returns at its next occurrence."""

    def __init__(self) -> None:
        self._next: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Waits for the next `fire`."""
        if self._next is None or self._next.done():
            self._next = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._next)

    def fire(self) -> None:
        """Wakes all tasks that are waiting now."""
        if self._next is not None and not self._next.done():
            self._next.set_result(None)


class AgentEvents(Listener, Protocol):
    """Receives a container's events; implemented by its session."""

    def on_attached(self, hello: Hello) -> None:
        """The agent has been attached to, for the first time or again.  Raises AgentProtocolError."""

    def have(self) -> Mapping[int, int]:
        """By channel, the offset up to which this server has the output."""


class Container:
    """A session's container.  ``connect`` makes the link, ``close`` ends it; neither removes the container.

    ``session``, ``language``, ``uid``: for which it was made.  ``socket``: to which its agent connects.
    Without one, or when the agent does not connect, the engine's attach stream is used.

    ``gone``: done, with the reason, when the container cannot be used any more.  ``out_of_memory``: whether
    that was because its memory was used up.  ``fault``: done when a fault
    of this server has ended the link: the container still works, and has to be adopted again.  ``changed``:
    fires whenever something has happened that a task may wait for.  ``holdings``: memory that it makes this
    server use.  ``link``: from `connect` on."""

    def __init__(
        self,
        engine: DockerEngine,
        container_id: str,
        *,
        session: str,
        language: str,
        uid: int,
        socket: AgentSocket | None = None,
    ) -> None:
        self.id = container_id
        self.session = session
        self.language = language
        self.uid = uid
        self.born = asyncio.get_running_loop().time()
        self.gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.changed = Broadcast()
        self.holdings = Holdings()
        self.link: AgentLink
        self.socket = socket
        self.out_of_memory = False
        self._linked = False
        self._engine = engine
        self._events: AgentEvents | None = None
        self._generation = 0
        self.fault: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._tasks = Tasks("container", self._failed, session=session)

    async def connect(self, *, start: bool) -> None:
        """Attaches to the agent.  ``start``: starts the container as well.

        May be called once; for another attempt, another Container is made for the same id.  Raises
        EngineError, AgentLost.
        """
        await self._attach({}, start=start, torn=not start)
        self._tasks.start(self._keep(), "container-link")

    async def _attach(self, have: Mapping[int, int], *, start: bool = False, torn: bool) -> None:
        """``torn``: another server may have left half a frame in the attach stream."""
        absent = ""  # why the agent did not connect to the socket
        direct: ByteStream | None = None
        stream: ByteStream | None = None
        socket = self._listening()
        try:
            if start:
                # Attached before the start: otherwise the agent's first output, also errors, would be lost.
                # Left out while agents come to their sockets: it is a twentieth of the engine's work. After
                # one that did not, the next one's errors are read again.
                if socket is None or not socket.proven:
                    stream = await self._engine.attach(self.id)
                await self._engine.start(self.id)
            if socket is not None:
                try:
                    direct = await self._direct(socket)
                except NobodyCame as error:
                    absent = str(error)
                    socket.missed()
            # The attach stream was only needed for the start: an open one that nobody reads blocks the
            # engine.
            if direct is not None and stream is not None:
                await stream.close()
            stream = direct or stream or await self._engine.attach(self.id)
        except BaseException:
            if stream is not None:
                await stream.close()
            raise
        finally:
            if socket is not None:
                socket.close()
        try:
            await self._greet(stream, have, torn=torn and direct is None)
        except AgentLost as error:
            if direct is None or isinstance(error, AnotherVersion):
                raise
            # The connection was made for a previous server that is silent now, and the agent has closed it
            # meanwhile. The attach stream works at any time.
            log.info("the agent's socket ended", extra=fields(session=self.session, why=str(error)))
            await self._greet(await self._engine.attach(self.id), have, torn=True)
        if absent and socket is not None:
            log.warning("the agent did not connect", extra=fields(session=self.session, why=absent))
            socket.failed(absent)

    def _listening(self) -> AgentSocket | None:
        """The socket, listening; None when there is none, or it cannot be used."""
        if self.socket is None or not self.socket.usable:
            return None
        try:
            self.socket.listen()
        except OSError as error:
            log.warning("no socket for the agent", extra=fields(session=self.session, why=str(error)))
            return None
        return self.socket

    async def _direct(self, socket: AgentSocket) -> ByteStream:
        """Accepts the agent's connection.  Raises NobodyCame, EngineError."""
        known: int | None = None  # what the engine calls the agent

        async def is_agent(peer: int) -> bool:
            nonlocal known
            if _kernel.is_first_of(peer, self.id):
                return True
            if known is None:  # it is somebody else, or the kernel does not tell: the engine is asked
                state = await self._engine.inspect(self.id)
                if not state.running:
                    raise NobodyCame("the container does not run")
                known = state.pid
            return peer == known

        return await socket.accept(is_agent, ATTACH_SECONDS)

    async def _greet(self, stream: ByteStream, have: Mapping[int, int], *, torn: bool) -> None:
        """Makes a link of the stream.  Raises AgentLost; RuntimeError for a fault of this server."""
        link = AgentLink(stream, self.holdings)
        try:
            # Above that of every server before, which were times as well.
            self._generation = max(self._generation + 1, time.time_ns())
            await link.attach(self._generation, have, torn=torn)
            if link.hello.version != wire.VERSION:
                raise AnotherVersion(link.hello)
        except BaseException:
            await link.close()
            if link.fault is not None:
                # It must not be taken for an agent that does not answer, which would end the session.
                raise RuntimeError("a fault of this server while attaching to an agent") from link.fault
            raise
        self.link, self._linked = link, True

    def listen(self, events: AgentEvents) -> None:
        """Passes the agent's state to ``events``, and from then on all its reports."""
        self._events = events  # kept, as each new link is introduced to the same listener
        self._introduce(events)

    def _introduce(self, events: AgentEvents) -> None:
        hello = self.link.hello
        try:
            events.on_attached(hello)
        except AgentProtocolError as error:
            self.condemn(f"the agent broke its protocol: {error}")
            return
        self.link.hello = replace(hello, channels=())  # not kept, as its size is the container's choice
        self.link.listen(events)

    async def call(self, call: Call, raw: bytes = b"", *, seconds: float = CALL_SECONDS) -> Reply:
        """As `AgentLink.call`, for idempotent calls: repeated over the next link when the stream broke.

        ``seconds``: for each attempt.  Raises AgentLost when the container is gone, or its agent does not
        answer although the stream works.
        """
        while True:
            link = self.link
            try:
                return await link.call(call, raw, seconds=seconds)
            except AgentLost:
                if not link.closed.done():
                    raise
                await self._mended()

    async def _mended(self) -> None:
        """Waits for the next link.  Raises AgentLost when there will be none."""
        while self.link.closed.done():
            if self.gone.done() or self.fault.done():
                raise AgentLost(self.gone.result() if self.gone.done() else "")
            await self.changed.wait()

    # --- keeping ---------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        """Makes a new link whenever one ends, until the container is gone."""
        while not self.gone.done():
            reason = await asyncio.shield(self.link.closed)
            if self.gone.done():
                return
            log.info("agent's stream lost", extra=fields(session=self.session, why=reason))
            await self.link.close()
            if self.link.fault is not None:
                self._failed(self.link.fault)
                return
            if self.link.broken:
                # The next link would be broken in the same way: something else writes in the agent's name.
                self._lose(reason)
            else:
                await self._mend(reason)

    async def _mend(self, reason: str) -> None:
        began = timing.now()
        while not self.gone.done():
            try:
                state = await self._engine.inspect(self.id)
                if not state.running:
                    self.out_of_memory = state.ended_for_memory
                    self._lose(f"the container has ended (code {state.exit_code}, oom {state.oom_killed})")
                    return
                have = self._events.have() if self._events is not None else {}
                await self._attach(have, torn=True)
                if self._events is not None:
                    self._introduce(self._events)
                self.changed.fire()
                seconds = round(timing.now() - began, 2)
                log.info("agent's stream replaced", extra=fields(session=self.session, seconds=seconds))
                return
            except ContainerGone:
                self._lose("the container was removed")
                return
            except EngineUnavailable as error:
                patience, reason = ENGINE_SECONDS, str(error)
            except EngineError as error:
                patience, reason = MEND_SECONDS, str(error)
            if timing.now() - began > patience:
                self._lose(reason)
                return
            await timing.sleep(RETRY_SECONDS)

    def _failed(self, error: BaseException) -> None:
        if not self.fault.done():
            self.fault.set_result(error)
        self.changed.fire()

    @property
    def usable(self) -> bool:
        """Whether it runs, as far as is known, with a link to its agent."""
        return not (self.gone.done() or self.fault.done() or self.link.closed.done())

    def _lose(self, reason: str) -> None:
        if not self.gone.done():
            self.gone.set_result(reason)
        self.changed.fire()

    def condemn(self, reason: str) -> None:
        """Gives the container up, as its agent cannot be trusted any more.  ``reason``: for the log."""
        log.warning("container condemned", extra=fields(session=self.session, why=reason))
        self._lose(reason)

    async def close(self) -> None:
        """Ends the link.  The container keeps running."""
        await self._let_go()
        if self._linked:
            await self.link.close()

    async def _let_go(self) -> None:
        """Nothing mends the link any more."""
        self._lose("closed")
        await self._tasks.stop()

    async def end(self) -> None:
        """Has the agent end, and the container with it, and waits until the engine knows.

        For a container that is to be removed: to kill one that runs costs the engine another start of its
        runtime, about 20 ms of processor time.  An agent that does not end in END_SECONDS is left to that."""
        await self._let_go()
        if not self._linked:
            return
        try:
            if not self.link.closed.done():  # over a broken link nothing can be told to the agent
                self.link.cast(Quit())
                with contextlib.suppress(TimeoutError, EngineError):
                    async with timing.within(END_SECONDS):  # both: what follows has a deadline of its own
                        await asyncio.shield(self.link.closed)
                        await self._engine.wait(self.id, END_SECONDS)
        finally:
            await self.link.close()
