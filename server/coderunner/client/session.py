"""A session that its caller keeps open: several programs and shells in one container, and its files."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import aiohttp
import msgspec

from coderunner.client.channel import Piece, ProgramChannel
from coderunner.client.copying import divided
from coderunner.client.line import Line, Place
from coderunner.client.patience import PAUSE, RECONNECT_SECONDS, Away
from coderunner.client.plain import Bytes, mapping, raw
from coderunner.client.program import Program
from coderunner.client.refused import Refused, check_names, refusal
from coderunner.client.rest import Answer, Rest, file_route
from coderunner.client.visit import Visit
from coderunner.schema import messages as m
from coderunner.schema.answers import FileEntry, FileList
from coderunner.schema.check import problems

T = TypeVar("T", bound=msgspec.Struct)
Files = Mapping[str, str | bytes]
"""Paths of files, with their contents."""

CLOSE_SECONDS = 15.0  # for which a server that is away is asked to end a session


class Group(NamedTuple):
    """A private network that sessions share. `token`: who has it may join."""

    id: str
    token: str


class Workspace:
    """The files of a session. A request is repeated while the server restarts."""

    def __init__(self, visit: Visit, place: Place) -> None:
        self._place, self._rest = visit.place, Rest(visit.url, place, visit.http)

    async def put(self, path: str, content: str | bytes) -> None:
        """Writes a file, and the folders above it; what was there is replaced. Raises Refused."""
        await self.ask("PUT", file_route(path), raw(content, "the content"))

    async def get(self, path: str) -> bytes:
        """The content of a file. Raises Refused."""
        return (await self.ask("GET", file_route(path))).body

    async def list(self) -> Sequence[FileEntry]:
        """All files and folders, sorted by `path`. Raises Refused, also if there are too many to list."""
        answer = await self.ask("GET", "/files")
        try:
            found = msgspec.json.decode(answer.body, type=FileList)
        except msgspec.DecodeError:
            raise Away(self._place, answer.status).refused from None
        if not found.complete:
            raise Refused("the session has too many files to be listed")
        return found.files

    async def ask(
        self, method: str, path: str, body: bytes | None = None, seconds: float = RECONNECT_SECONDS
    ) -> Answer:
        """The answer to a request that may be repeated, which is done for `seconds` while the server is away.
        Raises Refused."""
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        while True:
            try:
                answer = await self._rest(method, path, body)
                if answer.status < 300 and answer.own:
                    return answer
                why = refusal(self._place, answer.status, answer.body.decode(errors="replace"))
                # 503: also of a server that has restarted, and has not found the container yet.
                if answer.own and not (answer.status in (429, 502, 503, 504) and why.retryable):
                    raise why
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                told = str(error) or type(error).__name__
                why = Refused(
                    f"the server at {self._place} cannot be reached any more: {told}", retryable=True
                )
            if loop.time() > due:
                raise why
            await asyncio.sleep(PAUSE)


LATE_SECONDS = (
    3.0  # for the answer to an opening that is given up; it takes some milliseconds, or has to wait
)


class Session:
    """A container of the caller's own on a server, with its programs and files, opened by `Client.open`. An
    async context manager, which ends it. Over a lost connection or a restart of the server, output, input and
    files continue where they were."""

    def __init__(
        self, visit: Visit, language: str, fields: dict[str, Any], closed: Callable[[Session], None]
    ) -> None:
        """`fields`: of the message `open`. `closed`: is called when it was closed."""
        self._visit, self._closed = visit, closed
        self._opened = asyncio.Event()
        self._line = Line(visit, language, fields=fields, begun=lambda _: self._opened.set())
        self._following: asyncio.Task[None] | None = None
        self._channels = 0

    async def begin(self) -> Self:
        """Opens it; waits for a place. For `Client.open`. Raises Refused."""
        self._following = asyncio.create_task(self._line.follow(lambda: False), name="session-follow")
        opened = asyncio.create_task(self._opened.wait(), name="session-open")
        try:
            # Whichever comes first: it is open, or it cannot be had.
            await asyncio.wait((self._following, opened), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            # The server may have opened it, with its answer on the way: without that nobody could end it.
            await asyncio.wait(
                (self._following, opened), timeout=LATE_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            await self.close()
            raise
        finally:
            opened.cancel()
        if not self._opened.is_set():
            await self._following  # raises why
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def id(self) -> str:
        """Its id on the server."""
        return self._message.session

    @property
    def group(self) -> Group | None:
        """Its private network, for `Client.open` of others; None without one."""
        opened = self._message
        return Group(opened.group, opened.group_token) if opened.group and opened.group_token else None

    @property
    def member(self) -> str | None:
        """The host name by which the others of its group reach it."""
        return self._message.member

    @property
    def files(self) -> Workspace:
        """Its files."""
        return Workspace(self._visit, Place(self._message.session, self._message.token))

    async def run(
        self,
        entry: str | None = None,
        *,
        files: Files | None = None,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        limits: Mapping[str, int] | None = None,
        terminal: tuple[int, int] | None = None,
    ) -> Program:
        """Starts a program, of which at most eight run at one time. Raises Refused if the session is over;
        what is wrong with the program is raised where its output is read.

        `entry`: the file to start with; by default the language's own. `files`: are written first.
        `limits`: `wall_ms`, `cpu_ms`, `output_bytes`. `terminal`: columns and rows of a terminal for it; None
        for pipes.
        """
        sent, large = divided(messages_of(files or {}))
        number = self._next()
        message = run_message(number, sent, entry, args, env, limits, terminal)
        for one in large:
            await self.files.put(one.path, bytes(one.content))
        return await self._started(number, message, terminal=terminal is not None)

    async def shell(self, terminal: tuple[int, int] = (80, 24), *, repl: bool = False) -> Program:
        """Starts a shell; with `repl` the language's own prompt. Raises as `run`."""
        number, (cols, rows) = self._next(), cells(terminal)
        message = made_of(m.Shell, channel=number, cols=cols, rows=rows, repl=repl)
        return await self._started(number, message, terminal=True, shell=True)

    async def extend(self) -> None:
        """Restarts its idle time. Raises Refused if the session is over."""
        if self._line.failed is not None:
            raise self._line.failed.again()
        await self._line.send(m.Extend())

    async def close(self) -> None:
        """Ends it, with its programs and files."""
        if self._following is None:
            return
        following, self._following = self._following, None
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        self._closed(self)
        place = self._line.place
        if place is not None and not self._line.over:
            await end_session(self._visit, place)

    @property
    def _message(self) -> m.Opened:
        """The message `opened`. Only after `begin`."""
        assert self._line.opened is not None  # `begin` has returned
        return self._line.opened

    def _next(self) -> int:
        """The number of the next channel; each is used once."""
        self._channels += 1
        return self._channels

    async def _started(
        self, number: int, message: m.Run | m.Shell, *, terminal: bool, shell: bool = False
    ) -> Program:
        """Starts a program on a channel. Raises Refused."""
        channel = ProgramChannel(number, lambda: message)
        await self._line.begin(channel)
        return Program(channel, lambda: self._output(channel), terminal=terminal, shell=shell)

    async def _output(self, channel: ProgramChannel) -> AsyncGenerator[Piece, None]:
        """The output of a channel, whose program the server may forget afterwards."""
        async with contextlib.aclosing(channel.output()) as output:
            async for piece in output:
                yield piece
        await self._line.finish(channel)


async def end_session(visit: Visit, place: Place) -> None:
    """Ends a session that may have ended already."""
    # What is refused has ended already, or is ended by the visit's end.
    with contextlib.suppress(Refused):
        await Workspace(visit, place).ask("DELETE", "", seconds=CLOSE_SECONDS)
        visit.leave(place.session)


def run_message(
    number: int,
    files: Sequence[m.File],
    entry: str | None,
    args: Sequence[str],
    env: Mapping[str, str] | None,
    limits: Mapping[str, int] | None,
    terminal: tuple[int, int] | None,
) -> m.Run:
    """The message that starts a program on a channel. Raises Refused for what no message may have."""
    cols, rows = (None, None) if terminal is None else cells(terminal)
    # A text would be a list of its characters.
    words = list(args) if isinstance(args, Iterable) and not isinstance(args, str | Bytes) else args
    fields: dict[str, Any] = {
        "entry": entry, "args": words, "env": {} if env is None else env, "cols": cols, "rows": rows,
        "limits": {} if limits is None else limits,
    }  # fmt: skip
    made: m.Run = made_of(m.Run, channel=number, mode="tty" if terminal else "pipe", **fields)
    return msgspec.structs.replace(made, files=tuple(files))


def made_of(kind: type[T], **fields: Any) -> T:
    """A message of these fields. Raises Refused for what it may not have, in the server's words."""
    for problem in problems(kind, fields):
        raise Refused(problem.sentence(""))
    return msgspec.convert(fields, kind, str_keys=True)


def cells(terminal: tuple[int, int]) -> tuple[int, int]:
    """A terminal's columns and rows. Raises Refused for what is no pair."""
    if not (isinstance(terminal, Sequence) and len(terminal) == 2):
        raise Refused("a terminal is to be a pair: its columns and rows")
    return terminal[0], terminal[1]


def messages_of(files: Files) -> tuple[m.File, ...]:
    """Files as messages have them. Raises Refused for what are none."""
    check_names(mapping(files, "the files"))
    return tuple(m.File(path, raw(content, f"the content of {path}")) for path, content in files.items())
