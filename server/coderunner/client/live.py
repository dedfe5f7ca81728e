"""One program in a session that has no other, followed over lost connections and restarts of the server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable

from coderunner.client.channel import Piece, ProgramChannel
from coderunner.client.line import Line, Place
from coderunner.client.refused import Refused
from coderunner.client.visit import Visit
from coderunner.schema import messages as m

CHANNEL = 1


class Live:
    """One program or shell in a session of its own, or in the session at `place`, where it runs already.

    `start`: makes the message that begins it, on the channel CHANNEL. The others are as of `Line`.
    """

    def __init__(
        self,
        visit: Visit,
        language: str,
        start: Callable[[], m.Run | m.Shell],
        told: Callable[[str], None] = lambda _: None,
        *,
        place: Place | None = None,
        role: str | None = None,
        begun: Callable[[Place], None] = lambda _: None,
        noticed: Callable[[str], None] = lambda _: None,
        stopped: Callable[[], None] = lambda: None,
        bring: Callable[[Place], Awaitable[None]] | None = None,
    ) -> None:
        self._following: asyncio.Task[None] | None = None
        self.channel = ProgramChannel(CHANNEL, start)
        self._line = Line(
            visit, language, told, place=place, role=role, begun=begun, noticed=noticed,
            stopped=stopped, bring=bring,
        )  # fmt: skip
        self._line.channels[CHANNEL] = self.channel

    @property
    def exit(self) -> m.Exit | None:
        """How the program ended; None before that."""
        return self.channel.exit

    @property
    def place(self) -> Place | None:
        """Where the session is; None before it is opened."""
        return self._line.place

    @property
    def over(self) -> bool:
        """Whether the server has no such session any more."""
        return self._line.over

    @property
    def reached(self) -> bool:
        """Whether the program could be spoken to, at any time."""
        return self._line.since > 0

    @property
    def reachable(self) -> bool:
        """Whether the program has begun, and the server is there."""
        return self._line.peer is not None

    @property
    def begun(self) -> bool:
        """Whether `begin` was called."""
        return self._following is not None

    def begin(self) -> asyncio.Task[None]:
        """Opens the session and starts the program, unless `output` has done so. Returns the task that
        follows it, which ends with the program; `leave` ends it before that."""
        if self._following is None:
            work = self._line.follow(lambda: self.channel.over)
            self._following = asyncio.create_task(work, name="live-follow")
        return self._following

    async def leave(self) -> None:
        """Follows the program no more; the session is left as it is."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    async def output(self) -> AsyncGenerator[Piece, None]:
        """Yields the output until the program has ended; then `exit` is set. Raises Refused. Who leaves it
        before that may ask again for the rest.

        What was yielded is confirmed to the server when the next is asked for."""
        following = self.begin()
        try:
            async with contextlib.aclosing(self.channel.output()) as output:
                async for piece in output:
                    yield piece
        except Refused as error:
            # The reason why the session ended is more exact.
            raise (await self._reason(following) or error) from None
        if (why := await self._reason(following)) is not None:
            raise why

    async def _reason(self, following: asyncio.Task[None]) -> BaseException | None:
        """Why the session was ended; None if it was not, or if the program was left."""
        await asyncio.wait((following,))
        error = None if following.cancelled() else following.exception()
        # A new one for each who asks: one that is raised repeatedly gathers the places of all of them.
        return error.again() if isinstance(error, Refused) else error

    async def type(self, data: bytes) -> None:
        """As of `ProgramChannel`."""
        await self.channel.type(data)

    async def end_input(self) -> None:
        """As of `ProgramChannel`."""
        await self.channel.end_input()

    async def resize(self, cols: int, rows: int) -> None:
        """As of `ProgramChannel`."""
        await self.channel.resize(cols, rows)

    async def signal(self, name: str) -> None:
        """As of `ProgramChannel`."""
        await self.channel.signal(name)
