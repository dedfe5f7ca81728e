"""Finds diagnostics (problems with a file and line) in the output of compilers and of failed programs.

Clients are told of them before the program's end.  The output is usually still in the server's cache; if it
is not, it is fetched from the agent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from msgspec.structs import replace

from coderunner import timing
from coderunner.core.diagnostics import (
    MAX_BYTES,
    MAX_HINT_BYTES,
    MAX_HINTS,
    MAX_ITEMS,
    diagnose,
    hints,
    hints_of_end,
)
from coderunner.errors import AgentLost, CodeRunnerError
from coderunner.logs import fields
from coderunner.schema import messages as m
from coderunner.schema.languages import Language
from coderunner.sessions.attachments import Attachments
from coderunner.sessions.channel import Channel
from coderunner.sessions.recall import Fetched
from coderunner.wire.journal import STDERR, STDOUT

log = logging.getLogger(__name__)

MAX_FETCHES = 64  # pieces of output for one search
MAX_SECONDS = 3.0  # that an exit message waits for the search
_FAILED = ("exited", "signaled", "oom")  # reasons of programs that failed by themselves
Fetch = Callable[[Channel, int, int], Awaitable[Fetched]]


class DiagnosticsFinder:
    """Searches the output of a session's channels.

    ``fetch(channel, offset, limit)``: output from the agent.  ``paths()``: of the workspace's files.
    ``task(work, name)``: starts a task of the session."""

    def __init__(
        self,
        language: Language,
        attachments: Attachments,
        fetch: Fetch,
        paths: Callable[[], Awaitable[set[str]]],
        task: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
    ) -> None:
        self._patterns = language.diagnostics
        self._hints = language.hints
        self._attachments = attachments
        self._fetch = fetch
        self._paths = paths
        self._task = task

    def look(self, channel: Channel) -> None:
        """Searches the output of the phases that have ended and were not searched yet."""
        if channel.kind != "run":
            return
        compiled = _compiled_until(channel)
        if compiled is not None and "compile" not in channel.looked_at and channel.cache.end >= compiled:
            self._examine(channel, "compile", 0, compiled)
        end, exit_ = channel.end, channel.exit
        if end is None or exit_ is None or "run" in channel.looked_at or channel.cache.end < end:
            return
        self._hint(channel, exit_, end)
        if exit_.reason in _FAILED and exit_.code != 0:
            self._examine(channel, "run", channel.run_offset or 0, end)
        else:
            channel.looked_at.add("run")

    def _hint(self, channel: Channel, exit_: m.Exit, end: int) -> None:
        """Adds hints to the exit message, such as for a module that is not installed.

        Only output in the cache is searched: when a program has just ended, all that matters is there."""
        if not self._hints:
            return
        found = hints_of_end(self._hints, reason=exit_.reason, signal=exit_.signal, thrashed=channel.thrashed)
        if exit_.reason in (*_FAILED, "compile_failed"):
            failed = exit_.reason == "compile_failed"
            start = max(channel.cache.start, end - MAX_HINT_BYTES, 0 if failed else channel.run_offset or 0)
            streams = _streams(channel, "compile" if failed else "run")
            text = b"\n".join(channel.cache.only(stream, start, end) for stream in streams)
            found = (*hints(text, self._hints), *found)
        channel.exit = replace(exit_, hints=found[:MAX_HINTS])

    def _examine(self, channel: Channel, phase: str, start: int, end: int) -> None:
        channel.looked_at.add(phase)
        if not self._patterns:
            return
        if phase == "run":
            start = max(start, end - MAX_BYTES)
        else:
            end = min(end, start + MAX_BYTES)
        if channel.cache.start > start:
            # The previous server has received it, or the cache has dropped it: the agent still has it.
            self._begin(channel, self._recall(channel, phase, start, end))
            return
        texts = [channel.cache.only(stream, start, end) for stream in _streams(channel, phase)]
        if self._found(channel, phase, texts):
            self._begin(channel, self._tell(channel, phase, texts))

    def _begin(self, channel: Channel, search: Coroutine[Any, Any, None]) -> None:
        channel.searching += 1
        work = self._task(self._search(channel, search), "session-diagnostics")
        # Not in the task, which the end of the session may cancel before it begins.
        work.add_done_callback(lambda _: self._searched(channel, search))

    async def _search(self, channel: Channel, search: Coroutine[Any, Any, None]) -> None:
        try:
            async with timing.within(MAX_SECONDS):
                await search
        except TimeoutError:
            log.debug("a search for problems took too long", extra=fields(channel=channel.number))

    def _searched(self, channel: Channel, search: Coroutine[Any, Any, None]) -> None:
        search.close()
        channel.searching -= 1
        self._attachments.wake()

    async def _recall(self, channel: Channel, phase: str, start: int, end: int) -> None:
        """Searches output that is fetched from the agent."""
        found = {STDOUT: bytearray(), STDERR: bytearray()}
        try:
            for _ in range(MAX_FETCHES):
                if start >= end:
                    break
                piece = await self._fetch(channel, start, end - start)
                if not piece.data:
                    break
                found[piece.stream] += piece.data
                start = piece.begin + len(piece.data)
        except (AgentLost, CodeRunnerError):
            pass  # what was fetched so far is searched
        texts = [bytes(found[stream]) for stream in _streams(channel, phase)]
        if self._found(channel, phase, texts):
            await self._tell(channel, phase, texts)

    def _found(
        self, channel: Channel, phase: str, texts: list[bytes], files: set[str] | None = None
    ) -> list[m.Diagnostic]:
        items: list[m.Diagnostic] = []
        for text in texts:
            items += diagnose(text, self._patterns, entry=channel.entry, tail=phase == "run", files=files)
        return items

    async def _tell(self, channel: Channel, phase: str, texts: list[bytes]) -> None:
        """Sends the diagnostics, of files in the workspace only.

        A tool may name files of libraries, and files of the workspace without their folder.
        """
        files = None
        with contextlib.suppress(AgentLost, CodeRunnerError):
            files = await self._paths()
        items = self._found(channel, phase, texts, files)
        fresh = [item for item in dict.fromkeys(items) if item not in channel.diagnostics]
        if fresh:
            channel.diagnostics = (*channel.diagnostics, *fresh)[:MAX_ITEMS]
            self._attachments.broadcast(m.Diagnostics(channel.number, channel.diagnostics))


def _compiled_until(channel: Channel) -> int | None:
    """The offset at which the compiler's output ends; None while it is not known, and without a compiler."""
    if channel.exit is not None and channel.exit.reason == "compile_failed":
        return channel.end
    return channel.run_offset or None


def _streams(channel: Channel, phase: str) -> tuple[int, ...]:
    """The streams to search: on pipes a program's standard output is its result, and has no diagnostics."""
    if channel.mode == "tty":
        return (STDOUT,)
    return (STDERR,) if phase == "run" else (STDERR, STDOUT)
