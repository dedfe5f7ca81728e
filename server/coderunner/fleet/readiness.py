"""Whether a session could start now, and if not, why."""

from __future__ import annotations

import asyncio

from coderunner import timing
from coderunner.engine.docker import DockerEngine
from coderunner.errors import EngineError
from coderunner.fleet.catalog import LanguageCatalog
from coderunner.fleet.provision import Provisioner
from coderunner.fleet.registry import Registry
from coderunner.fleet.warm import WarmPool

PING_SECONDS = 1.0  # between two pings of the engine, at least


class Readiness:
    """Finds the reasons why no session could start now.

    ``blocked``: a reason that is set by the server, None without one.  ``registry``: None until it exists.
    """

    def __init__(
        self, engine: DockerEngine, catalog: LanguageCatalog, provisioner: Provisioner, warm: WarmPool
    ) -> None:
        self._engine = engine
        self._catalog = catalog
        self._provisioner = provisioner
        self._warm = warm
        self.blocked: str | None = "the server is starting"
        self.registry: Registry | None = None
        self._asking = asyncio.Lock()
        self._asked = -PING_SECONDS
        self._silent: str | None = None  # why the last ping failed

    async def _engine_silent(self) -> str | None:
        """Why the engine does not answer, None if it does.  It is pinged once in PING_SECONDS at most."""
        async with self._asking:
            # The lock makes simultaneous questions share one ping.
            if timing.now() - self._asked >= PING_SECONDS:
                try:
                    await self._engine.ping()
                    self._silent = None
                except EngineError as error:
                    self._silent = error.message
                self._asked = timing.now()
            return self._silent

    async def __call__(self) -> list[str]:
        """The reasons, as sentences; none when a session could start."""
        reasons = [self.blocked] if self.blocked else []
        silent = await self._engine_silent()
        if silent is not None:
            reasons.append(f"the container engine does not answer: {silent}")
        if not self._catalog.ready():
            reasons.append("no language is ready yet")
        trouble = self._provisioner.trouble()
        # A container that waits can be given away, whatever happens to new ones.
        if trouble and not self._warm.waiting:
            reasons.append(f"no container can be started: {trouble}")
        if self.registry is not None and self.registry.draining:
            reasons.append("the server is stopping")
        return reasons
