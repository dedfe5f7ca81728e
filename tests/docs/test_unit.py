"""`make test-unit`: pure logic is tested on a machine that has nothing but Python."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.harness import ROOT

pytestmark = pytest.mark.timed  # an empty machine's own time is the case, and all tests are imported anew
TOOLS = ["bash", "cat", "cut", "dirname", "env", "flock", "id", "mkdir", "sed", "sha256sum", "tail"]


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """An environment whose PATH has what every system has, and nothing that other tests drive."""
    path = tmp_path_factory.mktemp("path")
    for name in TOOLS:
        place = shutil.which(name)
        assert place, name
        (path / name).symlink_to(place)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return {**kept, "PATH": str(path), "DOCKER_HOST": "tcp://127.0.0.1:9"}


def run(bare, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [ROOT / "scripts/test.sh", *words], env=bare, cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    "path", ["tests/core/test_limits.py", "tests/web/test_guard.py::test_an_origin_that_is_none_is_refused"]
)
def test_a_part_of_it(bare, path):
    code, said = run(bare, path, "-q")
    assert code == 0, said
    assert " passed" in said


@pytest.mark.timeout(150)  # all of them are imported, by a new process
def test_all_of_it_is_found(bare):
    code, said = run(bare, "--unit", "--collect-only", "-q", "-n", "0")
    assert code == 0, said
    assert "tests collected" in said
    for folder in ("tests/core/", "tests/config/", "tests/fleet/test_queue.py"):
        assert folder in said


def test_another_kind_of_test_prepares_what_it_needs(bare):
    code, said = run(bare, "tests/core", "tests/web/test_run.py")
    assert code == 1
    assert "no engine answers there" in said
