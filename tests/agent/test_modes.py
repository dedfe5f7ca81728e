"""The modes of a terminal at any point of its output, however the output is cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coderunner.agent.modes import Modes

SEQUENCES = [
    b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25l", b"\x1b[?25h", b"\x1b[?1;2004h", b"\x1b[?1;2004l",
    b"\x1b[?1000;1006h", b"\x1b[?1000l", b"\x1b=", b"\x1b>", b"text", b"\x1b[31m", b"\x1b[!p", b"\x1bc",
    b"\x1b[?9999h", b"\x1b[?", b"\x1b",
]  # fmt: skip


@given(st.lists(st.sampled_from(SEQUENCES), max_size=20), st.data())
def test_a_cut_changes_nothing(parts, data):
    whole = b"".join(parts)
    at_once, cut_up = Modes(), Modes()
    at_once.feed(whole)
    start = 0
    for cut in [*sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=10))), len(whole)]:
        cut_up.feed(whole[start:cut])
        start = cut
    assert cut_up.restore() == at_once.restore()


@given(st.lists(st.sampled_from(SEQUENCES[:-2]), max_size=20))
def test_restoring_brings_a_fresh_terminal_to_the_same_modes(parts):
    one, other = Modes(), Modes()
    one.feed(b"".join(parts))
    other.feed(one.restore().encode())
    assert other.restore() == one.restore()


def test_an_editor_is_recognised():
    modes = Modes()
    modes.feed(b"$ vim x\r\n\x1b[?1049h\x1b[?1h\x1b=\x1b[?2004h\x1b[?25l" + b"~\r\n" * 5000)
    assert modes.restore() == "\x1b=\x1b[?1049h\x1b[?1h\x1b[?25l\x1b[?2004h"


def test_a_plain_screen_needs_nothing():
    modes = Modes()
    modes.feed(b"hello\x1b[1mbold\x1b[0m" * 1000)
    assert modes.restore() == ""
