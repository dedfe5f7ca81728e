"""What an address of /view/ opens: the one file, or what lies beside a page; nothing that was not granted."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderunner.core.capability import Capability, grant, read

KEY, NOW = b"k" * 32, 1_700_000_000.9
parts = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=9)
paths = st.lists(parts, min_size=1, max_size=5).map("/".join)


@given(paths, paths)
def test_of_a_file_it_opens_that_and_no_other(path: str, other: str) -> None:
    text = grant(KEY, "s-1", path, NOW, page=False)
    assert read(KEY, "s-1", text, path) == Capability(int(NOW), None)
    if other != path:
        assert read(KEY, "s-1", text, other) is None


@given(paths, paths)
def test_of_a_page_it_opens_its_folder_and_what_is_below(path: str, other: str) -> None:
    text = grant(KEY, "s-1", path, NOW, page=True)
    folder = path[: path.rfind("/") + 1]
    assert read(KEY, "s-1", text, path) == Capability(int(NOW), folder)
    assert (read(KEY, "s-1", text, other) is not None) is other.startswith(folder)
    assert read(KEY, "s-1", text, folder + other) == Capability(int(NOW), folder)


@given(paths, st.booleans(), st.integers(0, 39), st.sampled_from("AQz0_-=+/ é"))
def test_a_text_with_another_character_opens_nothing(path: str, page: bool, at: int, by: str) -> None:
    text = grant(KEY, "s-1", path, NOW, page=page)
    changed = text[:at] + by + text[at + 1 :]
    if changed != text:
        assert read(KEY, "s-1", changed, path) is None


@pytest.mark.parametrize("text", ["", "A", "A" * 39, "A" * 40, "A" * 41, "A" * 5000, "é" * 40, "\0" * 40])
def test_what_was_never_granted_opens_nothing(text: str) -> None:
    assert read(KEY, "s-1", text, "a.png") is None


def test_another_session_and_another_key_open_nothing() -> None:
    for page in (False, True):
        text = grant(KEY, "s-1", "a.html", NOW, page=page)
        assert read(KEY, "s-2", text, "a.html") is None
        assert read(b"l" * 32, "s-1", text, "a.html") is None
        # Parts of what is signed cannot move from one to the next.
        assert read(KEY, "s-1\0", text, "a.html") is None


def test_neither_of_the_two_is_the_other() -> None:
    """A file at the top, and a page whose folder is all of it."""
    file, page = (grant(KEY, "s-1", "x.html", NOW, page=page) for page in (False, True))
    assert read(KEY, "s-1", page[:1] + file[1:], "x.html") is None
    assert read(KEY, "s-1", file[:1] + page[1:], "x.html") is None
    assert read(KEY, "s-1", page, "y.json") == Capability(int(NOW), "")


@pytest.mark.parametrize("name", ["é.png", "가.png"])
def test_two_ways_to_write_a_name_are_two_files(name: str) -> None:
    composed, parted = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    text = grant(KEY, "s-1", composed, NOW, page=False)
    assert read(KEY, "s-1", text, composed)
    assert read(KEY, "s-1", text, parted) is None
