"""Containers made ahead of time, so that nobody waits for one.

Sized by demand: as many as were taken in the last half minute, between a language's floor and ceiling,
and fewer where the machine is short of memory.  Refilled behind users' own work.  An empty pool means a
slower start, never a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from coderunner.errors import CodeRunnerError
from coderunner.fleet import workers
from coderunner.fleet.provision import WARM_AGE_SECONDS, Provisioner
from coderunner.logs import fields
from coderunner.schema.answers import WarmLanguage, WarmPoolBlock
from coderunner.sessions.container import Container
from coderunner.tasks import Tasks

log = logging.getLogger(__name__)

DEMAND_SECONDS = 30.0
RETRY_SECONDS = 5.0
LOOK_SECONDS = 10.0
PAUSE_SECONDS = 1.0  # who has just come runs a program first: a start takes half a second of a CPU
MEMORY_SHORT = 0.10  # below this share of available memory nothing is made ahead


@dataclass(slots=True)
class _LanguagePool:
    floor: int
    ceiling: int
    ready: deque[Container] = field(default_factory=deque)
    starting: int = 0
    taken: deque[float] = field(default_factory=deque)
    hits: int = 0
    misses: int = 0
    retry_at: float = 0.0

    def target(self, now: float) -> int:
        while self.taken and self.taken[0] < now - DEMAND_SECONDS:
            self.taken.popleft()
        return max(self.floor, min(self.ceiling, self.floor + len(self.taken)))

    def pause(self, now: float) -> float:
        """Seconds until it is to be refilled: at once where more than one came in the last moment."""
        latest = [moment for moment in self.taken if moment > now - PAUSE_SECONDS]
        return latest[0] + PAUSE_SECONDS - now if len(latest) == 1 else 0.0


class WarmPool:
    """``memory_available`` answers the share of the machine's memory that is free, 0 to 1."""

    def __init__(
        self, provisioner: Provisioner, *, floor: int, most: int, memory_available: Callable[[], float]
    ) -> None:
        self._provisioner = provisioner
        self._floor = floor
        self._most = most
        self._memory_available = memory_available
        self._pools: dict[str, _LanguagePool] = {}
        self._wake = asyncio.Event()
        self._making = Tasks("warm pool")
        self._removing = Tasks("warm pool")

    async def __aenter__(self) -> WarmPool:
        self._making.keep(self._keep, "warm-pool")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is made any more; what waits is removed (it has no tenant), or left to the next server."""
        await self._making.stop()
        waiting = [container for pool in self._pools.values() for container in pool.ready]
        self._pools.clear()
        await asyncio.gather(*(self._provisioner.remove(container) for container in waiting))
        await self._removing.finish()

    def acquire(self, language: str) -> Container | None:
        """A ready container, now the caller's; None when there is none."""
        pool = self._pool(language)
        pool.taken.append(asyncio.get_running_loop().time())
        self._wake.set()
        while pool.ready:
            container = pool.ready.popleft()
            if container.usable:
                pool.hits += 1
                log.debug("warm container taken", extra=fields(language=language, left=len(pool.ready)))
                return container
            self._discard(container)
        pool.misses += 1
        log.debug("no container waits", extra=fields(language=language, starting=pool.starting))
        return None

    @property
    def waiting(self) -> int:
        """How many are ready now, of all languages."""
        return sum(len(pool.ready) for pool in self._pools.values())

    def wake(self) -> None:
        """A language has become ready."""
        self._wake.set()

    def _pool(self, language: str) -> _LanguagePool:
        pool = self._pools.get(language)
        if pool is None:
            warm = self._provisioner.catalog.language(language).warm
            floor = self._floor if warm.floor is None else warm.floor
            ceiling = self._most if warm.ceiling is None else warm.ceiling
            pool = self._pools[language] = _LanguagePool(min(floor, self._most), min(ceiling, self._most))
        return pool

    async def _keep(self) -> None:
        while True:
            self._wake.clear()
            again = self._adjust()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(again):
                    await self._wake.wait()

    def _adjust(self) -> float:
        """Seconds until a pool that is short is due."""
        again = LOOK_SECONDS
        now = asyncio.get_running_loop().time()
        targets = self._targets(now)
        for language, target in targets.items():
            self._retire(self._pool(language), target, now)
        for language, target in targets.items():
            pool = self._pool(language)
            short = target - len(pool.ready) - pool.starting
            wait = max(pool.retry_at - now, pool.pause(now))
            if short > 0 and wait > 0:
                again = min(again, wait + 0.001)
                continue
            for _ in range(short):
                pool.starting += 1
                self._making.start(self._make(language, pool), "warm-container")
        return again

    def _targets(self, now: float) -> dict[str, int]:
        """Where there is less room than languages, those that are asked for come first."""
        pools = {name: self._pool(name) for name in self._provisioner.catalog.ready()}
        left = 0 if self._memory_available() < MEMORY_SHORT else self._most
        targets = {}
        for name in sorted(pools, key=lambda one: (-len(pools[one].taken), one)):
            targets[name] = min(pools[name].target(now), left)
            left -= targets[name]
        return targets

    def _retire(self, pool: _LanguagePool, target: int, now: float) -> None:
        keep: deque[Container] = deque()
        for container in pool.ready:
            old = now - container.born > WARM_AGE_SECONDS
            if old or container.gone.done() or container.fault.done() or len(keep) >= target:
                self._discard(container)
            else:
                keep.append(container)
        pool.ready = keep

    async def _make(self, language: str, pool: _LanguagePool) -> None:
        try:
            container = await self._provisioner.create(language, priority=workers.REFILL)
        except CodeRunnerError as error:
            pool.retry_at = asyncio.get_running_loop().time() + RETRY_SECONDS
            log.warning("no warm container", extra=fields(language=language, why=error.message))
        except Exception:
            pool.retry_at = asyncio.get_running_loop().time() + RETRY_SECONDS
            raise
        else:
            pool.ready.append(container)
        finally:
            pool.starting -= 1
            self._wake.set()

    def _discard(self, container: Container) -> None:
        self._removing.start(self._provisioner.remove(container), "warm-container-removal")

    def stats(self) -> WarmPoolBlock:
        """The `warmPool` block of the queue statistics."""
        targets = self._targets(asyncio.get_running_loop().time())
        languages = {
            name: WarmLanguage(
                ready=len(pool.ready),
                starting=pool.starting,
                target=targets.get(name, 0),
                hits=pool.hits,
                misses=pool.misses,
            )
            for name, pool in sorted(self._pools.items())
        }
        return WarmPoolBlock(
            ready=sum(one.ready for one in languages.values()),
            starting=sum(one.starting for one in languages.values()),
            max=self._most,
            languages=languages,
        )
