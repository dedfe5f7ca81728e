"""What `docs/clients.md` tells to type works, as it stands there."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from tests.harness import ROOT, Server

TEXT = (ROOT / "docs/clients.md").read_text()
COMMANDS = re.findall(r"^```sh\n(.*?)^```", TEXT, re.M | re.S)
SEEN = ['"stdout":"cba\\n"', "event: done", "", '"code":"bad_message"']


@pytest.mark.parametrize(("command", "seen"), list(zip(COMMANDS, SEEN, strict=True)), ids=range(len(SEEN)))
def test_commands(server: Server, tmp_path, command, seen):
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        env={**os.environ, "CODERUNNER": server.url.rstrip("/")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert seen in done.stdout
