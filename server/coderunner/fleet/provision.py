"""Creates and removes the containers of sessions: the only module that asks the engine for either."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from coderunner.engine.containers import (
    DEADLINE_LABEL,
    INSTANCE_LABEL,
    OWNER_LABEL,
    SESSION_TYPE,
    SOCKET_LABEL,
    ContainerSpec,
    command_of,
)
from coderunner.engine.docker import DockerEngine
from coderunner.engine.runtimes import USUAL_RUNTIMES, in_runtime, is_gvisor, memory_of
from coderunner.engine.sockets import AgentSocket, AgentSockets
from coderunner.errors import (
    AgentLost,
    CodeRunnerError,
    Draining,
    EngineError,
    EngineTimeout,
    ImageMissing,
    NameConflict,
    StartFailed,
)
from coderunner.fleet import workers
from coderunner.fleet.uids import Uids
from coderunner.fleet.workers import WorkerPool
from coderunner.logs import fields
from coderunner.schema import reports
from coderunner.schema.calls import Companions, Prepare
from coderunner.schema.languages import Language
from coderunner.schema.limits import Limits
from coderunner.sessions.container import Container
from coderunner.sessions.link import CALL_SECONDS
from coderunner.sessions.specs import companions_of

log = logging.getLogger(__name__)

WARM_AGE_SECONDS = 3600.0  # how long a container waits for a session, at most
TROUBLE_SECONDS = 30.0  # how long after a failure the server reports itself as not ready
MAX_NAMES = 3  # random names that are tried


class Catalog(Protocol):
    """The languages and their states, as the provisioner needs them."""

    def language(self, name: str) -> Language:
        """Raises UnknownLanguage."""
        ...

    def image(self, name: str) -> str:
        """The image's reference.  Raises LanguageNotReady or LanguageFailed."""
        ...

    def limits(self, name: str) -> Limits:
        """The limits of a container whose client requests no others.  Raises UnknownLanguage."""
        ...

    def lose(self, name: str) -> None:
        """The engine no longer has the image of this language."""
        ...

    def ready(self) -> list[str]:
        """The languages that can be used now."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What marks containers as this server's, and what they have in common.

    ``instance``: the instance's name.  ``owner``: fingerprint of its key.  ``prefix``: of container names.
    ``runtime``: the engine's name for it, None for the default.  ``lifetime_ms``: of a session, at most.
    ``create_seconds``: in which the engine must have made or removed a container.  ``disk_read``: (device,
    bytes a second) that a container may read, None without a limit.  ``cgroup_parent``: the control group of
    all containers, None for the engine's.
    """

    instance: str
    owner: str
    prefix: str
    runtime: str | None
    lifetime_ms: int
    create_seconds: float
    disk_read: tuple[str, int] | None = None
    cgroup_parent: str | None = None

    @property
    def labels(self) -> dict[str, str]:
        """The labels of everything that this server makes on the engine."""
        return {INSTANCE_LABEL: self.instance, OWNER_LABEL: self.owner}

    def another(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels are those of a server with the same name and another key.

        Without a fingerprint, which older releases did not set, it may be this server's.
        """
        return labels.get(OWNER_LABEL, self.owner) != self.owner


class Provisioner:
    """Makes containers with a ready agent, and removes them, in the worker pool.

    ``sockets``: for the agents, None when they are only reached over attach streams.  ``known``: ids of the
    containers that belong to something in this server; the sweep removes others.  ``arriving``: container id
    -> session id, of containers whose adoption is not finished.
    """

    def __init__(
        self,
        engine: DockerEngine,
        pool: WorkerPool,
        catalog: Catalog,
        uids: Uids,
        identity: Identity,
        sockets: AgentSockets | None = None,
    ) -> None:
        self.engine = engine
        self.sockets = sockets
        self.catalog = catalog
        self.uids = uids
        self.identity = identity
        self.known: set[str] = set()
        self.arriving: dict[str, str] = {}
        self._pool = pool
        self._leaving_one_by_one = asyncio.Lock()
        self._failed: tuple[float, str] | None = None  # when the last attempt failed, and why
        self._leaving = False

    def trouble(self) -> str | None:
        """Why the last container could not be made; None if it could, or if that was TROUBLE_SECONDS ago."""
        now = asyncio.get_running_loop().time()
        return self._failed[1] if self._failed and now - self._failed[0] < TROUBLE_SECONDS else None

    async def create(
        self,
        language: str,
        *,
        limits: Limits | None = None,
        priority: int = workers.USER,
        wait_for_preload: bool = False,
    ) -> Container:
        """Makes a container of a language, with its agent attached.  ``limits``: others than the language's
        usual ones.  ``priority``: in the worker pool.

        ``wait_for_preload``: False where a user waits, or the next one soon will: then the preload may become
        ready later.

        Raises EngineError, AgentLost, StartFailed, LanguageNotReady, LanguageFailed.
        """
        try:
            container = await self._pool.submit(
                lambda: self._create_named(language, limits, wait_for_preload=wait_for_preload),
                priority=priority,
                name=f"provision {language}",
                timeout=self.identity.create_seconds + preparation_seconds(self.catalog.language(language)),
                on_orphan=self._orphaned,
            )
        except EngineError as error:
            self._failed = (asyncio.get_running_loop().time(), error.message)
            # For the readiness check (see `trouble`).
            raise
        self._failed = None  # one success shows that the trouble is over
        return container

    def leave_behind(self) -> None:
        """From now on no container is removed, as the server has to end quickly.

        The next server removes those that have no session.
        """
        self._leaving = True

    async def _orphaned(self, container: Container) -> None:
        """Removes a container that was made for a caller who has given up meanwhile."""
        await self._remove(container)

    def runtime(self, language: str) -> str | None:
        """The runtime of this language's containers; None for the engine's default."""
        return self.catalog.language(language).runtime or self.identity.runtime

    def memory(self, language: str, limits: Limits) -> int:
        """The limit of memory of a container of this language, in bytes."""
        return memory_of(limits, self.runtime(language))

    def _declared(self, language: str) -> Language:
        return in_runtime(self.catalog.language(language), self.runtime(language))

    def socket(self, language: str, session: str) -> AgentSocket | None:
        """A socket for a new container of this language; None when it can have none.  Raises AgentLost."""
        if self.sockets is None or not self.sockets.usable or self.runtime(language) not in USUAL_RUNTIMES:
            return None
        return self.sockets.make(session)

    def spec(
        self,
        language: str,
        session: str,
        uid: int,
        image: str | None = None,
        socket: AgentSocket | None = None,
        limits: Limits | None = None,
    ) -> ContainerSpec:
        """The specification of a container of this language.  ``image``: another than the catalog's.
        ``limits``: others than the language's usual ones."""
        # By the label `reap` finds the folder of a container whose server is gone.
        folder = {} if socket is None else {SOCKET_LABEL: str(socket.folder)}
        declared = self._declared(language)
        limits = limits or self.catalog.limits(language)
        # Labels cannot be changed later, so it is the latest end of a session that begins after the longest
        # wait in the warm pool.
        deadline = time.time() + WARM_AGE_SECONDS + max(self.identity.lifetime_ms, limits.lifetime_ms) / 1000
        return ContainerSpec(
            command=command_of(declared),
            image=image or self.catalog.image(language),
            name=f"{self.identity.prefix}-{session}",
            uid=uid,
            labels={
                "type": SESSION_TYPE,
                **self.identity.labels,
                "coderunner.session": session,
                "coderunner.language": language,
                "coderunner.uid": str(uid),
                DEADLINE_LABEL: str(int(deadline)),
                **folder,
            },
            limits=limits,
            runtime=self.runtime(language),
            disk_read=self.identity.disk_read,
            cgroup_parent=self.identity.cgroup_parent,
            socket=folder.get(SOCKET_LABEL),
        )

    async def _create_named(
        self, language: str, limits: Limits | None, *, wait_for_preload: bool
    ) -> Container:
        """As `_create_as_can_be`, with another random name when a container has the first one already."""
        # Names are random: one conflict is a coincidence, and three in a row are another problem.
        for _ in range(MAX_NAMES - 1):
            with contextlib.suppress(NameConflict):
                return await self._create_as_can_be(language, limits, wait_for_preload=wait_for_preload)
        return await self._create_as_can_be(language, limits, wait_for_preload=wait_for_preload)

    async def _create_as_can_be(
        self, language: str, limits: Limits | None, *, wait_for_preload: bool
    ) -> Container:
        """As `_create`, without a socket when that is what fails.

        Until one container had a socket, it is not known whether the engine can mount it.
        """
        # Asked before the attempt, which may change the answer.
        doubtful = self.sockets is not None and self.sockets.doubtful
        try:
            return await self._create(language, limits, wait_for_preload=wait_for_preload)
        except (StartFailed, AgentLost) as error:
            if self.sockets is None or not doubtful:
                raise
            container = await self._create(language, limits, wait_for_preload=wait_for_preload, plain=True)
            # Only if it works without: otherwise the socket was not the cause.
            self.sockets.give_up(error.message)
            return container

    async def _create(
        self, language: str, limits: Limits | None, *, wait_for_preload: bool, plain: bool = False
    ) -> Container:
        """Makes a container, attaches to its agent and prepares the language.

        ``plain``: without a socket."""
        session = f"{self.identity.instance}-{secrets.token_hex(8)}"
        # The first step that has to be undone.
        uid = self.uids.acquire(session)
        container_id = None
        try:
            socket = None if plain else self.socket(language, session)
            spec = self.spec(language, session, uid, socket=socket, limits=limits)
            try:
                container_id = await self.engine.create(spec)
            except ImageMissing:
                self.catalog.lose(language)
                raise
            except (EngineTimeout, asyncio.CancelledError):
                container_id = spec.name  # the engine may still make it, so it is removed by its name
                raise
            self.known.add(container_id)  # at once, or the sweep could remove it while it is prepared
            container = Container(
                self.engine, container_id, session=session, language=language, uid=uid, socket=socket
            )
            await container.connect(start=True)
            if is_gvisor(spec.runtime):
                memory = memory_of(spec.limits, spec.runtime)
                await self.engine.limit_inside(container_id, pids=spec.limits.pids, memory_bytes=memory)
            await _prepare(container, self._declared(language), wait_for_preload=wait_for_preload)
            return container
        except BaseException:
            # Also when cancelled: neither a container nor a user id may be lost.
            if container_id is None:
                self.forget(uid, session)
            elif not self._leaving:
                # Shielded: a second cancellation must not leave the container behind.
                await asyncio.shield(self._erase(container_id, uid, session))
            raise

    def can_change(self, language: str) -> bool:
        """Whether the limits of a container of this language can be changed while it runs."""
        return not is_gvisor(self.runtime(language))  # its `update` does not exist

    async def remove(self, container: Container) -> None:
        """Closes the link and removes the container.  What the engine refuses now, the sweep does later."""
        if self._leaving:
            await container.close()
            return
        # Members of groups are removed one after another (`Networks`): only one of them occupies a worker.
        # Otherwise all workers could wait for one member after the other, and no session could start.
        member = container.id in self.engine.networks.members
        try:
            async with self._leaving_one_by_one if member else contextlib.nullcontext():
                await self._pool.submit(
                    lambda: self._remove(container),
                    name="teardown",
                    timeout=self.identity.create_seconds,
                )
        except Draining:
            await container.close()  # the container is the next server's to remove
        except CodeRunnerError as error:
            log.warning("teardown failed", extra=fields(session=container.session, why=error.message))
            self.known.discard(container.id)

    async def _remove(self, container: Container) -> None:
        if self._leaving:
            await container.close()  # the user id stays in use, as the container does
            return
        if container.id in self.engine.networks.members:
            # With its end it leaves its networks, which must not coincide with another change of one.
            # `remove` has its turn among these; the end of the agent would have none.
            await container.close()
        else:
            await container.end()
        await self._erase(container.id, container.uid, container.session)

    async def _erase(self, container_id: str, uid: int, session: str) -> None:
        try:
            await self.engine.remove(container_id)
        except EngineError as error:
            what = fields(container=container_id, session=session, why=error.message)
            log.warning("container not removed", extra=what)
        # The user id is not given back: the container may still run.
        else:
            self.forget(uid, session)
        finally:
            self.known.discard(container_id)  # if it still exists, the sweep removes it

    def forget(self, uid: int, session: str) -> None:
        """Gives back the user id and the socket of a container that is removed, or was never made."""
        self.uids.release(uid, session)
        if self.sockets is not None:
            self.sockets.remove(session)


def preparation_seconds(language: Language) -> float:
    """How long a language's service and preload may take to become ready, in seconds."""
    return max((one.start_ms / 1000 for one in (language.service, language.preload) if one), default=0.0)


async def _prepare(container: Container, language: Language, *, wait_for_preload: bool) -> None:
    """Has the agent start the language's service and preload, and waits for them.

    ``wait_for_preload``: False when a user is waiting: then programs start without the preload until it is
    ready.  Raises StartFailed, AgentLost.
    """
    companions = companions_of(language)
    if companions == Companions():
        return
    # For each attempt: a broken stream begins the time anew.
    seconds = CALL_SECONDS + preparation_seconds(language)
    preparation = Prepare(
        service=companions.service, preload=companions.preload, wait_for_preload=wait_for_preload
    )
    reply, _ = await container.call(preparation, seconds=seconds)
    try:
        prepared = reports.read(reports.Prepared, reply, "the answer to 'prepare'")
    except reports.AgentProtocolError as error:
        raise AgentLost(str(error)) from None
    if prepared.preload:
        # Cut, as it is the text of a process in the container.
        why = prepared.preload[:1000]
        log.warning("programs start without the preload", extra=fields(session=container.session, why=why))
