"""The wheel, installed outside of any checkout: the same images and page, a server that runs programs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
import zipfile
from pathlib import Path

import pytest

from coderunner import __version__, places
from tests import harness
from tests.harness import ROOT, docker, running_server, session

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

CALL_SECONDS = 120
SOURCES = ("server", "deploy", "setup.py", "pyproject.toml", "nginx.conf", ".env.production.example",
           "CHANGELOG.md", "LICENSE", "static")  # fmt: skip


def call(*words: str | Path, cwd: Path) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=CALL_SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built of a copy: the checkout's own folder for builds may be in use."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("*.egg-info"))
        else:
            shutil.copy(source, folder / name)
    pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation")
    call(*pip, "-w", "out", ".", cwd=folder)
    [made] = (folder / "out").glob("*.whl")
    return made


@pytest.fixture(scope="module")
def home(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel installed in a virtual environment; what it needs is that of the tests' own."""
    folder = tmp_path_factory.mktemp("installed")
    call(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    python = folder / "venv/bin/python"
    call(python, "-m", "pip", "install", "--no-deps", "--no-index", wheel, cwd=folder)
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    libraries = call(python, "-c", ask, cwd=folder).strip()
    # The names in a .pth of a folder that a .pth names are not followed: no checkout comes in by this.
    (Path(libraries) / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


@pytest.fixture
def installed(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return home


def test_it_carries_every_file_that_is_versioned(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = call("git", "ls-files", "-z", "server", "static", "deploy", cwd=ROOT).split("\0")
    there = [name for name in tracked if name and (ROOT / name).is_file()]
    wanted = {
        name.removeprefix("server/") if name.startswith("server/") else f"coderunner/carried/{name}"
        for name in there
    }
    assert len(wanted) > 500
    assert wanted - names == set()
    assert "coderunner/carried/static/dist/page/index.html" in names
    assert not [name for name in names if "__pycache__" in name or name.endswith((".env", ".pyc"))]
    assert f"coderunner-{__version__}" in wheel.name


def test_its_images_are_the_checkouts(installed: Path) -> None:
    """What an installer compiles beside the languages' modules is no part of them."""
    compiled = [path for path in installed.rglob("__pycache__") if "coderunner/languages" in str(path)]
    assert compiled, "nothing was compiled: the test tries nothing"
    listed = ("images", "list")
    here = call(installed / "venv/bin/coderunner", *listed, cwd=installed).splitlines()
    python = (sys.executable, "-m", "coderunner", "--env-file", "/dev/null")
    checkout = call(*python, *listed, cwd=ROOT).splitlines()
    assert here == checkout
    assert len(here) > 40


def test_its_command_names_the_files_that_an_operator_needs(installed: Path) -> None:
    command = installed / "venv/bin/coderunner"
    listing = dict(line.split(maxsplit=1) for line in call(command, "files", cwd=installed).splitlines())
    assert listing.keys() == places.files().keys()
    for name, path in listing.items():
        assert Path(path).read_text() == (ROOT / name).read_text()
        assert call(command, "files", name, cwd=installed) == (ROOT / name).read_text()
        assert str(installed) in path


async def test_it_serves_the_page_and_runs_a_program(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "ROOT", Path("/nowhere"))  # its server folder would go first
    monkeypatch.setattr(sys, "executable", str(installed / "venv/bin/python"))
    with running_server(tmp_path, LANGUAGES="python", WARM_MAX="1") as server:
        page = fetch(server.url)
        scripts = re.findall(r'src="\.?/?(static/dist/page/[^"]+\.js)"', page)
        assert scripts, "not the bundled page"
        for path in scripts:
            assert fetch(server.url + path)
        assert str(installed) in Path(f"/proc/{server.process.pid}/cmdline").read_text()
        async with session(server) as client:
            await client.run(1, "print(input() + '!')", mode="tty")
            await client.input(1, b"hello\n")
            await client.until(1, "hello!")
        assert docker("ps", "-q", "--filter", f"label=coderunner.instance={server.instance}")
