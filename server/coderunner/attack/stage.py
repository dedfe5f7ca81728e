"""What a case's script gets: access to the server. Everything that it opens is closed after it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping

from coderunner.attack import raw
from coderunner.attack.means import Means
from coderunner.client.peer import Peer, Unexpected
from coderunner.client.visit import Visit
from coderunner.schema.answers import QueueBlock


class Stage(Visit):
    """A visit that can also open raw WebSocket connections. `means`: what the operator lends to it."""

    def __init__(
        self, url: str, bearer: str = "", means: Means | None = None, *, slowness: float = 1.0
    ) -> None:
        super().__init__(url, bearer, slowness=slowness)
        self.means = means

    def by(self, bearer: str) -> Stage:
        """A visit to the same server with another credential."""
        return Stage(self.url, bearer, slowness=self.slowness)

    @contextlib.asynccontextmanager
    async def raw(self, path: str = "ws", headers: Mapping[str, str] | None = None) -> AsyncIterator[raw.Raw]:
        """Yields an upgraded WebSocket on which frames are written byte by byte."""
        async with raw.websocket(self.url, path, {**self.headers, **(headers or {})}) as one:
            yield one

    async def settled(self, condition: Callable[[QueueBlock], bool], seconds: float) -> bool:
        """Waits until the figures of the server's queue meet a condition; returns False after `seconds`."""
        deadline = time.monotonic() + seconds * self.slowness
        while not condition((await self.stats()).queue):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.05)  # the protocol has no event for it
        return True


async def sessions_at_once(stage: Stage, stack: contextlib.AsyncExitStack, maximum: int) -> list[Peer]:
    """Opens at most `maximum` sessions: as many as the server has free slots and allows one client.
    `stack` closes them."""
    queue = (await stage.stats()).queue
    found: list[Peer] = []
    # No more than are free: an opening that waits in the queue would not be live at the same time.
    for _ in range(min(maximum, queue.max_concurrent - queue.active)):
        try:
            found.append(await stack.enter_async_context(stage.session()))
        except Unexpected as error:
            # The limit for one client is not known in advance; any other refusal is a failure.
            if "too_many_sessions" not in str(error):
                raise
            break
    return found
