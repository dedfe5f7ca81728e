"""What a case is given: the way to the server, and the certainty that nothing of it stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from coderunner.attack import raw
from coderunner.client.peer import Peer, Unexpected
from coderunner.client.visit import Visit


class Stage(Visit):
    """A visit whose sockets may be made by hand."""

    @contextlib.asynccontextmanager
    async def raw(self, path: str = "ws", headers: Mapping[str, str] | None = None) -> AsyncIterator[raw.Raw]:
        """An upgraded connection by hand."""
        async with raw.websocket(self.url, path, {**self.headers, **(headers or {})}) as one:
            yield one

    async def settled(self, condition: Callable[[dict[str, Any]], bool], seconds: float) -> bool:
        """Whether the figures of the server's queue become so in time."""
        deadline = time.monotonic() + seconds
        while not condition((await self.stats())["queue"]):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.05)
        return True


async def sessions_at_once(stage: Stage, stack: contextlib.AsyncExitStack, most: int) -> list[Peer]:
    """As many sessions as the server has slots for and gives to one client, at most these."""
    queue = (await stage.stats())["queue"]
    found: list[Peer] = []
    for _ in range(min(most, queue["maxConcurrent"] - queue["active"])):
        try:
            found.append(await stack.enter_async_context(stage.session()))
        except Unexpected as error:
            if "too_many_sessions" not in str(error):
                raise
            break
    return found
