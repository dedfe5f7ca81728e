"""The next server ends the one that runs and nobody else; in the background it needs no parent."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from coderunner import takeover
from coderunner.errors import CannotStart

HOLDS = """
import fcntl, os, sys, time
lock = open(sys.argv[1], "r+b", buffering=0)
fcntl.flock(lock, fcntl.LOCK_EX)
lock.write(sys.argv[2].encode() or b"%d" % os.getpid())
print("holds", flush=True)
time.sleep(60)
"""


@pytest.fixture
def child(monkeypatch) -> list[str]:
    """This process is the one that `in_background` has forked; what it did."""
    did: list[str] = []
    monkeypatch.setattr(os, "fork", lambda: 0)
    monkeypatch.setattr(os, "setsid", lambda: did.append("setsid"))
    return did


def test_a_server_that_listens_too_late_for_who_began_it_goes_on(child):
    listens = takeover.in_background()  # the only end for reading is closed
    assert listens is not None
    listens()
    assert child == ["setsid"]


def test_who_began_it_is_told_when_it_listens(child, monkeypatch):
    pipes = []

    def pipe() -> tuple[int, int]:
        ends = real()
        pipes.append(os.dup(ends[0]))  # that of the parent
        return ends

    real = os.pipe
    monkeypatch.setattr(os, "pipe", pipe)
    listens = takeover.in_background()
    assert listens is not None
    listens()
    assert os.read(pipes[0], 2) == b"1"
    os.close(pipes[0])


@pytest.mark.parametrize(("written", "ends"), [("", True), ("1", False), ("9" * 19, False), ("x", False)])
def test_the_holder_of_the_lock_is_ended_and_nobody_else(tmp_path, written, ends):
    lock = tmp_path / "a.lock"
    lock.touch()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, lock, written], stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "holds\n"
            if ends:
                asyncio.run(takeover.take_over(lock, {}))
                assert holder.wait(10) == -signal.SIGTERM
            else:
                with pytest.raises(CannotStart, match="cannot be seen"):
                    asyncio.run(takeover.take_over(lock, {}))
                assert holder.poll() is None
        finally:
            holder.kill()
