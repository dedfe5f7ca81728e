"""Every language's samples through a whole server, by the command that anybody would use."""

from __future__ import annotations

import subprocess
import sys

import pytest

from coderunner import declarations
from tests.harness import ROOT, Server

SECONDS = 900  # an image that scripts/test.sh did not build before is built now

pytestmark = [pytest.mark.long, pytest.mark.timeout(SECONDS)]


@pytest.mark.parametrize("name", declarations.load().languages)
def test_samples(everything: Server, name: str) -> None:
    command = ["coderunner", "--env-file", "/dev/null", "languages", "test"]
    done = subprocess.run(
        [sys.executable, "-m", *command, name, "--url", everything.url],
        cwd=ROOT / "server", capture_output=True, text=True, timeout=SECONDS,
    )  # fmt: skip
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
