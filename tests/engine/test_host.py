"""What is read of the kernel, from files as it writes them: whole, cut short, missing, and too many."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from coderunner.engine import host
from coderunner.engine.host import Host
from tests.reference import work_seconds

STATUS = "Name:\tpython3\nUmask:\t0022\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n"


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def kernel(tmp_path: Path) -> Host:
    put(tmp_path / "proc/7/status", STATUS.format(uid=20001))
    put(tmp_path / "proc/8/status", STATUS.format(uid=20001))
    put(tmp_path / "proc/9/status", STATUS.format(uid=20002))
    return Host(tmp_path / "proc", tmp_path / "groups")


def lock(number: int, pid: int, prefix: str = "") -> str:
    return f"{number}: {prefix}POSIX  ADVISORY  WRITE {pid} fe:00:5425378 {number} {number}\n"


def test_locks_are_counted_by_user(kernel: Host, tmp_path: Path) -> None:
    lines = [lock(1, 7), lock(1, 9, "-> "), lock(2, 8), lock(3, 9), lock(4, -1), lock(5, 4711)]
    put(tmp_path / "proc/locks", "".join(lines))
    assert kernel.locks(worth=1) == {20001: 2, 20002: 2}
    assert kernel.locks(worth=7) == {}


def test_a_user_that_the_engine_maps_is_known_by_the_containers_number(kernel: Host, tmp_path: Path) -> None:
    put(tmp_path / "proc/9/status", STATUS.format(uid=120002))
    put(tmp_path / "proc/9/uid_map", "         0     100000      65536\n")
    put(tmp_path / "proc/8/uid_map", "         0          0 4294967295\n")
    put(tmp_path / "proc/locks", lock(1, 8) + lock(2, 9))
    assert kernel.locks(worth=1) == {20001: 1, 20002: 1}
    put(tmp_path / "proc/9/status", STATUS.format(uid=20002))  # one that is not among the mapped
    assert kernel.uid(9) == 20002


def test_of_too_many_locks_only_some_are_read(
    kernel: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "MAX_LINES", 10)
    put(tmp_path / "proc/locks", "".join(lock(number, 7) for number in range(100)))
    assert kernel.locks(worth=5) == {20001: 10}


def test_what_is_not_there_counts_as_nothing(kernel: Host) -> None:
    assert kernel.locks(1) == {}
    assert kernel.uid(1) is None
    assert kernel.waiting_bytes(7) == 0
    assert kernel.kernel_seconds() is None
    assert kernel.stalled_seconds() is None
    assert kernel.session_seconds(7) is None


def test_bytes_in_sockets_are_added_up(kernel: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = tmp_path / "proc/7/net"
    put(net / "sockstat", "sockets: used 40\nTCP: inuse 1 orphan 0 tw 0 alloc 3 mem 1\n")
    row = "  7: 0100007F:1000 00000000:0000 07 {:08X}:{:08X} 00:00000000 00000000 20001 0 1 2 0 0\n"
    put(net / "udp", "  sl  local_address rem_address   st tx_queue rx_queue\n" + row.format(0, 0x1000))
    put(net / "tcp", "  sl  local_address\n" + row.format(0x20, 0x100))
    put(net / "netlink", "sk Eth Pid Groups Rmem Wmem Dump\nff 0 1 00000000 65536 8 0 2 0 1\n")
    assert kernel.waiting_bytes(7) == 0x1000 + 0x120 + 65544
    put(net / "sockstat", "sockets: used 16\n")
    assert kernel.waiting_bytes(7) == 0
    put(net / "sockstat", "sockets: used 40\n")
    put(net / "tcp", row.format(0, 10).replace(" 07 ", " 0A "))  # ten wait to be accepted
    assert kernel.waiting_bytes(7) == 0x1000 + 10 * 3072 + 65544
    put(net / "tcp", row.format(0x20, 0x100))
    monkeypatch.setattr(host, "MAX_SOCKETS", 3)  # more than are read: the rest as much on average
    put(net / "sockstat", "sockets: used 60\n")
    assert kernel.waiting_bytes(7) == (0x1000 + 0x120 + 65544) * 20


def test_times(kernel: Host, tmp_path: Path) -> None:
    put(tmp_path / "proc/2/task/2/children", "3 4 ")
    for pid, user, system in ((3, 0, 150), (4, 10, 40)):
        put(tmp_path / f"proc/{pid}/stat", f"{pid} (a (b) c) S 2 0 0 0 -1 0 0 0 0 0 {user} {system} 0 0\n")
    put(tmp_path / "proc/pressure/io", "some avg10=0.00 total=9\nfull avg10=0.00 avg60=0 total=2500000\n")
    assert kernel.kernel_seconds() == 2.0
    assert kernel.stalled_seconds() == 2.5
    put(tmp_path / "proc/7/cgroup", "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n0::/\n")
    put(tmp_path / "groups/cpu,cpuacct/docker/x/cpuacct.usage", "1500000000\n")
    assert kernel.session_seconds(7) == 1.5
    put(tmp_path / "proc/8/cgroup", "0::/system.slice/docker-x.scope\n")
    put(tmp_path / "groups/system.slice/docker-x.scope/cpu.stat", "usage_usec 2500000\nuser_usec 1\n")
    assert kernel.session_seconds(8) == 2.5


def test_the_first_process_of_a_container_is_known(tmp_path: Path) -> None:
    kernel, ours = Host(tmp_path / "proc", tmp_path / "groups"), "0123abc" * 9
    put(tmp_path / "proc/self/status", "Name:\tpython\nNSpid:\t77\n")
    for pid, numbers, group, first in (
        (7, "7\t1", f"/docker/{ours}", True),
        (8, "8\t1", f"/system.slice/docker-{ours}.scope", True),
        (9, "9\t1", f"/{ours}", True),
        (10, "10\t5", f"/docker/{ours}", False),
        (11, "11\t5\t1", f"/docker/{ours}", False),
        (12, "12\t1", f"/docker/{ours[:-1]}x", False),
        (13, "13\t1", f"/docker/{ours}/inner", False),
        (14, "14", f"/docker/{ours}", False),
    ):
        put(tmp_path / f"proc/{pid}/status", f"Name:\tx\nNSpid:\t{numbers}\n")
        put(tmp_path / f"proc/{pid}/cgroup", f"4:memory:{group}\n0::{group}\n")
        assert kernel.is_first_of(pid, ours) is first, pid
    put(tmp_path / "proc/15/cgroup", f"4:memory:/docker/{ours}\n")
    assert not kernel.is_first_of(15, ours), "it shows no numbers"
    assert not kernel.is_first_of(16, ours), "it is gone"


def test_this_machine_can_be_read_and_cheaply() -> None:
    kernel = Host()
    assert kernel.uid(os.getpid()) == os.getuid()
    plugs = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(40)]
    plugs[0].bind(("127.0.0.1", 0))
    for _ in range(50):
        plugs[1].sendto(bytes(1000), plugs[0].getsockname())
    assert kernel.waiting_bytes(os.getpid()) >= 50_000
    for plug in plugs:
        plug.close()
    began = time.thread_time()
    for _ in range(20):
        kernel.locks(5000)
        kernel.kernel_seconds()
        for _ in range(50):
            kernel.uid(os.getpid())
    look = (time.thread_time() - began) / 20  # of 50 sessions; measured: two pieces of work
    assert look < 25 * work_seconds()
