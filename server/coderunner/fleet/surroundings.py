"""Checks of the machine that the containers share, and the warnings that come of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from coderunner.engine import floors
from coderunner.engine.docker import DockerEngine
from coderunner.errors import EngineError
from coderunner.logs import fields

log = logging.getLogger(__name__)

RETRY_SECONDS = 10.0  # while the engine does not answer


class Surroundings:
    """Checks the machine once, and keeps the warnings.

    `containers`: how many there may be at one time.  `watched()`: why sessions cannot be watched, as
    sentences. `level`: of its lines in the log; lower on a developer's machine, which serves no strangers.
    `confinement`: how containers are confined, by the engine's own account.
    """

    def __init__(
        self,
        engine: DockerEngine,
        containers: int,
        watched: Callable[[], list[str]],
        level: int,
        *,
        groups: bool = True,
    ) -> None:
        self.confinement = floors.UNKNOWN
        self._engine = engine
        self._containers = containers
        self._groups = groups
        self._watched = watched
        self._level = level
        self._found: list[str] = []

    def warnings(self) -> list[str]:
        """The warnings, as sentences that say what to do."""
        return [*self._found, *self._watched()]

    async def look(self) -> None:
        """Asks the engine and the kernel, once, and logs the warnings.  Waits until the engine answers."""
        # Once: kernel settings do not change while a server runs, except by its operator.
        while True:
            try:
                info = await self._engine.info()
            except EngineError:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                break
        self.confinement = floors.confinement(info)
        # Settings of another machine cannot be read.
        if floors.is_here(info):
            low = floors.floors(self._containers, info.memory_bytes, groups=self._groups)
            self._found = [*floors.unconfined(info), *low]
        else:
            self._found = [
                f"The engine runs on another kernel ({info.kernel}), whose settings are not seen from here."
            ]
        for text in self._found:
            log.log(self._level, text)
        log.info("confinement", extra=fields(by=self.confinement))
