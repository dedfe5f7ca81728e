"""A program or shell that runs on a server, as users of the library have it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import NamedTuple

from coderunner.client.channel import PIECE, Piece, ProgramChannel
from coderunner.client.plain import raw
from coderunner.client.refused import Refused
from coderunner.schema import messages as m
from coderunner.schema.check import problems
from coderunner.schema.parts import SIGNALS
from coderunner.wire.journal import STDERR


class Output(NamedTuple):
    """A piece of a program's output. `stream`: `stdout` or `stderr`; a terminal's is all `stdout`. `lost`:
    bytes that are missing before it, of a terminal whose program printed more than is kept (1 MiB) while the
    server was away; then `data` sets the terminal's modes again."""

    stream: str
    data: bytes
    lost: int = 0


class Program:
    """A program that runs on a server: iterate over it for its output, until it has ended.

    `output`: makes the iterator of it. `begin`: is called before input is sent. `terminal`: whether it has
    one. `shell`: whether it is a shell.
    """

    def __init__(
        self,
        channel: ProgramChannel,
        output: Callable[[], AsyncGenerator[Piece, None]],
        begin: Callable[[], object] = lambda: None,
        *,
        terminal: bool,
        shell: bool = False,
    ) -> None:
        self._channel, self._output, self._begin = channel, output, begin
        self._terminal, self._shell = terminal, shell

    async def __aiter__(self) -> AsyncIterator[Output]:
        """Yields the output as it comes. Raises Refused if the program cannot be run or followed any more.

        It is paused while it is 256 KiB ahead of who iterates."""
        async with contextlib.aclosing(self._output()) as output:
            async for piece in output:
                if piece.data or piece.lost:
                    yield Output("stderr" if piece.stream == STDERR else "stdout", piece.data, piece.lost)

    @property
    def exit(self) -> m.Exit | None:
        """How it ended: `reason`, `code`, `signal`, `limits_hit`, `usage`; None before that."""
        return self._channel.exit

    async def write(self, data: str | bytes) -> None:
        """Sends input; waits while the program takes none. What it has not taken when it ends is dropped.
        Raises Refused where it has ended already, or cannot be followed any more."""
        if self._channel.failed is not None:
            raise self._channel.failed.again()
        if self._channel.exit is not None:
            raise Refused("the program has ended, and takes no input")
        sent = raw(data, "the input")
        self._begin()
        for begin in range(0, len(sent), PIECE):
            await self._channel.type(sent[begin : begin + PIECE])

    async def end_input(self) -> None:
        """Closes its standard input; on a terminal, types Ctrl-D, in a shell as soon as its prompt is there.
        Does nothing where it has ended."""
        if self._shell:
            await self._channel.settled()
        if self._terminal and self._channel.exit is None:
            await self.write(b"\x04")
        elif not self._terminal:
            self._begin()
            await self._channel.end_input()

    async def resize(self, cols: int, rows: int) -> None:
        """Sets the size of its terminal; as in all places, sizes are brought into 2 to 1000. Raises Refused
        without a terminal, and for what are no numbers."""
        if not self._terminal:
            raise Refused("the program has no terminal")
        for problem in problems(m.Resize, {"channel": self._channel.number, "cols": cols, "rows": rows}):
            raise Refused(problem.sentence(""))
        await self._channel.resize(cols, rows)

    async def signal(self, name: str) -> None:
        """Sends a signal, by its name without SIG: `INT`, `TERM`, `KILL`; none while the server is away.
        Raises Refused for one that there is not."""
        if name not in SIGNALS:
            raise Refused(f"there is no signal {name}; there are {', '.join(SIGNALS)}")
        await self._channel.signal(name)

    async def kill(self) -> None:
        """Ends it with all processes that it began; nothing while the server is away."""
        await self._channel.kill()
