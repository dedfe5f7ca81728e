"""What `docs/moving.md` tells to type works, as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.harness import ROOT, Server

SEEN = [
    "['1', '2'] abc", '"description":"Accepted"', '"stdout":"42\\n"',
    '"stdout":"it returns 42\\n"', '"outcome":15',
]  # fmt: skip
"""What each command prints."""
COMMANDS = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs/moving.md").read_text(), re.M | re.S)


@pytest.mark.long
@pytest.mark.parametrize(("command", "seen"), list(zip(COMMANDS, SEEN, strict=True)))
def test_commands(facades: Server, tmp_path: Path, command: str, seen: str):
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        env={**os.environ, "CODERUNNER": facades.url.rstrip("/")},
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert seen in done.stdout
