"""`coderunner cp` from a server that means ill."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coderunner.client import copying
from coderunner.client.refused import Refused, printable
from coderunner.client.rest import Answer


class Hostile:
    """Answers as a session with these files."""

    def __init__(self, *paths: str) -> None:
        self._paths = paths

    async def __call__(self, method: str, path: str = "", body: object = None) -> Answer:
        rows = [{"path": one, "folder": False} for one in self._paths]
        listed = json.dumps({"files": rows, "complete": True}).encode()
        if path == "/files":
            return Answer(200, {"Content-Type": "application/json"}, listed)
        return Answer(200, {"Content-Type": "application/octet-stream"}, b"content")


@pytest.mark.parametrize("path", ["made/../mine", "made/../../mine", "made/a/../../mine", "made/a\0b"])
@pytest.mark.parametrize("target", ["new", "there"])
async def test_nothing_is_written_beside_what_was_named(tmp_path: Path, path: str, target: str):
    (tmp_path / "there").mkdir()
    for mine in (tmp_path / "mine", tmp_path / "there/mine"):
        mine.write_text("before")
    rest = Hostile("made/good", path)
    with pytest.raises(Refused, match="outside"):
        await copying.download(rest, "made", tmp_path / target, lambda _: None)  # type: ignore[arg-type]
    assert {one.read_text() for one in tmp_path.rglob("mine")} == {"before"}
    rest = Hostile("made/good")
    assert await copying.download(rest, "made", tmp_path / target, lambda _: None) == 1  # type: ignore[arg-type]


def test_what_a_server_says_does_not_move_the_terminal():
    assert printable("a\x1b]2;title\x07\r\nö") == "a?]2;title??\nö"
