"""A small picture of a terminal as text: what it shows of usual output, and that nothing else gets in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderunner.core.tile import COLUMNS, LINES, LOOKED_AT, tile


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"", ""),
        (b"one\r\ntwo\r\n", "one\ntwo"),
        (b"$ ls\r\n\x1b[01;34mdir\x1b[0m  main.py\r\n$ ", "$ ls\ndir  main.py\n$"),
        (b" 10%\r 50%\r100%", "100%"),
        (b"ab\bc", "ac"),
        (b"old\r\n\x1b[H\x1b[2Jnew", "new"),
        (b"old\r\n\x1b[H\x1b[Jnew", "new"),
        (b"prompt$ \x1b[K\x1b[J", "prompt$"),  # as shells write behind what is typed
        (b"\x1b]0;a title\x07after", "after"),
        (b"\x1b]0;a title without an end", ""),
        (b"\x1b[1;1Htop\x1b[5;1Hbelow", "\ntop\nbelow"),
        ("r\u00e4tsel \u202e\u200f".encode(), "r\u00e4tsel"),
        (b"<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>"),
        (b"half a character \xc3", "half a character \ufffd"),
    ],
)
def test_what_is_shown(data: bytes, shown: str) -> None:
    assert tile(data) == shown


def test_the_last_lines_are_shown() -> None:
    shown = tile(b"".join(b"line %d\r\n" % number for number in range(1000)))
    assert shown.split("\n") == [f"line {number}" for number in range(1000 - LINES, 1000)]


ODD = st.lists(
    st.sampled_from([b"\x1b[", b"\x1b]", b"\x07", b"\x1b", b"\r", b"\n", b"\b", b"\t", b"2J", b"x" * 300])
    | st.binary(max_size=20)
).map(b"".join)


@given(ODD)
def test_no_output_sends_anything_else_than_short_lines_of_what_can_be_seen(data: bytes) -> None:
    lines = tile(data).split("\n")
    assert len(lines) <= LINES
    for line in lines:
        assert len(line) <= COLUMNS
        assert line == "" or line.isprintable()


@given(st.binary(max_size=200), st.integers(1, 3000))
def test_what_is_further_back_is_not_looked_at(begin: bytes, more: int) -> None:
    end = b"e" * (LOOKED_AT + more)
    assert tile(begin + end) == tile(end)
