"""The settings of a session's container, in one table, each with its reason.

From this table come the body of the create request, the read-back of what the engine really made
(`effective.py`) and the table in `docs/containers.md`.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from coderunner.engine.filter import seccomp_profile
from coderunner.schema.limits import Limits
from coderunner.wire import SOCKET_FOLDER

WORKSPACE = "/workspace"
HOME = WORKSPACE
TEMPORARY = f"{WORKSPACE}/.tmp"
USER_NAME = "coder"
HOST_NAME = "coderunner"
OWN_ADDRESS = "127.0.1.1"  # as Debian has it: not localhost's, whose name it would have
SESSION_TYPE = "coderunner-session"

# Labels. Whose a container (or a group's network) is, is said by the instance's name and the owner together:
# the owner is a fingerprint of the instance's key, as two servers may have one name by mistake.
INSTANCE_LABEL = "coderunner.instance"
OWNER_LABEL = "coderunner.owner"
ROLE_LABEL = "coderunner.role"  # of containers that never have a tenant: what they are for
DEADLINE_LABEL = "coderunner.deadline"  # unix seconds after which nobody needs it
SOCKET_LABEL = "coderunner.socket"  # the folder of its agent's socket on the server's machine

TMP_INODES = 1024
MAX_TERMINALS = 32
VOLUME_LABELS = ("type", "coderunner.instance")
SYSCTLS = {
    "net.ipv4.tcp_rmem": "4096 131072 262144",
    "net.ipv4.tcp_wmem": "4096 16384 262144",
    # Connections that nobody accepts, and those that are over: each 3 KiB, or 250 bytes, charged to nobody.
    "net.core.somaxconn": "128",
    "net.ipv4.tcp_max_tw_buckets": "4096",
    # Groups that a socket may join, and sources of each: up to 250 bytes each, charged to nobody.
    "net.ipv4.igmp_max_memberships": "4",
    "net.ipv4.igmp_max_msf": "4",
}
# A kernel that was started without IPv6 has no such setting, and starts no container that asks for it.
if Path("/proc/sys/net/ipv6").exists():
    SYSCTLS["net.ipv6.conf.lo.disable_ipv6"] = "0"
USUAL_RUNTIMES = (None, "runc", "crun")  # others have terminals and networks that are not the kernel's
MAX_SHM_BYTES = 16 * 1024 * 1024

AGENT_COMMAND = (
    "/usr/bin/python3", "-I", "-S", "-c",
    "import sys;sys.path.insert(0,'/opt/coderunner');from coderunner.agent.main import main;main()",
)  # fmt: skip

_NOT_MASKED = {"/sys/devices/system", "/sys/devices/virtual"}  # processors and memory; the loopback device
# Those of an engine on another machine, which cannot be looked at.
_DEVICES = ("/sys/devices/LNXSYSTM:00", "/sys/devices/pci0000:00", "/sys/devices/platform")
_MASKED = (
    # the engine's own list, which ours replaces
    "/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
    "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
    # files that show activity of the host and of other containers
    "/proc/cmdline", "/proc/kallsyms", "/proc/interrupts", "/proc/diskstats", "/proc/partitions",
    "/proc/modules", "/proc/devices", "/proc/softirqs", "/proc/schedstat", "/proc/buddyinfo",
    "/proc/zoneinfo", "/proc/pressure", "/proc/fs", "/sys/block", "/sys/bus",
    "/sys/class/block", "/sys/class/dmi", "/sys/class/hwmon",
    "/sys/class/thermal", "/sys/dev", "/sys/devices/virtual/block", "/sys/devices/virtual/dmi",
    "/sys/devices/virtual/thermal",
    "/sys/devices/virtual/nvme-fabrics", "/sys/devices/virtual/nvme-subsystem",
    "/sys/fs/btrfs", "/sys/fs/ext4", "/sys/fs/xfs",
    "/sys/module", "/sys/power",
    # processor temperatures show activity of other users
    *(f"/sys/devices/system/cpu/cpu{number}/thermal_throttle" for number in range(os.cpu_count() or 1)),
)  # fmt: skip


def masked_paths() -> list[str]:
    """Paths of the kernel's that no session sees.

    Devices by where they are plugged in show the host's disks with serial numbers and sizes. They are looked
    up for each container: what is plugged in later is hidden from the next one.
    """
    return [*_MASKED, *sorted({*_DEVICES, *glob.glob("/sys/devices/*")} - _NOT_MASKED)]


NAMESERVERS = ("0.0.0.0", "127.0.0.11")  # nobody, and in a group the engine's own for the members' names
READONLY_PATHS = ("/proc/bus", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """One container to make. `uid` is unique among live sessions; `runtime` None is the engine's own.

    `disk_read`: a disk of the host, and how many bytes a second are read from it; None is without bound.
    `cgroup_parent`: the control group in which the container's own is made; None is the engine's.
    `socket`: the folder of the agent's socket, on the server's machine; None where it has none.
    """

    image: str
    name: str
    uid: int
    limits: Limits
    labels: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    runtime: str | None = None
    disk_read: tuple[str, int] | None = None
    cgroup_parent: str | None = None
    socket: str | None = None
    command: tuple[str, ...] = AGENT_COMMAND


@dataclass(frozen=True, slots=True)
class Setting:
    """`key` is the path in the create request; `value` None leaves it out and accepts the engine's own."""

    key: str
    value: Callable[[ContainerSpec], Any]
    why: str


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """What every program of a session finds in its environment; `env` goes above it. Never a secret."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": HOME,
        "USER": USER_NAME,
        "LOGNAME": USER_NAME,
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "TMPDIR": TEMPORARY,
        "GOTMPDIR": TEMPORARY,
        **env,
    }


def shm_bytes(limits: Limits) -> int:
    """Shared memory is a file system in memory beside those of the limits, which fill half of it at most."""
    return min(MAX_SHM_BYTES, limits.memory_bytes // 16)


def _tmpfs(spec: ContainerSpec) -> dict[str, str]:
    limits = spec.limits
    return {
        WORKSPACE: f"rw,exec,nosuid,nodev,size={limits.workspace_bytes},nr_inodes={limits.inodes},"
        f"uid={spec.uid},gid={spec.uid}",
        "/tmp": f"rw,exec,nosuid,nodev,size={limits.tmp_bytes},nr_inodes={TMP_INODES},mode=1777",
    }


def _mounts(spec: ContainerSpec) -> list[dict[str, Any]] | None:
    """None where there are none."""
    return [*_terminals(spec), *_socket(spec)] or None


def _socket(spec: ContainerSpec) -> list[dict[str, Any]]:
    if spec.socket is None:
        return []
    # In this form, unlike in that of `Binds`, the engine makes no folder that is missing.
    return [{"Type": "bind", "Source": spec.socket, "Target": SOCKET_FOLDER, "ReadOnly": True}]


def _terminals(spec: ContainerSpec) -> list[dict[str, Any]]:
    if spec.runtime not in USUAL_RUNTIMES:
        return []
    options = f"nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5,max={MAX_TERMINALS}"
    driver = {"Name": "local", "Options": {"type": "devpts", "device": "devpts", "o": options}}
    labels = {name: spec.labels[name] for name in VOLUME_LABELS if name in spec.labels}
    volume = {"NoCopy": True, "Labels": labels, "DriverConfig": driver}
    return [{"Type": "volume", "Target": "/dev/pts", "VolumeOptions": volume}]


def _ulimits(spec: ContainerSpec) -> list[dict[str, Any]]:
    wanted = {"nofile": spec.limits.nofile, "core": 0, "fsize": spec.limits.file_bytes}
    return [{"Name": name, "Soft": value, "Hard": value} for name, value in wanted.items()]


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "Image",
        lambda s: s.image,
        "the language's image",
    ),
    Setting(
        "Entrypoint",
        lambda s: [],
        "an image cannot put a program before ours",
    ),
    Setting(
        "Cmd",
        lambda s: list(s.command),
        "PID 1 is the agent: it reaps children, else orphans pile up as zombies until fork fails",
    ),
    Setting(
        "Healthcheck",
        lambda s: {"Test": ["NONE"]},
        "an image cannot have programs run beside ours",
    ),
    Setting(
        "WorkingDir",
        lambda s: WORKSPACE,
        "programs begin where the user's files are",
    ),
    Setting(
        "Hostname",
        lambda s: HOST_NAME,
        "the default would be the container's id",
    ),
    Setting(
        "User",
        lambda s: f"{s.uid}:{s.uid}",
        "never root, and a user of its own for each live session: the kernel counts inotify watches and "
        "pipe pages by user, and with a shared one a session uses up its neighbours'",
    ),
    Setting(
        "Env",
        lambda s: [f"{k}={v}" for k, v in environment(s.env).items()],
        "what programs expect, with temporary files where there is most room; no secrets: every "
        "program of the session can read it",
    ),
    Setting(
        "Labels",
        lambda s: dict(s.labels),
        "whose container it is, and until when it may live",
    ),
    Setting(
        "Tty",
        lambda s: False,
        "the engine's stream stays binary; terminals are made inside, by the agent",
    ),
    Setting(
        "OpenStdin",
        lambda s: True,
        "the agent takes its commands from stdin",
    ),
    Setting(
        "StdinOnce",
        lambda s: False,
        "the agent's stdin outlives the server, which may attach again",
    ),
    Setting(
        "HostConfig.Runtime",
        lambda s: s.runtime,
        "the isolation chosen for the language",
    ),
    Setting(
        "HostConfig.Privileged",
        lambda s: False,
        "would undo most of this table",
    ),
    Setting(
        "HostConfig.CapDrop",
        lambda s: ["ALL"],
        "root's default capabilities give raw sockets, mknod, chroot and setuid",
    ),
    Setting(
        "HostConfig.CapAdd",
        lambda s: [],
        "nothing is given back",
    ),
    Setting(
        "HostConfig.SecurityOpt",
        lambda s: ["no-new-privileges:true", f"seccomp={seccomp_profile()}"],
        "a setuid program reaches euid 0 even without any capability; the engine's default profile lets "
        "io_uring and AF_VSOCK through",
    ),
    Setting(
        "HostConfig.ReadonlyRootfs",
        lambda s: True,
        "the image is shared by all, and writes to it have no bound",
    ),
    Setting(
        "HostConfig.Tmpfs",
        _tmpfs,
        "the only writable places, bounded in bytes and in inodes (a bomb of empty files would end in "
        "out-of-memory) and no setuid or device files; both run programs, which put what "
        "they make and run there",
    ),
    Setting(
        "HostConfig.Mounts",
        _mounts,
        "a /dev/pts with a bound of its own, by an unnamed volume, as the engine's own mount of it has none: "
        "five processes took all 3,072 pseudo-terminals of the machine; and a folder with nothing in it but "
        "the socket to which the agent connects",
    ),
    Setting(
        "HostConfig.Sysctls",
        lambda s: dict(SYSCTLS) if s.runtime in USUAL_RUNTIMES else None,
        "the buffers of a TCP connection are the kernel's memory, by default up to 32 MiB each, and so are "
        "connections that nobody accepts, by default 4,096 at each listening socket, and the multicast "
        "groups that each socket joins, by default 20; `localhost` "
        "is `::1`, too, in the engine's file of hosts, and a server at all its addresses needs that one",
    ),
    Setting(
        "HostConfig.ExtraHosts",
        lambda s: [f"{HOST_NAME}:{OWN_ADDRESS}"],
        "the container's own name has an address: without a network the engine gives it none",
    ),
    Setting(
        "HostConfig.NetworkMode",
        lambda s: "none",
        "an internal bridge is not isolation: the host's services answer on the gateway's address, and "
        "the containers reach each other",
    ),
    Setting(
        "HostConfig.Dns",
        lambda s: [NAMESERVERS[0]],
        "where a group's network is joined later, the engine answers its members' names and passes all "
        "others on to this, which is nobody; without it, to the host's resolver, whose address shows in any "
        "container",
    ),
    Setting(
        "HostConfig.DnsSearch",
        lambda s: ["."],
        "none; else the host's own search domains show",
    ),
    Setting(
        "HostConfig.DnsOptions",
        lambda s: ["timeout:1", "attempts:1"],
        "a name that nobody knows is refused after one second, not ten; and the host's options do not show",
    ),
    Setting(
        "HostConfig.PidsLimit",
        lambda s: s.limits.pids,
        "bounds a fork bomb; 0 would mean without limit",
    ),
    Setting(
        "HostConfig.Memory",
        lambda s: s.limits.container_bytes,
        "programs, tmpfs and shared memory together, or a compiler, where that needs more: a program is then "
        "held to its share by the agent",
    ),
    Setting(
        "HostConfig.MemorySwap",
        lambda s: s.limits.container_bytes,
        "equal to the memory: none of it is swap; the default allows twice as much",
    ),
    Setting(
        "HostConfig.OomKillDisable",
        lambda s: False,
        "a container that may not be killed hangs when full",
    ),
    Setting(
        "HostConfig.NanoCpus",
        lambda s: round(s.limits.cpus * 1e9),
        "with ten fork bombs beside it, a neighbour's echo took 90 ms without the quota and 12 with it "
        "(99th percentile)",
    ),
    Setting(
        "HostConfig.CgroupParent",
        lambda s: s.cgroup_parent,
        "with the driver cgroupfs the engine's own group has the weight of one process of the host, for all "
        "containers together",
    ),
    Setting(
        "HostConfig.BlkioDeviceReadBps",
        lambda s: [{"Path": s.disk_read[0], "Rate": s.disk_read[1]}] if s.disk_read else None,
        "an image is larger than a session's memory: reading it again and again keeps the host's disk busy",
    ),
    Setting(
        "HostConfig.Ulimits",
        _ulimits,
        "open files, no core dumps, and the largest file (a sparse one of 60 GB is refused); never "
        "processes, which the kernel counts by user over all containers",
    ),
    Setting(
        "HostConfig.ShmSize",
        lambda s: shm_bytes(s.limits),
        "shared memory is memory",
    ),
    Setting(
        "HostConfig.IpcMode",
        lambda s: "private",
        "no shared memory with the host or a neighbour",
    ),
    Setting(
        "HostConfig.PidMode",
        lambda s: "",
        "a process tree of its own",
    ),
    Setting(
        "HostConfig.UTSMode",
        lambda s: "",
        "a host name of its own",
    ),
    Setting(
        "HostConfig.CgroupnsMode",
        lambda s: "private",
        "the host's control groups do not show",
    ),
    Setting(
        "HostConfig.MaskedPaths",
        lambda s: masked_paths(),
        "what tells of the host; a list of ours replaces the engine's own, so it repeats it",
    ),
    Setting(
        "HostConfig.ReadonlyPaths",
        lambda s: list(READONLY_PATHS),
        "the kernel's settings",
    ),
    Setting(
        "HostConfig.Binds",
        lambda s: [],
        "nothing of the host is mounted but what `Mounts` names, which has to be there",
    ),
    Setting(
        "HostConfig.Devices",
        lambda s: [],
        "no device of the host",
    ),
    Setting(
        "HostConfig.LogConfig",
        lambda s: {"Type": "none", "Config": {}},
        "output is the agent's to keep: four seconds of `yes` wrote 229 MB to the engine's log file",
    ),
    Setting(
        "HostConfig.RestartPolicy",
        lambda s: {"Name": "no", "MaximumRetryCount": 0},
        "a session that ended stays ended",
    ),
    Setting(
        "HostConfig.AutoRemove",
        lambda s: False,
        "a container that removed itself cannot be asked how it ended",
    ),
)


def create_body(spec: ContainerSpec) -> dict[str, Any]:
    """The JSON object of the create request."""
    body: dict[str, Any] = {"HostConfig": {}}
    for setting in SETTINGS:
        value = setting.value(spec)
        if value is None:
            continue
        *outer, key = setting.key.split(".")
        (body["HostConfig"] if outer else body)[key] = value
    return body


def settings_digest(spec: ContainerSpec) -> str:
    """A digest over all that makes this container differ from another kind; not its name, user or labels."""
    kind = replace(spec, name="", uid=0, labels={}, socket=spec.socket and "socket")
    return hashlib.sha256(json.dumps(create_body(kind), sort_keys=True).encode()).hexdigest()
