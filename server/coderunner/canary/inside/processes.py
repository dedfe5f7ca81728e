"""Probes of processes, memory, and the limits of one process."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import threading
import time
from typing import Any

from coderunner.canary.inside.tools import (
    MIB,
    PR_SET_DUMPABLE,
    SCRATCH,
    Broken,
    expect,
    expect_limit,
    first_to_die,
    in_child,
    libc,
    probe,
    refused,
    scratch,
    status_fields,
)

ENDS_ALL = "where memory is used up, the machine ends all of gVisor, and the session with it"
SET_SECONDS = 30.0  # until the limits of gVisor's own control groups are set, at most


@probe("pid_namespace", "only the container's own processes are visible")
def _(want: dict[str, Any]) -> None:
    expect(os.getpid() == 1, f"the process id is {os.getpid()}")
    deadline = time.monotonic() + (SET_SECONDS if want["gvisor"] else 0)
    while (others := _from_outside()) and time.monotonic() < deadline:
        time.sleep(0.01)  # the one that sets the limits of gVisor's control groups
    expect(not others, f"other processes: {others}")


def _from_outside() -> list[str]:
    """The ids of processes whose parent is outside, so 0: all of this container descend from PID 1, also what
    a setuid program has left."""
    others = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if name.isdigit() and name != "1" and status_fields(name)["PPid"] == "0":
                others.append(name)
    return others


@probe(
    "pid_1",
    "PID 1's memory, environment and files cannot be read, and it cannot be killed",
    not_in_gvisor="programs can open what their agent has open, and can end it",
)
def _(want: dict[str, Any]) -> None:
    expect(os.getpid() == 1, f"the process id is {os.getpid()}")  # otherwise PID 1 is another user's
    # A process that is not dumpable has its files in /proc owned by root (prctl(2)).
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)  # as the agent does it

    def attack() -> list[str]:
        open_ones = []
        for name, look in (("environ", open), ("mem", open), ("maps", open), ("fd", os.listdir)):
            with contextlib.suppress(OSError):
                look(f"/proc/1/{name}")
                open_ones.append(name)
        # The kernel ignores signals from within the namespace for which PID 1 has no handler
        # (pid_namespaces(7)).
        os.kill(1, signal.SIGKILL)
        return open_ones

    try:
        result, _status = in_child(attack)
    finally:
        libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    expect(result == [], f"readable under /proc/1: {result}")


@probe("control_groups", "the limits are those of the control groups, and the host's groups are not visible")
def _(want: dict[str, Any]) -> None:
    if want["gvisor"]:
        _gvisors_groups(want)
        return
    with open("/proc/self/cgroup") as file:
        shown = [line for line in file.read().split() if not line.endswith(":/")]
    expect(not shown, f"groups of the host: {shown}")
    page, cpus = resource.getpagesize(), want["cpus"]
    memory = str(want["memory_bytes"] // page * page)  # the kernel counts in pages
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        # cgroup v2; below, v1, whose memsw counts memory and swap together.
        facts = {"memory.max": memory, "memory.swap.max": "0", "pids.max": str(want["pids"])}
        quota = "cpu.max"
    else:
        facts = {
            "memory/memory.limit_in_bytes": memory,
            "memory/memory.memsw.limit_in_bytes": memory,
            "pids/pids.max": str(want["pids"]),
        }
        quota = "cpu/cpu.cfs_quota_us"
    for name, promised in facts.items():
        have = _control(name)
        expect(have == promised, f"{name} is {have}, promised {promised}")
    # v2 has quota and period in one file, v1 in two.
    share = _control(quota).split()
    period = int(share[1] if len(share) > 1 else _control("cpu/cpu.cfs_period_us"))
    expect(
        share[0].isdigit() and abs(int(share[0]) / period - cpus) < 0.01,
        f"cpu share {share}, promised {cpus}",
    )


def _gvisors_groups(want: dict[str, Any]) -> None:
    # The server sets them from outside, once this runs.
    deadline = time.monotonic() + SET_SECONDS
    facts = {"pids/pids.max": want["pids"], "memory/memory.limit_in_bytes": want["memory_bytes"]}
    while any(_control(name) != str(promised) for name, promised in facts.items()):
        for name, promised in facts.items():
            expect(time.monotonic() < deadline, f"{name} is {_control(name)}, promised {promised}")
        time.sleep(0.01)


def _control(name: str) -> str:
    try:
        with open("/sys/fs/cgroup/" + name) as file:
            return file.read().strip()
    except FileNotFoundError:
        raise Broken(f"the control group has no {name}") from None


@probe("open_files", "the number of open files is limited")
def _(want: dict[str, Any]) -> None:
    expect_limit(resource.RLIMIT_NOFILE, want["nofile"], "open files")


@probe("core_dumps", "there are no core dumps")
def _(want: dict[str, Any]) -> str | None:
    expect_limit(resource.RLIMIT_CORE, 0, "core dump")
    with scratch(SCRATCH) as place:
        os.chdir(place)
        in_child(os.abort)
        os.chdir("/")
        expect(not os.listdir(place), f"a core dump was written: {os.listdir(place)}")
    if want["gvisor"]:
        return None  # it has no such setting
    with open("/proc/sys/kernel/core_pattern") as file:
        pattern = file.read().strip()
    # With a pipe, the kernel ignores the limit of 0; the dump does not reach the container.
    return f"the host passes dumps to {pattern}, whatever the limit" if pattern.startswith("|") else None


@probe(
    "oom_score",
    "no process can protect itself from the out-of-memory killer",
    not_in_gvisor=ENDS_ALL,
)
def _(want: dict[str, Any]) -> None:
    with open("/proc/self/oom_score_adj") as file:
        score = int(file.read())

    def lower() -> None:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(score - 1))

    refused("lowering the score", lower)


@probe("processes", "the number of processes is limited")
def _(want: dict[str, Any]) -> str:
    bound = want["pids"]
    if want["gvisor"]:
        return _threads(2 * bound)  # it counts late, and allows some more: up to 16 were seen
    children: list[int] = []
    try:
        # One more than allowed: enough to show a missing limit without loading the machine.
        while len(children) <= bound:
            pid = os.fork()
            if pid == 0:
                first_to_die()
                signal.pause()
                os._exit(0)
            children.append(pid)
    except OSError as error:
        expect(error.errno in (errno.EAGAIN, errno.ENOMEM), error)
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        for pid in children:
            os.waitpid(pid, 0)
    expect(len(children) < bound, f"{len(children)} processes besides PID 1, promised {bound} in all")
    return f"{len(children)} besides PID 1"


def _threads(bound: int) -> str:
    """As many threads as can be: they count as processes, which in gVisor need more memory than there is."""
    over = threading.Event()
    begun: list[threading.Thread] = []
    try:
        while len(begun) < bound:
            thread = threading.Thread(target=over.wait)
            thread.start()
            begun.append(thread)
    except RuntimeError:  # "can't start new thread"
        pass
    finally:
        over.set()
        for thread in begun:
            thread.join()
    expect(len(begun) < bound, f"{len(begun)} threads besides PID 1, promised {bound} in all")
    return f"{len(begun)} threads besides PID 1"


@probe(
    "memory",
    "memory is limited, and only the process that exceeds the limit is killed",
    not_in_gvisor=ENDS_ALL,
)
def _(want: dict[str, Any]) -> None:
    # An eighth beyond the limit: enough to show that it does not hold, without using up the machine.
    bound = want["memory_bytes"] + want["memory_bytes"] // 8

    def attack() -> int:
        first_to_die()
        step = 4 * MIB
        hoard: list[bytes] = []
        while len(hoard) * step < bound:
            hoard.append(b"x" * step)
        return len(hoard) * step

    result, status = in_child(attack)
    died = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    expect(died or "MemoryError" in str(result), f"took {result} bytes, promised {want['memory_bytes']}")
