"""A program's share of the memory, and thrashing: what is decided from the kernel's account."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from coderunner.agent import kernel, memory, tree

MIB = 1 << 20


class Machine:
    """A container of 512 MiB, with a program of 256."""

    def __init__(self, monkeypatch, share: int = 256) -> None:
        self.used = 0
        self.account: dict[str, int] = {}
        self.sizes = {7: 10 * MIB, 8: 200 * MIB}
        self.killed: list[int] = []
        self.looks = 0
        monkeypatch.setattr(kernel, "memory_limit", lambda: 512 * MIB)
        monkeypatch.setattr(kernel, "memory_used", self.look)
        monkeypatch.setattr(kernel, "memory_account", lambda: self.account)
        monkeypatch.setattr(tree, "sizes", lambda _: self.sizes)
        monkeypatch.setattr(tree, "send", self.kill)
        self.memory = memory.Memory(share * MIB, 0.0)

    def look(self) -> int:
        self.looks += 1
        return self.used

    def kill(self, pid: int, number: int) -> None:
        assert number == signal.SIGKILL
        self.killed.append(pid)

    def pass_time(self, seconds: float, *, running: bool = True, faults: int = 0) -> None:
        """As the agent's loop does; ``faults``: how many more there are with each second."""
        now = 0.0
        while now < seconds:
            self.account["pgmajfault"] = round(faults * now)
            now = self.memory.tick(now, 1, running=running)


@pytest.fixture
def machine(monkeypatch) -> Machine:
    return Machine(monkeypatch)


def test_what_has_most_of_a_program_over_its_share_is_ended(machine):
    machine.used, machine.sizes = 300 * MIB, {7: 90 * MIB, 8: 200 * MIB}
    machine.pass_time(1.5 * memory.MIN_LOOK_SECONDS)
    assert (machine.killed, machine.memory.kills) == ([8], 1)


def test_a_compiler_may_have_it_all(machine):
    machine.used, machine.sizes = 500 * MIB, {8: 490 * MIB}
    machine.pass_time(5, running=False)
    assert machine.killed == []


@pytest.mark.parametrize(
    ("account", "sizes", "ended"),
    [
        ({"active_file": 100 * MIB}, {8: 290 * MIB}, False),  # what the kernel can take back
        ({}, {8: 200 * MIB}, False),  # others use the rest
        ({"shmem": 60 * MIB}, {8: 200 * MIB}, True),  # with files in memory
        ({}, {}, False),  # it is gone
    ],
)
def test_what_counts(machine, account, sizes, ended):
    machine.used, machine.account, machine.sizes = 300 * MIB, account, sizes
    machine.pass_time(1.5 * memory.MIN_LOOK_SECONDS)
    assert bool(machine.killed) == ended


def test_it_is_looked_at_as_often_as_a_program_could_get_there(machine):
    machine.used = 10 * MIB
    machine.pass_time(10)
    assert machine.looks <= 45  # 246 MiB at a GiB a second
    machine.looks, machine.used = 0, 250 * MIB
    machine.memory = memory.Memory(256 * MIB, 0.0)
    machine.pass_time(1)
    assert machine.looks >= 45


def test_who_has_all_of_the_container_is_left_to_the_kernel(monkeypatch):
    machine = Machine(monkeypatch, share=512)
    machine.used, machine.sizes = 480 * MIB, {8: 470 * MIB}
    machine.pass_time(10)
    assert machine.killed == []
    assert machine.looks <= 11


@pytest.mark.parametrize("running", [True, False])
def test_thrashing_is_told_after_two_seconds_and_ended_after_ten(monkeypatch, running):
    machine = Machine(monkeypatch, share=512)
    machine.used, machine.account = 510 * MIB, {"active_file": 20 * MIB}
    machine.pass_time(2, running=running, faults=500)
    assert not machine.memory.thrashed
    machine.pass_time(5, running=running, faults=500)
    assert (machine.memory.thrashed, machine.killed) == (True, [])
    machine.memory = memory.Memory(512 * MIB, 0.0)
    machine.pass_time(13, running=running, faults=500)
    assert (machine.killed, machine.memory.kills) == ([8], 1)


@pytest.mark.parametrize(
    ("used", "account", "faults"),
    [
        (510, {"active_file": 300 * MIB}, 500),  # it reads many files, and its own stay
        (510, {}, 10),  # it is full, and does its work
        (300, {}, 500),  # it begins
    ],
)
def test_what_is_no_thrashing(monkeypatch, used, account, faults):
    machine = Machine(monkeypatch, share=512)
    machine.used, machine.account = used * MIB, account
    machine.pass_time(30, faults=faults)
    assert not machine.memory.thrashed
    assert machine.killed == []


def test_sizes_of_a_real_tree():
    """This process's own children; none of them is missing, and what it has itself is not counted."""
    code = "x = bytearray(64 << 20); print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1) as child:
        assert child.stdout is not None
        child.stdout.readline()
        sizes = tree.sizes(os.getpid())
        assert 64 * MIB <= sizes[child.pid] < 100 * MIB
        child.communicate(b"\n")
