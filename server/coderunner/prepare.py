"""Prepares the languages while the server runs: builds the image, runs the canary, offers the language.

Languages that have an image are tested and offered at once, four at a time. The others are built in the
order of demand, two at a time if memory allows; a language that a client asks for is built next.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from coderunner.bars import Build, Look
from coderunner.canary import run as canary
from coderunner.canary.verdict import Verdict
from coderunner.config import Settings
from coderunner.core.steps import OUTPUT, step_of
from coderunner.engine.containers import DEADLINE_LABEL, ROLE_LABEL, ContainerSpec, settings_digest
from coderunner.engine.docker import DockerEngine
from coderunner.engine.runtimes import is_gvisor
from coderunner.engine.sockets import AgentSocket
from coderunner.errors import AgentLost, CodeRunnerError, EngineUnavailable, StartFailed
from coderunner.fleet.catalog import BUILDING, FAILED, READY, LanguageCatalog, Readiness
from coderunner.fleet.provision import Provisioner
from coderunner.logs import fields

if TYPE_CHECKING:
    from coderunner.engine.images import ImageBuilder

log = logging.getLogger(__name__)

RETRY_SECONDS = 10.0  # between attempts to reach the engine
# Doubled from the first to the longest: a registry that is away must not be asked all the time.
AGAIN_SECONDS = (60.0, 900.0)  # pause before a failed build is repeated: the first, and the longest
BUILDS = 2  # at one time
BUILD_BYTES = 2 * 1024**3  # free memory that is needed to start a second build
ROOM_SECONDS = 5.0  # between two checks of the free memory
OFFERS = 4  # languages with an image, at one time; few, so that those in demand are ready first
PROOFS = 2  # canaries at one time: each fills its memory limit and uses two processors for a second
PROOF_SECONDS = 60.0  # for the engine to create and remove the canary's container, besides TIME_S


def memory_bytes() -> int:
    """The available memory of this machine in bytes; if unknown, as much as a second build needs."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            # Not MemFree: the kernel's estimate counts caches that it would give up (proc(5)).
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return BUILD_BYTES


@dataclass(slots=True)
class Preparation:
    """Prepares languages. `refuse`: called with a reason if a limit of the containers is not enforced.
    `demand`: names of the languages, the most wanted first. `holder`: the name under which this server
    records which images it uses. `stopping`: set when the server stops; failures are not reported then.
    """

    settings: Settings
    engine: DockerEngine
    builder: ImageBuilder
    catalog: LanguageCatalog
    provisioner: Provisioner
    refuse: Callable[[str], None]
    demand: list[str]
    holder: str
    stopping: bool = False
    building: asyncio.Event = field(default_factory=asyncio.Event)  # set while images are being built
    _builds: dict[str, Build] = field(default_factory=dict)
    _queue: list[str] = field(default_factory=list)
    _steps: dict[str, str] = field(default_factory=dict)  # languages being built, with their first build step
    _first_steps: dict[str, str] = field(default_factory=dict)  # of all languages whose folders are valid
    _proofs: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(PROOFS))

    async def all(self) -> None:
        """Returns when every language is ready. Failed builds are repeated, as their cause (a registry that
        cannot be reached, a full disk) may go away."""
        names, began = self.demand, time.monotonic()
        pause, longest = AGAIN_SECONDS
        # To read the declarations of all takes a second, in which most users wait for the first alone.
        tried: set[str] = set()
        if names and await self._is_here(names[0]):
            await self.one(names[0])
            tried.add(names[0])
        while names:
            present = await self._present(names)
            self._first_steps = await self.builder.first_steps(names)
            # A new list in each round: what failed is tried again.
            self._queue = [name for name in names if name not in present | tried]
            here = [name for name in names if name in present - tried]
            tried.clear()
            if self._queue:
                await self._tell_room()
                self.building.set()
            try:
                offers = [self._offer(here) for _ in range(OFFERS)]
                await asyncio.gather(*offers, *(self._build(number) for number in range(BUILDS)))
            finally:
                self.building.clear()
            names = [name for name in self.demand if self.catalog.state(name).status == FAILED]
            self._tell(names, time.monotonic() - began)
            if names:
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)

    def ask(self, name: str) -> None:
        """Moves a language to the front of the build queue, as a client asked for it."""
        if name in self._queue:
            self._queue.remove(name)
            self._queue.insert(0, name)
            log.info("language requested, is built next", extra=fields(language=name))

    async def _tell_room(self) -> None:
        """Says what the builds need on the disk. The builder refuses each one for which there is no room."""
        with contextlib.suppress(CodeRunnerError):  # told where languages are built
            plan = await self.builder.plan(self.demand)
            level = logging.WARNING if plan.short else logging.INFO
            log.log(
                level, "%s", plan.sentence(), extra=fields(needed_bytes=plan.needed, free_bytes=plan.free)
            )

    def look(self) -> Look:
        """How many languages are ready, and what is being built."""
        told = self.catalog.summary()
        return Look(told.ready, told.of, len(told.failed), tuple(self._builds.values()))

    async def one(self, name: str) -> None:
        """Prepares one language; returns when it is ready or has failed. Waits for the engine."""
        while True:
            try:
                await self._prepare(name)
                return
            except EngineUnavailable as error:
                self.catalog.set_state(name, Readiness(BUILDING, error.message))
                await self._wait_for_engine(error)
            except CodeRunnerError as error:
                if self.stopping:
                    return
                why, *lines = error.message.splitlines() or [""]
                facts = {"language": name, "why": why} | ({"output": lines} if lines else {})
                log.error("language failed", extra=fields(**facts))
                self.catalog.set_state(name, Readiness(FAILED, error.message))
                return
            except Exception as error:
                # It must not end the preparation of the others, nor stay hidden as a build that goes on.
                log.exception("language failed: a fault of this server", extra=fields(language=name))
                self.catalog.set_state(name, Readiness(FAILED, f"a fault of this server: {error!r}"))
                return

    async def restore(self, name: str) -> None:
        """Prepares a language whose image was removed while the server runs. Returns when it is ready: failed
        builds are repeated here as well, as `all` may have returned long ago."""
        pause, longest = AGAIN_SECONDS
        while self.catalog.state(name).image is None and not self.stopping:
            await self.one(name)
            if self.catalog.state(name).status == FAILED:
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)

    def _tell(self, failed: list[str], seconds: float) -> None:
        """Logs the result of a round of preparation."""
        if self.stopping:
            return
        ready, of = len(self.catalog.ready()), len(self.demand)
        # A warning only, as the other languages work.
        level = logging.WARNING if failed else logging.INFO
        words = f"{ready} of {of} languages are ready" + (f"; failed: {', '.join(failed)}" if failed else "")
        log.log(level, words, extra=fields(ready=ready, of=of, failed=failed, seconds=round(seconds, 1)))

    async def _wait_for_engine(self, error: EngineUnavailable) -> None:
        if not self.stopping:
            log.warning("waiting for the container engine", extra=fields(why=error.message))
        await asyncio.sleep(RETRY_SECONDS)

    async def _present(self, names: list[str]) -> set[str]:
        while True:
            try:
                # Before looking, so that no other server's `images prune` removes an image that was found.
                await self.builder.note_use(self.holder, self.settings.instance_name, self.demand)
                return await self.builder.present(names)
            except EngineUnavailable as error:
                await self._wait_for_engine(error)
            except CodeRunnerError:
                return set()  # each language's own preparation reports what is wrong

    async def _is_here(self, name: str) -> bool:
        """Whether the image exists. Not recorded as in use yet: should another server's `images prune` remove
        it now, it is built as one that was removed while the server runs."""
        try:
            return name in await self.builder.present([name])
        except CodeRunnerError:
            return False  # told by the preparation of all

    async def _offer(self, here: list[str]) -> None:
        while here:
            await self.one(here.pop(0))

    async def _build(self, number: int) -> None:
        """Builds queued languages. All builders but the first (number 0) wait for free memory."""
        while self._queue:
            if number > 0 and memory_bytes() < BUILD_BYTES:
                await asyncio.sleep(ROOM_SECONDS)
                continue
            name = self._next()
            self._steps[name] = self._first_steps.get(name, name)
            try:
                await self.one(name)
            finally:
                del self._steps[name]

    def _next(self) -> str:
        """Takes the next language from the queue. Prefers one whose first build step differs from those that
        are running: once such a step is done, the engine has its layer cached."""
        shared = set(self._steps.values())
        fit = (name for name in self._queue if self._first_steps.get(name, name) not in shared)
        name = next(fit, self._queue[0])
        self._queue.remove(name)
        return name

    async def _prepare(self, name: str) -> None:
        began = time.monotonic()
        self.catalog.set_state(name, Readiness(BUILDING, "being built"))
        try:
            image = await self.builder.ensure(name, partial(self._progress, name))
        finally:
            self._builds.pop(name, None)
        wanted = {"on": True, "off": False}.get(self.settings.canary, self.settings.production)
        if not wanted or await self._proven(name, image):
            self.catalog.set_state(name, Readiness(READY, "", image))
            seconds = round(time.monotonic() - began, 1)
            log.info("language ready", extra=fields(language=name, image=image, seconds=seconds))

    def _progress(self, name: str, line: str) -> None:
        """Takes a line of a build, in the event loop."""
        build = self._builds.get(name)
        if build is None:
            log.info("language is being built", extra=fields(language=name))
            build = Build(self.catalog.language(name).title, "", time.monotonic())
        if not line.startswith(OUTPUT):
            step = step_of(line)
            build = replace(build, step=f"{step}: {step.command}" if step is not None else line)
            self.catalog.set_state(name, Readiness(BUILDING, line[:200]))
        self._builds[name] = build
        log.debug("%s: %s", name, line)

    async def _proven(self, name: str, image: str) -> bool:
        session = f"{self.settings.instance_name}-canary-{name}-{secrets.token_hex(4)}"
        async with self._proofs:
            uid = self.provisioner.uids.acquire(session)
            try:
                verdict = await self._judged(name, session, uid, image)
            finally:
                self.provisioner.forget(uid, session)
        if verdict.ok:
            log.info("container limits verified", extra=fields(language=name))
            if is_gvisor(self.provisioner.runtime(name)):
                # The canary has left out the probe of PID 1.
                log.warning(
                    "in gVisor a program can write to the server in its agent's name: no place for graders"
                    " (docs/security-levels.md)",
                    extra=fields(language=name),
                )
            return True
        for failure in verdict.failures:
            log.critical("a container limit is not enforced", extra=fields(language=name, bound=failure))
        self.catalog.set_state(name, Readiness(FAILED, "limits of its containers are not enforced"))
        broken = f"{name}: {'; '.join(verdict.failures)}"
        self.refuse(f"limits of the containers are not enforced: {broken}")
        return False

    async def _judged(self, name: str, session: str, uid: int, image: str) -> Verdict:
        """Runs the canary with an agent's socket, as sessions have. If no container has used such a socket
        yet and the start fails, runs it without, and gives up sockets if that succeeds."""
        sockets = self.provisioner.sockets
        doubtful = sockets is not None and sockets.doubtful
        try:
            return await self._attacked(name, session, uid, image, self.provisioner.socket(name, session))
        except (StartFailed, AgentLost) as error:
            # Unfinished: the start worked, so the socket is not the cause.
            if sockets is None or not doubtful or isinstance(error, canary.CanaryUnfinished):
                raise
            verdict = await self._attacked(name, session, uid, image, None)
            sockets.give_up(error.message)
            return verdict

    async def _attacked(
        self, name: str, session: str, uid: int, image: str, socket: AgentSocket | None
    ) -> Verdict:
        spec = _of_canary(self.provisioner.spec(name, session, uid, image, socket))
        return await canary.run_canary(
            self.engine,
            spec,
            settings_digest=settings_digest(spec),
            cache_dir=Path(self.settings.state_dir) / "canary",
        )


def _of_canary(spec: ContainerSpec) -> ContainerSpec:
    """Labels the canary's container, so that no server adopts it as a session, and the sweep removes it only
    after its deadline."""
    deadline = time.time() + canary.TIME_S + PROOF_SECONDS
    return replace(spec, labels={**spec.labels, ROLE_LABEL: "canary", DEADLINE_LABEL: str(int(deadline))})
