"""Recovery from faults of this server: a session is dropped from memory, and adopted from its container.

Its clients are closed with 1011 and reconnect; its container, programs and token are not changed.  A session
at which this server fails FAULTS times in FAULT_SECONDS is ended, with its reason.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from coderunner import timing
from coderunner.engine.docker import DockerEngine
from coderunner.errors import CodeRunnerError, InternalError
from coderunner.logs import fields
from coderunner.schema.languages import Language
from coderunner.schema.record import Record
from coderunner.sessions.container import Container
from coderunner.sessions.record import BadSeal, record_in, whose
from coderunner.sessions.session import Session
from coderunner.tasks import Tasks

log = logging.getLogger(__name__)

FAULTS, FAULT_SECONDS = 3, 60.0  # so many faults within this time end a session
PAUSE_SECONDS = 0.5  # between two attempts
ADOPT_SECONDS = 30.0  # in which the agent must answer
RETRY_AFTER_MS = 500  # for clients that ask for the session meanwhile

Register = Callable[[Container, Language, Record], Session]


class _NotThere(Exception):
    """The container, its agent or its record no longer exists."""


class Recovery:
    """Recovers sessions, each as a task.

    ``key``: the instance's.  ``register``: makes a session of a container and its record.  ``ended``: awaited
    for a session that cannot be recovered; it gives back everything that the session had."""

    def __init__(
        self,
        engine: DockerEngine,
        key: bytes,
        *,
        register: Register,
        ended: Callable[[Session, str], Awaitable[None]],
    ) -> None:
        self._engine = engine
        self._key = key
        self._register = register
        self._ended = ended
        self._tasks = Tasks("recovery")
        self._faults: dict[str, deque[float]] = {}  # by session: the moments of this server's faults
        self._returning: dict[str, Session] = {}  # being recovered, by id

    def check(self, session: str | None) -> None:
        """Raises a retryable InternalError while this session is being recovered."""
        if session in self._returning:
            raise InternalError(retry_after_ms=RETRY_AFTER_MS)

    def failed(self, session: Session) -> None:
        """One of the session's tasks has failed by a fault of this server: recovers the session, or ends
        it."""
        if self._given_up(session):
            session.end("engine_lost")
            return
        # First, so that no client reaches the object any more.
        session.drop()
        # From here on clients that come back are told to try again, and not that there is no such session.
        self._returning[session.id] = session
        self._tasks.start(self._return(session), "session-return")

    def forget(self, session: str) -> None:
        """The session has ended: its faults are forgotten."""
        self._faults.pop(session, None)

    async def stop(self) -> list[Session]:
        """Stops all recoveries; returns the sessions that were being recovered, whose containers still
        exist."""
        await self._tasks.stop()
        left = list(self._returning.values())
        self._returning.clear()
        return left

    def _given_up(self, session: Session) -> bool:
        # The deque keeps the last FAULTS moments: their span decides, and nothing has to be cleaned up.
        moments = self._faults.setdefault(session.id, deque(maxlen=FAULTS))
        moments.append(timing.now())
        if len(moments) < FAULTS or moments[-1] - moments[0] > FAULT_SECONDS:
            return False
        told = whose(session.record)
        log.error("a session ends: too many faults of this server", extra=fields(**told))
        return True

    async def _return(self, session: Session) -> None:
        recovered = await self._attempts(session)
        # From here on clients that ask get the final answer.
        del self._returning[session.id]
        if not recovered:
            await self._ended(session, "engine_lost")

    async def _attempts(self, session: Session) -> bool:
        while True:
            try:
                # Within the attempt: where this fails, too, the session must not stay here for ever.
                await session.container.close()
                await self._adopt(session)
                log.info("session recovered", extra=fields(**whose(session.record)))
                return True
            except _NotThere as error:
                log.warning("session not recovered", extra=fields(**whose(session.record), why=str(error)))
                return False
            except Exception:
                log.exception("recovering a session failed", extra=fields(**whose(session.record)))
                # Counted like other faults: the third one ends the session.
                if self._given_up(session):
                    return False
            await asyncio.sleep(PAUSE_SECONDS)

    async def _adopt(self, session: Session) -> None:
        old = session.container
        # A new object: the state of the old one may be what the fault has spoilt.
        container = Container(
            self._engine, old.id, session=old.session, language=old.language, uid=old.uid, socket=old.socket
        )
        try:
            record = await self._record(container)
            # Registered only with a valid record, as after a restart of the server.
            self._register(container, session.language, record)
        except BaseException:
            await container.close()
            raise

    async def _record(self, container: Container) -> Record:
        try:
            async with timing.within(ADOPT_SECONDS):
                await container.connect(start=False)
            return record_in(container.link.hello, self._key, container.id)
        except (CodeRunnerError, LookupError, ValueError, BadSeal, TimeoutError) as error:
            # These are faults of the container or its agent: another attempt would meet the same.
            raise _NotThere(str(error) or type(error).__name__) from None
