"""What the guard against calls that block a server's event loop sees, and what it passes by."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tests.blocking import sitecustomize
from tests.harness import ROOT, check_loop

PROGRAM = """
import asyncio, concurrent.futures.thread, socket, subprocess, sys, time

async def work():
    await asyncio.sleep(0)
    {call}

async def serving():
    {call}

async def main():
    await asyncio.create_task(work())
    await serving()
    await asyncio.to_thread(lambda: open({here!r}))

asyncio.run(main())
{call}
"""


def lines(folder, call: str) -> list[str]:
    """What is said of a server with this call in a task, in a thread, while it starts, and without a loop."""
    (folder / "coderunner").mkdir()
    (folder / "coderunner/another.py").touch()
    program = folder / "coderunner/app.py"
    program.write_text(PROGRAM.format(call=call, here=str(program)))
    done = subprocess.run(
        [sys.executable, str(program)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests/blocking")},
        capture_output=True, text=True, check=True, timeout=20,
    )  # fmt: skip
    return [line for line in done.stderr.splitlines() if sitecustomize.MARK in line]


@pytest.mark.parametrize(
    ("call", "event"),
    [
        ("time.sleep(0.001)", "sleep(0.001)"),
        ("open(__file__).close()", "open("),
        ("subprocess.run(['true'])", "subprocess.Popen("),
        ("__import__('os').listdir('/')", "os.listdir("),
        ("socket.socket().connect_ex(('127.0.0.1', 9))", "socket.connect("),
        ("socket.getaddrinfo('localhost', 1)", "socket.getaddrinfo("),
        ("__import__('another')", "open("),
    ],
)
def test_a_call_that_blocks_is_named_with_who_calls(tmp_path, call, event):
    said = lines(tmp_path, call)
    assert any(f"{sitecustomize.MARK}: {event}" in line for line in said), said
    for line in said:
        assert "app.py:6 work" in line, "nowhere else is somebody kept waiting"


@pytest.mark.parametrize(
    "call",
    [
        "time.sleep(0)",
        "__import__('wave')",
        "open('/proc/self/stat').close()",
        "socket.socketpair()[0].close()",
        "socket.socket(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK).connect_ex(('127.0.0.1', 9))",
    ],
)
def test_what_does_not_block_is_not(tmp_path, call):
    assert lines(tmp_path, call) == []


def test_a_servers_test_fails_by_its_name(tmp_path):
    log = tmp_path / "log"
    log.write_text("one\n")
    check_loop(SimpleNamespace(log=log))  # type: ignore[arg-type]
    log.write_text(f"one\n{sitecustomize.MARK}: open('x') in a.py:1 f\n")
    with pytest.raises(AssertionError, match=r"open\('x'\) in a.py:1 f"):
        check_loop(SimpleNamespace(log=log))  # type: ignore[arg-type]


def test_what_may_block_is_there():
    """The list of exceptions has none that is not needed any more."""
    for name in sitecustomize.ALLOWED:
        path, _, function = name.partition(" ")
        source = ROOT / "server/coderunner" / path
        assert source.exists(), name
        assert not function or f"def {function.rpartition('.')[2]}(" in source.read_text(), name
