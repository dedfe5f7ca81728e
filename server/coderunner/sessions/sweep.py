"""Whose containers are these?  Adoption when the server begins, and the sweep while it runs.

Labels say it: `coderunner.instance` is this server's name.  What is its own and alive, with a record that
it sealed itself, is adopted; what is its own and dead, unsealed or forgotten is removed; what is another
instance's is never touched.
"""

from __future__ import annotations

import asyncio
import logging
import time

from coderunner.engine.docker import DockerEngine
from coderunner.engine.states import ContainerSummary
from coderunner.errors import CodeRunnerError, EngineError
from coderunner.logs import fields
from coderunner.sessions.container import Container
from coderunner.sessions.provision import Provisioner
from coderunner.sessions.record import Record, unseal
from coderunner.sessions.registry import Registry

log = logging.getLogger(__name__)

TYPE = "coderunner-session"
ADOPT_SECONDS = 30.0
AT_ONCE = 8


def labels_of(instance: str) -> dict[str, str]:
    return {"type": TYPE, "coderunner.instance": instance}


async def adopt_all(engine: DockerEngine, registry: Registry, provisioner: Provisioner, key: bytes) -> int:
    """Adopt what lives, remove the rest; how many sessions were adopted.  Raises EngineError for the list."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(summary: ContainerSummary) -> bool:
        async with limit:
            return await _adopt(engine, registry, provisioner, key, summary)

    found = await engine.list(labels_of(provisioner.identity.instance))
    return sum(await asyncio.gather(*(one(summary) for summary in found)))


async def _adopt(
    engine: DockerEngine,
    registry: Registry,
    provisioner: Provisioner,
    key: bytes,
    summary: ContainerSummary,
) -> bool:
    labels = summary.labels
    uid = int(labels.get("coderunner.uid", "-1"))
    claimed = provisioner.uids.claim(uid)
    container = None
    try:
        if summary.running and not summary.paused:
            container = Container(
                engine,
                summary.id,
                session=labels["coderunner.session"],
                language=labels["coderunner.language"],
                uid=uid,
            )
            async with asyncio.timeout(ADOPT_SECONDS):
                await container.connect(start=False)
            record = _record(container, key)
            if record is not None:
                provisioner.known.add(summary.id)
                registry.adopt(container, record)
                return True
    except (CodeRunnerError, TimeoutError, KeyError) as error:
        log.warning("container not adopted", extra=fields(container=summary.name, why=str(error)))
        if container is not None:
            provisioner.known.discard(container.id)
    if container is not None and hasattr(container, "link"):
        await container.close()
    try:
        await engine.remove(summary.id)
        if claimed:
            provisioner.uids.give(uid)
    except EngineError as error:
        log.warning("container not removed", extra=fields(container=summary.name, why=error.message))
    return False


def _record(container: Container, key: bytes) -> Record | None:
    sealed = container.link.hello.get("sealed")
    if not isinstance(sealed, str):
        return None  # it never had a tenant
    try:
        record = unseal(sealed, key, container.id)
    except (ValueError, TypeError, KeyError) as error:
        log.warning("record refused", extra=fields(session=container.session, why=str(error)))
        return None
    return record if record.session == container.session and record.expires > time.time() else None


async def sweep(engine: DockerEngine, provisioner: Provisioner, *, older_than: float) -> int:
    """Remove what is this instance's and nobody here answers for; how many.  Raises EngineError.

    ``older_than`` seconds: a container that is being made right now is known a moment later.
    """
    removed = 0
    for summary in await engine.list(labels_of(provisioner.identity.instance)):
        if summary.id in provisioner.known or time.time() - summary.created < older_than:
            continue
        await engine.remove(summary.id)
        provisioner.uids.give(int(summary.labels.get("coderunner.uid", "-1")))
        removed += 1
        log.info("container swept", extra=fields(container=summary.name))
    return removed


async def reap(engine: DockerEngine, *, now: float) -> int:
    """Remove every session's container whose deadline label has passed, whoever made it; how many.

    For when no server lives (`coderunner reap`, from a systemd timer).  Raises EngineError.
    """
    removed = 0
    for summary in await engine.list({"type": TYPE}):
        deadline = summary.labels.get("coderunner.deadline", "")
        if deadline.isdecimal() and int(deadline) < now:
            await engine.remove(summary.id)
            removed += 1
            log.info("container reaped", extra=fields(container=summary.name))
    return removed
