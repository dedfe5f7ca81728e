"""The program of `docs/agents.md` works as it stands there, and its configuration is one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from coderunner.cli.parser import make_parser
from coderunner.web.mcp import PATH
from tests.harness import ROOT
from tests.mcp.agents import ENVIRONMENT

TEXT = (ROOT / "docs/agents.md").read_text()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", TEXT, re.M | re.S)


@pytest.mark.long
def test_the_program(server, tmp_path):
    (program,) = blocks("python")
    command = tmp_path / "bin/coderunner"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m coderunner "$@"\n')
    command.chmod(0o755)
    environment = {**ENVIRONMENT, "CODERUNNER": server.url, "PATH": f"{command.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Name? Ada\nHello, Ada!" in done.stdout
    assert "main.py" in done.stdout


def test_the_commands_are_ones():
    class Any(dict):
        def __missing__(self, name):
            return lambda _: 0

    ours, remote = map(json.loads, blocks("json"))
    assert remote["mcpServers"]["coderunner"]["url"].endswith(PATH)
    args = ours["mcpServers"]["coderunner"]["args"]
    (listen,) = re.findall(r"^    coderunner (mcp .*?)\n\n", TEXT, re.M | re.S)
    for words in (args, listen.replace("\\\n", "").split()):
        make_parser(Any()).parse_args(words)
