"""Whose containers are these?  Adoption when the server begins, and the sweep while it runs.

Labels say it: `coderunner.instance` is this server's name.  What is its own and alive, with a record that
it sealed itself, is adopted; what is its own and dead, unsealed or forgotten is removed; what is another
instance's is never touched.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

from coderunner.engine.containers import SESSION_TYPE
from coderunner.engine.docker import DockerEngine
from coderunner.engine.states import ContainerSummary
from coderunner.errors import CodeRunnerError, EngineError
from coderunner.logs import fields
from coderunner.sessions.container import Container
from coderunner.sessions.provision import Provisioner
from coderunner.sessions.record import Record, unseal
from coderunner.sessions.registry import Registry

log = logging.getLogger(__name__)

ADOPT_SECONDS = 30.0
AT_ONCE = 8


def labels_of(instance: str) -> dict[str, str]:
    return {"type": SESSION_TYPE, "coderunner.instance": instance}


@dataclass(frozen=True, slots=True)
class Adoption:
    """How many sessions were adopted, and the containers that were not: they are to be removed."""

    adopted: int
    refused: list[ContainerSummary]


async def adopt_all(
    engine: DockerEngine, registry: Registry, provisioner: Provisioner, key: bytes
) -> Adoption:
    """Adopts what lives; removes nothing, so that clients need not wait for it.  Raises EngineError."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(summary: ContainerSummary) -> bool:
        provisioner.uids.claim(_uid(summary), _session(summary))
        async with limit:
            return await _adopt(engine, registry, provisioner, key, summary)

    # Tried again after the engine was away, some may be this server's own already.
    listed = await engine.list(labels_of(provisioner.identity.instance))
    found = [summary for summary in listed if summary.id not in provisioner.known]
    answers = await asyncio.gather(*(one(summary) for summary in found))
    refused = [summary for summary, adopted in zip(found, answers, strict=True) if not adopted]
    return Adoption(len(found) - len(refused), refused)


def _session(summary: ContainerSummary) -> str:
    return summary.labels.get("coderunner.session", "")


def _uid(summary: ContainerSummary) -> int:
    text = summary.labels.get("coderunner.uid", "")
    return int(text) if text.isdecimal() else -1


async def _adopt(
    engine: DockerEngine,
    registry: Registry,
    provisioner: Provisioner,
    key: bytes,
    summary: ContainerSummary,
) -> bool:
    if not summary.running or summary.paused:
        return False
    container = Container(
        engine,
        summary.id,
        session=_session(summary),
        language=summary.labels.get("coderunner.language", ""),
        uid=_uid(summary),
    )
    try:
        async with asyncio.timeout(ADOPT_SECONDS):
            await container.connect(start=False)
        record = _record(container, key)
        if record is not None:
            provisioner.known.add(summary.id)
            registry.adopt(container, record)
            return True
    except (CodeRunnerError, TimeoutError) as error:
        log.warning("container not adopted", extra=fields(container=summary.name, why=str(error)))
        provisioner.known.discard(summary.id)
    await container.close()
    return False


async def remove_all(
    engine: DockerEngine, provisioner: Provisioner, found: list[ContainerSummary]
) -> None:
    """What the engine refuses to remove now, the sweep finds again."""
    for summary in found:
        try:
            await _remove(engine, provisioner, summary)
        except EngineError as error:
            log.warning("container not removed", extra=fields(container=summary.name, why=error.message))


async def _remove(engine: DockerEngine, provisioner: Provisioner, summary: ContainerSummary) -> None:
    await engine.remove(summary.id)
    provisioner.uids.give(_uid(summary), _session(summary))


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
        try:
            await _remove(engine, provisioner, summary)
        except EngineError as error:  # the others are swept all the same
            log.warning("container not removed", extra=fields(container=summary.name, why=error.message))
            continue
        removed += 1
        log.info("container swept", extra=fields(container=summary.name))
    return removed


async def reap(engine: DockerEngine, *, now: float) -> int:
    """Remove every session's container whose deadline label has passed, whoever made it; how many.

    For when no server lives (`coderunner reap`, from a systemd timer).  Raises EngineError.
    """
    removed = 0
    for summary in await engine.list({"type": SESSION_TYPE}):
        deadline = summary.labels.get("coderunner.deadline", "")
        if deadline.isdecimal() and int(deadline) < now:
            try:
                await engine.remove(summary.id)
            except EngineError as error:
                log.warning("container not removed", extra=fields(container=summary.name, why=error.message))
                continue
            removed += 1
            log.info("container reaped", extra=fields(container=summary.name))
    return removed
