"""Charges live sessions for what they use, and has the sums written to the database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping

from coderunner.errors import DatabaseUnavailable
from coderunner.logs import fields
from coderunner.sessions.quotas import Quotas
from coderunner.sessions.session import Session
from coderunner.store.store import Store

log = logging.getLogger(__name__)

SECONDS = 2.0  # between two looks: for so long a program may go on when its quota is used up


class Charging:
    """`sessions()`: of the server, by id. `cpu(names)`: processor time of their containers in seconds, as far
    as it can be read. `instance`: INSTANCE_NAME."""

    def __init__(
        self,
        quotas: Quotas,
        store: Store,
        instance: str,
        sessions: Callable[[], Mapping[str, Session]],
        cpu: Callable[[Collection[str]], Awaitable[Mapping[str, float]]],
    ) -> None:
        self._quotas = quotas
        self._store = store
        self._instance = instance
        self._sessions = sessions
        self._cpu = cpu
        self._restored = False

    async def watch(self) -> None:
        """Charges until it is cancelled."""
        while True:
            await self._charge()
            await self.note()
            await asyncio.sleep(SECONDS)

    async def _charge(self) -> None:
        live = {name: one for name, one in self._sessions().items() if not one.over}
        limited = [name for name, one in live.items() if one.charges.limited]
        seconds = await self._cpu(limited) if limited else {}
        for name in limited:
            if not live[name].over:
                live[name].charges.charge(seconds.get(name))

    async def note(self) -> None:
        """Has the sums written that have changed; at first reads those of the server before."""
        if self._store.database.trouble is not None:
            return  # nothing is lost: a sum is written as a whole, once that is possible
        if not self._restored:
            try:
                await self._quotas.restore(self._store, self._instance)
            except DatabaseUnavailable as error:
                log.info("use from before is not known yet", extra=fields(why=error.message))
                return
            self._restored = True
        self._quotas.note(self._store, self._instance)
