"""Counters of the container's control group, and process attributes set by prctl."""

from __future__ import annotations

import contextlib
import ctypes
import os

_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_RENAME_NOREPLACE = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def hide_memory() -> None:
    """Programs of the same user can no longer read this process's memory, environment or descriptors."""
    _prctl(_PR_SET_DUMPABLE, 0)


def show_memory() -> None:
    """The opposite, as it is after an exec."""
    _prctl(_PR_SET_DUMPABLE, 1)


def adopt_orphans() -> None:
    """This process becomes the parent of every orphan among its descendants."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def rename(folder: int, name: str, target: int, new: str) -> None:
    """Renames atomically, never over something that is there. Raises FileExistsError, OSError."""
    if _libc.renameat2(folder, os.fsencode(name), target, os.fsencode(new), _RENAME_NOREPLACE) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def read(path: str) -> bytes:
    """What a file of /proc or /sys says, at most 16 KiB. Raises OSError.

    By hand: there are dozens of these for each run, and a file object costs more than the kernel's answer."""
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(number, 16384)
    finally:
        os.close(number)


def remove_shared() -> None:
    """Removes shared memory, queues and semaphores of System V, which outlive all processes."""
    for name, place in (("shm", 1), ("msg", 1), ("sem", 2)):
        remove = getattr(_libc, f"{name}ctl")
        with contextlib.suppress(OSError), open(f"/proc/sysvipc/{name}") as file:
            for line in file.readlines()[1:]:
                remove(int(line.split()[1]), *(0,) * place, None)


def _counter(paths: tuple[str, ...], key: bytes) -> int | None:
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
    """How often the kernel killed for memory in this container; None where it does not say."""
    return _counter(("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"), b"oom_kill")


def fork_refusals() -> int | None:
    """How often the container's limit of processes refused a fork; None where the kernel does not say."""
    return _counter(("/sys/fs/cgroup/pids.events", "/sys/fs/cgroup/pids/pids.events"), b"max")


def _number(paths: tuple[str, ...]) -> int | None:
    for path in paths:
        with contextlib.suppress(OSError, ValueError):
            return int(read(path))
    return None


def memory_limit() -> int | None:
    """Bytes of memory that this container may have; None where the kernel does not say."""
    return _number(("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def memory_used() -> int | None:
    """Bytes that it has, with pages of files that could be given back; None as above."""
    return _number(("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes"))


def memory_account() -> dict[str, int]:
    """The kernel's account of this container's memory, by the kernel's names; empty where it keeps none."""
    for path in ("/sys/fs/cgroup/memory.stat", "/sys/fs/cgroup/memory/memory.stat"):
        with contextlib.suppress(OSError, ValueError):
            lines = (line.split() for line in read(path).decode("ascii").splitlines())
            return {name: int(value) for name, value in lines}
    return {}


def cpu_seconds() -> float | None:
    """What all processes that ever were in this container have used; None where the kernel does not say."""
    with contextlib.suppress(OSError, ValueError):
        return int(read("/sys/fs/cgroup/cpuacct/cpuacct.usage")) / 1e9
    used = _counter(("/sys/fs/cgroup/cpu.stat",), b"usage_usec")
    return None if used is None else used / 1e6


def full(path: str) -> bool:
    """Whether the file system at ``path`` has no byte or no inode left."""
    try:
        status = os.statvfs(path)
    except OSError:
        return False
    return status.f_bavail == 0 or (status.f_files > 0 and status.f_favail == 0)
