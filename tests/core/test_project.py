from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderunner.core.project import check_files, check_path
from coderunner.errors import BadPath, FileTooLarge, RequestError, TooManyFiles
from coderunner.schema.messages import File

GOOD = ["main.py", "a/b/c.txt", "ä ö/ü.md", ".hidden", "..a", "a..", "...", "x" * 255, "/".join(["d"] * 32),
        "a b", "-x", "日本/語"]  # fmt: skip

BAD = {
    "empty": "", "absolute": "/etc/x", "up": "../x", "up inside": "a/../b", "only up": "..", "here": ".",
    "here inside": "a/./b", "double slash": "a//b", "trailing slash": "a/", "NUL": "a\0b", "newline": "a\nb",
    "escape": "a\x1b[2J", "delete": "a\x7f", "C1 control": "a\x9bb", "backslash": "..\\x",
    "right-to-left override": "a\u202egpj.exe", "isolate": "a\u2066b", "mark": "a\u200eb",
    "line separator": "a\u2028b", "lone surrogate": "a\ud800", "long name": "x" * 256,
    "long name in bytes": "ä" * 128, "long path": "/".join(["x" * 200] * 6), "4 KB": "x" * 4096,
    "too deep": "/".join(["d"] * 33),
}  # fmt: skip


def file(path: str, content: bytes = b"") -> File:
    return File(path, content)


def check(*files: File, max_files: int = 10, max_file_bytes: int = 100) -> None:
    check_files(files, max_files=max_files, max_file_bytes=max_file_bytes)


@pytest.mark.parametrize("path", GOOD)
def test_good_paths_stay_as_they_are(path):
    assert check_path(path) == path


@pytest.mark.parametrize("path", BAD.values(), ids=BAD.keys())
def test_bad_paths_are_refused_with_printable_words(path):
    with pytest.raises(BadPath) as caught:
        check_path(path)
    assert caught.value.message.isascii()
    assert caught.value.message.isprintable()
    assert ";" in caught.value.message, "says what to do"
    assert len(caught.value.message) < 400


@given(st.text())
def test_what_passes_is_harmless(path):
    try:
        check_path(path)
    except BadPath:
        return
    assert not path.startswith("/")
    assert "\0" not in path
    assert not {"", ".", ".."} & set(path.split("/"))
    assert len(path.encode()) <= 1024


def test_good_sets():
    check()
    check(file("a"), file("b/a"), file("b/c"), file("ab"))
    check(*(file(str(n)) for n in range(10)))
    check(file("a", bytes(100)))


def test_too_many_files():
    with pytest.raises(TooManyFiles, match="at most 10"):
        check(*(file(str(n)) for n in range(11)))


def test_too_large_a_file():
    with pytest.raises(FileTooLarge, match="101 bytes; send at most 100"):
        check(file("a", bytes(101)))


@pytest.mark.parametrize(
    "paths",
    [
        ("a", "a"),
        ("d/x", "d/x"),
        (unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")),
        ("a", "a/b"),
        ("a/b/c", "a/b"),
        (unicodedata.normalize("NFD", "é"), unicodedata.normalize("NFC", "é") + "/x"),
    ],
)
def test_collisions(paths):
    with pytest.raises(BadPath):
        check(*map(file, paths))
    with pytest.raises(BadPath):
        check(*map(file, reversed(paths)))


names = st.sampled_from(["a", "b", "é", "e\u0301", "..", "", "c"])


@given(st.lists(st.lists(names, min_size=1, max_size=3).map("/".join), max_size=5))
def test_a_set_that_passes_can_be_written(paths):
    try:
        check(*map(file, paths))
    except RequestError:
        return
    written: dict[str, object] = {}
    for path in paths:
        place = written
        *folders, name = unicodedata.normalize("NFC", path).split("/")
        for folder in folders:
            place = place.setdefault(folder, {})
            assert isinstance(place, dict), "a file in the way"
        assert name not in place
        place[name] = "file"
