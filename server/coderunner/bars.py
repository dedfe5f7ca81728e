"""Progress of the languages' builds at the bottom of a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from coderunner.tasks import Tasks

if TYPE_CHECKING:
    from tqdm import tqdm

DRAW_SECONDS = 0.5  # between two drawings, as the times that they show have whole seconds
MAX_LINES = 4  # builds that are shown; the server runs two, and an operator may start others
COLUMNS = 80  # of a terminal that does not tell its width


@dataclass(frozen=True, slots=True)
class Build:
    """What is being built. `title`: of the language. `step`: for people, may be empty. `since`: when it
    began, by the monotonic clock."""

    title: str
    step: str
    since: float


@dataclass(frozen=True, slots=True)
class Look:
    """How many languages are `ready`, `of` how many; how many `failed`; and what is being built."""

    ready: int
    of: int
    failed: int = 0
    builds: Sequence[Build] = ()


class Bars:
    """A bar of all languages and a line for each build, drawn below what is written to the same terminal.

    `stream`: the terminal. What else is written there while it draws has to go through `write`, as that of
    a logging handler does whose stream this is.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: list[tqdm[Any]] = []
        self._began = time.monotonic()

    def write(self, text: str) -> int:
        """Writes text above the bars; it ends with a new line."""
        if not self._lines:
            return self._stream.write(text)
        from tqdm import tqdm

        tqdm.write(text, file=self._stream, end="")
        return len(text)

    def flush(self) -> None:
        """Flushes the terminal's stream."""
        self._stream.flush()

    def draw(self, look: Look) -> None:
        """Draws the present state."""
        builds = look.builds[:MAX_LINES]
        if not self._lines:
            self._began = time.monotonic()
            self._lines = [self._line("{desc} |{bar:30}|", look.of)]
        while len(self._lines) <= len(builds):
            self._lines.append(self._line("{desc}", 0))
        width = self._width()
        first = self._lines[0]
        first.total, first.n = look.of, look.ready
        failed = f", {look.failed} failed" if look.failed else ""
        clock = _clock(time.monotonic() - self._began)
        first.set_description_str(f"{look.ready} of {look.of} languages are ready{failed}  {clock}")
        titles = max((len(build.title) for build in builds), default=0)
        for line, build in zip(self._lines[1:], builds, strict=False):
            seconds = _clock(time.monotonic() - build.since)
            text = f"  {build.title:<{titles}}  {seconds}  {_plain(build.step)}"
            line.set_description_str(text[: width - 1])
        for line in self._lines[len(builds) + 1 :]:
            line.set_description_str("")

    def clear(self) -> None:
        """Removes the bars from the terminal."""
        for line in reversed(self._lines):
            line.close()
        self._lines = []

    async def show(self, look: Callable[[], Look], busy: asyncio.Event) -> None:
        """Draws whenever `busy` is set, until it is cancelled."""
        try:
            while True:
                await busy.wait()
                while busy.is_set():
                    self.draw(look())
                    await asyncio.sleep(DRAW_SECONDS)
                self.clear()
        finally:
            self.clear()

    def _line(self, form: str, total: int) -> tqdm[Any]:
        from tqdm import tqdm  # here, as only a terminal with something to build needs it

        tqdm.monitor_interval = 0  # no thread: these lines are drawn by `draw` alone
        return tqdm(
            total=total, bar_format=form, position=len(self._lines), leave=False, file=self._stream,
            dynamic_ncols=True,
        )  # fmt: skip

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or COLUMNS
        except (OSError, ValueError):
            return COLUMNS


@contextlib.asynccontextmanager
async def shown(bars: Bars | None, look: Callable[[], Look]) -> AsyncIterator[None]:
    """Draws within the block, if there are bars."""
    if bars is None:
        yield
        return
    busy = asyncio.Event()
    busy.set()
    async with Tasks("progress") as tasks:
        tasks.keep(lambda: bars.show(look, busy), "bars")
        yield


def made(stream: TextIO | None, environment: Mapping[str, str]) -> Bars | None:
    """Bars for this stream; None if it is no terminal, or one that cannot move its cursor (TERM)."""
    if stream is None or not stream.isatty() or environment.get("TERM", "dumb") == "dumb":
        return None
    return Bars(stream)


class Without(logging.Filter):
    """Leaves out what the bars show anyway: what the preparation says of a single language, but no warning
    and no error.

    `name`: of its logger.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be written."""
        told = record.name == self.name and record.levelno < logging.WARNING
        return not (told and "language" in (getattr(record, "fields", None) or {}))


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
