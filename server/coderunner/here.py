"""Checks settings against this machine and its engine (`settings --check`,
`doctor`), without changing anything."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import re
import socket
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from coderunner.config import Settings
from coderunner.engine.docker import DockerEngine
from coderunner.engine.states import EngineInfo
from coderunner.errors import ConfigError, EngineError
from coderunner.schema.forms import UNIX
from coderunner.sessions.quotas import from_settings

SMALL = 1 << 30  # bytes; up to this DOCKER_MEMORY is not compared with the engine's machine, which has more
MEMORY_BESIDE = 400 * 1024**2  # bytes that a server needs in addition to 1.5 times BUFFER_MEMORY
UNIT = "system.slice/coderunner.service"  # control group of the unit in deploy/
# systemd.slice(5): parts that are joined by single hyphens; `-.slice` is the root.
_SLICE = re.compile(r"-\.slice|[A-Za-z0-9_.:\\]+(-[A-Za-z0-9_.:\\]+)*\.slice")
PARTITION = "/sys/class/block/{}/partition"  # exists for partitions, not for whole disks


async def problems(settings: Settings) -> list[str]:
    """Returns the problems that would keep a server with these settings from working here,
    each with what to write.

    Facts of another machine, and of an engine that does not answer, are not checked.
    """
    folder = Path(settings.state_dir)
    found = [
        _state(folder) or _obstacle(folder, settings.instance_name), _address(settings.host, settings.port),
        too_little_memory(settings),
    ]  # fmt: skip
    local = settings.docker_host is None or settings.docker_host.startswith("unix://")
    if settings.disk_read_limit is not None and local:
        found.append(_disk(settings.disk_read_limit[0]))
    if settings.docker_host is not None and settings.docker_host.startswith("unix://"):
        found.append(_engine_socket(settings.docker_host))
    given = settings.docker_runtime or settings.cgroup_parent
    if given or settings.docker_cpus > 1 or settings.docker_memory > SMALL:
        found += await _asked_of_the_engine(settings)
    try:
        from_settings(settings)
    except ConfigError as error:
        found += error.problems
    return [problem for problem in found if problem is not None]


def too_little_memory(settings: Settings, root: Path = Path("/")) -> str | None:
    """The problem if the memory limit of the control group (this process's or the unit's) is too low for
    BUFFER_MEMORY, so that the kernel would kill the server; otherwise None.
    `root`: the root of the file system, for tests."""
    most = min((limit for name in (_own_group(root), UNIT) for limit in _limits(root, name)), default=None)
    needed = MEMORY_BESIDE + settings.buffer_memory * 3 // 2
    if most is None or most >= needed:
        return None
    # The inverse of `needed`.
    fits = max(0, (most - MEMORY_BESIDE) * 2 // 3) >> 20
    return (
        f"BUFFER_MEMORY is {settings.buffer_memory >> 20}m, for which a server needs {needed >> 20}m, but its"
        f" control group is limited to {most >> 20}m (MemoryMax of the unit): the kernel would kill it; write"
        f" MemoryMax={(needed >> 20) + 1}M in the unit, or BUFFER_MEMORY={fits}m or less"
    )


def _own_group(root: Path) -> str:
    """The path of this process's control group: of the memory controller (v1) or the unified one (v2);
    "" if unknown."""
    with contextlib.suppress(OSError, ValueError):
        groups = [line.split(":", 2) for line in (root / "proc/self/cgroup").read_text().splitlines()]
        # With both versions mounted (hybrid), the memory controller is v1's.
        for number, controllers, name in sorted(groups, key=lambda one: "memory" not in one[1]):
            if "memory" in controllers or number == "0":
                return name.strip("/")
    return ""


def _limits(root: Path, name: str) -> Iterator[int]:
    """Yields the memory limits in bytes of a control group and all its ancestors,
    of which the lowest counts."""
    parts = Path(name)
    for group in (parts, *parts.parents) if name else ():
        for path in (f"memory/{group}/memory.limit_in_bytes", f"{group}/memory.max"):
            with contextlib.suppress(OSError, ValueError):  # the other version of cgroups, or `max`: no limit
                yield int((root / "sys/fs/cgroup" / path).read_text())


def _state(folder: Path) -> str | None:
    """The problem with STATE_DIR, or None. It need not exist: the server or its unit makes it."""
    if folder.absolute() == Path("/"):
        return "STATE_DIR is /; write the path of a folder that only this server uses"
    try:
        os.lstat(folder)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            begin = str(folder)[:40]
            return f"STATE_DIR is {begin}…, which is longer than a path may be; write a shorter path"
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(place))
    if there.is_dir():
        return _room(folder, there)
    what = "is a broken link" if there.is_symlink() and not there.exists() else "is not a folder"
    return f"STATE_DIR is {folder}, but {there} {what}; write the path of a folder, or remove {there}"


def _obstacle(folder: Path, name: str) -> str | None:
    """The problem if a file or folder that the server makes there at its start cannot be one, or None."""
    kinds = {"lock": stat.S_ISREG, "key": stat.S_ISREG, "runs": stat.S_ISDIR, "files": stat.S_ISDIR}
    for end, meant in kinds.items():
        path = folder / f"{name}.{end}"
        try:
            fine = meant(os.stat(path).st_mode)
        except FileNotFoundError:
            fine = not os.path.islink(path)  # a link to nowhere
        except OSError as error:
            fine = error.errno != errno.ELOOP  # else another user's: not known
        if not fine:
            return f"STATE_DIR is {folder}, but {path} is not the server's; remove it, or write another path"
    return None


def _room(folder: Path, there: Path) -> str | None:
    """The problem if nobody could write to a folder, or None: kernel file systems, read-only ones, full ones.

    What root may do says nothing of the server's user. Another user is asked for its own rights: whoever
    may read the settings is the server's user, or told what to run this as.
    """
    try:
        disk = os.statvfs(there)
    except OSError:
        return None
    if disk.f_blocks == 0:
        return f"STATE_DIR is {folder}, but {there} is a kernel file system without files; write another path"
    if disk.f_flag & os.ST_RDONLY:
        return f"STATE_DIR is {folder}, but {there} is read-only; write another path"
    if disk.f_bavail == 0:
        return f"STATE_DIR is {folder}, where the disk is full; free some space, or write another path"
    if not os.access(there, os.W_OK | os.X_OK):
        return (
            f"STATE_DIR is {folder}, but the user {_own_name()} may not write to {there}; give it permission,"
            " write another path, or run this as the server's user"
        )
    return None


def _own_name() -> str:
    """The name of the user who runs this, or its number."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _address(host: str, port: int) -> str | None:
    if host.startswith(UNIX):
        path = Path(host.removeprefix(UNIX))
        folder = path.parent
        if os.path.lexists(path) and not stat.S_ISSOCK(os.lstat(path).st_mode):
            return f"HOST is {host}, but that is not a socket; remove it, or write another path"
        # systemd makes a folder in /run when the unit starts (RuntimeDirectory).
        if os.path.isdir(folder) or (folder.parent == Path("/run") and not os.path.lexists(folder)):
            return None
        return f"HOST is {host}, but {folder} is not a folder; create it, or write another path"
    try:
        # Tried by binding: no other question to the system answers whether a server could listen there.
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as one:
            one.bind(place)
    except PermissionError:
        return f"PORT is {port}, which this user may not listen on; write one of 1024 or more"
    except OSError as error:
        if error.errno == errno.EADDRINUSE:  # by the server that runs, if it is no mistake; serving says it
            return None
        return (
            f"HOST is {host}, on which this machine cannot listen ({error.strerror or error}); write an"
            " address of this machine, or 0.0.0.0 for all"
        )
    return None


def _disk(device: str) -> str | None:
    write = "write the disk with the engine's images, as lsblk names it, for example /dev/sda:50m"
    try:
        block = stat.S_ISBLK(os.stat(device).st_mode)
    except OSError as error:
        return f"DISK_READ_LIMIT names {device}, which cannot be examined ({error.strerror}); {write}"
    if not block:
        return f"DISK_READ_LIMIT names {device}, which is not a disk; {write}"
    if os.path.exists(PARTITION.format(os.path.basename(os.path.realpath(device)))):
        return f"DISK_READ_LIMIT names {device}, which is a partition; {write}"
    return None


def _engine_socket(place: str) -> str | None:
    path = place.removeprefix("unix://")
    try:
        if stat.S_ISSOCK(os.stat(path).st_mode):
            return None
        what = f"{path} is not a socket"
    except FileNotFoundError:
        what = f"{path} does not exist"
    except OSError:  # in a folder that this user may not enter; the server's user may be allowed to
        return None
    return f"DOCKER_HOST is {place}, but {what}; write the path of the engine's socket, or start the engine"


async def _asked_of_the_engine(settings: Settings) -> list[str | None]:
    try:
        async with DockerEngine.connect(settings.docker_host, settings.docker_cmd_timeout / 1000) as engine:
            info = await engine.info()
    except EngineError:
        return []
    return [
        _runtime(settings.docker_runtime, info.runtimes), too_many_cpus(settings, info),
        too_much_memory(settings, info), no_slice(settings, info),
    ]  # fmt: skip


def too_much_memory(settings: Settings, engine: EngineInfo) -> str | None:
    """The problem if DOCKER_MEMORY exceeds the memory of the engine's machine, and so bounds nothing;
    else None."""
    if not 0 < engine.memory_bytes < settings.docker_memory:
        return None
    return (
        f"DOCKER_MEMORY is {settings.docker_memory >> 20}m, but the engine's machine has"
        f" {engine.memory_bytes >> 20}m, so one session could use all of it; write much less"
    )


def too_many_cpus(settings: Settings, engine: EngineInfo) -> str | None:
    """The problem if DOCKER_CPUS exceeds the engine's processors,
    for which it would refuse each container; else None."""
    if not 0 < engine.cpus < settings.docker_cpus:
        return None
    return (
        f"DOCKER_CPUS is {settings.docker_cpus:g}, but the engine's machine has {engine.cpus}, and no"
        f" container could be made; write DOCKER_CPUS={engine.cpus} or less"
    )


def no_slice(settings: Settings, engine: EngineInfo) -> str | None:
    """The problem if CGROUP_PARENT is not of the kind that the engine's cgroup driver takes, for which it
    would refuse each container; else None."""
    parent = settings.cgroup_parent
    if parent is None or engine.cgroup_driver != "systemd" or _SLICE.fullmatch(parent):
        return None
    return (
        f"CGROUP_PARENT is {parent}, but the engine's cgroup driver is systemd, which takes only slices, and"
        " no container could be made; write a name such as CGROUP_PARENT=coderunner.slice, or leave it empty"
    )


def _runtime(name: str | None, known: Collection[str]) -> str | None:
    if name is None or not known or name in known:
        return None
    return (
        f"DOCKER_RUNTIME is {name}, which the engine does not have; it has"
        f" {', '.join(sorted(known))}; write one of them, or leave it empty for the engine's default"
    )
