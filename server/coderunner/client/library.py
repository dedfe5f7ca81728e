"""The client library: programs on a server from Python, by `async` or, in `blocking`, without.

A program's output is an ordinary iterator, which survives lost connections and restarts of the server:
nothing of it is lost or doubled. Of a terminal alone the oldest output is dropped if the program prints more
than 1 MiB meanwhile, which `Output.lost` tells.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import msgspec

from coderunner.client import grading
from coderunner.client.asking import asked, languages_of, request
from coderunner.client.channel import Piece
from coderunner.client.copying import OPEN_BYTES, bring_files, divided
from coderunner.client.credential import unusable
from coderunner.client.line import Place
from coderunner.client.live import CHANNEL, Live
from coderunner.client.patience import Away
from coderunner.client.plain import mapping
from coderunner.client.program import Output as Output
from coderunner.client.program import Program
from coderunner.client.refused import Refused, refusal
from coderunner.client.rest import Rest
from coderunner.client.session import Files, Session, end_session, messages_of, run_message
from coderunner.client.visit import Visit
from coderunner.schema.answers import LanguageView
from coderunner.schema.api import RunAnswer


class Client:
    """A server, as an async context manager; at its end the sessions of its programs are ended.

    `url`: the server's address, or `unix:` and the path of its socket. `key`: an API key or a token, "" for
    none; Refused is raised for what cannot be one. All methods raise Refused with the server's reason, whose
    `retryable` says whether to try again, and outside of the client's block.
    """

    def __init__(self, url: str, key: str = "") -> None:
        if problem := unusable(url, key):
            raise Refused(problem)
        self._visit = Visit(url, key)
        self._sessions: set[Session] = set()
        self._following: set[asyncio.Task[None]] = set()  # of programs that were begun

    async def __aenter__(self) -> Self:
        await self._visit.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._following:
            task.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)
        await asyncio.gather(*(session.close() for session in self._sessions))
        await self._visit.__aexit__(kind, error, trace)

    async def languages(self) -> Sequence[LanguageView]:
        """The server's languages, the most used ones first."""
        return await languages_of(self._visit)

    async def run(
        self, language: str, source: str | bytes | None = None, *, files: Files | None = None, **fields: Any
    ) -> RunAnswer:
        """Runs a program to its end, and returns all that came of it (`POST /api/run`).

        `source`: its only file; or `files`. `fields`: others of the request, as `stdin`, `args`, `env`,
        `limits`, `entry`; bytes are sent as they are. It is run
        once, also if the connection is lost meanwhile.
        """
        document: dict[str, Any] = {"language": language, **fields}
        if source is not None:
            document["source"] = source
        if files is not None:
            rows = messages_of(files)
            document["files"] = [{"path": one.path, "content": one.content} for one in rows]
        document = await request(self._visit, document)
        status, text = await asked(self._visit, "api/run", document)
        if status != 200:
            raise refusal(self._visit.place, status, text)
        try:
            return msgspec.json.decode(text, type=RunAnswer)
        except msgspec.DecodeError:
            raise Away(self._visit.place, status).refused from None

    def start(
        self,
        language: str,
        source: str | bytes | None = None,
        *,
        files: Files | None = None,
        entry: str | None = None,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        terminal: tuple[int, int] | None = None,
    ) -> Program:
        """Prepares a program in a session of its own, which begins when it is iterated over or written to.

        `source`: the content of the file `entry`, which has to be named then; or `files`. `terminal`: columns
        and rows of a terminal for it; None for pipes.
        """
        given = mapping(files, "the files")
        if source is not None:
            if entry is None:
                raise Refused("name the entry of the source, for example main.py")
            given[entry] = source
        sent, large = divided(messages_of(given))
        message = run_message(CHANNEL, sent, entry, args, env, None, terminal)

        async def bring(place: Place) -> None:
            """Uploads the files for which the message has no room."""
            await bring_files(Rest(self._visit.url, place, self._visit.http), large)

        live = Live(self._visit, language, lambda: message, bring=bring if large else None)

        def begin() -> None:
            """Begins the program, once; what follows it ends with this client."""
            if not live.begun:
                live.begin()
                task = asyncio.create_task(self._followed(live), name="client-start")
                self._following.add(task)
                task.add_done_callback(self._following.discard)

        def output() -> AsyncGenerator[Piece, None]:
            begin()
            return live.output()

        return Program(live.channel, output, begin, terminal=terminal is not None)

    async def _followed(self, live: Live) -> None:
        """Waits for a program's end, and ends its session, which would hold a place until the client's
        end."""
        try:
            await asyncio.wait((live.begin(),))
        finally:
            await live.leave()
        if live.place is not None and live.exit is not None:
            await end_session(self._visit, live.place)

    async def open(
        self,
        language: str,
        *,
        files: Files | None = None,
        limits: Mapping[str, int] | None = None,
        group: tuple[str, str] | bool = False,
        member: str | None = None,
        room: str | None = None,
    ) -> Session:
        """Opens a session, waiting for a place; it lives until its `close`, or the end of this client.

        `files`: to begin with. `limits`: `memory_bytes`, `pids`, `lifetime_ms`, `idle_ms`. `group`: True for
        a new private network, that of another session (`Session.group`) to join it. `member`: the host name
        there. `room`: whose teachers may watch.
        """
        sent, large = divided(messages_of(files or {}), OPEN_BYTES)
        fields: dict[str, Any] = {"files": tuple(sent), "limits": mapping(limits, "the limits")}
        fields |= {"member": member, "room": room, "network": "group" if group else "none"}
        if not isinstance(group, bool):
            if not (isinstance(group, tuple | list) and len(group) == 2):
                raise Refused("a group is to be True, or that of another session")
            fields["group"], fields["group_token"] = group
        session = Session(self._visit, language, fields, self._sessions.discard)
        self._sessions.add(session)
        try:
            await session.begin()
            for one in large:
                await session.files.put(one.path, bytes(one.content))
        except BaseException:
            await session.close()
            raise
        return session

    async def batch(
        self, document: dict[str, Any], told: Callable[[dict[str, Any]], None] = lambda _: None
    ) -> dict[str, Any]:
        """Judges a program by many inputs (`POST /api/batch`), and returns the answer.

        `document`: the request; bytes in it are sent as they are. `told`: is called with each verdict as it
        comes, once.
        """
        return await grading.grade(self._visit, await request(self._visit, document), told)
