"""One server with all facades, and the environment with the other systems' public clients."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import ROOT, Server, running_server

ENVIRONMENT = ROOT / ".run/facades"
LOCK = ROOT / "requirements-facades.lock"
SETTINGS = {"LANGUAGES": "python,c", "FACADES": "piston,judge0,jobe", "WARM_MAX": "4"}


@pytest.fixture(scope="package")
def facades(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("facades"), ready=("python", "c"), **SETTINGS) as server:
        yield server


@pytest.fixture(scope="package")
def clients() -> Path:
    """A Python with the clients of requirements-facades.lock."""
    python, stamp = ENVIRONMENT / "bin/python", ENVIRONMENT / ".made"
    if not stamp.exists() or stamp.read_text() != LOCK.read_text():
        subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True, timeout=60)
        words = ["-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary=:all:", "-r", LOCK]
        subprocess.run([python, *words], check=True, timeout=200)
        stamp.write_text(LOCK.read_text())
    return python
