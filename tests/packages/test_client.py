"""The client library as a distribution of its own, in an environment without the server and what it needs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.client.examples import EXAMPLES
from tests.harness import ROOT, Server, running_server
from tests.web.ordering import COUNT, again, numbers

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

CALL_SECONDS = 120
PROJECT = ROOT / "clients/python/pyproject.toml"
README = (ROOT / "clients/python/README.md").read_text()
OF_README = zip(
    re.findall(r"^```python\n(.*?)^```", README, re.M | re.S), [r"stdout b'hello Ada\\n'\n0\n"], strict=True
)
FOLLOW = """
import sys
from coderunner.client.blocking import Client

with Client(sys.argv[1]) as client:
    program = client.start("python", sys.argv[2], entry="main.py")
    for output in program:
        sys.stdout.buffer.write(output.data)
        sys.stdout.flush()
    print(program.exit.reason, program.exit.code)
"""
TYPED = """
import asyncio
from coderunner.client.library import Client

async def main() -> int | None:
    async with Client("http://localhost") as client:
        answer = await client.run("python", "1")
        reveal_type(answer.stdout)
        return answer.exit.code if answer.exit else None
"""


def call(*words: str | Path, cwd: Path, environment: dict[str, str] | None = None) -> str:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        words,
        cwd=cwd,
        env={**clean, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=CALL_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def declared(path: Path) -> list[str]:
    found: list[str] = tomllib.loads(path.read_text())["project"]["dependencies"]
    return found


def provide(names: list[str], target: Path) -> None:
    """Copies installed distributions, with what they need, into another environment."""
    waiting, seen = list(names), set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        found = distribution(name)
        for file in found.files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                copy = target / file
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), copy)
        for one in map(Requirement, found.requires or ()):
            if one.marker is None or one.marker.evaluate({"extra": ""}):
                waiting.append(one.name)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose virtual environment has the wheel and what it requires, and nothing else."""
    folder = tmp_path_factory.mktemp("client")
    ignored = shutil.ignore_patterns("*.egg-info", "__pycache__", "build", "languages")
    for name in ("clients/python", "server/coderunner"):
        shutil.copytree(ROOT / name, folder / "sources" / name, ignore=ignored)
    pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation")
    call(*pip, "-w", folder, folder / "sources/clients/python", cwd=folder)
    [wheel] = folder.glob("*.whl")
    call(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    python = folder / "venv/bin/python"
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    libraries = Path(call(python, "-c", ask, cwd=folder).strip())
    provide([Requirement(one).name for one in declared(PROJECT)], libraries)
    call(python, "-m", "pip", "install", "--no-index", wheel, cwd=folder)
    return folder


def test_it_requires_what_the_server_requires_of_these(home: Path) -> None:
    assert set(declared(PROJECT)) < set(declared(ROOT / "pyproject.toml"))
    listed = call(home / "venv/bin/python", "-m", "pip", "list", "--format=freeze", cwd=home)
    assert "coderunner-client==" in listed
    assert "docker" not in listed
    assert "sqlalchemy" not in listed.lower()
    assert "No broken requirements" in call(home / "venv/bin/python", "-m", "pip", "check", cwd=home)


@pytest.mark.parametrize(("example", "seen"), [*EXAMPLES, *OF_README])
def test_examples(home: Path, server: Server, example: str, seen: str) -> None:
    given = {"CODERUNNER": server.url}
    told = call(home / "venv/bin/python", "-c", example, cwd=home, environment=given)
    assert re.fullmatch(seen, told, re.S), told


def test_it_is_typed(home: Path) -> None:
    (home / "typed.py").write_text(TYPED)
    mypy = (sys.executable, "-m", "mypy", "--strict", "--python-executable", home / "venv/bin/python")
    told = call(*mypy, "--cache-dir", home / "cache", "typed.py", cwd=home)
    assert 'Revealed type is "str | msgspec.UnsetType"' in told.replace("builtins.", "")


def test_output_survives_the_servers_death(home: Path, tmp_path: Path) -> None:
    with running_server(tmp_path, LANGUAGES="python") as server:
        python = home / "venv/bin/python"
        program = COUNT.format(n=60, pause=0.05)
        words = [python, "-c", FOLLOW, server.url, program]
        with subprocess.Popen(words, cwd=home, stdout=subprocess.PIPE, text=True) as client:
            assert client.stdout is not None
            seen = ""
            while "0000010" not in seen:
                line = client.stdout.readline()
                assert line, f"it ended after {seen!r}"
                seen += line
            server.process.kill()
            server.process.wait()
            later = again(server, tmp_path)
            seen += client.stdout.read()
            assert client.wait(CALL_SECONDS) == 0
        assert seen == numbers(60) + "exited 0\n"
        assert later.stop() == 0
