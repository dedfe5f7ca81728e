"""Ends sessions that use resources of the machine which their container's limits do not count.

There are two kinds.  A holding can be counted by session: file locks, and bytes that wait in sockets.  A
session that holds more than the bound at two looks in a row, or four times as much at one, is ended.  A
strain cannot be counted by session: work of the kernel's own threads (the other end of a terminal), and
waiting for the disk. When one lasts, the busiest sessions are paused for half a second, one after the other,
TURNS times each.  The session whose every pause lowers the strain is the cause, and is ended; without that
proof none is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import mean
from typing import TypeVar

from coderunner.engine.docker import DockerEngine
from coderunner.engine.host import Host
from coderunner.errors import EngineError
from coderunner.logs import fields
from coderunner.sessions.record import whose
from coderunner.sessions.session import Session

log = logging.getLogger(__name__)

MIB = 1024 * 1024
MAX_SUSPECTS = 3  # sessions that are paused in one search
MIN_CPU_SHARE = 0.05  # of a processor: a session that uses less is no suspect
MEASURE_SECONDS = 0.5  # length of a measurement, and so of a pause
TURNS = 4  # pauses of a suspect; that nine figures are in the right order by chance is one in 126
MIN_DIFFERENCE = 0.5  # that the pauses must make on average, as a part of the share that begins a search
MIN_PART = 1 / 3  # or as a part of the strain itself, on a machine so busy that it is lower
DRAIN_SECONDS = 0.1  # after a pause began, for the work that the session has left to the kernel
QUIET_SECONDS = (60.0, 900.0)  # without a search after one that found nothing: at first, and at most
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Holding:
    """Something that is counted by session.

    `bound`: how much one may hold.  `each`: of a `unit`, for messages."""

    name: str
    unit: str
    bound: int
    each: int = 1


@dataclass(frozen=True, slots=True)
class Strain:
    """Something that is only known of the whole machine.

    `read`: its seconds since the machine's start.  A search begins when it takes more than `share` of the
    time at so many `looks` in a row.
    """

    name: str
    read: Callable[[Host], float | None]
    share: float
    looks: int


LOCKS = Holding("file locks", "", 2_500)
WAITING = Holding("of data that waits unread in sockets", " MiB", 32 * MIB, MIB)
STRAINS = (
    Strain("the kernel's own threads work for it, outside its quota", Host.kernel_seconds, 0.3, 10),
    Strain("it keeps the disk busy", Host.stalled_seconds, 0.5, 30),
)


class Watchdog:
    """Watches the sessions.

    `sessions()`: those of the server, by id.  `interval`: seconds between two looks.  `host`: reads /proc.
    """

    def __init__(
        self,
        engine: DockerEngine,
        sessions: Callable[[], Mapping[str, Session]],
        interval: float,
        host: Host | None = None,
        strains: tuple[Strain, ...] = STRAINS,
    ) -> None:
        self._engine = engine
        self._sessions = sessions
        self._interval = interval
        self._host = host or Host()
        self._strains = strains
        self._pids: dict[str, int | None] = {}  # host's pid of each session's PID 1; None: not visible here
        self._over: set[tuple[str, str]] = set()  # (session, holding) above the bound at the last look
        self._strained = dict.fromkeys(strains, 0)
        self._before: dict[Strain, float | None] = {}
        self._last = 0.0
        self._quiet = 0.0
        self._pause = QUIET_SECONDS[0]
        # One thread, so that a slow read of /proc never uses up those of the default pool.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="watchdog")

    async def run(self) -> None:
        """Looks at all sessions every `interval` seconds, until it is cancelled."""
        try:
            while True:
                await asyncio.sleep(self._interval)
                try:
                    await self.look()
                except EngineError as error:
                    log.info("watchdog: the engine does not answer", extra=fields(why=error.message))
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    def warnings(self) -> list[str]:
        """Why sessions cannot be watched, as sentences; none when they can."""
        if self._pids and all(pid is None for pid in self._pids.values()):
            return [
                "The sessions' processes are not visible in /proc (an engine on another machine, mapped user"
                " ids, or hidepid): sessions that use too many locks, buffers or kernel time are not ended."
            ]
        return []

    async def look(self) -> None:
        """One look at all sessions, which may end some, and may take seconds.  Raises EngineError."""
        sessions = {name: one for name, one in self._sessions().items() if not one.over}
        # Sessions that ended take their notes with them.
        self._over = {key for key in self._over if key[0] in sessions}
        if not sessions:
            self._pids.clear()
            return
        # New sessions first: their process ids are needed below.
        await self._find(sessions)
        pids = {name: pid for name, pid in self._pids.items() if pid is not None}
        # Locks are counted by user id, so they need no process ids.
        await self._judge(LOCKS, sessions, await self._ask(self._locks, sessions))
        await self._judge(WAITING, sessions, await self._ask(self._waiting, pids))
        for strain in await self._ask(self._lasting):
            await self._search(strain, sessions)

    async def cpu_seconds(self, names: Collection[str]) -> Mapping[str, float]:
        """Processor time of the containers of these sessions, as far as it can be read from here."""
        pids = {name: pid for name, pid in self._pids.items() if pid is not None and name in names}
        return await self._ask(self._charged, pids)

    async def _ask(self, question: Callable[..., Answer], *arguments: object) -> Answer:
        """Reads files of the kernel in the thread, as that can take a while."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, question, *arguments)

    async def _find(self, sessions: Mapping[str, Session]) -> None:
        for name in self._pids.keys() - sessions.keys():
            del self._pids[name]
        for name in sessions.keys() - self._pids.keys():
            with contextlib.suppress(EngineError):  # it has ended, or the next look finds it
                pid = (await self._engine.inspect(sessions[name].container.id)).pid
                here = await self._ask(self._host.uid, pid)
                # With mapped user ids (userns-remap) or a remote engine the number names another process, or
                # none.
                self._pids[name] = pid if pid and here == sessions[name].container.uid else None

    # --- holdings ----------------------------------------------------------------------------------------

    def _locks(self, sessions: Mapping[str, Session]) -> dict[str, int]:
        users = self._host.locks(LOCKS.bound)
        return {name: users[one.container.uid] for name, one in sessions.items()}

    def _waiting(self, pids: Mapping[str, int]) -> dict[str, int]:
        return {name: self._host.waiting_bytes(pid) for name, pid in pids.items()}

    async def _judge(
        self, holding: Holding, sessions: Mapping[str, Session], amounts: Mapping[str, int]
    ) -> None:
        for name, amount in amounts.items():
            key = (name, holding.name)
            if amount <= holding.bound:
                self._over.discard(key)
            # Once may be a moment's peak.
            elif amount < 4 * holding.bound and key not in self._over:
                self._over.add(key)
            else:
                self._over.discard(key)
                held, most = (
                    f"{number // holding.each:,}{holding.unit}" for number in (amount, holding.bound)
                )
                self._evict(sessions[name], f"it has {held} {holding.name}; the limit is {most}")

    # --- strains -----------------------------------------------------------------------------------------

    def _lasting(self) -> list[Strain]:
        """The strains that have lasted long enough for a search."""
        now = time.monotonic()
        passed, self._last = now - self._last, now
        found = []
        for strain in self._strains:
            value, before = strain.read(self._host), self._before.get(strain)
            self._before[strain] = value
            # By the time that has really passed: a look may be late on a busy machine.
            high = value is not None and before is not None and (value - before) / passed >= strain.share
            self._strained[strain] = self._strained[strain] + 1 if high else 0
            if self._strained[strain] >= strain.looks and now >= self._quiet:
                found.append(strain)
        return found

    async def _search(self, strain: Strain, sessions: Mapping[str, Session]) -> None:
        """Pauses the suspects, and ends the one that causes the strain, if there is one."""
        self._strained[strain] = 0
        for name in await self._suspects():
            session = sessions[name]
            try:
                going, stopped = await self._try(strain, session)
            except EngineError as error:
                log.info("watchdog: not stopped", extra=fields(session=session.id, why=error.message))
                continue
            seen = {"going": [f"{one:.2f}" for one in going], "stopped": [f"{one:.2f}" for one in stopped]}
            log.info("watchdog: tested a session", extra=fields(what=strain.name, session=session.id, **seen))
            # Either a large part of the whole machine's time, or of the strain that there is.
            enough = min(MIN_DIFFERENCE * strain.share, MIN_PART * mean(going))
            # Every measurement with it must be above every one without: an average alone could be chance.
            apart = min(going) > max(stopped) and mean(going) - mean(stopped) >= enough
            if apart and not session.over:
                shares = f"{mean(going):.0%} of the time, {mean(stopped):.0%} while it was paused"
                self._evict(session, f"{strain.name}: {shares}, in {TURNS} measurements")
                self._pause = QUIET_SECONDS[0]
                return
        # A search pauses innocent sessions, so without a result it is repeated ever more rarely.
        self._quiet = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, QUIET_SECONDS[1])

    async def _suspects(self) -> list[str]:
        """The ids of the sessions with the most CPU time at the moment, the busiest first."""
        pids = {name: pid for name, pid in self._pids.items() if pid is not None}
        before = await self._ask(self._charged, pids)
        await asyncio.sleep(MEASURE_SECONDS)
        after = await self._ask(self._charged, pids)
        shares = {
            # Only sessions of both measurements: others have just begun or ended.
            name: (after[name] - before[name]) / MEASURE_SECONDS
            for name in after.keys() & before.keys()
        }
        busy = sorted(
            (name for name, share in shares.items() if share >= MIN_CPU_SHARE), key=lambda name: -shares[name]
        )
        return busy[:MAX_SUSPECTS]

    def _charged(self, pids: Mapping[str, int]) -> dict[str, float]:
        seconds = {name: self._host.session_seconds(pid) for name, pid in pids.items()}
        return {name: value for name, value in seconds.items() if value is not None}

    async def _try(self, strain: Strain, session: Session) -> tuple[list[float], list[float]]:
        """The strain's shares of the time, (while the session runs, while it is paused).

        Raises EngineError."""
        going, stopped = [await self._share(strain)], []
        for _ in range(TURNS):
            async with self._stopped(session):
                # What it has left in the kernel's queues still runs for a moment.
                await asyncio.sleep(DRAIN_SECONDS)
                stopped.append(await self._share(strain))
            going.append(await self._share(strain))
        return going, stopped

    async def _share(self, strain: Strain) -> float:
        began, before = time.monotonic(), await self._ask(strain.read, self._host)
        await asyncio.sleep(MEASURE_SECONDS)
        # Both reads in the watchdog's thread, so the time between them is measured and not assumed.
        after = await self._ask(strain.read, self._host)
        return ((after or 0.0) - (before or 0.0)) / (time.monotonic() - began)

    @contextlib.asynccontextmanager
    async def _stopped(self, session: Session) -> AsyncIterator[None]:
        """Pauses the session's container within the block; afterwards it continues, whatever happens."""
        try:
            await self._engine.pause(session.container.id)
            yield
        finally:
            # Also after an error, as the engine may have paused it in spite of that, and shielded, as a stop
            # of the server must not leave a paused session to the next one.
            await asyncio.shield(self._resume(session))

    async def _resume(self, session: Session) -> None:
        try:
            await self._engine.unpause(session.container.id)
        except EngineError as error:
            # A session that stays paused would hang for its users, with nothing to tell them why.
            session.container.condemn(f"it was paused and could not be resumed: {error.message}")

    # --- the end -----------------------------------------------------------------------------------------

    def _evict(self, session: Session, why: str) -> None:
        if not session.over:
            log.warning("session evicted", extra=fields(**whose(session.record), why=why))
            session.evict(why)
