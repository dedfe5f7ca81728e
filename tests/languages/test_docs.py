"""docs/languages.md: its example makes a language, its table has the languages and images that there are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from coderunner import declarations
from tests.harness import ROOT, docker, running_server

PAGE = (ROOT / "docs/languages.md").read_text("utf-8")
FILE = re.compile(r"^`([\w./-]+)`:\n\n```\w*\n(.*?)^```$", re.M | re.S)
ROW = re.compile(r"^\| [^|]+ \| `([\w-]+)` \| ([^|]*) \| ([\d,]+) MB \|", re.M)


def coderunner(server: Path, *words: str) -> str:
    """What the command says, run from a copy of the server."""
    done = subprocess.run(
        [sys.executable, "-m", "coderunner", "--env-file", "/dev/null", *words],
        env={**os.environ, "PYTHONPATH": str(server)}, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_example_is_a_language(tmp_path: Path) -> None:
    tree = re.search(r"^languages/(\w+)/\n(.*?)^```$", PAGE, re.M | re.S)
    assert tree
    name = tree[1]
    written = dict(FILE.findall(PAGE))
    assert written.keys() == {line.split()[0] for line in tree[2].splitlines()}
    # The example is what somebody would add to a copy of the project.
    shutil.copytree(ROOT / "server", tmp_path / "server", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "static").symlink_to(ROOT / "static")
    folder = tmp_path / "server/coderunner/languages" / name
    assert not folder.exists(), "the example must be of a language that is not there"
    for path, text in written.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, "utf-8")
    server = tmp_path / "server"
    image = coderunner(server, "images", "build", name).splitlines()[-1]
    try:
        with running_server(tmp_path, ready=(name,), LANGUAGES=name, PYTHONPATH=str(server)) as one:
            said = coderunner(server, "languages", "test", name, "--url", one.url)
    finally:
        docker("rmi", image)
    assert "2 of 2 samples of 1 languages as declared" in said


def rows(text: str) -> dict[str, tuple[str, int]]:
    """(version, megabytes) by language."""
    return {name: (version, int(size.replace(",", ""))) for name, version, size in ROW.findall(text)}


def test_the_table_has_every_language() -> None:
    there = {one.name: one.version for one in declarations.load().languages.values()}
    assert {name: version for name, (version, _) in rows(PAGE).items()} == there


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_tables_sizes_are_those_of_the_images() -> None:
    """Within a tenth, or 40 MB: Debian's packages grow and shrink, and bases made on other days differ."""
    for name, (_, size) in rows(coderunner(ROOT / "server", "languages", "table")).items():
        written = rows(PAGE)[name][1]
        near = abs(size - written) <= max(written / 10, 40)
        assert near, f"{name}: {size} MB, and {written} MB are written"
