"""Counters of the container's control group (versions 1 and 2), and system calls that Python lacks."""

from __future__ import annotations

import os

from .lean import get_errno, libc, suppress

# From <linux/prctl.h> and <linux/fs.h>.
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_RENAME_NOREPLACE = 1


def _prctl(option: int, value: int) -> None:
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(get_errno(), os.strerror(get_errno()))


def hide_memory() -> None:
    """Keeps programs of the same user from reading this process's memory, environment and descriptors."""
    _prctl(_PR_SET_DUMPABLE, 0)


def show_memory() -> None:
    """Undoes `hide_memory`, as an exec does."""
    _prctl(_PR_SET_DUMPABLE, 1)


def adopt_orphans() -> None:
    """Makes this process the parent of every orphan among its descendants."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def rename(folder: int, name: str, target: int, new: str) -> None:
    """Renames atomically and never replaces a file.  ``folder``, ``target``: descriptors of the folders.

    Raises FileExistsError, OSError."""
    if libc.renameat2(folder, os.fsencode(name), target, os.fsencode(new), _RENAME_NOREPLACE) != 0:
        raise OSError(get_errno(), os.strerror(get_errno()))


def read(path: str) -> bytes:
    """The content of a file of /proc or /sys, at most 16 KiB.  Raises OSError.

    Without a file object: there are dozens of these reads for each run, and the object costs more than they
    do."""
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(number, 16384)
    finally:
        os.close(number)


def remove_shared() -> None:
    """Removes System V shared memory, message queues and semaphores, which outlive all processes."""
    # (kind, number of arguments that are 0): IPC_RMID is 0, and `semctl` has a semaphore's index before it.
    for name, place in (("shm", 1), ("msg", 1), ("sem", 2)):
        remove = getattr(libc, f"{name}ctl")
        with suppress(OSError), open(f"/proc/sysvipc/{name}") as file:
            # The first line is a heading.
            for line in file.readlines()[1:]:
                remove(int(line.split()[1]), *(0,) * place, None)


def _counter(paths: tuple[str, ...], key: bytes) -> int | None:
    """The value of a line "key value" in the first of these files that can be read; None without one."""
    for path in paths:
        try:
            for line in read(path).splitlines():
                name, _, value = line.partition(b" ")
                if name == key:
                    return int(value)
        except (OSError, ValueError):
            continue
    return None


def oom_kills() -> int | None:
    """How many processes of this container the kernel has killed for memory; None if it does not count
    them."""
    return _counter(("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"), b"oom_kill")


def fork_refusals() -> int | None:
    """How many forks the container's limit of processes has refused; None if the kernel does not count
    them."""
    return _counter(("/sys/fs/cgroup/pids.events", "/sys/fs/cgroup/pids/pids.events"), b"max")


def full_of_processes() -> bool:
    """Whether there are as many processes as the container may have; False if the kernel does not say."""
    with suppress(OSError, ValueError):
        most = int(read("/sys/fs/cgroup/pids/pids.max"))
        return int(read("/sys/fs/cgroup/pids/pids.current")) >= most
    return False


def _number(paths: tuple[str, ...]) -> int | None:
    for path in paths:
        with suppress(OSError, ValueError):
            return int(read(path))
    return None


def memory_limit() -> int | None:
    """The container's limit of memory in bytes; None if the kernel does not say."""
    return _number(("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def memory_used() -> int | None:
    """Bytes of memory in use, with reclaimable pages of files; None if the kernel does not say."""
    return _number(("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes"))


def memory_account() -> dict[str, int]:
    """The kernel's statistics of this container's memory, by the kernel's names; empty if there are none."""
    for path in ("/sys/fs/cgroup/memory.stat", "/sys/fs/cgroup/memory/memory.stat"):
        with suppress(OSError, ValueError):
            lines = (line.split() for line in read(path).decode("ascii").splitlines())
            return {name: int(value) for name, value in lines}
    return {}


def memory_stalled() -> float | None:
    """Seconds in which some process of this container waited for memory; None if the kernel does not say
    (control groups of version 1, or no PSI)."""
    with suppress(OSError, ValueError, IndexError):
        # "some avg10=0.00 avg60=0.00 avg300=0.00 total=0", in microseconds
        return int(read("/sys/fs/cgroup/memory.pressure").split(b"\n")[0].rpartition(b"total=")[2]) / 1e6
    return None


def cpu_seconds() -> float | None:
    """Seconds of CPU time of all processes that were ever in this container; None if the kernel does not
    say."""
    with suppress(OSError, ValueError):
        return int(read("/sys/fs/cgroup/cpuacct/cpuacct.usage")) / 1e9
    used = _counter(("/sys/fs/cgroup/cpu.stat",), b"usage_usec")
    return None if used is None else used / 1e6


def full(path: str) -> bool:
    """Whether the file system at ``path`` has no space or no inode left."""
    try:
        status = os.statvfs(path)
    except OSError:
        return False
    # `f_files` is 0 on file systems without a fixed number of inodes.
    return status.f_bavail == 0 or (status.f_files > 0 and status.f_favail == 0)
