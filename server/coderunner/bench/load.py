"""A load test: several sessions at one time, each of which runs programs and types, until the time is over.

As a command, it prints its figures as a line of JSON each second:
`python -m coderunner.bench.load URL SESSIONS SECONDS LANGUAGE`, with the credential in CODERUNNER_KEY.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import aiohttp
import msgspec

from coderunner.client.peer import Peer, Unexpected
from coderunner.client.visit import Visit
from coderunner.schema import messages as m
from coderunner.schema.admin import LoadFigures, LoadTest, Times
from coderunner.schema.answers import Languages, LanguageView

PATIENCE_SECONDS = 60.0  # in the queue
RUN_SECONDS = 60.0  # for a program
KEYS = 10  # that are typed in each session
KEY_SECONDS = 0.1  # between two of them, as a person types
ROUND_SECONDS = 8.0  # after which a session is ended, and another is opened
PAUSE_SECONDS = 1.0  # after an opening that was refused
TELL_SECONDS = 1.0
MAX_ERRORS = 20  # kinds that are told apart
CHANNEL_ECHO = 1


@dataclass(slots=True)
class Measured:
    """What was measured until now; times in milliseconds. `waiting`: numbers of the users for whom the server
    has no place yet."""

    sessions: int = 0
    runs: int = 0
    keys: int = 0
    open: list[float] = field(default_factory=list)
    first_byte: list[float] = field(default_factory=list)
    echo: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    waiting: set[int] = field(default_factory=set)

    def fail(self, kind: str) -> None:
        """Counts an error by its code or kind; kinds beyond MAX_ERRORS count as `others`."""
        self.errors[kind if kind in self.errors or len(self.errors) < MAX_ERRORS else "others"] += 1

    def figures(self) -> LoadFigures:
        """The figures of the report."""
        return LoadFigures(
            sessions=self.sessions,
            runs=self.runs,
            keys=self.keys,
            open=_times(self.open),
            first_byte=_times(self.first_byte),
            echo=_times(self.echo),
            errors=dict(self.errors),
            waiting=len(self.waiting),
        )


def _times(values: Sequence[float]) -> Times:
    """The count and quantiles of times."""
    if not values:
        return Times(0, None, None)
    ordered = sorted(values)

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 2)

    return Times(len(ordered), at(0.5), at(0.95))


class Load:
    """A load test. `sessions`: at one time. `seconds`: after which no session is opened. `language`: its name
    on the server."""

    def __init__(self, visit: Visit, sessions: int, seconds: float, language: str) -> None:
        self._visit = visit
        self._sessions = sessions
        self._seconds = seconds
        self._language = language
        self._view: LanguageView | None = None
        self._ends = 0.0
        self.measured = Measured()

    async def run(self, told: Callable[[float, LoadFigures], None]) -> LoadFigures:
        """Runs the test. `told`: called with the progress, from 0 to 1, and the figures. Raises Unexpected
        and aiohttp's errors if the server cannot be reached or has no such language."""
        found = await self._visit.document("api/languages", Languages)
        self._view = next((one for one in found.languages if one.name == self._language), None)
        if self._view is None:
            raise Unexpected(f"the server has no language {self._language!r}")
        began = time.monotonic()
        self._ends = began + self._seconds
        users = [asyncio.create_task(self._user(n), name="load-user") for n in range(self._sessions)]
        try:
            while users:
                done, rest = await asyncio.wait(users, timeout=TELL_SECONDS)
                for one in done:
                    one.result()
                users = list(rest)
                told(min(1.0, (time.monotonic() - began) / self._seconds), self.measured.figures())
        finally:
            for one in users:
                one.cancel()
            await asyncio.gather(*users, return_exceptions=True)
        return self.measured.figures()

    async def _user(self, number: int) -> None:
        """Opens sessions one after the other until the time is over."""
        while time.monotonic() < self._ends:
            try:
                await self._session(number)
            except Unexpected as error:
                self.measured.fail(_kind(str(error)))
                await asyncio.sleep(PAUSE_SECONDS)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                self.measured.fail(type(error).__name__)
                await asyncio.sleep(PAUSE_SECONDS)
            finally:
                self.measured.waiting.discard(number)

    async def _session(self, number: int) -> None:
        """One session: types into a shell, then runs programs for ROUND_SECONDS. Raises Unexpected and
        aiohttp's errors."""
        began = time.monotonic()
        waits = partial(self.measured.waiting.add, number)
        async with self._visit.session(self._language, patience=PATIENCE_SECONDS, delayed=waits) as peer:
            self.measured.waiting.discard(number)
            self.measured.open.append(_since(began))
            self.measured.sessions += 1
            await self._type(peer)
            channel = CHANNEL_ECHO
            until = min(self._ends, began + ROUND_SECONDS)
            while True:
                channel += 1
                await self._run(peer, channel)
                if time.monotonic() >= until:
                    return

    async def _run(self, peer: Peer, number: int) -> None:
        """Runs the language's first sample, as a new user does. Raises Unexpected."""
        assert self._view is not None
        sample = self._view.samples[0]
        began = time.monotonic()
        files = tuple(m.File(one.path, one.content.encode()) for one in sample.files)
        message = m.Run(number, "tty", files=files, entry=sample.entry, args=sample.args, cols=80, rows=24)
        await peer.send(message)
        channel = peer.channel(number)
        await peer.wait(lambda: channel.end or channel.exit or channel.refused, RUN_SECONDS, "a first byte")
        if channel.refused is not None:
            raise Unexpected(f"not run: {channel.refused.code}: {channel.refused.message}")
        self.measured.first_byte.append(_since(began))
        if channel.exit is None:
            await peer.send(m.Kill(number))  # a sample may wait for its user
        await peer.ended(number, RUN_SECONDS)
        self.measured.runs += 1

    async def _type(self, peer: Peer) -> None:
        """Types into a shell, and measures the echo. Raises Unexpected."""
        await peer.send(m.Shell(CHANNEL_ECHO, 80, 24))
        channel = peer.channel(CHANNEL_ECHO)
        await peer.wait(lambda: channel.end or channel.refused, RUN_SECONDS, "a shell")
        if channel.refused is not None:
            raise Unexpected(f"no shell: {channel.refused.code}: {channel.refused.message}")
        for _ in range(KEYS):
            if time.monotonic() >= self._ends:
                break
            end, began = channel.end, time.monotonic()
            await peer.input(CHANNEL_ECHO, b"x")
            await peer.wait(lambda end=end: channel.end > end, RUN_SECONDS, "an echo")  # type: ignore[misc]
            self.measured.echo.append(_since(began))
            self.measured.keys += 1
            await asyncio.sleep(KEY_SECONDS)
        await peer.send(m.Kill(CHANNEL_ECHO))


def _kind(text: str) -> str:
    """The code of the error in an exception's text; without one, the text's beginning."""
    for part in text.replace(";", " ").split():
        if part.endswith(":") and part[:-1].replace("_", "").isalpha() and "_" in part:
            return part[:-1]
    return text[:80]


def _since(began: float) -> float:
    """Milliseconds since `began`, a time of the monotonic clock."""
    return (time.monotonic() - began) * 1000


async def _main(url: str, sessions: int, seconds: int, language: str) -> int:
    """Runs the test, and prints figures and errors. Returns the exit code."""
    work = asyncio.current_task()
    assert work is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)

    def told(progress: float, figures: LoadFigures) -> None:
        """Prints the figures as a line of JSON, in the form of the operator's LoadTest."""
        test = LoadTest("", "running", sessions, seconds, language, 0.0, None, progress, "", figures)
        sys.stdout.buffer.write(msgspec.json.encode(test) + b"\n")
        sys.stdout.buffer.flush()

    # Leaving it ends the sessions, also after SIGTERM.
    async with Visit(url, os.environ.get("CODERUNNER_KEY", "")) as visit:
        load = Load(visit, sessions, seconds, language)
        try:
            told(1.0, await load.run(told))
        except (Unexpected, aiohttp.ClientError, OSError, TimeoutError) as error:
            print(str(error) or type(error).__name__)
            return 1
        except asyncio.CancelledError:
            told(0.0, load.measured.figures())
    return 0


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, asyncio.CancelledError):
        sys.exit(asyncio.run(_main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])))
