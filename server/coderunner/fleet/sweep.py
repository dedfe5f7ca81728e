"""Adoption of containers when the server starts, and their sweep while it runs.

Containers are told apart by labels: the instance's name, and a fingerprint of its key.  A running container
of this server, with a record that this instance has sealed, is adopted.  Its other containers are removed:
ended ones, those without a session, and those that nothing here knows.  Containers of other servers are never
touched, also when such a server has the same name by mistake.
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
from coderunner.tasks import Tasks
from coderunner.wire import flow

log = logging.getLogger(__name__)

ADOPT_SECONDS = 30.0  # in which an agent must answer
LISTEN_SECONDS = 2 * flow.BEAT_SECONDS + 0.5  # two heartbeats of a server that is attached, and some delay
MAX_ADOPTIONS = 8  # at one time
GRACE_SECONDS = 0.35  # how long the start waits for one agent, which may be silent because its container ends
MAX_FAULTS = 3  # attempts at adopting one container, when this server fails by a fault of its own
FAULT_PAUSE_SECONDS = 1.0  # between them
MAKING_SECONDS = 60.0  # in which a container is made
MAX_NAMED = 5  # containers that a message lists


def labels_of(instance: str) -> dict[str, str]:
    """The labels that all containers of this instance have."""
    return {"type": SESSION_TYPE, INSTANCE_LABEL: instance}


class AnothersContainers(CannotStart):
    """Running containers have this instance's name, and were made with another key: the server must not
    start."""

    def __init__(self, identity: Identity, found: Iterable[ContainerSummary]) -> None:
        # Sorted, so that the message is the same at each start.
        names = sorted(summary.name for summary in found)
        listed = ", ".join(names[:MAX_NAMED]) + (", …" if len(names) > MAX_NAMED else "")
        super().__init__(
            f"{len(names)} running containers of INSTANCE_NAME {identity.instance!r} were made with another"
            f" key than this STATE_DIR has ({listed}). Nothing was changed. If another server has this name,"
            " give one of the two another INSTANCE_NAME. If STATE_DIR was changed, set it back. If the key is"
            " lost, `coderunner reap --lost-key` removes the containers and ends their sessions."
        )


Work = asyncio.Task[str | BadSeal | None]  # None: adopted. BadSeal: another server's, as far as one can tell.


@dataclass(frozen=True, slots=True)
class Adoption:
    """The result of `adopt_all`.

    `adopted`: how many sessions.  `refused`: containers that are to be removed, each with the reason.
    `late`: those whose agent has not answered yet; the task gives None (adopted), or the reason.
    """

    adopted: int
    refused: list[tuple[ContainerSummary, str]]
    late: list[tuple[ContainerSummary, Work]]


async def adopt_all(
    engine: DockerEngine, registry: Registry, provisioner: Provisioner, key: bytes, tasks: Tasks
) -> Adoption:
    """Adopts the sessions of the previous server.  Removes nothing, so that clients need not wait for that.

    A container whose agent is silent is tried on, in `provisioner.arriving`, after this has returned; clients
    that ask for its session are told to try again.  ``tasks``: they own that work, and end it when they stop.

    Raises EngineError, and AnothersContainers: before anything is touched, or when only the seals could tell.
    """
    # So many at once: each costs an attach, and the engine works on few at a time.
    identity = provisioner.identity
    limit = asyncio.Semaphore(MAX_ADOPTIONS)
    works: list[Work] = []

    async def begin(summary: ContainerSummary) -> Work:
        # Claimed before anything may fail: a container that is not adopted uses its id until it is removed.
        provisioner.uids.claim(uid_of(summary), session_of(summary))
        socket = _listening(provisioner, summary)
        async with limit:
            adopting = _adopt(engine, registry, provisioner, key, summary, socket)
            work = tasks.start(adopting, "adopt-container")
            works.append(work)
            # Without a fingerprint only the seal tells whose it is, and that may end this server: no grace.
            await asyncio.wait([work], timeout=GRACE_SECONDS if OWNER_LABEL in summary.labels else None)
        if not work.done():
            # Whoever asks for it meanwhile is told to try again.
            provisioner.arriving[summary.id] = session_of(summary)
            work.add_done_callback(lambda _: provisioner.arriving.pop(summary.id, None))
        return work

    # In use by another server is decided for all before the first is touched.
    found = await _candidates(engine, provisioner)
    await _refuse_in_use(engine, identity, found)
    try:
        begun = list(zip(found, await asyncio.gather(*(begin(summary) for summary in found)), strict=True))
        return _adoption(identity, begun)
    except BaseException:
        # Otherwise they would go on, and attach to agents, after this call has failed.
        for work in works:
            work.cancel()
        raise


async def _candidates(engine: DockerEngine, provisioner: Provisioner) -> list[ContainerSummary]:
    """This server's containers, the oldest first.  Raises AnothersContainers, EngineError."""
    identity = provisioner.identity
    listed = await engine.list(labels_of(identity.instance))
    # Stopped ones of another key are ignored: they harm nobody.
    running = [one for one in listed if one.running and identity.another(one.labels)]
    if running:
        raise AnothersContainers(identity, running)
    # After the engine was away this is called once more, and some belong to sessions of this server already.
    found = [s for s in listed if s.id not in provisioner.known and not identity.another(s.labels)]
    return sorted(found, key=lambda summary: summary.created)  # the last ones may not be ready yet


def _adoption(identity: Identity, begun: Iterable[tuple[ContainerSummary, Work]]) -> Adoption:
    """Sums up what has been decided so far.  Raises AnothersContainers, and what a task raised."""
    begun = list(begun)
    answers = [(summary, work.result()) for summary, work in begun if work.done()]
    sealed = [summary for summary, why in answers if isinstance(why, BadSeal)]
    if sealed:
        raise AnothersContainers(identity, sealed)
    # A late one is decided by whoever waits for its task.
    refused = [(summary, str(why)) for summary, why in answers if why is not None]
    late = [(summary, work) for summary, work in begun if not work.done()]
    return Adoption(len(answers) - len(refused), refused, late)


async def _refuse_in_use(engine: DockerEngine, identity: Identity, found: Iterable[ContainerSummary]) -> None:
    """Raises AnothersContainers when a container without a fingerprint has a server attached.

    To attach to its agent would detach that server.
    """
    unmarked = [summary for summary in found if OWNER_LABEL not in summary.labels]
    heard = await asyncio.gather(*(in_use(engine, summary, LISTEN_SECONDS) for summary in unmarked))
    if any(heard):
        raise AnothersContainers(identity, [one for one, beats in zip(unmarked, heard, strict=True) if beats])


async def in_use(engine: DockerEngine, summary: ContainerSummary, seconds: float) -> bool:
    """Whether another server is attached to the agent, found out within `seconds`.

    The agent answers each heartbeat also on its standard output, which this reads.  Raises EngineError.
    """
    if not summary.running or summary.paused:
        return False
    try:
        stream = await engine.attach(summary.id)
    except ContainerGone:
        return False
    try:
        # asyncio's own time-out, as this is also used by commands without a server.
        async with asyncio.timeout(seconds):
            return bool(await stream.read())
    except TimeoutError:
        return False
    finally:
        await stream.close()


def session_of(summary: ContainerSummary) -> str:
    """The id of the session for which a container was made; "" without such a label."""
    # Labels can be set by anybody with access to the engine, so a missing one is no error.
    return summary.labels.get("coderunner.session", "")


def uid_of(summary: ContainerSummary) -> int:
    """The user id of a container's programs; -1 without such a label."""
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
    """Adopts one container: None, or the reason why not; BadSeal when it seems to be another server's."""
    if not summary.running:
        return f"it does not run: {summary.status}"
    if summary.paused:
        # The watchdog pauses suspects for a moment, in which the previous server may have been killed.
        try:
            await engine.unpause(summary.id)
        except CodeRunnerError as error:
            return f"it is paused: {error.message}"
    # Canary and helper containers have no session, and their makers are gone.
    if ROLE_LABEL in summary.labels:
        return f"a {summary.labels[ROLE_LABEL]} container of the previous server"
    faults = 0
    while True:
        try:
            return await _adopt_running(engine, registry, provisioner, key, summary, socket)
        except Exception:
            # A fault of this server alone must not end a session, but it must not be tried for ever either.
            log.exception("adopting failed: a fault of this server", extra=fields(container=summary.name))
            faults += 1
            if faults == MAX_FAULTS:
                return f"this server failed {MAX_FAULTS} times to adopt it"
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
        why: str | BadSeal = "it has no session"
    except BadSeal as error:
        # With this server's fingerprint on the container, the record was tampered with.
        why = str(error) if OWNER_LABEL in summary.labels else error
    except AnotherVersion as error:
        why = _another_version(error, summary, key)
    except (CodeRunnerError, TimeoutError, ValueError) as error:
        why = f"not adopted: {error or 'its agent does not answer'}"
    except BaseException:
        await container.close()
        raise
    else:
        # What fails from here on is a fault of this server, and is raised.
        # Both: a record is valid for one session, and a container for one session.
        if record.session == container.session and record.expires > time.time():
            return await _register(registry, provisioner, container, record)
        why = "its session has expired"
    await container.close()
    return why


async def _register(
    registry: Registry, provisioner: Provisioner, container: Container, record: Record
) -> str | None:
    # Before the session exists, so that no sweep in between takes the container for an abandoned one.
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
    """The socket to which the agent connects, opened before its turn comes: it tries five times a second."""
    if provisioner.sockets is None or SOCKET_LABEL not in summary.labels or not summary.running:
        return None
    socket = provisioner.sockets.find(session_of(summary))
    if socket is not None:
        # The agent may be trying already: whoever comes first waits in the backlog.
        with contextlib.suppress(OSError):  # reported when the container is adopted
            socket.listen()
    return socket


def container_of(
    engine: DockerEngine, summary: ContainerSummary, socket: AgentSocket | None = None
) -> Container:
    """A Container for an existing one; `connect` attaches to its agent."""
    return Container(
        engine,
        summary.id,
        session=session_of(summary),
        language=summary.labels.get("coderunner.language", ""),
        uid=uid_of(summary),
        socket=socket,
    )


def _another_version(error: AnotherVersion, summary: ContainerSummary, key: bytes) -> str | BadSeal:
    """The reason for a container whose agent has another version; BadSeal when it is another server's."""
    try:
        record_in(error.hello, key, summary.id)
    except BadSeal as seal:
        # With our fingerprint the container is ours, whatever its record says.
        if OWNER_LABEL not in summary.labels:
            return seal
    except (LookupError, ValueError):
        pass
    return f"not adopted: {error}"


async def remove_all(
    engine: DockerEngine, provisioner: Provisioner, found: Iterable[tuple[ContainerSummary, str]]
) -> int:
    """Removes containers, and logs each with its reason; returns how many.

    What the engine refuses to remove now, the next sweep removes.
    """
    removed = 0
    # One after the other: removing many at once slows the engine down for users.
    for summary, why in found:
        if await remove_one(engine, summary, why):
            provisioner.uids.release(uid_of(summary), session_of(summary))
            removed += 1
    return removed


async def remove_one(engine: DockerEngine, summary: ContainerSummary, why: str) -> bool:
    """Removes a container, and its socket's folder; False when the engine refuses.  Both are logged."""
    what = {
        "container": summary.id[:12],
        "session": session_of(summary),
        "language": summary.labels.get("coderunner.language", ""),
        "age_s": max(0, round(time.time() - summary.created)),
        "why": why,
    }
    if set(summary.networks) - {"none"}:
        engine.networks.joined(summary.id)  # a member of a group, whose removal must not meet another's
    try:
        await engine.remove(summary.id)
    except EngineError as error:
        # The socket's folder stays as well, as the container still has it mounted.
        log.warning("container not removed", extra=fields(**what, error=error.message))
        return False
    if SOCKET_LABEL in summary.labels:
        remove_folder(summary.labels[SOCKET_LABEL])
    log.info("container removed", extra=fields(**what))
    return True


async def sweep(engine: DockerEngine, provisioner: Provisioner, *, older_than: float) -> int:
    """Removes this instance's containers that nothing in this server knows; returns how many.

    ``older_than``: seconds; a newer container may be one that is just being made.  0 at the start, when none
    is.  Raises EngineError.
    """
    listed = await engine.list(labels_of(provisioner.identity.instance))
    anothers = [summary for summary in listed if provisioner.identity.another(summary.labels)]
    if anothers:
        names = [summary.name for summary in anothers[:MAX_NAMED]]
        log.warning(
            "another server has this INSTANCE_NAME; give one of the two another name",
            extra=fields(containers=names),
        )
    now = time.time()
    lost = [
        (summary, "no session uses it")
        for summary in listed
        if not provisioner.identity.another(summary.labels)
        and summary.id not in provisioner.known
        # At the start nothing is being made, so everything unknown goes.
        and (older_than == 0 or summary.id not in provisioner.arriving)
        and now - summary.created >= older_than
        # Helpers have no session; their deadline says when they are left over.
        and (ROLE_LABEL not in summary.labels or older_than == 0 or is_over(summary, now))
    ]
    removed = await remove_all(engine, provisioner, lost)
    # Volumes whose container somebody removed by hand.
    await engine.prune_volumes(labels_of(provisioner.identity.instance))
    if provisioner.sockets is not None:
        # A new folder may belong to a container that is being made, and that cannot start without it.
        sessions = {session_of(summary) for summary in listed}
        # In a thread: it reads a folder.
        await asyncio.to_thread(provisioner.sockets.keep, max(older_than, MAKING_SECONDS), sessions)
    return removed


async def warn_of_shared_ids(engine: DockerEngine, provisioner: Provisioner, told: set[str]) -> None:
    """Warns once of each other server on this engine that uses some of this server's user ids.

    The kernel counts inotify watches and pipes by user, so the sessions of one server could use up those of
    the other.  ``told``: names of servers that were warned of; it is added to.  Raises EngineError.
    """
    ours, own = provisioner.uids.all, provisioner.identity.instance
    rows = [(s.labels.get(INSTANCE_LABEL, ""), uid_of(s)) for s in await engine.list({"type": SESSION_TYPE})]
    # Its own name is left out: those are this server's containers.
    others = {name for name, uid in rows if name != own and uid in ours} - told
    told |= others
    for name in sorted(others):
        log.warning(
            "another server uses user ids of this server's range; give one of them another SESSION_UID_BASE",
            extra=fields(instance=name, ids=f"{ours.start} to {ours.stop - 1}"),
        )


def is_over(summary: ContainerSummary, now: float) -> bool:
    """Whether the deadline of a container's label has passed.  ``now``: seconds since 1970."""
    deadline = summary.labels.get(DEADLINE_LABEL, "")
    return deadline.isdecimal() and int(deadline) < now


async def end_all(engine: DockerEngine, identity: Identity) -> int:
    """Removes all containers of an instance whose server has ended; returns how many.  Raises EngineError."""
    listed = await engine.list(labels_of(identity.instance))
    ours = [summary for summary in listed if not identity.another(summary.labels)]
    return sum([await remove_one(engine, summary, "`coderunner reap --all`") for summary in ours])


async def anothers(engine: DockerEngine, identity: Identity) -> list[str]:
    """The names of this instance's containers that another key made, sorted.  Raises EngineError."""
    listed = await engine.list(labels_of(identity.instance))
    return sorted(summary.name for summary in listed if identity.another(summary.labels))


async def reap(engine: DockerEngine, *, instance: str | None, now: float) -> int:
    """Removes the containers of this instance (None: of all) whose deadline has passed; returns how many.

    Also removes unnamed volumes without a container, which remain when a container is removed by hand.

    For when no server runs (`coderunner reap`, from a systemd timer).  Raises EngineError.
    """
    labels = {"type": SESSION_TYPE} if instance is None else labels_of(instance)
    over = [summary for summary in await engine.list(labels) if is_over(summary, now)]
    removed = sum([await remove_one(engine, summary, "its deadline has passed") for summary in over])
    await engine.prune_volumes(labels)
    return removed
