"""Two servers on one engine, as documented: neither builds nor removes what is the other's."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest

from tests.harness import ROOT, Server, docker, eventually, running_server, session

pytestmark = pytest.mark.long

ONE = {"LANGUAGES": "bash", "WARM_MAX": "1", "MAX_CONCURRENT_SESSIONS": "2"}


def images(server: Server) -> list[str]:
    return re.findall(r"image=(coderunner/bash:\w+)", server.log.read_text())


def reaped(server: Server, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "coderunner", "--env-file", "/dev/null", "reap", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT / "server"), **server.environment},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_two_servers_with_ranges_of_their_own(tmp_path):
    with running_server(tmp_path, ready=("bash",), SESSION_UID_BASE="20000", **ONE) as first:
        async with session(first, "bash") as client:
            theirs = set(first.containers())
            with running_server(tmp_path, ready=("bash",), SESSION_UID_BASE="21024", **ONE) as second:
                assert set(images(second)) == set(images(first))
                assert "building" not in second.log.read_text()
                async with session(second, "bash", keep=True):
                    reaped(first)  # removes nothing of a live server's
                    mine = set(second.containers())
                    assert theirs <= set(first.containers())
                    assert len(mine) >= 1
                    # Its end without a goodbye, and the removal of all that it left.
                    second.stop(signal.SIGKILL)
                    reaped(first)
                    assert mine <= set(second.containers())
                    assert "containers removed" in reaped(second, "--all")
                    assert second.containers() == []
                assert "another server uses user ids" not in second.log.read_text()
            assert theirs <= set(first.containers())
            assert docker("images", "-q", images(first)[-1]) != ""
            assert (await client.result(1, "echo there", entry="main.sh")).text == "there\n"


async def test_ranges_that_overlap_are_told(tmp_path):
    with running_server(tmp_path, ready=("bash",), SESSION_UID_BASE="20000", **ONE) as first:
        async with session(first, "bash"):
            settings = {"SESSION_UID_BASE": "19990", **ONE}
            with running_server(tmp_path, ready=("bash",), **settings) as second:
                await eventually(
                    lambda: "another server uses user ids of this server's range" in second.log.read_text(),
                    20, "the warning",
                )  # fmt: skip
                assert f"instance={first.instance}" in second.log.read_text()
