"""The commands in `docs/clients.md` and `docs/graders.md` work as written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import ROOT, Server

DOCUMENTS = {
    "clients.md": ['"stdout":"cba\\n"', "event: done", "", "abc\ncba", "cba", '"code":"bad_message"'],
    "graders.md": ['"counts":{"passed":1,"wrong_answer":1}', '"passed":2', "event: case"],
}
"""What each command of a document prints."""
HERE = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "server")}


def commands() -> list[tuple[str, str]]:
    found = []
    for name, seen in DOCUMENTS.items():
        text = (ROOT / "docs" / name).read_text()
        found += list(zip(re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S), seen, strict=True))
    return found


@pytest.mark.parametrize(("command", "seen"), commands())
def test_commands(server: Server, tmp_path, command, seen):
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        env={**os.environ, **HERE, "CODERUNNER": server.url.rstrip("/")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert seen in done.stdout
