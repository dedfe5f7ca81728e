"""The composition root: makes the server's parts from the settings,
starts and stops them in order, and serves."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import importlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from coderunner import audit, declarations, garbage, metrics, prepare, tracing
from coderunner.arrival import arrived, returned
from coderunner.assembly import Fleet, assembled
from coderunner.bars import Bars
from coderunner.config import Settings
from coderunner.declarations import Declarations
from coderunner.engine.docker import DockerEngine
from coderunner.errors import (
    CodeRunnerError,
)
from coderunner.fleet import workers
from coderunner.fleet.charging import Charging
from coderunner.fleet.groups import Groups
from coderunner.fleet.provision import Provisioner
from coderunner.fleet.registry import Registry
from coderunner.fleet.sweep import sweep, warn_of_shared_ids
from coderunner.fleet.uids import Uids
from coderunner.fleet.workers import WorkerPool
from coderunner.identity import chain
from coderunner.instance import holder_of, instance, lock_of, runs_of, usable
from coderunner.jobs.runs import Runs
from coderunner.logs import fields
from coderunner.operating.records import Records
from coderunner.places import PACKAGE
from coderunner.prepare import Preparation
from coderunner.reload import changed_sources
from coderunner.sessions.quotas import Quotas, from_settings
from coderunner.sign import alone
from coderunner.startlog import tell_engine, tell_settings
from coderunner.stopping import REFUSED, RELOAD, Stop, by_signals, unless_hung, unless_stopped
from coderunner.store.address import address
from coderunner.store.store import Store
from coderunner.takeover import take_over
from coderunner.tasks import Tasks
from coderunner.web import guard, mcp
from coderunner.web.admin.room import Room, room_of
from coderunner.web.keys import SOCKETS, Parts
from coderunner.web.listen import bound, listening
from coderunner.web.routes import application
from coderunner.web.tcp_limits import TcpConnections
from coderunner.web.ws import end_revoked

if TYPE_CHECKING:
    from coderunner.engine.images import ImageBuilder

log = logging.getLogger(__name__)

HURRY_SECONDS = 0.2  # for background tasks to end when the next server is about to start
CLOSE_SECONDS = 3.0  # for the last rows of the database
_LATER = (
    "coderunner.store.migrate",
    "coderunner.store.records",
    "coderunner.identity.stored",
    "coderunner.engine.images",
)  # imported in threads once the server starts, as SQLAlchemy and the Docker SDK come with them
SUSPEND_SECONDS = 0.5  # to send the last frames to clients; they get the rest after reconnecting


@dataclass(slots=True)
class Server:
    """A running server. `url`: where it listens. `stopped`: how it was stopped.

    `stop` ends it: with SUSPEND its sessions continue for the next server, with RELOAD as well
    (development), with END they are ended. It stops by itself with REFUSED if the canary found a broken
    promise, and with ANOTHERS if another server uses its instance name.
    """

    url: str
    parts: Parts
    stop: Callable[[str], None]
    stopped: asyncio.Future[str]


@contextlib.asynccontextmanager
async def serving(
    settings: Settings,
    stopping: Stop | None = None,
    bars: Bars | None = None,
    *,
    replace: bool = False,
    listens: Callable[[str], None] = lambda _url: None,
) -> AsyncIterator[Server]:
    """Starts the whole server, and yields it. Raises ConfigError, CannotStart.

    `stopping`: by which it is stopped, also while it starts; None for one that only the server has. `bars`:
    draws the progress of builds.
    `replace`: takes the place of a server that runs. `listens`: called with the URL once clients can come.
    """
    stopping = stopping or Stop(asyncio.get_running_loop().create_future())
    declared = declarations.load(only=settings.languages)
    quotas = from_settings(settings)
    # The order matters, in reverse for the end: the lock first, so that two servers never touch the same
    # containers; then the port, without listening; clients are only let in when all sessions are adopted.
    async with contextlib.AsyncExitStack() as stack:
        if replace:
            # Before any client waits: later their imports would take the processor from those that come back.
            await asyncio.to_thread(_import_all, _LATER)
            await take_over(lock_of(Path(settings.state_dir), settings.instance_name), os.environ)
        key = stack.enter_context(instance(Path(settings.state_dir), settings.instance_name))
        await stack.enter_async_context(alone(settings.instance_name, key, Path(settings.state_dir)))
        runs_folder = runs_of(Path(settings.state_dir), settings.instance_name)
        identity = chain.made(settings, key)
        identity.keys.awaited = True
        stack.push_async_callback(identity.close)
        sockets = stack.enter_context(bound(settings.host, settings.port))
        records = stack.enter_context(_recorded())
        tell_settings(settings, len(declared.languages))
        store = _store(settings)
        if identity.sign_ins is not None:
            identity.sign_ins.on_out = lambda ident, expires: store.post(
                "sign_outs", {"id": ident, "expires": expires}
            )
        # The last to end: until then there may be something to write.
        stack.push_async_callback(_close_store, store, stopping)
        engine = await stack.enter_async_context(
            DockerEngine.connect(settings.docker_host, settings.docker_cmd_timeout / 1000)
        )
        pool = await stack.enter_async_context(WorkerPool(settings.worker_threads))
        fleet = assembled(settings, declared, engine, pool, key, quotas)
        runs = Runs(runs_folder, fleet.registry, fleet.catalog, settings.spool_size)
        stack.push_async_callback(runs.close)
        tasks = await stack.enter_async_context(Tasks("server"))
        _note_events(settings, store)
        tasks.keep(lambda: _watch_keys(identity, store), "keys")
        tasks.keep(lambda: tell_engine(settings, engine), "engine-info")
        _start_charging(settings, fleet, quotas, store, tasks)
        arrival = await arrived(fleet, engine, key, tasks, stopping)
        runs.resume()
        _start_watches(runs, tasks)
        parts = fleet.parts(settings, declared, pool, runs, identity, store)
        room = room_of(settings, fleet.registry, engine, records, Path(settings.state_dir))
        app, url = await _listen(stack, parts, sockets, tasks, room)
        listens(url)
        arrival.clear()
        tasks.keep(lambda: end_revoked(app), "revoked-keys")
        stack.push_async_callback(_close_sockets, app, settings, stopping)
        # Before what imports SQLAlchemy and the Docker SDK, in threads that would take turns with the loop.
        await unless_stopped(stopping, returned(fleet.registry))
        tasks.keep(store.run, "database")
        await stack.enter_async_context(fleet.warm)
        builder = await _builder(settings, declared.folder, fleet.provisioner.uids)
        preparation = _start_jobs(settings, declared, fleet, engine, pool, builder, tasks, stopping.ask)
        _open_room(room, url, builder, preparation, tasks)
        if bars is not None:
            tasks.keep(functools.partial(bars.show, preparation.look, preparation.building), "progress")
        server = Server(url, parts, stopping.ask, stopping.asked)
        try:
            yield server
        finally:
            preparation.stopping = True
            await room.stop()
            await _end(stopping, settings, fleet, engine, pool, builder, tasks)


def _import_all(names: Sequence[str]) -> None:
    for name in names:
        importlib.import_module(name)


def _store(settings: Settings) -> Store:
    return Store(address(settings.database_url, Path(settings.state_dir), settings.instance_name))


def _note_events(settings: Settings, store: Store) -> None:
    """Begins to note events, for the database."""
    log_of_events = audit.Audit(store.post, settings.instance_name, programs=settings.audit_programs == "on")
    audit.use(log_of_events)
    store.work += [log_of_events.tell_counted, functools.partial(store.retain, settings.audit_retention_days)]
    store.last.append(functools.partial(log_of_events.tell_counted, all=True))


async def _watch_keys(identity: chain.Verifiers, store: Store) -> None:
    """Keeps the API keys up to date with the database, and reads which sign-ins were ended."""
    await store.database.ready.wait()
    # In a thread, as SQLAlchemy comes with it.
    stored = await asyncio.to_thread(importlib.import_module, "coderunner.identity.stored")
    await stored.watch(identity.keys, store, identity.sign_ins)


def _start_charging(settings: Settings, fleet: Fleet, quotas: Quotas, store: Store, tasks: Tasks) -> None:
    """Begins to charge sessions for what they use, and to keep the sums."""
    charging = Charging(
        quotas, store, settings.instance_name, lambda: fleet.registry.sessions, fleet.watchdog.cpu_seconds
    )
    tasks.keep(charging.watch, "charging")
    store.last.append(charging.note)


async def _close_store(store: Store, stopping: Stop) -> None:
    """Writes to the database what waits, and sends the last traces; in a hurry if the next server is about to
    start."""
    await store.close(HURRY_SECONDS if stopping.leaving else CLOSE_SECONDS)
    audit.use(None)
    if tracing.active():
        await asyncio.to_thread(tracing.end_tracing)


def _start_watches(runs: Runs, tasks: Tasks) -> None:
    """Starts what has to run before the first client is there."""
    tasks.keep(runs.watch, "runs")
    tasks.keep(metrics.watch_loop, "loop-lag")
    tasks.keep(garbage.watch, "garbage")


async def _listen(
    stack: contextlib.AsyncExitStack,
    parts: Parts,
    sockets: Sequence[socket.socket],
    tasks: Tasks,
    room: Room,
) -> tuple[web.Application, str]:
    """Accepts clients until `stack` is closed. Returns the application and the URL to show."""
    connections = TcpConnections(functools.partial(guard.trusted, parts.settings))
    tasks.keep(connections.watch, "tcp-connections")
    app = application(parts, connections, room)
    if parts.settings.facades:
        # Here, as they are a tenth of what a server imports at its start, and few servers have one.
        from coderunner.facades import routes as facades

        with usable(Path(parts.settings.state_dir)):  # where Jobe's files are
            facades.install(app)
    agents = mcp.install(app) if parts.settings.mcp == "on" else None
    url = await stack.enter_async_context(listening(app, sockets, parts.settings.host))
    if agents is not None:
        tasks.keep(functools.partial(agents.run, _from_here(url)), "mcp")
    return app, url


def _from_here(url: str) -> str:
    """The address of this server for what is on this machine."""
    # A server that listens on all addresses is reached over loopback.
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


@contextlib.contextmanager
def _recorded() -> Iterator[Records]:
    """Keeps the last records of the log in memory, within the block."""
    records = Records()
    logging.getLogger().addHandler(records)
    try:
        yield records
    finally:
        logging.getLogger().removeHandler(records)


def _open_room(room: Room, url: str, builder: ImageBuilder, preparation: Preparation, tasks: Tasks) -> None:
    """Gives the operator's room what exists only once the server listens."""
    room.load_tests.url = _from_here(url)
    room.builder, room.prepare = builder, preparation.one
    tasks.start(room.load_tests.load(), "load-tests")
    tasks.keep(room.history.run, "history")


def _start_jobs(
    settings: Settings,
    declared: Declarations,
    fleet: Fleet,
    engine: DockerEngine,
    pool: WorkerPool,
    builder: ImageBuilder,
    tasks: Tasks,
    stop: Callable[[str], None],
) -> Preparation:
    """Starts the background jobs, which run as long as the server; a job that fails is started again.

    Returns the one that prepares languages, which has to be told that the server stops."""
    catalog, registry = fleet.catalog, fleet.registry

    def refuse(reason: str) -> None:
        fleet.readiness.blocked = reason
        stop(REFUSED)

    preparation = Preparation(
        settings, engine, builder, catalog, fleet.provisioner, refuse, declared.demand, _holder(settings)
    )
    catalog.on_ready = lambda _name: fleet.warm.wake()
    catalog.on_asked = preparation.ask
    catalog.on_lost = lambda name: tasks.keep(lambda: preparation.restore(name), f"image-{name}")
    tasks.keep(preparation.all, "images")
    tasks.keep(lambda: _sweep(settings, engine, registry, fleet.provisioner, pool, fleet.groups), "sweep")
    tasks.keep(fleet.surroundings.look, "surroundings")
    tasks.keep(registry.budget.watch, "budget")
    if settings.watchdog_interval:
        tasks.keep(fleet.watchdog.run, "watchdog")
    if settings.reload == "on":
        tasks.keep(lambda: _watch_sources(stop), "reload")
    return preparation


def _holder(settings: Settings) -> str:
    """The name under which this server records which images it uses,
    so that no `images prune` removes them."""
    return holder_of(Path(settings.state_dir), settings.instance_name)


async def _end(
    stopping: Stop,
    settings: Settings,
    fleet: Fleet,
    engine: DockerEngine,
    pool: WorkerPool,
    builder: ImageBuilder,
    tasks: Tasks,
) -> None:
    """Leaves the sessions to the next server, or ends them; if the engine hangs, what is left stays for the
    next server as well."""
    catalog, registry = fleet.catalog, fleet.registry
    catalog.on_ready = catalog.on_lost = catalog.on_asked = None
    if not stopping.leaving:
        if await unless_hung(engine, _end_all(settings, fleet, engine, builder)):
            return
        stopping.left = True
        log.warning(
            "the container engine does not answer, so the containers stay; the next start, or"
            " `coderunner reap --all`, removes them"
        )
    # Clients wait for the next server, so nothing here waits for the engine:
    # what is unfinished is left to it.
    fleet.provisioner.leave_behind()
    tasks.hurry(HURRY_SECONDS)
    await pool.drop()
    await registry.suspend()


async def _end_all(settings: Settings, fleet: Fleet, engine: DockerEngine, builder: ImageBuilder) -> None:
    """Ends the sessions, and removes what this server has on the engine."""
    await fleet.registry.end_all("evicted")
    # Containers and networks that an earlier server left behind and that are not removed yet.
    with contextlib.suppress(CodeRunnerError):
        await sweep(engine, fleet.provisioner, older_than=0)
        await fleet.groups.sweep()
        await fleet.groups.clear()
        await builder.forget_use(_holder(settings))


async def _builder(settings: Settings, folder: Path, uids: Uids) -> ImageBuilder:
    """Makes the image builder, importing the Docker SDK in a thread.

    The import takes as long as that of the whole server, so it comes after the server listens,
    and not in the event loop.
    """
    images = await asyncio.to_thread(importlib.import_module, "coderunner.engine.images")
    gc.freeze()  # the modules stay: the garbage collector need not look at them again
    made: ImageBuilder = images.ImageBuilder(
        settings.docker_host, folder, uids.all, output=prepare.log.isEnabledFor(logging.DEBUG)
    )
    return made


async def _close_sockets(app: web.Application, settings: Settings, stopping: Stop) -> None:
    """Gives connections SHUTDOWN_GRACE to send their last frames, then aborts them."""
    grace = settings.shutdown_grace / 1000
    if stopping.leaving:
        grace = min(grace, SUSPEND_SECONDS)  # one peer that does not read must not delay the restart for all
    sockets = app[SOCKETS]
    for connection in list(sockets):
        connection.shut(1012)
    if sockets:
        await asyncio.wait([one.gone for one in sockets], timeout=grace)
    for connection in list(sockets):
        connection.abort()


async def _sweep(
    settings: Settings,
    engine: DockerEngine,
    registry: Registry,
    provisioner: Provisioner,
    pool: WorkerPool,
    groups: Groups,
) -> None:
    seconds = settings.docker_timeout / 1000
    told: set[str] = set()
    while True:
        with contextlib.suppress(CodeRunnerError):  # an engine that does not answer is reported elsewhere
            await warn_of_shared_ids(engine, provisioner, told)
        await asyncio.sleep(settings.cleanup_interval / 1000)
        if registry.absent is not None:
            continue  # nothing is adopted yet, so every container would look abandoned
        try:
            await pool.submit(
                lambda: sweep(engine, provisioner, older_than=seconds),
                priority=workers.SWEEP,
                name="sweep",
                timeout=2 * seconds,  # the next sweep finds what is left
            )
            await groups.sweep()
        except CodeRunnerError as error:
            log.warning("sweep failed", extra=fields(why=error.message))


async def _watch_sources(stop: Callable[[str], None]) -> None:
    """Restarts the server when a source file changes (development); sessions continue and are adopted."""
    changed = await changed_sources(PACKAGE)
    log.info("source changed, reloading", extra=fields(file=changed))
    stop(RELOAD)


async def serve(
    settings: Settings, announce: Callable[[str], None], bars: Bars | None = None, *, replace: bool = False
) -> str:
    """Runs the server until it is stopped; returns how (SUSPEND, END, RELOAD, REFUSED or ANOTHERS).

    SIGTERM (a deploy) leaves the containers to the next server; so does SIGHUP unless it is ignored (nohup).
    SIGINT (a developer's Ctrl-C) ends the sessions; a second one exits at once and leaves the rest to the
    next server. All this holds from the beginning of the start. `announce`: called with the URL once it
    listens. `bars`, `replace`: as `serving` takes them.
    """
    stopping = by_signals()

    def listens(url: str) -> None:
        log.info("listening", extra=fields(url=url))
        announce(url)

    async with serving(settings, stopping, bars, replace=replace, listens=listens) as server:
        # The objects of the start-up stay for ever. Frozen, they are not examined by each full collection,
        # which would stop the loop for longer.
        gc.collect()
        gc.freeze()
        how = await server.stopped
        server.parts.registry.drain()
        log.info("stopping", extra=fields(how=how))
    return how
