"""What a program writes cannot take the time of those that look at other sessions."""

from __future__ import annotations

import base64
import random
import time

import pytest

from coderunner.mcp.screen import MAX_MARKS, Screen
from coderunner.mcp.tools import MAX_READ, shown_part

SECONDS = 3.0  # of a processor for 64 KiB; plain text takes 0.3, and what is tested here took minutes
SIZE = 64 * 1024
MARK = "\u0301".encode()
HOSTILE = {
    "marks": b"a" + MARK,
    "marks at the beginning of a line": b"",
    "marks in pieces": MARK + b"\x1b[m",
    "a test pattern": b"\x1b#8",
    "a reversed screen": b"\x1b[?5h\x1b[?5l",
    "the same by a number that is not private": b"\x1b[160h\x1b[160l",
    "132 columns": b"\x1b[?3h\x1b[?3l",
    "huge numbers": b"".join(b"\x1b[999999999" + bytes([final]) for final in b"@ABCDEFGHILMPSTXZ`bdeg"),
    "many numbers": b"\x1b[" + b"9;" * 5000 + b"m",
    "a long number": b"\x1b[" + b"9" * 5000 + b"L",
}


def filled() -> Screen:
    screen = Screen(120, 50)
    screen.feed(b"x" * 120 * 60)
    return screen


@pytest.mark.timed
@pytest.mark.parametrize("unit", [pytest.param(unit, id=name) for name, unit in HOSTILE.items()])
def test_no_sequence_takes_long(unit: bytes) -> None:
    screen = filled()
    data = b"\x1b[2;1H" + MARK * SIZE if not unit else unit * (SIZE // len(unit) + 1)
    began = time.process_time()
    screen.feed(data[:SIZE] if unit else data)
    assert time.process_time() - began < SECONDS


@pytest.mark.timed
def test_no_mixture_takes_long() -> None:
    chosen = random.Random(7)
    parts = [
        b"\x1b[%d%c",
        b"\x1b[?%dh",
        b"\x1b[?%dl",
        b"\x1b#8",
        b"\x1bM",
        b"\n",
        MARK * 40,
        "日".encode(),
        b"abc",
    ]
    for _ in range(20):
        screen, data = filled(), b""
        while len(data) < SIZE // 8:
            part = chosen.choice(parts)
            number, final = chosen.choice((0, 1, 3, 5, 160, 999999999)), chosen.randrange(0x40, 0x7F)
            data += part % ((number, final)[: part.count(b"%")]) if b"%" in part else part
        began = time.process_time()
        screen.feed(data)
        assert time.process_time() - began < SECONDS


def test_a_cell_takes_some_marks_and_what_follows_is_shown() -> None:
    screen = Screen(20, 3)
    screen.feed(b"e" + MARK + b"x" + MARK * 1000 + b"\x1b[m" + MARK * 1000 + b"end")
    shown = screen.text()
    assert shown.startswith("\u00e9x\u0301")
    assert shown.endswith("end")
    assert len(shown) <= 2 + 2 * MAX_MARKS + 3


def test_what_costs_too_much_leaves_the_text_as_it_was() -> None:
    screen = Screen(20, 3)
    screen.feed(b"hello\x1b#8\x1b[?5h\x1b[?3h")
    assert screen.text() == "hello"
    screen.feed(b"\x1b[?5l\x1b[?3l\x1b[2J\x1b[1;1Hbye")
    assert screen.text() == "bye"


@pytest.mark.parametrize("character", ["a", "é", "語", "😀"])
@pytest.mark.parametrize("before", [0, 1, 2, 3])
def test_parts_of_a_file_make_its_text(character: str, before: int):
    text = "x" * before + character * MAX_READ
    data = text.encode()
    starts = range(0, len(data), MAX_READ)
    parts = [shown_part(data[at : at + MAX_READ + 3], inside=at > 0) for at in starts]
    assert "".join(parts) == text


def test_what_is_no_text_is_base64():
    assert shown_part(b"a\xff", inside=False) == "base64:Yf8="
    assert shown_part("é".encode()[1:], inside=False).startswith("base64:")
    raw = b"\xff" * (MAX_READ + 3)
    assert base64.b64decode(shown_part(raw, inside=True).removeprefix("base64:")) == raw[:MAX_READ]
    assert shown_part(b"", inside=True) == ""
