"""The commands of compile lines: what they need at their start was made with the image."""

from __future__ import annotations

import marshal
import re
import subprocess
import sys
from pathlib import Path

import pytest

from coderunner import declarations
from coderunner.engine.recipes import language_recipe
from tests.harness import docker

BASE = declarations.FOLDER / "base"
DOCKERFILES = {path.parent: path.read_text("utf-8") for path in declarations.FOLDER.glob("*/Dockerfile")}
COMMANDS = sorted(
    folder / name
    for folder, text in DOCKERFILES.items()
    for name in re.findall(r"install-command /tmp/([\w-]+)", text)
)
# Each takes as long to import as Python to start, or longer.
SLOW = ("re", "socket", "subprocess", "shutil", "json")
COMMAND = '''
from patterns import DOTALL, IGNORECASE, MULTILINE, compiled

WORDS = compiled(r"(?P<first>\\w+) (\\w+)", IGNORECASE)
LINES = compiled(r"^a.c$", MULTILINE | DOTALL)
BYTES = compiled(rb"\\bx+\\b")


def main(*words):
    import sys
    print("re" in sys.modules, WORDS.search("..One two")["first"], LINES.findall("a\\nc\\nabc\\nabcd"))
    print(BYTES.sub(b"<>", b"xx y x"), WORDS.flags, BYTES.split(b"1 xx 2"), WORDS.groupindex["first"], words)
    print(compiled("a late one").pattern, "re" in sys.modules)
'''  # fmt: skip


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The folder of a command that was installed by the machine's own Python."""
    library = tmp_path / "library"
    library.mkdir()
    (library / "patterns.py").write_text((BASE / "patterns.py").read_text("utf-8"), "utf-8")
    (tmp_path / "say-it").write_text(COMMAND, "utf-8")
    (tmp_path / "bin").mkdir()
    environment = {"LIBRARY": str(library), "COMMANDS": str(tmp_path / "bin")}
    words = [sys.executable, "-I", str(BASE / "install-command"), str(tmp_path / "say-it")]
    subprocess.run(words, env=environment, check=True, timeout=30)
    return tmp_path


def said(installed: Path) -> list[str]:
    words = [sys.executable, "-IS", str(installed / "bin" / "say-it"), "one", "two"]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()


def test_a_command_s_patterns_are_those_that_it_wrote_down(installed: Path) -> None:
    flags = (re.I | re.U).value
    assert said(installed) == [
        "False One ['a\\nc', 'abc']",
        f"b'<> y <>' {flags} [b'1 ', b' 2'] 1 ('one', 'two')",
        "a late one True",
    ]


@pytest.mark.parametrize("harm", ["missing", "cut", "of another Python"])
def test_without_them_it_compiles_them_itself(installed: Path, harm: str) -> None:
    file = installed / "library" / "patterns.marshal"
    if harm == "missing":
        file.unlink()
    elif harm == "cut":
        file.write_bytes(file.read_bytes()[:100])
    else:
        _, made = marshal.loads(file.read_bytes())
        file.write_bytes(marshal.dumps((1, made)))
    first, *others = said(installed)
    assert first == "True One ['a\\nc', 'abc']"
    assert len(others) == 2


@pytest.mark.long
@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_command_imports_nothing_slow_in_its_image(path: Path) -> None:
    module = path.name.replace("-", "_")
    code = (
        "import sys; sys.path.insert(0, '/usr/local/lib/coderunner');"
        f" import {module}; print(*sorted(sys.modules.keys() & set({SLOW})), {module}.__cached__)"
    )
    image = language_recipe(declarations.FOLDER, path.parent.name).reference
    printed = docker("run", "--rm", "--network=none", image, "python3", "-IS", "-c", code)
    # Nothing of SLOW, and it was compiled with the image.
    assert re.fullmatch(rf"/usr/local/lib/coderunner/__pycache__/{module}\.cpython-\d+\.pyc\n", printed)
