"""Making and unmaking containers: the only place that asks the engine for either."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from msgspec import to_builtins

from coderunner.engine.containers import (
    DEADLINE_LABEL,
    INSTANCE_LABEL,
    OWNER_LABEL,
    SESSION_TYPE,
    SOCKET_LABEL,
    USUAL_RUNTIMES,
    ContainerSpec,
)
from coderunner.engine.docker import DockerEngine
from coderunner.engine.sockets import AgentSocket, AgentSockets
from coderunner.errors import (
    AgentLost,
    CodeRunnerError,
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
from coderunner.schema.languages import Language
from coderunner.schema.limits import Limits
from coderunner.sessions.container import Container
from coderunner.sessions.link import CALL_SECONDS
from coderunner.sessions.specs import companions_of

log = logging.getLogger(__name__)

WARM_AGE_SECONDS = 3600.0  # the longest that a container waits for its tenant
TROUBLE_SECONDS = 30.0  # how long a failure says something of the next attempt
NAMES = 3  # attempts at a name that no container has


class Catalog(Protocol):
    """The languages and what can be had of them now."""

    def language(self, name: str) -> Language:
        """Raises UnknownLanguage."""
        ...

    def image(self, name: str) -> str:
        """The image's reference.  Raises LanguageNotReady or LanguageFailed."""
        ...

    def limits(self, name: str) -> Limits:
        """What a container of this language gets where the client requests nothing else."""
        ...

    def lose(self, name: str) -> None:
        """The engine has no such image any more."""
        ...

    def ready(self) -> list[str]:
        """The languages that can be used now."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What marks a container as this server's.  ``runtime``: None for the engine's default.

    ``prefix``: how the names of its containers begin.  ``owner``: the fingerprint of the instance's key.
    """

    instance: str
    owner: str
    prefix: str
    runtime: str | None
    lifetime_ms: int
    create_seconds: float
    disk_read: tuple[str, int] | None = None

    @property
    def labels(self) -> dict[str, str]:
        """Of all that this server makes on the engine."""
        return {INSTANCE_LABEL: self.instance, OWNER_LABEL: self.owner}

    def another(self, labels: Mapping[str, str]) -> bool:
        """Whether what has these labels is of a server with our name and another key.

        What has no fingerprint was made by a release that gave none, and may be ours.
        """
        return labels.get(OWNER_LABEL, self.owner) != self.owner


class Provisioner:
    """Containers with a ready agent, and their removal, by the worker pool."""

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
        self.known: set[str] = set()  # containers that somebody here answers for
        self.arriving: dict[str, str] = {}  # sessions by containers: those that are adopted late
        self._pool = pool
        self._failed: tuple[float, str] | None = None  # when the last attempt failed, and why
        self._leaving = False

    def trouble(self) -> str | None:
        """Why the last container could not be made; None where that worked, or was tried long ago."""
        now = asyncio.get_running_loop().time()
        return self._failed[1] if self._failed and now - self._failed[0] < TROUBLE_SECONDS else None

    async def create(self, language: str, *, priority: int = workers.USER) -> Container:
        """Raises EngineError, AgentLost, StartFailed, LanguageNotReady, LanguageFailed."""
        try:
            container = await self._pool.submit(
                lambda: self._create_named(language, patient=priority != workers.USER),
                priority=priority,
                name=f"provision {language}",
                timeout=self.identity.create_seconds + preparation_seconds(self.catalog.language(language)),
                on_orphan=self._orphaned,
            )
        except EngineError as error:
            self._failed = (asyncio.get_running_loop().time(), error.message)
            raise
        self._failed = None
        return container

    def leave_behind(self) -> None:
        """The server is in a hurry: from now on nothing is removed.  What has no tenant is found, and
        removed, by the next one.
        """
        self._leaving = True

    async def _orphaned(self, container: Container) -> None:
        await self._remove(container)

    def socket(self, language: str, session: str) -> AgentSocket | None:
        """One for a container of this language, where it can have one. Raises AgentLost."""
        runtime = self.catalog.language(language).runtime or self.identity.runtime
        if self.sockets is None or not self.sockets.usable or runtime not in USUAL_RUNTIMES:
            return None
        return self.sockets.make(session)

    def spec(
        self,
        language: str,
        session: str,
        uid: int,
        image: str | None = None,
        socket: AgentSocket | None = None,
    ) -> ContainerSpec:
        """What a container of this language is made of."""
        folder = {} if socket is None else {SOCKET_LABEL: str(socket.folder)}
        declared = self.catalog.language(language)
        limits = self.catalog.limits(language)
        deadline = time.time() + WARM_AGE_SECONDS + max(self.identity.lifetime_ms, limits.lifetime_ms) / 1000
        return ContainerSpec(
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
            runtime=declared.runtime or self.identity.runtime,
            disk_read=self.identity.disk_read,
            socket=folder.get(SOCKET_LABEL),
        )

    async def _create_named(self, language: str, *, patient: bool) -> Container:
        """Another server's container, or a leftover, may have the name by chance."""
        for _ in range(NAMES - 1):
            with contextlib.suppress(NameConflict):
                return await self._create_as_can_be(language, patient=patient)
        return await self._create_as_can_be(language, patient=patient)

    async def _create_as_can_be(self, language: str, *, patient: bool) -> Container:
        """Where no container had a socket yet, that may be what the engine refuses."""
        doubtful = self.sockets is not None and self.sockets.doubtful
        try:
            return await self._create(language, patient=patient)
        except (StartFailed, AgentLost) as error:
            if self.sockets is None or not doubtful:
                raise
            container = await self._create(language, patient=patient, plain=True)
            self.sockets.give_up(error.message)
            return container

    async def _create(self, language: str, *, patient: bool, plain: bool = False) -> Container:
        """``plain``: without a socket."""
        session = f"{self.identity.instance}-{secrets.token_hex(8)}"
        uid = self.uids.acquire(session)
        container_id = None
        try:
            socket = None if plain else self.socket(language, session)
            spec = self.spec(language, session, uid, socket=socket)
            try:
                container_id = await self.engine.create(spec)
            except ImageMissing:
                self.catalog.lose(language)
                raise
            except (EngineTimeout, asyncio.CancelledError):
                container_id = spec.name  # the engine may make it all the same
                raise
            self.known.add(container_id)
            container = Container(
                self.engine, container_id, session=session, language=language, uid=uid, socket=socket
            )
            await container.connect(start=True)
            await _prepare(container, self.catalog.language(language), patient=patient)
            return container
        except BaseException:
            if container_id is None:
                self.forget(uid, session)
            elif not self._leaving:
                await asyncio.shield(self._erase(container_id, uid, session))
            raise

    async def remove(self, container: Container) -> None:
        """Ends the link and the container; what the engine refuses now, the sweep does later."""
        if self._leaving:
            await container.close()
            return
        try:
            await self._pool.submit(
                lambda: self._remove(container),
                name="teardown",
                timeout=self.identity.create_seconds,
            )
        except CodeRunnerError as error:
            log.warning("teardown failed", extra=fields(session=container.session, why=error.message))
            self.known.discard(container.id)

    async def _remove(self, container: Container) -> None:
        await container.close()
        if not self._leaving:
            await self._erase(container.id, container.uid, container.session)

    async def _erase(self, container_id: str, uid: int, session: str) -> None:
        try:
            await self.engine.remove(container_id)
        except EngineError as error:
            log.warning("container not removed", extra=fields(container=container_id[:12], why=error.message))
        else:
            self.forget(uid, session)
        finally:
            self.known.discard(container_id)  # from now on the sweep's

    def forget(self, uid: int, session: str) -> None:
        """The container of this session is gone, or was never made."""
        self.uids.release(uid, session)
        if self.sockets is not None:
            self.sockets.remove(session)


def preparation_seconds(language: Language) -> float:
    """How long what lives beside the programs may take to be ready."""
    return max((one.start_ms / 1000 for one in (language.service, language.preload) if one), default=0.0)


async def _prepare(container: Container, language: Language, *, patient: bool) -> None:
    """What its user is not to wait for.  Where one waits already (not ``patient``), programs start plainly
    until the preload is ready.  Raises StartFailed, AgentLost.
    """
    preparation = to_builtins(companions_of(language))
    if not preparation:
        return
    seconds = CALL_SECONDS + preparation_seconds(language)
    reply, _ = await container.call("prepare", seconds=seconds, patient=patient, **preparation)
    try:
        prepared = reports.read(reports.Prepared, reply, "the answer to 'prepare'")
    except reports.AgentProtocolError as error:
        raise AgentLost(str(error)) from None
    if prepared.preload:
        why = prepared.preload[:1000]
        log.warning("programs start plainly", extra=fields(session=container.session, why=why))
