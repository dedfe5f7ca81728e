"""Recovery from faults of this server: a session is dropped from memory, and adopted anew.

Its clients get 1011 and come back; its container, its programs and its token are as they were.  Where this
server fails at the same session again and again, that ends it, and says why.
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
from coderunner.sessions.record import BadSeal, record_in
from coderunner.sessions.session import Session
from coderunner.tasks import Tasks

log = logging.getLogger(__name__)

FAULTS, FAULT_SECONDS = 3, 60.0  # so many in so many seconds end a session
PAUSE_SECONDS = 0.5  # before another attempt
ADOPT_SECONDS = 30.0  # in which its agent must answer
COME_BACK_MS = 500  # after which clients ask again

Register = Callable[[Container, Language, Record], Session]


class _NotThere(Exception):
    """The container, its agent or its record is gone."""


class Recovery:
    """``register`` makes a session of a container and its record; ``ended`` gives back what a session had
    that cannot be recovered; ``key`` is the instance's."""

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
        self._faults: dict[str, deque[float]] = {}  # by session, when this server failed at it
        self._returning: dict[str, Session] = {}

    def check(self, session: str | None) -> None:
        """Raises InternalError, to be tried again soon, where this session is about to be there again."""
        if session in self._returning:
            raise InternalError(retry_after_ms=COME_BACK_MS)

    def failed(self, session: Session) -> None:
        """This server failed at one of the session's tasks."""
        if self._given_up(session):
            session.end("engine_lost")
            return
        session.drop()
        self._returning[session.id] = session
        self._tasks.start(self._return(session), "session-return")

    def forget(self, session: str) -> None:
        """It is over."""
        self._faults.pop(session, None)

    async def stop(self) -> list[Session]:
        """Recovers none any more; those that were on their way, whose containers live."""
        await self._tasks.stop()
        left = list(self._returning.values())
        self._returning.clear()
        return left

    def _given_up(self, session: Session) -> bool:
        moments = self._faults.setdefault(session.id, deque(maxlen=FAULTS))
        moments.append(timing.now())
        if len(moments) < FAULTS or moments[-1] - moments[0] > FAULT_SECONDS:
            return False
        log.error(
            "a session ends: too many faults of this server", extra=fields(session=session.id)
        )
        return True

    async def _return(self, session: Session) -> None:
        await session.container.close()
        recovered = await self._attempts(session)
        del self._returning[session.id]
        if not recovered:
            await self._ended(session, "engine_lost")

    async def _attempts(self, session: Session) -> bool:
        while True:
            try:
                await self._adopt(session)
                log.info("session recovered", extra=fields(session=session.id))
                return True
            except _NotThere as error:
                log.warning("session not recovered", extra=fields(session=session.id, why=str(error)))
                return False
            except Exception:
                log.exception("recovering a session failed", extra=fields(session=session.id))
                if self._given_up(session):
                    return False
            await asyncio.sleep(PAUSE_SECONDS)

    async def _adopt(self, session: Session) -> None:
        old = session.container
        container = Container(
            self._engine, old.id, session=old.session, language=old.language, uid=old.uid, socket=old.socket
        )
        try:
            record = await self._record(container)
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
            raise _NotThere(str(error) or type(error).__name__) from None
