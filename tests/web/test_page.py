"""The page's document: that of the bundle if it is up to date, otherwise the one that loads the sources."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest

from coderunner.places import STATIC
from coderunner.web.page import ADMIN, HASHED, WALL, WebClient, takes


def make(folder: Path) -> None:
    texts = {"app/main.js": "run()", "style/base.css": "a{}", "index.html": "<html>"}
    for name, text in {**texts, "admin/index.html": "<admin>", "room/index.html": "<room>"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")


def bundle(folder: Path) -> None:
    names = ["admin/index.html", "app/main.js", "index.html", "room/index.html", "style/base.css"]
    digest = hashlib.sha256(b"".join(name.encode() + b"\0" + (folder / name).read_bytes() for name in names))
    (folder / "dist/page").mkdir(parents=True, exist_ok=True)
    (folder / "dist/page/index.html").write_text("<bundled>", "utf-8")
    (folder / "dist/page/admin.html").write_text("<bundled admin>", "utf-8")
    (folder / "dist/page/room.html").write_text("<bundled room>", "utf-8")
    (folder / "dist/page/sources.txt").write_text(digest.hexdigest(), "ascii")


def test_a_change_is_seen_without_a_build(tmp_path: Path) -> None:
    make(tmp_path)
    client = WebClient(tmp_path, watched=True)
    assert client.document().read_text() == "<html>", "nothing is built yet"
    bundle(tmp_path)
    assert client.document().read_text() == "<bundled>"
    assert client.document(ADMIN).read_text() == "<bundled admin>"
    assert client.document(WALL).read_text() == "<bundled room>"
    (tmp_path / "app/main.js").write_text("walk()", "utf-8")
    assert client.document().read_text() == "<html>"
    assert client.document(ADMIN).read_text() == "<admin>"
    (tmp_path / "app/new.js").write_text("", "utf-8")
    (tmp_path / "app/main.js").write_text("run()", "utf-8")
    assert client.document().read_text() == "<html>", "a file more"
    (tmp_path / "app/new.js").unlink()
    assert client.document().read_text() == "<bundled>", "by content, not by time"


def test_in_production_it_is_looked_at_once(tmp_path: Path) -> None:
    make(tmp_path)
    bundle(tmp_path)
    client = WebClient(tmp_path, watched=False)
    assert client.document().read_text() == "<bundled>"
    (tmp_path / "app/main.js").write_text("walk()", "utf-8")
    assert client.document().read_text() == "<bundled>"


def test_the_document_says_in_development_that_it_is(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "index.html").write_text('<html lang="en">', "utf-8")
    assert WebClient(tmp_path, watched=True).smallest("br") == (b'<html data-development lang="en">', None)
    packed, encoding = WebClient(tmp_path, watched=True).smallest("br, gzip")
    assert (gzip.decompress(packed), encoding) == (b'<html data-development lang="en">', "gzip")
    assert WebClient(tmp_path, watched=False).smallest("gzip") == (b'<html lang="en">', None)


def test_the_script_and_the_server_count_the_sources_alike() -> None:
    assert WebClient(STATIC, watched=True).document() == STATIC / "dist/page/index.html", "scripts/setup.sh"


@pytest.mark.parametrize(
    ("accepted", "taken"),
    [
        ("gzip, deflate, br, zstd", True), ("gzip", False), ("", False), ("BR;q=0.5", True),
        ("br;q=0", False), ("br; q=0.0, gzip", False), ("sbr", False),
    ],
)  # fmt: skip
def test_what_a_client_takes(accepted: str, taken: bool) -> None:
    assert takes(accepted, "br") is taken


def test_names_with_a_hash() -> None:
    assert HASHED.match("/static/dist/page/main-5J55VBSD.js")
    assert HASHED.match("/static/dist/chunk-XF5MOY5K.js")
    for name in ("/static/app/main.js", "/static/dist/xterm.js", "/static/dist/page/index.html"):
        assert not HASHED.match(name)
