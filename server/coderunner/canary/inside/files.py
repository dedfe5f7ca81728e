"""Probes of files: which can be read and written, and how much."""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import stat
from typing import Any

from coderunner.canary.inside.tools import (
    OWN_KERNEL,
    SCRATCH,
    SHM,
    TMP,
    WORKSPACE,
    Untried,
    create,
    expect,
    expect_limit,
    probe,
    refused,
    scratch,
)

RDONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8  # statvfs flags of Linux

READ_ONLY = ("/", "/etc", "/usr", "/opt", "/var/tmp", "/run/coderunner")
# Mounts whose flags allow writing. In /proc, /dev and /sys/fs/cgroup (on cgroup v1 a tmpfs with the read-only
# groups) an unprivileged user can write nothing that matters, which is tested with `UNWRITABLE`.
WRITABLE_MOUNTS = frozenset(
    {WORKSPACE, TMP, SHM, "/dev", "/dev/pts", "/dev/mqueue", "/dev/console", "/proc", "/sys/fs/cgroup"}
)
UNWRITABLE = (
    "/canary", "/etc/canary", "/usr/local/bin/canary", "/opt/canary", "/var/tmp/canary", "/run/lock/canary",
    "/run/coderunner/canary", "/run/coderunner/agent.sock",
    "/dev/canary", "/sys/fs/cgroup/canary", "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/pids/pids.max",
    "/etc/passwd", "/etc/hosts", "/etc/resolv.conf",
    "/proc/sys/kernel/hostname", "/proc/sys/vm/overcommit_memory", "/proc/sysrq-trigger",
)  # fmt: skip
DEVICES = frozenset(
    {"console", "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
     "stdout", "tty", "urandom", "zero"}
)  # fmt: skip

UNCOUNTED = "gVisor does not limit their number; their memory counts as the session's"
GVISORS_DEVICES = frozenset({"fuse", "net"})  # of its own kernel


@probe("read_only", "the image and the kernel's settings cannot be written")
def _(want: dict[str, Any]) -> None:
    # gVisor's /proc and /sys are its own, and without these flags.
    hidden = () if want["gvisor"] else ("/sys", *want["readonly_paths"])
    for path in (*READ_ONLY, *hidden):
        if os.path.isdir(path):
            expect(os.statvfs(path).f_flag & RDONLY != 0, f"{path} is mounted writable")
    with open("/proc/self/mountinfo") as file:
        mounts = [line.split() for line in file]
    for _id, _parent, _device, root, point, options, *rest in mounts:
        # mountinfo has the mount's own options (proc(5)): the file system's, after the hyphen, may differ.
        writable = "rw" in options.split(",") and root != "/null"  # masked files are covered with /dev/null
        if writable and (want["gvisor"] or rest[rest.index("-") + 1].startswith("cgroup")):
            if point not in WRITABLE_MOUNTS and os.path.isdir(point):
                _closed(point)
        else:
            harmless = point in WRITABLE_MOUNTS or _usual_device(point)
            expect(harmless or not writable, f"{point} is mounted writable")
    for path in UNWRITABLE:
        refused(f"writing {path}", functools.partial(create, path))


def _usual_device(point: str) -> bool:
    """Whether it is one of the devices that every container has. If the engine maps user ids, each of them is
    a mount."""
    folder, name = os.path.split(point)
    return folder == "/dev" and name in DEVICES and stat.S_ISCHR(os.stat(point).st_mode)


def _closed(point: str) -> None:
    """Expects that a user can change nothing in a control group that is mounted writable: if the engine maps
    user ids, the kernel does not allow a read-only mount."""
    refused(f"making a group in {point}", functools.partial(os.mkdir, f"{point}/canary"))
    for entry in os.scandir(point):
        if entry.is_file(follow_symlinks=False):
            refused(f"writing {entry.path}", functools.partial(write_open, entry.path))
        elif entry.is_dir(follow_symlinks=False):
            refused(f"writing in {entry.path}", functools.partial(os.mkdir, f"{entry.path}/canary"))


def write_open(path: str) -> None:
    """Opens a file for writing.  Raises OSError."""
    os.close(os.open(path, os.O_WRONLY))


@probe("masked", "files that reveal facts about the host are hidden", not_in_gvisor=OWN_KERNEL)
def _(want: dict[str, Any]) -> str:
    # /dev/null, with which the engine covers a file (devices.txt of the kernel).
    null, hidden = os.makedev(1, 3), 0
    for path in want["masked_paths"]:
        if not os.path.lexists(path):
            continue
        hidden += 1
        if os.path.isdir(path):
            expect(not os.listdir(path), f"{path} has entries")
        else:
            info = os.stat(path)
            expect(stat.S_ISCHR(info.st_mode) and info.st_rdev == null, f"{path} is visible")
    # Otherwise a wrong list of paths would pass.
    expect(hidden > 0, "none of the paths exists")
    for place, folders, names in os.walk("/sys/devices"):  # other places where the host's disks may be listed
        expect("serial" not in names or "nvme" not in place, f"{place}/serial is visible")
        if "block" in folders:
            shown = os.listdir(os.path.join(place, "block"))
            expect(not shown, f"{place}/block has {' '.join(shown)[:80]}")
    return f"{hidden} hidden"


@probe("mounts", "writable mounts are nosuid and nodev; /tmp is executable, shared memory is not")
def _(want: dict[str, Any]) -> None:
    # gVisor has neither setuid programs nor devices there, and no flags for them.
    both = 0 if want["gvisor"] else NOSUID | NODEV
    for path, flags in ((WORKSPACE, both), (TMP, both), (SHM, both | NOEXEC)):
        have = os.statvfs(path).f_flag
        expect(have & flags == flags, f"{path} has mount flags {have:#x}, promised {flags:#x}")
    with scratch(TMP + "/canary") as place:
        with open(place + "/program", "w") as file:
            file.write("#!/usr/bin/python3 -V\n")
        os.chmod(place + "/program", 0o755)
        said = os.popen(place + "/program").read()
        expect(said.startswith("Python"), f"a program in {TMP} did not run")


@probe("devices", "there are only harmless devices")
def _(want: dict[str, Any]) -> None:
    names = set(os.listdir("/dev")) - (GVISORS_DEVICES if want["gvisor"] else set())
    blocks = [name for name in names if stat.S_ISBLK(os.lstat("/dev/" + name).st_mode)]
    expect(names <= DEVICES and not blocks, f"/dev has {sorted(names - DEVICES) + blocks}")


@probe("workspace_bytes", "the bytes of the workspace are limited")
def _(want: dict[str, Any]) -> str:
    bound = want["workspace_bytes"]
    taken = fill_bytes(SCRATCH, bound, want["file_bytes"])
    expect_bytes(taken, bound)
    return f"{taken} bytes"


@probe("workspace_inodes", "the number of files in the workspace is limited")
def _(want: dict[str, Any]) -> str:
    if want["gvisor"]:
        raise Untried(UNCOUNTED)
    made = fill_inodes(SCRATCH, want["inodes"])
    expect(made <= want["inodes"], f"took {made} files, promised {want['inodes']}")
    return f"{made} files"


@probe("tmp", "the bytes and the number of files of /tmp are limited")
def _(want: dict[str, Any]) -> str:
    taken = fill_bytes(TMP + "/canary", want["tmp_bytes"], want["file_bytes"])
    expect_bytes(taken, want["tmp_bytes"])
    if want["gvisor"]:
        return f"{taken} bytes; of files: {UNCOUNTED}"
    made = fill_inodes(TMP + "/canary", want["tmp_inodes"])
    expect(made <= want["tmp_inodes"], f"took {made} files, promised {want['tmp_inodes']}")
    return f"{taken} bytes, {made} files"


@probe("shared_memory", "shared memory is limited, and that of others is not visible")
def _(want: dict[str, Any]) -> None:
    taken = fill_bytes(SHM + "/canary", want["shm_bytes"], want["file_bytes"])
    expect_bytes(taken, want["shm_bytes"])
    try:
        with open("/proc/sysvipc/shm") as file:
            segments = file.read().splitlines()[1:]
    except FileNotFoundError:
        if not want["gvisor"]:
            raise
        return  # gVisor's are its own
    expect(not segments, f"segments of others: {segments}")


@probe("file_size", "the size of a file is limited, also of a sparse one")
def _(want: dict[str, Any]) -> None:
    expect_limit(resource.RLIMIT_FSIZE, want["file_bytes"], "file size")
    with scratch(SCRATCH) as place:
        create(place + "/sparse")
        # A sparse file takes no space, so only RLIMIT_FSIZE refuses it (setrlimit(2)).
        refused("a sparse file of 60 GB", lambda: os.truncate(place + "/sparse", 60 * 10**9))


def expect_bytes(taken: int, bound: int) -> None:
    """Raises Broken if more bytes could be used than `bound`."""
    expect(taken < bound + resource.getpagesize(), f"took {taken} bytes, promised {bound}")


def fill_bytes(path: str, bound: int, file_bytes: int) -> int:
    """Writes files until it is refused or beyond `bound`; returns the bytes written.

    `file_bytes`: the largest file that is allowed."""
    taken, block = 0, bytes(256 * 1024)
    with scratch(path):
        # Several files: one alone ends at the limit of a file's size.
        for number in range(bound // file_bytes + 2):
            with contextlib.suppress(OSError), open(f"{path}/{number}", "wb", buffering=0) as file:
                while taken < bound + resource.getpagesize():
                    taken += file.write(block)
    return taken


def fill_inodes(path: str, bound: int) -> int:
    """Creates files until it is refused or beyond `bound`; returns their number."""
    with scratch(path):
        for number in range(bound + 1):
            try:
                create(f"{path}/{number}")
            except OSError:
                return number
    return bound + 1
