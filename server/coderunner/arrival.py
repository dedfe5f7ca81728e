"""Adopts the sessions of the previous server, and removes containers that cannot be adopted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from coderunner.assembly import Fleet
from coderunner.engine.docker import RETRY_SECONDS, DockerEngine
from coderunner.engine.states import ContainerSummary
from coderunner.errors import (
    CannotStart,
    CodeRunnerError,
    Draining,
    EngineError,
    EngineUnavailable,
    UnsupportedEngine,
)
from coderunner.fleet.groups import Groups
from coderunner.fleet.provision import Provisioner
from coderunner.fleet.readiness import Readiness
from coderunner.fleet.registry import RESTART_RETRY_MS, Registry
from coderunner.fleet.sweep import AnothersContainers, adopt_all, remove_all
from coderunner.logs import fields
from coderunner.sessions.record import BadSeal
from coderunner.stopping import ANOTHERS, REFUSED, Stop, unless_stopped
from coderunner.tasks import Tasks

log = logging.getLogger(__name__)

RETURN_SECONDS = 0.5  # the longest that the rest of the start waits for clients of adopted sessions
LOOK_SECONDS = 0.02  # between two looks whether they are back


@dataclass(slots=True)
class Arrival:
    """Adopts the sessions of the previous server, before clients can connect.

    A client that comes back must find its session, or be told to try again; it must never be told that its
    session does not exist.
    `refused`: containers that were not adopted, with the reason.
    `late`: those whose agent has not answered yet.
    """

    engine: DockerEngine
    registry: Registry
    provisioner: Provisioner
    groups: Groups
    key: bytes
    readiness: Readiness
    tasks: Tasks
    stopping: Stop
    refused: list[tuple[ContainerSummary, str]] = field(default_factory=list)
    late: Sequence[tuple[ContainerSummary, asyncio.Task[str | BadSeal | None]]] = ()

    async def begin(self) -> None:
        """Adopts the sessions. If the engine does not answer, keeps trying in the background. Does not wait
        for it if the server is stopped meanwhile.

        Raises AnothersContainers if there are containers of another server with this instance name.
        """
        try:
            if not await unless_stopped(self.stopping, self._adopt()):
                # Not all are adopted, and no client may be told that its session does not exist.
                self.registry.absent = Draining(retry_after_ms=RESTART_RETRY_MS)
                return
        except EngineError as error:
            log.error("the container engine does not answer; trying again", extra=fields(why=error.message))
            self.readiness.blocked = "the container engine has not answered since the server started"
            self.registry.absent = EngineUnavailable(error.message, retry_after_ms=2000)
            self.tasks.keep(self._again, "adopt")
        except AnothersContainers:
            await self.registry.suspend()
            raise
        else:
            self.readiness.blocked = None

    async def _adopt(self) -> None:
        await self.groups.find()
        adoption = await adopt_all(self.engine, self.registry, self.provisioner, self.key, self.tasks)
        self.refused, self.late = adoption.refused, adoption.late
        if adoption.adopted:
            log.info("sessions adopted", extra=fields(count=adoption.adopted))

    async def _again(self) -> None:
        while self.registry.absent is not None:
            await asyncio.sleep(RETRY_SECONDS)
            try:
                await self._adopt()
            except EngineError:
                continue
            except CannotStart as error:  # another server's containers, or an unsupported engine
                log.critical("stopping", extra=fields(why=error.message))
                self.readiness.blocked = error.message
                self.stopping.ask(REFUSED if isinstance(error, UnsupportedEngine) else ANOTHERS)
                return
            self.registry.absent = self.readiness.blocked = None
            self.clear()

    def clear(self) -> None:
        """Starts to remove containers that were not adopted.

        Called only after the server listens: as long as its start may fail, it must not destroy anything.
        """
        if self.registry.absent is not None:
            return  # the engine has not answered: it is not known yet which containers there are
        self.tasks.keep(self._clear, "remove")

    async def _clear(self) -> None:
        await remove_all(self.engine, self.provisioner, self.refused)
        for summary, work in self.late:
            if (why := await work) is not None:
                await remove_all(self.engine, self.provisioner, [(summary, str(why))])
        with contextlib.suppress(CodeRunnerError):  # repeated with each sweep
            await self.groups.sweep()


async def returned(registry: Registry) -> None:
    """Waits until each session has a client again, RETURN_SECONDS at most.

    What a start has left to import takes as much processor time as 50 clients that come back, who wait."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(RETURN_SECONDS):
            # Each session has attachments of its own, without an event for the first.
            while not all(one.channels.attachments for one in registry.sessions.values()):  # noqa: ASYNC110
                await asyncio.sleep(LOOK_SECONDS)


async def arrived(fleet: Fleet, engine: DockerEngine, key: bytes, tasks: Tasks, stopping: Stop) -> Arrival:
    """Adopts the sessions of the previous server, as `Arrival.begin` does."""
    arrival = Arrival(
        engine, fleet.registry, fleet.provisioner, fleet.groups, key, fleet.readiness, tasks, stopping
    )
    await arrival.begin()
    return arrival
