"""The warm pool: containers that are made in advance, so that clients need not wait for one.

For each language it holds its floor, and as many more as were taken in the last DEMAND_SECONDS, up to its
ceiling; fewer when the machine is short of memory.  It is refilled with lower priority than users' own work.
An empty pool means a slower start, never a failure.
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

DEMAND_SECONDS = 30.0  # how long a container that was taken counts as demand
RETRY_SECONDS = 5.0  # after a container could not be made
LOOK_SECONDS = 10.0  # between two adjustments, at most: demand and free memory change without an event
PAUSE_SECONDS = 1.0  # before a refill: a start takes half a CPU second, which a new user's program gets first
MIN_MEMORY_SHARE = 0.10  # with a smaller share of memory available nothing is made ahead


@dataclass(slots=True)
class _LanguagePool:
    """The ready containers of one language.  ``taken``: moments, of those within DEMAND_SECONDS."""

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
            # In the order of time, so the first ones are the oldest.
            self.taken.popleft()
        return max(self.floor, min(self.ceiling, self.floor + len(self.taken)))

    def pause(self, now: float) -> float:
        """Seconds until it may be refilled: 0 when several users came within PAUSE_SECONDS, as more may
        follow."""
        latest = self._latest(now)
        return latest[0] + PAUSE_SECONDS - now if len(latest) == 1 else 0.0

    def rush(self, now: float) -> bool:
        """Whether several users came within PAUSE_SECONDS: a class that has just begun, or a grader."""
        return len(self._latest(now)) > 1

    def _latest(self, now: float) -> list[float]:
        return [moment for moment in self.taken if moment > now - PAUSE_SECONDS]


class WarmPool:
    """Fills the pools of all languages, as a task.

    ``floor``: containers of each language that declares none.  ``ceiling``: of all languages together.
    ``memory_available()``: the share of the machine's memory that is available, 0 to 1.
    """

    def __init__(
        self, provisioner: Provisioner, *, floor: int, ceiling: int, memory_available: Callable[[], float]
    ) -> None:
        self._provisioner = provisioner
        self._floor = floor
        self._ceiling = ceiling
        self._memory_available = memory_available
        self._pools: dict[str, _LanguagePool] = {}
        self._wake = asyncio.Event()
        self._making = Tasks("warm pool")
        self._removing = Tasks("warm pool")

    async def __aenter__(self) -> WarmPool:
        self._making.keep(self._keep, "warm-pool")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stops making containers, and removes those that wait, as they have no session."""
        # First, or a container that is being made would be added to a pool that is emptied already.
        await self._making.stop()
        # Taken out of the pools first: nobody may acquire one that is being removed.
        waiting = [container for pool in self._pools.values() for container in pool.ready]
        self._pools.clear()
        await asyncio.gather(*(self._provisioner.remove(container) for container in waiting))
        # Waits for removals that began earlier.
        await self._removing.finish()

    def acquire(self, language: str) -> Container | None:
        """A ready container, which belongs to the caller now; None when there is none.

        Raises UnknownLanguage."""
        pool = self._pool(language)
        # Also if there is none to take: a user who had to wait is demand as well.
        pool.taken.append(asyncio.get_running_loop().time())
        self._wake.set()
        while pool.ready:
            container = pool.ready.popleft()
            # It may have ended while it waited, such as after a restart of the engine without live-restore.
            if container.usable:
                pool.hits += 1
                log.debug("warm container taken", extra=fields(language=language, left=len(pool.ready)))
                return container
            # Removed in the background: whoever waits for a container must not wait for this.
            self._discard(container)
        pool.misses += 1
        log.debug("no container waits", extra=fields(language=language, starting=pool.starting))
        return None

    @property
    def waiting(self) -> int:
        """Number of ready containers, of all languages."""
        return sum(len(pool.ready) for pool in self._pools.values())

    def wake(self) -> None:
        """Adjusts the pools now: a language has become ready."""
        self._wake.set()

    def _pool(self, language: str) -> _LanguagePool:
        pool = self._pools.get(language)
        if pool is None:
            warm = self._provisioner.catalog.language(language).warm
            # The server's ceiling is for all languages together, so it bounds each of them as well.
            floor = min(self._ceiling, self._floor if warm.floor is None else warm.floor)
            ceiling = min(self._ceiling, self._ceiling if warm.ceiling is None else warm.ceiling)
            pool = self._pools[language] = _LanguagePool(floor, ceiling)
        return pool

    async def _keep(self) -> None:
        while True:
            self._wake.clear()  # before the adjustment, so that an event during it is not lost
            again = self._adjust()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(again):
                    await self._wake.wait()

    def _adjust(self) -> float:
        """Discards old and surplus containers and begins missing ones; returns the seconds until the next
        call."""
        again = LOOK_SECONDS
        now = asyncio.get_running_loop().time()
        targets = self._targets(now)
        # All surplus first: its memory is needed by what is made next.
        for language, target in targets.items():
            self._retire(self._pool(language), target, now)
        for language, target in targets.items():
            pool = self._pool(language)
            short = target - len(pool.ready) - pool.starting
            # After a failure, and while a single user's program starts.
            wait = max(pool.retry_at - now, pool.pause(now))
            if short > 0 and wait > 0:
                again = min(again, wait + 0.001)  # a little later, so that the pause is certainly over then
                continue
            for _ in range(short):
                pool.starting += 1
                # Counted in `starting`, so that the next adjustment does not begin it a second time.
                # In a rush each container is taken as soon as it is made: a preload would only delay it, and
                # take processor time from the programs of those who came before.
                making = self._make(language, pool, wait_for_preload=not pool.rush(now))
                self._making.start(making, "warm-container")
        return again

    def _targets(self, now: float) -> dict[str, int]:
        """By language, how many containers to hold.

        With room for fewer than all, languages in demand come first."""
        pools = {name: self._pool(name) for name in self._provisioner.catalog.ready()}
        # With little memory the target is 0, so that waiting containers make room for users' programs.
        left = 0 if self._memory_available() < MIN_MEMORY_SHARE else self._ceiling
        targets = {}
        # The name as the second key: equal demand gives the same order each time.
        for name in sorted(pools, key=lambda one: (-len(pools[one].taken), one)):
            targets[name] = min(pools[name].target(now), left)
            left -= targets[name]
        return targets

    def _retire(self, pool: _LanguagePool, target: int, now: float) -> None:
        keep: deque[Container] = deque()
        for container in pool.ready:
            old = now - container.born > WARM_AGE_SECONDS
            # `len(keep) >= target`: what is above the target is surplus.
            if old or container.gone.done() or container.fault.done() or len(keep) >= target:
                self._discard(container)
            else:
                keep.append(container)
        pool.ready = keep

    async def _make(self, language: str, pool: _LanguagePool, *, wait_for_preload: bool) -> None:
        try:
            container = await self._provisioner.create(
                language, priority=workers.REFILL, wait_for_preload=wait_for_preload
            )
        except CodeRunnerError as error:
            pool.retry_at = asyncio.get_running_loop().time() + RETRY_SECONDS
            log.warning("no warm container", extra=fields(language=language, why=error.message))
        except Exception:
            # A fault of this server: without a pause it would be repeated in an endless loop.
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
        # Computed anew: the figures are those of this moment.
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
            max=self._ceiling,
            languages=languages,
        )
