"""What a command shows of builds: details where they are asked for, and the end of a failed one always."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import ROOT, docker

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
NAME = "awk"
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(tmp_path: Path, base_image: str) -> Iterator[Command]:
    """`command(step, *options)` builds an image that has this step, by a copy of the sources."""
    shutil.copytree(ROOT / "server", tmp_path / "server", ignore=shutil.ignore_patterns("__pycache__"))
    dockerfile = tmp_path / f"server/coderunner/languages/{NAME}/Dockerfile"
    built: list[str] = []

    def run(step: str, *options: str) -> subprocess.CompletedProcess[str]:
        dockerfile.write_text(f"ARG BASE\nFROM ${{BASE}}\nRUN {step}\n")
        words = ("--env-file", "/dev/null", "images", "build", NAME, *options)
        done = subprocess.run(
            [sys.executable, "-m", "coderunner", *words],
            env={**os.environ, "PYTHONPATH": str(tmp_path / "server")},
            capture_output=True, text=True, timeout=200,
        )  # fmt: skip
        if done.returncode == 0:
            built.append(done.stdout.splitlines()[-1])
        return done

    yield run
    for reference in built:
        docker("rmi", reference)


def test_steps_and_their_output_are_shown_with_v_alone(command: Command, tmp_path: Path) -> None:
    plain = command(f"echo {tmp_path.name}; echo no''ise")
    assert plain.returncode == 0, plain.stderr
    before, first, second, reference = plain.stdout.splitlines()
    assert before.startswith("1 image is to be built and needs about ")
    assert first == f"  building {reference}"
    assert second.startswith(f"  built {reference} in ")
    assert plain.stderr == ""
    whole = command(f"echo {tmp_path.name}; echo no''ise again", "-v")
    lines = whole.stdout.splitlines()
    assert any(line.startswith("  Step 3/") for line in lines)
    assert "  | noise again" in lines


# Few lines: both streams are pipes of their own, and what comes last of the two is open.
def test_the_end_of_a_failed_step_is_always_shown(command: Command) -> None:
    failed = command("seq 9; echo the cause >&2; exit 7")
    assert failed.returncode == 1
    assert "could not be built: step 3 of " in failed.stderr
    assert "its command ended with code 7\n" in failed.stderr
    assert "\nthe cause\n" in failed.stderr
    assert "Step 3/" not in failed.stdout
