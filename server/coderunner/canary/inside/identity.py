"""Probes of user ids and privileges, and of ways to gain more."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import time
from typing import Any

from coderunner.canary.inside.tools import (
    OWN_KERNEL,
    SCRATCH,
    Untried,
    create,
    expect,
    probe,
    refused,
    scratch,
    status_fields,
)

NULL, DISK = os.makedev(1, 3), os.makedev(8, 0)  # devices.txt of the kernel


@probe("user", "programs run as an unprivileged user that no other session has")
def _(want: dict[str, Any]) -> str:
    uids, gids, groups = os.getresuid(), os.getresgid(), os.getgroups()
    expect(set(uids) == {want["uid"]} and 0 not in uids, f"user ids {uids}, promised {want['uid']}")
    expect(set(gids) == {want["uid"]}, f"group ids {gids}, promised {want['uid']}")
    expect(set(groups) <= {want["uid"]}, f"supplementary groups {groups}")
    return f"uid {uids[0]}"


@probe("capabilities", "there are no capabilities, not even for setuid programs")
def _(want: dict[str, Any]) -> None:
    fields = status_fields()
    # A kernel without ambient capabilities has no such field.
    sets = {name: fields.get(name, "0") for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    expect(all(int(value, 16) == 0 for value in sets.values()), sets)


@probe("no_new_privileges", "no program gains privileges by being executed")
def _(want: dict[str, Any]) -> None:
    fields = status_fields()
    if want["gvisor"] and "NoNewPrivs" not in fields:
        raise Untried("gVisor does not tell; the probe `setuid` tries it")
    expect(fields["NoNewPrivs"] == "1", "NoNewPrivs is off")


@probe("seccomp", "system calls are filtered", not_in_gvisor=OWN_KERNEL)
def _(want: dict[str, Any]) -> None:
    expect(status_fields()["Seccomp"] == "2", f"Seccomp mode {status_fields()['Seccomp']}, promised 2")


@probe("setuid", "a setuid program does not become root")
def _(want: dict[str, Any]) -> str:
    refused("setuid(0)", lambda: os.setuid(0))
    refused("setgid(0)", lambda: os.setgid(0))
    for path in _programs():
        info = os.lstat(path)
        setuid = stat.S_ISREG(info.st_mode) and info.st_mode & stat.S_ISUID
        if setuid and info.st_uid == 0 and info.st_mode & stat.S_IXOTH:
            return _run_setuid(path)
    raise Untried("the image has no setuid program")


def _programs() -> list[str]:
    """The paths of programs. Folders that are missing or may not be read are left out."""
    found = {}
    for place in ("/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin", "/usr/local/sbin"):
        with contextlib.suppress(OSError):
            found[os.path.realpath(place)] = [os.path.join(place, name) for name in os.listdir(place)]
    return [path for paths in found.values() for path in paths]


def _run_setuid(path: str) -> str:
    null = os.open("/dev/null", os.O_RDWR)
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            for target in range(3):
                os.dup2(null, target)
            os.execv(path, [path, "--version"])
        os._exit(127)
    os.close(null)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # WNOWAIT: until it is reaped, /proc shows its ids
    ids = status_fields(pid)["Uid"].split()
    os.waitpid(pid, 0)
    expect("0" not in ids, f"{path} ran with user ids {ids}")
    return f"{path} ran with user ids {ids}"


@probe("identity", "changing the user, files' owners, the clock and the host name is refused")
def _(want: dict[str, Any]) -> None:
    with scratch(SCRATCH) as place:
        create(place + "/file")
        refused("chown to root", lambda: os.chown(place + "/file", 0, 0))
        # With a device's node, a program could read a disk or the memory, past all files' permissions.
        if not want["gvisor"]:  # which has neither
            refused("a character device", lambda: os.mknod(f"{place}/c", 0o600 | stat.S_IFCHR, NULL))
            refused("a block device", lambda: os.mknod(f"{place}/b", 0o600 | stat.S_IFBLK, DISK))
    refused("setting the clock", lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()))
    refused("setting the host's name", lambda: socket.sethostname("canary"))
    if not want["gvisor"]:  # where priorities have no effect
        refused("a higher priority", lambda: os.nice(-1))
    expect(socket.gethostname() == want["host_name"], f"host name {socket.gethostname()}")
