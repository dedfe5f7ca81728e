"""Adoption of containers when the server starts, and their sweep while it runs.

Labels say it: the instance's name, and a fingerprint of its key.  What is this server's own and alive, with
a record that it sealed itself, is adopted; what is its own and dead, without a tenant or forgotten is
removed; what is another's is never touched, also where that one has our name by mistake.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass

from coderunner import timing
from coderunner.engine.containers import (
    DEADLINE_LABEL,
    INSTANCE_LABEL,
    OWNER_LABEL,
    ROLE_LABEL,
    SESSION_TYPE,
    SOCKET_LABEL,
)
from coderunner.engine.docker import DockerEngine
from coderunner.engine.sockets import AgentSocket, remove_folder
from coderunner.engine.states import ContainerSummary
from coderunner.errors import CannotStart, CodeRunnerError, ContainerGone, EngineError
from coderunner.fleet.provision import Identity, Provisioner
from coderunner.fleet.registry import Registry
from coderunner.logs import fields
from coderunner.schema.record import Record
from coderunner.sessions.container import AnotherVersion, Container
from coderunner.sessions.record import BadSeal, record_in
from coderunner.wire import flow

log = logging.getLogger(__name__)

ADOPT_SECONDS = 30.0
LISTEN_SECONDS = 2 * flow.BEAT_SECONDS + 0.5
AT_ONCE = 8
GRACE_SECONDS = 0.35  # that all wait for one; the agent of one that is being made or ended may be silent
FAULTS = 3  # attempts at adopting one, where this server fails at it
FAULT_PAUSE_SECONDS = 1.0
MAKING_SECONDS = 60.0  # a container is made within this time
NAMED = 5  # containers that a message lists


def labels_of(instance: str) -> dict[str, str]:
    """The labels of this instance's containers."""
    return {"type": SESSION_TYPE, INSTANCE_LABEL: instance}


class AnothersContainers(CannotStart):
    """Running containers have this instance's name, and were made with another key."""

    def __init__(self, identity: Identity, found: Iterable[ContainerSummary]) -> None:
        names = sorted(summary.name for summary in found)
        listed = ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
        super().__init__(
            f"{len(names)} running containers of INSTANCE_NAME {identity.instance!r} were made with another"
            f" key than this STATE_DIR has ({listed}). Nothing was touched. Either another server has this"
            " name: give one of the two another INSTANCE_NAME. Or STATE_DIR was changed: set it back. Or the"
            " key is lost: `coderunner reap --lost-key` removes the containers, and ends their sessions."
        )


@dataclass(frozen=True, slots=True)
class Adoption:
    """How many sessions were adopted; and the containers that were not, each with the reason: they go.

    `late`: those whose agent has not answered yet; the task's result is None (adopted), or why not.
    """

    adopted: int
    refused: list[tuple[ContainerSummary, str]]
    late: list[tuple[ContainerSummary, asyncio.Task[str | BadSeal | None]]]


async def adopt_all(
    engine: DockerEngine, registry: Registry, provisioner: Provisioner, key: bytes
) -> Adoption:
    """Adopts what lives; removes nothing, so that clients need not wait for it.

    Nor do they wait for one whose agent is silent: while that is tried, it is in `provisioner.arriving`, and
    who asks for its session is told to come again.

    Raises EngineError, and AnothersContainers before anything is touched, or where only the seals could tell.
    """
    identity = provisioner.identity
    limit = asyncio.Semaphore(AT_ONCE)
    works: list[asyncio.Task[str | BadSeal | None]] = []

    async def begin(summary: ContainerSummary) -> asyncio.Task[str | BadSeal | None]:
        provisioner.uids.claim(uid_of(summary), session_of(summary))
        socket = _listening(provisioner, summary)
        async with limit:
            work = asyncio.create_task(
                _adopt(engine, registry, provisioner, key, summary, socket), name="adopt"
            )
            works.append(work)
            # Where no label says whose it is, only the seal does, and that may end this server.
            await asyncio.wait([work], timeout=GRACE_SECONDS if OWNER_LABEL in summary.labels else None)
        if not work.done():
            provisioner.arriving[summary.id] = session_of(summary)
            work.add_done_callback(lambda _: provisioner.arriving.pop(summary.id, None))
        return work

    listed = await engine.list(labels_of(identity.instance))
    anothers = [summary for summary in listed if identity.another(summary.labels)]
    if any(summary.running for summary in anothers):
        raise AnothersContainers(identity, (summary for summary in anothers if summary.running))
    # Tried again after the engine was away, some may be this server's own already.
    found = [s for s in listed if s.id not in provisioner.known and not identity.another(s.labels)]
    found.sort(key=lambda summary: summary.created)  # what was just being made comes last
    await _refuse_in_use(engine, identity, found)
    try:
        begun = list(zip(found, await asyncio.gather(*(begin(summary) for summary in found)), strict=True))
        answers = [(summary, work.result()) for summary, work in begun if work.done()]
        sealed = [summary for summary, why in answers if isinstance(why, BadSeal)]
        if sealed:
            raise AnothersContainers(identity, sealed)
    except BaseException:
        for work in works:
            work.cancel()
        raise
    refused = [(summary, str(why)) for summary, why in answers if why is not None]
    late = [(summary, work) for summary, work in begun if not work.done()]
    return Adoption(len(answers) - len(refused), refused, late)


async def _refuse_in_use(
    engine: DockerEngine, identity: Identity, found: Iterable[ContainerSummary]
) -> None:
    """What has no fingerprint may be a living server's: to greet its agent would cut that one off."""
    unmarked = [summary for summary in found if OWNER_LABEL not in summary.labels]
    heard = await asyncio.gather(*(in_use(engine, summary, LISTEN_SECONDS) for summary in unmarked))
    if any(heard):
        raise AnothersContainers(identity, [one for one, beats in zip(unmarked, heard, strict=True) if beats])


async def in_use(engine: DockerEngine, summary: ContainerSummary, seconds: float) -> bool:
    """Whether a server is attached to its agent: that answers each beat, and whoever else attaches hears it.

    The server that asks has no link to it.  Raises EngineError.
    """
    if not summary.running or summary.paused:
        return False
    try:
        stream = await engine.attach(summary.id)
    except ContainerGone:
        return False
    try:
        async with asyncio.timeout(seconds):
            return bool(await stream.read())
    except TimeoutError:
        return False
    finally:
        await stream.close()


def session_of(summary: ContainerSummary) -> str:
    """The id of the session for which it was made; "" where no label says so."""
    return summary.labels.get("coderunner.session", "")


def uid_of(summary: ContainerSummary) -> int:
    """The user id of its programs; 0 where no label says so."""
    text = summary.labels.get("coderunner.uid", "")
    return int(text) if text.isdecimal() else -1


async def _adopt(
    engine: DockerEngine,
    registry: Registry,
    provisioner: Provisioner,
    key: bytes,
    summary: ContainerSummary,
    socket: AgentSocket | None = None,
) -> str | BadSeal | None:
    """None: it is a session again.  Else why not; BadSeal where it is another's, as far as one can tell."""
    if not summary.running:
        return f"it does not run: {summary.status}"
    if summary.paused:
        # The watchdog pauses a suspect; a server that is killed in that moment leaves it so.
        try:
            await engine.unpause(summary.id)
        except CodeRunnerError as error:
            return f"it is paused: {error.message}"
    if ROLE_LABEL in summary.labels:
        return f"a {summary.labels[ROLE_LABEL]} that the server before left"
    faults = 0
    while True:
        try:
            return await _adopt_running(engine, registry, provisioner, key, summary, socket)
        except Exception:
            # A fault of this server's is no reason to end somebody's session; thrice, it is one to say so.
            log.exception("adopting failed: a fault of this server", extra=fields(container=summary.name))
            faults += 1
            if faults == FAULTS:
                return "a fault of this server, again and again"
        await asyncio.sleep(FAULT_PAUSE_SECONDS)


async def _adopt_running(
    engine: DockerEngine,
    registry: Registry,
    provisioner: Provisioner,
    key: bytes,
    summary: ContainerSummary,
    socket: AgentSocket | None,
) -> str | BadSeal | None:
    container = container_of(engine, summary, socket)
    try:
        async with timing.within(ADOPT_SECONDS):
            await container.connect(start=False)
        record = record_in(container.link.hello, key, container.id)
    except LookupError:
        why: str | BadSeal = "it has no tenant"
    except BadSeal as error:
        # Where the label says that the container is ours, its record was tampered with.
        why = str(error) if OWNER_LABEL in summary.labels else error
    except AnotherVersion as error:
        why = _another_version(error, summary, key)
    except (CodeRunnerError, TimeoutError, ValueError) as error:
        why = f"not adopted: {error or 'its agent does not answer'}"
    except BaseException:
        await container.close()
        raise
    else:
        # What fails from here on is no fault of the container's.
        if record.session == container.session and record.expires > time.time():
            return await _taken(registry, provisioner, container, record)
        why = "its session's time is over"
    await container.close()
    return why


async def _taken(
    registry: Registry, provisioner: Provisioner, container: Container, record: Record
) -> str | None:
    provisioner.known.add(container.id)
    try:
        registry.adopt(container, record)
    except BaseException as error:
        provisioner.known.discard(container.id)
        await container.close()
        if isinstance(error, CodeRunnerError):
            return f"not adopted: {error}"
        raise
    return None


def _listening(provisioner: Provisioner, summary: ContainerSummary) -> AgentSocket | None:
    """Where its agent connects.  At once, while others are adopted: it tries five times a second."""
    if provisioner.sockets is None or SOCKET_LABEL not in summary.labels or not summary.running:
        return None
    socket = provisioner.sockets.find(session_of(summary))
    if socket is not None:
        with contextlib.suppress(OSError):  # told when it is needed
            socket.listen()
    return socket


def container_of(
    engine: DockerEngine, summary: ContainerSummary, socket: AgentSocket | None = None
) -> Container:
    """A handle of a container that is there; `connect` greets its agent."""
    return Container(
        engine,
        summary.id,
        session=session_of(summary),
        language=summary.labels.get("coderunner.language", ""),
        uid=uid_of(summary),
        socket=socket,
    )


def _another_version(error: AnotherVersion, summary: ContainerSummary, key: bytes) -> str | BadSeal:
    """It cannot be adopted; whose it is still counts."""
    try:
        record_in(error.hello, key, summary.id)
    except BadSeal as seal:
        if OWNER_LABEL not in summary.labels:
            return seal
    except (LookupError, ValueError):
        pass
    return f"not adopted: {error}"


async def remove_all(
    engine: DockerEngine, provisioner: Provisioner, found: Iterable[tuple[ContainerSummary, str]]
) -> int:
    """Removes these, each for its reason, and says so in the log; how many.

    What the engine refuses to remove now, the sweep finds again.
    """
    removed = 0
    for summary, why in found:
        if await remove_one(engine, summary, why):
            provisioner.uids.release(uid_of(summary), session_of(summary))
            removed += 1
    return removed


async def remove_one(engine: DockerEngine, summary: ContainerSummary, why: str) -> bool:
    """False where the engine refuses; both are logged."""
    what = {
        "container": summary.id[:12],
        "session": session_of(summary),
        "language": summary.labels.get("coderunner.language", ""),
        "age_s": max(0, round(time.time() - summary.created)),
        "why": why,
    }
    try:
        await engine.remove(summary.id)
    except EngineError as error:
        log.warning("container not removed", extra=fields(**what, error=error.message))
        return False
    if SOCKET_LABEL in summary.labels:
        remove_folder(summary.labels[SOCKET_LABEL])
    log.info("container removed", extra=fields(**what))
    return True


async def sweep(engine: DockerEngine, provisioner: Provisioner, *, older_than: float) -> int:
    """Remove what is this instance's and nobody here answers for; how many.  Raises EngineError.

    ``older_than`` seconds: a container that is being made right now is known a moment later.
    """
    listed = await engine.list(labels_of(provisioner.identity.instance))
    anothers = [summary for summary in listed if provisioner.identity.another(summary.labels)]
    if anothers:
        names = [summary.name for summary in anothers[:NAMED]]
        log.warning(
            "another server has this INSTANCE_NAME; give one of the two another name",
            extra=fields(containers=names),
        )
    now = time.time()
    lost = [
        (summary, "nobody answers for it")
        for summary in listed
        if not provisioner.identity.another(summary.labels)
        and summary.id not in provisioner.known
        and (older_than == 0 or summary.id not in provisioner.arriving)
        and now - summary.created >= older_than
        and (ROLE_LABEL not in summary.labels or older_than == 0 or is_over(summary, now))
    ]
    removed = await remove_all(engine, provisioner, lost)
    await engine.prune_volumes(labels_of(provisioner.identity.instance))
    if provisioner.sockets is not None:
        # One that is new may be of a container that is being made, which the engine would refuse without it.
        sessions = {session_of(summary) for summary in listed}
        await asyncio.to_thread(provisioner.sockets.keep, max(older_than, MAKING_SECONDS), sessions)
    return removed


async def warn_of_shared_ids(engine: DockerEngine, provisioner: Provisioner, told: set[str]) -> None:
    """Says once of each other server on this engine, which is in ``told`` then, that it has user ids of ours.

    The kernel counts inotify watches and pipes by user: one server's sessions would use up the other's.
    Raises EngineError.
    """
    ours, own = provisioner.uids.all, provisioner.identity.instance
    rows = [(s.labels.get(INSTANCE_LABEL, ""), uid_of(s)) for s in await engine.list({"type": SESSION_TYPE})]
    others = {name for name, uid in rows if name != own and uid in ours} - told
    told |= others
    for name in sorted(others):
        log.warning(
            "another server's sessions have user ids of ours: give one of the two another SESSION_UID_BASE",
            extra=fields(instance=name, ids=f"{ours.start} to {ours.stop - 1}"),
        )


def is_over(summary: ContainerSummary, now: float) -> bool:
    """Its deadline label has passed."""
    deadline = summary.labels.get(DEADLINE_LABEL, "")
    return deadline.isdecimal() and int(deadline) < now


async def end_all(engine: DockerEngine, identity: Identity) -> int:
    """Remove every container of an instance whose server has ended; how many.  Raises EngineError."""
    listed = await engine.list(labels_of(identity.instance))
    ours = [summary for summary in listed if not identity.another(summary.labels)]
    return sum([await remove_one(engine, summary, "all sessions are ended") for summary in ours])


async def anothers(engine: DockerEngine, identity: Identity) -> list[str]:
    """The names of this instance's containers that another key made, sorted.  Raises EngineError."""
    listed = await engine.list(labels_of(identity.instance))
    return sorted(summary.name for summary in listed if identity.another(summary.labels))


async def reap(engine: DockerEngine, *, instance: str | None, now: float) -> int:
    """Remove the containers of this instance (None: of all) whose deadline label has passed; how many.

    And the unnamed volumes that no container has any more: who removes a container by hand leaves its own.
    For when no server lives (`coderunner reap`, from a systemd timer).  Raises EngineError.
    """
    labels = {"type": SESSION_TYPE} if instance is None else labels_of(instance)
    over = [summary for summary in await engine.list(labels) if is_over(summary, now)]
    removed = sum([await remove_one(engine, summary, "its deadline has passed") for summary in over])
    await engine.prune_volumes(labels)
    return removed
