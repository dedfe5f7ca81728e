"""The client library: programs on a server from Python, by `async` or, in `blocking`, without.

A program's output is an ordinary iterator, which survives lost connections and restarts of the server:
nothing of it is lost or doubled.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec

from coderunner.client import grading
from coderunner.client.asking import asked
from coderunner.client.live import CHANNEL, PIECE, Live, Refused
from coderunner.client.refused import refusal
from coderunner.client.visit import Visit
from coderunner.schema import messages as m
from coderunner.schema.answers import Languages, LanguageView
from coderunner.schema.api import RunAnswer
from coderunner.wire.journal import STDERR

Files = Mapping[str, str | bytes]
"""Paths of a program's files, with their contents."""


class Output(NamedTuple):
    """A piece of a program's output. `stream`: `stdout` or `stderr`; a terminal's is all `stdout`."""

    stream: str
    data: bytes


class Program:
    """A program that runs on a server: iterate over it for its output, until it has ended."""

    def __init__(self, live: Live) -> None:
        self._live = live

    async def __aiter__(self) -> AsyncIterator[Output]:
        """Yields the output as it comes. Raises Refused if the program cannot be run or followed any more."""
        async for stream, data in self._live.output():
            yield Output("stderr" if stream == STDERR else "stdout", data)

    @property
    def exit(self) -> m.Exit | None:
        """How it ended: `reason`, `code`, `signal`, `limits_hit`, `usage`; None before that."""
        return self._live.exit

    async def write(self, data: str | bytes) -> None:
        """Sends input; waits while the program takes none."""
        raw = data.encode() if isinstance(data, str) else data
        for begin in range(0, len(raw), PIECE):
            await self._live.type(raw[begin : begin + PIECE])

    async def end_input(self) -> None:
        """Closes its standard input. For programs without a terminal."""
        await self._live.end_input()

    async def resize(self, cols: int, rows: int) -> None:
        """Sets the size of its terminal."""
        await self._live.resize(cols, rows)

    async def signal(self, name: str) -> None:
        """Sends a signal, by its name without SIG: `INT`, `TERM`, `KILL`."""
        await self._live.signal(name)


class Client:
    """A server, as an async context manager; at its end the sessions of its programs are ended.

    `url`: the server's address, or `unix:` and the path of its socket. `key`: an API key or a token, "" for
    none. All methods raise Refused with the server's reason, whose `retryable` says whether to try again.
    """

    def __init__(self, url: str, key: str = "") -> None:
        self._visit = Visit(url, key)

    async def __aenter__(self) -> Self:
        await self._visit.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._visit.__aexit__(kind, error, trace)

    async def languages(self) -> Sequence[LanguageView]:
        """The server's languages, the most used ones first."""
        return (await self._visit.document("api/languages", Languages)).languages

    async def run(
        self, language: str, source: str | None = None, *, files: Files | None = None, **fields: Any
    ) -> RunAnswer:
        """Runs a program to its end, and returns all that came of it (`POST /api/run`).

        `source`: its only file; or `files`. `fields`: others of the request, as `stdin`, `args`, `env`,
        `limits`, `entry`. It is run once, also if the connection is lost meanwhile.
        """
        document: dict[str, Any] = {"language": language, **fields}
        if source is not None:
            document["source"] = source
        if files is not None:
            rows = [m.File(path, _bytes(content)) for path, content in files.items()]
            document["files"] = [{"path": one.path, "content_base64": one.content} for one in rows]
        status, text = await asked(self._visit, "api/run", msgspec.to_builtins(document))
        if status != 200:
            raise refusal(self._visit.place, status, text)
        return msgspec.json.decode(text, type=RunAnswer)

    def start(
        self,
        language: str,
        source: str | None = None,
        *,
        files: Files | None = None,
        entry: str | None = None,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        terminal: tuple[int, int] | None = None,
    ) -> Program:
        """Prepares a program, which begins when it is iterated over.

        `source`: the content of the file `entry`, which has to be named then; or `files`. `terminal`: columns
        and rows of a terminal for it; None for pipes.
        """
        given = dict(files or {})

        def begin() -> m.Run:
            rows = tuple(m.File(path, _bytes(content)) for path, content in given.items())
            cols, lines = terminal or (None, None)
            mode = "tty" if terminal else "pipe"
            return m.Run(
                CHANNEL,
                mode,
                files=rows,
                entry=entry,
                args=tuple(args),
                env=dict(env or {}),
                cols=cols,
                rows=lines,
            )

        if source is not None:
            if entry is None:
                raise Refused("name the entry of the source, for example main.py")
            given[entry] = source
        return Program(Live(self._visit, language, begin))

    async def batch(
        self, document: dict[str, Any], told: Callable[[dict[str, Any]], None] = lambda _: None
    ) -> dict[str, Any]:
        """Judges a program by many inputs (`POST /api/batch`), and returns the answer.

        `document`: the request. `told`: is called with each verdict as it comes, once.
        """
        return await grading.grade(self._visit, document, told)


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content
