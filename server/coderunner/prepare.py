"""Getting the languages ready while the server runs already: build, prove, offer; one after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from coderunner.canary.run import run_canary
from coderunner.config import Settings
from coderunner.engine.containers import settings_digest
from coderunner.engine.docker import DockerEngine
from coderunner.engine.images import ImageBuilder
from coderunner.errors import CodeRunnerError, EngineUnavailable
from coderunner.logs import fields
from coderunner.sessions.catalog import BUILDING, FAILED, READY, LanguageCatalog, Readiness
from coderunner.sessions.provision import Provisioner

log = logging.getLogger(__name__)

RETRY_SECONDS = 10.0
AGAIN_SECONDS = (60.0, 900.0)  # after which a build that failed is tried again: at first, and at most


@dataclass(frozen=True, slots=True)
class Preparation:
    """``refuse`` is called where a promised bound of the containers does not hold."""

    settings: Settings
    engine: DockerEngine
    builder: ImageBuilder
    catalog: LanguageCatalog
    provisioner: Provisioner
    refuse: Callable[[str], None]

    async def all(self) -> None:
        """Returns when every language is ready.  A build that failed is tried again: what it lacked, a
        registry out of reach or room on the disk, may be there later."""
        names = await _in_order(self.builder, self.catalog)
        pause, longest = AGAIN_SECONDS
        while names:
            for name in names:
                await self.one(name)
            names = [name for name in names if self.catalog.state(name).status == FAILED]
            if names:
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)

    async def one(self, name: str) -> None:
        """Returns when this language is ready or has failed."""
        while True:
            try:
                await self._prepare(name)
                return
            except EngineUnavailable as error:
                self.catalog.set_state(name, Readiness(BUILDING, error.message))
                log.warning("waiting for the container engine", extra=fields(why=error.message))
                await asyncio.sleep(RETRY_SECONDS)
            except CodeRunnerError as error:
                log.error("language failed", extra=fields(language=name, why=error.message))
                self.catalog.set_state(name, Readiness(FAILED, error.message))
                return

    async def _prepare(self, name: str) -> None:
        self.catalog.set_state(name, Readiness(BUILDING, "being built"))
        image = await self.builder.ensure(name, partial(_progress, self.catalog, name))
        wanted = {"on": True, "off": False}.get(self.settings.canary, self.settings.production)
        if not wanted or await self._proven(name, image):
            self.catalog.set_state(name, Readiness(READY, "", image))
            log.info("language ready", extra=fields(language=name, image=image))

    async def _proven(self, name: str, image: str) -> bool:
        session = f"{self.settings.instance_name}-canary-{name}"
        uid = self.provisioner.uids.take(session)
        try:
            spec = self.provisioner.spec(name, session, uid, image)
            verdict = await run_canary(
                self.engine,
                spec,
                settings_digest=settings_digest(spec),
                cache_dir=Path(self.settings.state_dir) / "canary",
            )
        finally:
            self.provisioner.uids.give(uid, session)
        if verdict.ok:
            log.info("containers hold what they promise", extra=fields(language=name))
            return True
        for failure in verdict.failures:
            log.critical("a promised bound does not hold", extra=fields(language=name, bound=failure))
        self.catalog.set_state(name, Readiness(FAILED, "its containers do not hold what they promise"))
        self.refuse(f"{name}: {'; '.join(verdict.failures)}")
        return False


async def _in_order(builder: ImageBuilder, catalog: LanguageCatalog) -> list[str]:
    """What is there already comes first, then what is quickest to build."""

    async def cost(name: str) -> tuple[bool, int, str]:
        try:
            return not await builder.exists(name), len(builder.language(name).files["Dockerfile"]), name
        except CodeRunnerError:
            return True, 0, name  # told when its turn comes

    return [one[-1] for one in sorted([await cost(name) for name in catalog.languages])]


def _progress(catalog: LanguageCatalog, name: str, line: str) -> None:
    """Called in the builder's thread; a state is replaced whole, so readers see the old or the new."""
    catalog.set_state(name, Readiness(BUILDING, line[:200]))
    log.info("%s: %s", name, line)

