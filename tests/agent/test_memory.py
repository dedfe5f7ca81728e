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
        self.account: dict[str, int] = {"shmem": 0}
        self.sizes = {7: 10 * MIB, 8: 200 * MIB}
        self.killed: list[int] = []
        self.looks = 0
        self.now = 0.0
        self.stalled: float | None = None
        self.mapped = 0
        monkeypatch.setattr(kernel, "memory_stalled", lambda: self.stalled)
        monkeypatch.setattr(kernel, "memory_limit", lambda: 512 * MIB)
        monkeypatch.setattr(kernel, "memory_used", self.look)
        monkeypatch.setattr(kernel, "memory_account", lambda: self.account)
        monkeypatch.setattr(tree, "sizes", lambda _: self.sizes)
        monkeypatch.setattr(tree, "mapped", lambda _: self.mapped)
        monkeypatch.setattr(tree, "send", self.kill)
        if self.used_before:
            self.used, self.account = self.used_before, {}
        self.memory = memory.Memory(share * MIB, 0.0)

    used_before = 0

    def look(self) -> int:
        self.looks += 1
        return self.used

    def kill(self, pid: int, number: int) -> None:
        assert number == signal.SIGKILL
        self.killed.append(pid)

    def pass_time(self, seconds: float, *, running: bool = True, since: float = 0.0, **rates: float) -> None:
        """As the agent's loop does; ``rates``: how many more of the kernel's counts come with each second."""
        now = since
        while now < since + seconds:
            for name, rate in rates.items():
                self.account[name] = round(rate * now)
            self.stalled = self.stalled if "stalled" not in self.account else self.account["stalled"] / 100
            now = self.memory.tick(now, 1, running=running)
        self.now = now

    def thrashed(self, now: float = 1e9, *, timed_out: bool = False) -> bool:
        return self.memory.thrashed(now, timed_out=timed_out)


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
        ({"shmem": 0}, {8: 200 * MIB}, False),  # others use the rest
        ({"shmem": 60 * MIB}, {8: 200 * MIB}, True),  # with files in memory
        ({"shmem": 0}, {}, False),  # it is gone
    ],
)
def test_what_counts(machine, account, sizes, ended):
    machine.used, machine.account, machine.sizes = 300 * MIB, account, sizes
    machine.pass_time(1.5 * memory.MIN_LOOK_SECONDS)
    assert bool(machine.killed) == ended


@pytest.mark.parametrize(("used", "ended"), [(340, False), (350, True)])
def test_without_statistics_what_was_there_before_is_not_the_programs(monkeypatch, used, ended):
    """As in gVisor, where a Python that prints a line seemed to take 88 MB."""
    monkeypatch.setattr(Machine, "used_before", 88 * MIB)
    machine = Machine(monkeypatch)
    machine.used, machine.sizes = used * MIB, {8: 400 * MIB}
    machine.account = {}
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
    machine.pass_time(2, running=running, pgmajfault=500)
    assert not machine.thrashed()
    machine.pass_time(5, running=running, pgmajfault=500)
    assert (machine.thrashed(), machine.killed) == (True, [])
    machine.memory = memory.Memory(512 * MIB, 0.0)
    machine.pass_time(13, running=running, pgmajfault=500)
    assert (machine.killed, machine.memory.kills) == ([8], 1)


@pytest.mark.parametrize(
    ("rates", "told"),
    [
        # 300 MiB of files, all read again once a second
        ({"pgmajfault": 50, "workingset_refault_file": 80_000}, True),
        ({"pgmajfault": 50, "workingset_refault": 80_000}, True),  # as older kernels name it
        ({"pgmajfault": 50, "workingset_refault_file": 4000, "stalled": 60}, True),  # a slow disk, PSI
        ({"pgmajfault": 50, "workingset_refault_file": 4000, "stalled": 5}, False),
        ({"pgmajfault": 0, "workingset_refault_file": 80_000, "stalled": 60}, False),  # `read`
        ({"pgmajfault": 500, "workingset_refault_file": 0, "stalled": 60}, False),  # for the first time
    ],
)
def test_files_that_do_not_fit_are_told_and_end_nothing(monkeypatch, rates, told):
    machine = Machine(monkeypatch, share=512)
    machine.used, machine.account = 510 * MIB, {"active_file": 200 * MIB, "inactive_file": 100 * MIB}
    machine.pass_time(30, **rates)
    assert machine.thrashed() == told
    assert machine.killed == []


@pytest.mark.parametrize("files", [200, 20])
def test_a_large_file_that_is_read_once_is_no_thrashing(monkeypatch, files):
    """Other containers have dropped its pages, so the kernel counts all as read again."""
    machine = Machine(monkeypatch, share=512)
    machine.used, machine.account = 510 * MIB, {"active_file": files * MIB}
    machine.mapped = 4096 * MIB
    machine.pass_time(50, pgmajfault=60, workingset_refault_file=20_000)
    assert not machine.thrashed()
    assert not machine.thrashed(50.0, timed_out=True)
    assert machine.killed == []
    machine.pass_time(13, since=machine.now, pgmajfault=60, workingset_refault_file=25_000)
    assert machine.thrashed()
    # Only where hardly any memory was left for files.
    assert machine.killed == ([] if files == 200 else [8])


def test_short_peaks_are_forgotten(monkeypatch):
    machine = Machine(monkeypatch, share=512)
    machine.used, machine.account = 510 * MIB, {"active_file": 20 * MIB}
    for second in range(0, 40, 4):
        machine.pass_time(1.5, since=second, pgmajfault=500)
        machine.pass_time(2.5, since=second + 1.5, pgmajfault=0)
    assert not machine.thrashed()


def test_a_short_program_that_a_limit_of_time_ended_thrashed_most_of_its_time(monkeypatch):
    machine = Machine(monkeypatch, share=512)
    machine.used, machine.account = 510 * MIB, {"active_file": 20 * MIB}
    machine.pass_time(2, pgmajfault=500)
    assert machine.thrashed(2.0, timed_out=True)
    assert not machine.thrashed(2.0)  # it ended by itself
    assert not machine.thrashed(8.0, timed_out=True)


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
    machine.pass_time(30, pgmajfault=faults)
    assert not machine.thrashed()
    assert not machine.thrashed(30.0, timed_out=True)
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


def test_mapped_files_of_a_real_tree(tmp_path):
    """What two processes have mapped counts once; memory that is no file does not count."""
    (tmp_path / "data").write_bytes(b"x" * 64 * MIB)
    code = (
        "import mmap, sys; file = open(sys.argv[1], 'rb')\n"
        "one = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ); two = mmap.mmap(-1, 256 << 20)\n"
        "print(1, flush=True); input()"
    )
    before = tree.mapped(os.getpid())
    words = [sys.executable, "-c", code, str(tmp_path / "data")]
    with (
        subprocess.Popen(words, stdin=-1, stdout=-1) as first,
        subprocess.Popen(words, stdin=-1, stdout=-1) as second,
    ):
        for child in (first, second):
            assert child.stdout is not None
            child.stdout.readline()
        assert 64 * MIB <= tree.mapped(os.getpid()) - before < 100 * MIB
        for child in (first, second):
            child.communicate(b"\n")


class Files:
    """A container's files, as the kernel writes them; ``set`` changes some lines of them."""

    def __init__(self, monkeypatch, files: dict[str, str]) -> None:
        self.files = files
        monkeypatch.setattr(kernel, "read", self.read)
        monkeypatch.setattr(tree, "mapped", lambda _: 0)
        monkeypatch.setattr(tree, "sizes", lambda _: {})

    def read(self, path: str) -> bytes:
        if path not in self.files:
            raise FileNotFoundError(path)
        return self.files[path].encode()

    def set(self, path: str, **values: int) -> None:
        kept = [line for line in self.files[path].splitlines() if line.split()[0] not in values]
        self.files[path] = "\n".join([*kept, *(f"{name} {value}" for name, value in values.items())]) + "\n"


V2 = {
    "/sys/fs/cgroup/memory.max": "67108864\n",
    "/sys/fs/cgroup/memory.current": "66879488\n",
    # The names of Linux 6.1, without those that are of no use here.
    "/sys/fs/cgroup/memory.stat": (
        "anon 11534336\nfile 47185920\nkernel 3145728\nkernel_stack 327680\npagetables 1048576\n"
        "percpu 17280\nsock 4096\nvmalloc 0\nshmem 94208\nfile_mapped 46940160\nfile_dirty 0\n"
        "file_writeback 0\nswapcached 0\nfile_thp 0\nshmem_thp 0\ninactive_anon 11628544\nactive_anon 0\n"
        "inactive_file 45097984\nactive_file 1994752\nunevictable 0\nslab_reclaimable 1130496\n"
        "slab_unreclaimable 552960\nslab 1683456\nworkingset_refault_anon 0\nworkingset_refault_file 0\n"
        "workingset_activate_anon 0\nworkingset_activate_file 0\nworkingset_nodereclaim 0\npgscan 0\n"
        "pgsteal 0\npgfault 9215\npgmajfault 0\npgrefill 0\npgactivate 0\nthp_fault_alloc 0\n"
    ),
    "/sys/fs/cgroup/memory.pressure": (
        "some avg10=0.08 avg60=2.39 avg300=1.42 total=30795489\n"
        "full avg10=0.00 avg60=0.22 avg300=0.12 total=9888056\n"
    ),
}
# As read in a container of this kind, beside the names that both versions have.
V1 = {
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": "67108864\n",
    "/sys/fs/cgroup/memory/memory.usage_in_bytes": "66879488\n",
    "/sys/fs/cgroup/memory/memory.stat": (
        "cache 46260224\nrss 11534336\nshmem 0\nmapped_file 46247936\nworkingset_refault_anon 0\n"
        "workingset_refault_file 78786\nswap 0\npgpgin 98304\npgmajfault 152\ninactive_anon 11534336\n"
        "active_anon 0\ninactive_file 44802048\nactive_file 1437696\nhierarchical_memory_limit 67108864\n"
    ),
}


@pytest.mark.parametrize(("files", "folder"), [(V1, "/sys/fs/cgroup/memory/"), (V2, "/sys/fs/cgroup/")])
@pytest.mark.parametrize(("refaults", "told"), [(14_000, True), (1000, False)])
def test_both_versions_of_control_groups_tell_thrashing(monkeypatch, files, folder, refaults, told):
    machine = Files(monkeypatch, dict(files))
    one, now = memory.Memory(64 * MIB, 0.0), 0.0
    while now < 10:
        passed = {"workingset_refault_file": round(refaults * now), "pgmajfault": round(30 * now)}
        machine.set(f"{folder}memory.stat", **passed)
        now = one.tick(now, 1, running=True)
    assert one.thrashed(now, timed_out=False) == told


def test_pressure_is_told_in_seconds_where_the_kernel_has_it(monkeypatch):
    Files(monkeypatch, dict(V2))
    assert kernel.memory_stalled() == pytest.approx(30.795489)
    for file in ("", "some avg10=0.00\n", None):
        files = Files(monkeypatch, dict(V1))
        if file is not None:
            files.files["/sys/fs/cgroup/memory.pressure"] = file
        assert kernel.memory_stalled() is None
