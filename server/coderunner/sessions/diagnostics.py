"""Problems with a place, found in what a compiler or a failed program printed: told before the program's end.

Nearly always all of it is in the server's own copy of the output when it is due; else it is fetched.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from coderunner.core.diagnostics import MAX_BYTES, MAX_ITEMS, diagnose
from coderunner.errors import AgentLost, CodeRunnerError
from coderunner.schema import messages as m
from coderunner.schema.languages import Pattern
from coderunner.sessions.attachments import Attachments
from coderunner.sessions.channel import Channel
from coderunner.wire.journal import STDERR, STDOUT

MAX_FETCHES = 64
_FAILED = ("exited", "signaled")  # by itself; what we ended has no problem to show
Fetch = Callable[[Channel, int, int], Awaitable[Any]]


class DiagnosticsFinder:
    """``fetch``: a piece of a channel's output from its agent; ``task``: takes work that the session owns."""

    def __init__(
        self,
        patterns: tuple[Pattern, ...],
        attachments: Attachments,
        fetch: Fetch,
        task: Callable[[Coroutine[Any, Any, None], str], object],
    ) -> None:
        self._patterns = patterns
        self._attachments = attachments
        self._fetch = fetch
        self._task = task

    def look(self, channel: Channel) -> None:
        """Look at what is complete by now and was not looked at."""
        if not self._patterns or channel.kind != "run":
            return
        compiled = _compiled_until(channel)
        if compiled is not None and "compile" not in channel.looked_at and channel.cache.end >= compiled:
            self._examine(channel, "compile", 0, compiled)
        end, exit_ = channel.end, channel.exit
        if end is None or exit_ is None or "run" in channel.looked_at or channel.cache.end < end:
            return
        if exit_.reason in _FAILED and exit_.code != 0:
            self._examine(channel, "run", channel.run_offset or 0, end)

    def _examine(self, channel: Channel, phase: str, start: int, end: int) -> None:
        channel.looked_at.add(phase)
        if phase == "run":
            start = max(start, end - MAX_BYTES)
        else:
            end = min(end, start + MAX_BYTES)
        if channel.cache.start > start:
            # The server before has seen it, or it was given up for room: the agent has it.
            self._task(self._recall(channel, phase, start, end), "session-diagnostics")
            return
        streams = [channel.cache.only(stream, start, end) for stream in _streams(channel, phase)]
        self._tell(channel, phase, streams)

    async def _recall(self, channel: Channel, phase: str, start: int, end: int) -> None:
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
            pass  # it is over, or the output is gone
        self._tell(channel, phase, [bytes(found[stream]) for stream in _streams(channel, phase)])

    def _tell(self, channel: Channel, phase: str, streams: list[bytes]) -> None:
        items: list[m.Diagnostic] = []
        for text in streams:
            items += diagnose(text, self._patterns, entry=channel.entry, tail=phase == "run")
        fresh = [item for item in dict.fromkeys(items) if item not in channel.diagnostics]
        if fresh:
            channel.diagnostics = (*channel.diagnostics, *fresh)[:MAX_ITEMS]
            self._attachments.broadcast(m.Diagnostics(channel.number, channel.diagnostics))


def _compiled_until(channel: Channel) -> int | None:
    """Where the compiler's output ends; None while that is not known, or without a compiler."""
    if channel.exit is not None and channel.exit.reason == "compile_failed":
        return channel.end
    return channel.run_offset or None


def _streams(channel: Channel, phase: str) -> tuple[int, ...]:
    """On pipes, what a program says on its standard output is its result and no complaint."""
    if channel.mode == "tty":
        return (STDOUT,)
    return (STDERR,) if phase == "run" else (STDERR, STDOUT)
