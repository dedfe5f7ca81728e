"""Progress of builds, as a terminal shows it."""

from __future__ import annotations

import asyncio
import io
import logging
import time

import pyte
import pytest

from coderunner import tasks
from coderunner.bars import Bars, Build, Look, Without, made, shown
from coderunner.logs import fields
from tests.sessions.fakes import until


class Terminal(io.StringIO):
    """A terminal's screen. It has no file descriptor, so its width counts as 80 columns."""

    def __init__(self) -> None:
        super().__init__()
        self.screen = pyte.Screen(80, 12)
        self._stream = pyte.Stream(self.screen)

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._stream.feed(text.replace("\n", "\r\n"))
        return len(text)

    def shown(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display if line.strip()]


def look(ready: int, *titles: str, failed: int = 0) -> Look:
    began = time.monotonic() - 65
    return Look(ready, 44, failed, [Build(title, "step 3 of 9: RUN " + "y" * 99, began) for title in titles])


def test_what_is_ready_and_what_is_built():
    terminal = Terminal()
    bars = Bars(terminal)
    bars.draw(look(12, "Rust", "C++"))
    first, *builds = terminal.shown()
    assert first.startswith("12 of 44 languages are ready  0:00 |")
    assert builds[0].startswith("  Rust  1:05  step 3 of 9: RUN y")
    assert builds[1].startswith("  C++   1:05  step 3 of 9: RUN y")
    assert all(len(line) < 80 for line in builds)
    bars.draw(look(13, "C++", failed=1))
    first, build = terminal.shown()
    assert first.startswith("13 of 44 languages are ready, 1 failed  0:")
    assert build.startswith("  C++  1:05")
    bars.clear()
    assert terminal.shown() == []


def test_lines_of_the_log_stay_above():
    terminal = Terminal()
    bars = Bars(terminal)
    bars.write("before\n")
    bars.draw(look(1, "Rust"))
    bars.write("a language failed\n    | the cause\n")
    bars.draw(look(2))
    lines = terminal.shown()
    assert lines[:3] == ["before", "a language failed", "    | the cause"]
    assert lines[3].startswith("2 of 44 languages are ready")
    assert len(lines) == 4
    bars.clear()
    bars.write("after\n")
    assert terminal.shown() == ["before", "a language failed", "    | the cause", "after"]


async def test_nothing_of_it_is_left_at_the_end():
    terminal = Terminal()
    async with shown(made(terminal, {"TERM": "xterm"}), lambda: look(3)):
        await until(lambda: terminal.shown(), "a drawing")
    assert terminal.shown() == []


async def test_it_is_shown_only_while_something_is_built():
    terminal = Terminal()
    busy = asyncio.Event()
    task = asyncio.create_task(Bars(terminal).show(lambda: look(3), busy))
    try:
        busy.set()
        await until(lambda: terminal.shown(), "a drawing")
        busy.clear()
        await until(lambda: not terminal.shown(), "its end")
        busy.set()
        await until(lambda: terminal.shown(), "another")
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert terminal.shown() == []


@pytest.mark.parametrize(
    ("stream", "term"), [(None, "xterm"), (io.StringIO(), "xterm"), (Terminal(), "dumb"), (Terminal(), None)]
)
def test_what_is_no_terminal_gets_none(stream, term):
    assert made(stream, {} if term is None else {"TERM": term}) is None


def test_the_log_leaves_out_what_the_bars_show():
    rule = Without("a")

    def record(name: str, level: int, **values: str) -> logging.LogRecord:
        made = logging.makeLogRecord({"name": name, "levelno": level, "msg": "x"})
        made.__dict__.update(fields(**values))
        return made

    assert not rule.filter(record("a", logging.INFO, language="c"))
    assert rule.filter(record("a", logging.INFO, ready="2"))
    assert rule.filter(record("a", logging.ERROR, language="c"))
    assert rule.filter(record("b", logging.INFO, language="c"))


@pytest.mark.parametrize("name", ["bars", "progress"])
async def test_a_fault_of_what_draws_is_told_and_it_draws_again(monkeypatch, caplog, name):
    monkeypatch.setattr(tasks, "AGAIN_SECONDS", 0.01)
    terminal = Terminal()
    bars = Bars(terminal)
    looks = [OSError("a fault made by a test")]

    def looked() -> Look:
        if looks:
            raise looks.pop()
        return look(12, "Rust")

    if name == "bars":
        async with shown(bars, looked):
            await until(lambda: any("12 of 44" in line for line in terminal.shown()), "the bars")
    else:  # as the server has it
        busy = asyncio.Event()
        busy.set()
        async with tasks.Tasks("server") as owner:
            owner.keep(lambda: bars.show(looked, busy), "progress")
            await until(lambda: any("12 of 44" in line for line in terminal.shown()), "the bars")
    assert [one.fields["task"] for one in caplog.records if one.levelname == "ERROR"] == [name]
