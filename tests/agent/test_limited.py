"""How a program that has hit a limit is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from coderunner.agent import kernel, limited, tree
from coderunner.agent.limited import Limited
from tests.harness import wait_until

SUPERVISOR, NOBODY = 1 << 30, (1 << 30) + 1  # more than the kernel gives
FORKS = "import os\nfor _ in range(3): os.fork()\nos.write(1, b'x')\nwhile True: pass"


def states(group: int) -> list[str]:
    """As the kernel names them, of the processes of a group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of, *_ = path.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(of) == group:
            found.append(state)
    return found


class Running(Limited):
    """As a channel whose program runs."""

    def __init__(self, main: int) -> None:
        self.phase, self.intent, self.supervisor, self.main_pid = "running", None, SUPERVISOR, main
        self._pending = self._kill_until = None


def test_a_bomb_is_stopped_at_once_before_its_processes_are_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They were looked for while they went on: on a slow machine that took longer than the server waits. It
    then ended the container, and knew nothing of the limit that was hit."""
    seen: list[list[str]] = []

    def kill(root: int) -> None:
        assert root == SUPERVISOR
        wait_until(lambda: {*states(bomb.pid)} == {"T"}, 20, "a stop")
        seen.append(states(bomb.pid))

    monkeypatch.setattr(tree, "kill", kill)
    bomb = subprocess.Popen([sys.executable, "-c", FORKS], stdout=subprocess.PIPE, process_group=0)
    assert bomb.stdout is not None
    try:
        assert bomb.stdout.read(8) == 8 * b"x"
        one = Running(bomb.pid)
        one.stop("wall_timeout")
        assert seen == [["T"] * 8]
    finally:
        os.killpg(bomb.pid, signal.SIGKILL)
        bomb.wait()
        bomb.stdout.close()
    assert one.intent == "wall_timeout"


def test_a_program_whose_group_has_gone_is_killed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []
    monkeypatch.setattr(tree, "kill", killed.append)
    one = Running(NOBODY)
    one.stop("wall_timeout")
    one.main_pid = None
    one.stop("wall_timeout")
    assert killed == [SUPERVISOR] * 2


def test_a_supervisor_is_not_wedged_while_a_bomb_is_still_being_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With ten bombs at once it was killed a second after the limit: its end was told while the bomb's
    processes were still there, and the session's next program could not be started."""
    now = 100.0
    sent: list[int] = []

    def kill(_: int) -> None:
        nonlocal now
        now += 5.0

    monkeypatch.setattr(limited.time, "monotonic", lambda: now)
    monkeypatch.setattr(tree, "kill", kill)
    monkeypatch.setattr(tree, "send", lambda _, number: sent.append(number))
    one = Running(NOBODY)
    one.stop("wall_timeout")
    one.tick(now)
    assert signal.SIGKILL not in sent
    one.tick(now)
    assert sent[-1] == signal.SIGKILL


def test_a_kernel_that_counts_no_refused_forks_is_asked_for_their_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As gVisor."""
    files = {"/sys/fs/cgroup/pids/pids.max": b"128\n", "/sys/fs/cgroup/pids/pids.current": b"127\n"}

    def read(path: str) -> bytes:
        if path not in files:
            raise FileNotFoundError(path)
        return files[path]

    monkeypatch.setattr(kernel, "read", read)
    assert kernel.fork_refusals() is None
    assert not kernel.full_of_processes()
    files["/sys/fs/cgroup/pids/pids.current"] = b"130\n"
    assert kernel.full_of_processes()
    files["/sys/fs/cgroup/pids/pids.max"] = b"max\n"
    assert not kernel.full_of_processes()
    files.clear()
    assert not kernel.full_of_processes()
