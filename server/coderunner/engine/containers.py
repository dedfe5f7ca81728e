"""The settings of a session's container, in one table, each with its reason.

From this table come the body of the create request, the read-back of what the engine really made
(`effective.py`) and the table in `docs/containers.md`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from coderunner.engine.filter import seccomp_profile
from coderunner.engine.hidden import READONLY_PATHS, masked_paths
from coderunner.engine.runtimes import USUAL_RUNTIMES, memory_of, pids_of
from coderunner.schema.languages import Language
from coderunner.schema.limits import Limits
from coderunner.wire import SOCKET_FOLDER

WORKSPACE = "/workspace"
HOME = WORKSPACE
TEMPORARY = f"{WORKSPACE}/.tmp"
USER_NAME = "coder"
HOST_NAME = "coderunner"
# As in Debian: with 127.0.0.1, a reverse look-up of localhost would return the container's name.
OWN_ADDRESS = "127.0.1.1"
SESSION_TYPE = "coderunner-session"

# Labels. The server of a container (or a group's network) is identified by instance and owner together: the
# owner is a fingerprint of the instance's key, as two servers may have the same name by mistake.
INSTANCE_LABEL = "coderunner.instance"
OWNER_LABEL = "coderunner.owner"
ROLE_LABEL = "coderunner.role"  # purpose of containers that are not for sessions, such as the canary's
DEADLINE_LABEL = "coderunner.deadline"  # unix seconds after which it may be removed
SOCKET_LABEL = "coderunner.socket"  # the folder of its agent's socket on the server's machine

TMP_INODES = 1024
MAX_TERMINALS = 32  # the kernel has 4096 for the whole machine, of which 3072 for containers
VOLUME_LABELS = ("type", "coderunner.instance")
SYSCTLS = {
    "net.ipv4.tcp_rmem": "4096 131072 262144",
    "net.ipv4.tcp_wmem": "4096 16384 262144",
    # Kernel memory that counts against no container: connections that are not accepted take 3 KiB each,
    # closed ones in TIME_WAIT 250 bytes.
    "net.core.somaxconn": "128",
    "net.ipv4.tcp_max_tw_buckets": "4096",
    # The same holds for multicast groups that a socket joins, and their source filters: up to 250 bytes each.
    "net.ipv4.igmp_max_memberships": "4",
    "net.ipv4.igmp_max_msf": "4",
}
# On a kernel without IPv6 this setting does not exist, and a container that asks for it cannot start.
if Path("/proc/sys/net/ipv6").exists():
    SYSCTLS["net.ipv6.conf.lo.disable_ipv6"] = "0"
MAX_SHM_BYTES, SHM_SHARE = 16 * 1024 * 1024, 16  # at most, and this part of the programs' memory

AGENT_COMMAND = (
    "/usr/bin/python3", "-I", "-S", "-c",
    "import sys;sys.path.insert(0,'/opt/coderunner/coderunner/agent');from bundled import begin;begin()",
)  # fmt: skip

# An address where no server is; and in a group the engine's name server, for the members' names.
NAMESERVERS = ("0.0.0.0", "127.0.0.11")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """One container to create. `uid`: unique among live sessions. `runtime`: None for the engine's default.

    `disk_read`: a disk of the host and the bytes per second that may be read from it; None: unlimited.
    `cgroup_parent`: the control group in which the container's own is made; None: the engine's default.
    `socket`: the folder of the agent's socket on the server's machine; None: no socket.
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


def command_of(language: Language) -> tuple[str, ...]:
    """What the first process of this language's containers executes: the agent."""
    # Or what forks the language's preload first, and becomes the agent.
    preload = language.preload
    return preload.agent if preload is not None and preload.agent else AGENT_COMMAND


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a container. `key`: its path in the create request. `value`: makes its value; None
    leaves it out, so that the engine's default holds. `why`: its reason, for docs/containers.md."""

    key: str
    value: Callable[[ContainerSpec], Any]
    why: str


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """The environment of every program of a session. `env`: variables that are added or replaced. It must
    have no secrets, as programs can read it."""
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
    """The size of /dev/shm in bytes. It is small, as it uses the session's memory, like the workspace and
    /tmp, which may fill half of that."""
    # A sixteenth: 16 MiB for 256 MiB of memory, and in proportion below.
    return min(MAX_SHM_BYTES, limits.memory_bytes // SHM_SHARE)


def _tmpfs(spec: ContainerSpec) -> dict[str, str]:
    limits = spec.limits
    return {
        WORKSPACE: f"rw,exec,nosuid,nodev,size={limits.workspace_bytes},nr_inodes={limits.inodes},"
        f"uid={spec.uid},gid={spec.uid}",
        "/tmp": f"rw,exec,nosuid,nodev,size={limits.tmp_bytes},nr_inodes={TMP_INODES},mode=1777",
    }


def _mounts(spec: ContainerSpec) -> list[dict[str, Any]] | None:
    """The mounts, or None if there are none."""
    return [*_terminals(spec), *_socket(spec)] or None


def _socket(spec: ContainerSpec) -> list[dict[str, Any]]:
    if spec.socket is None:
        return []
    # Read-only: a program can connect to the socket, but neither replace it nor leave files on the host.
    # Unlike with `Binds`, the engine does not create a missing folder (as root).
    return [{"Type": "bind", "Source": spec.socket, "Target": SOCKET_FOLDER, "ReadOnly": True}]


def _terminals(spec: ContainerSpec) -> list[dict[str, Any]]:
    if spec.runtime not in USUAL_RUNTIMES:
        return []
    options = f"nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5,max={MAX_TERMINALS}"
    driver = {"Name": "local", "Options": {"type": "devpts", "device": "devpts", "o": options}}
    # With labels, so that volumes whose container is gone are found (`prune_volumes`).
    labels = {name: spec.labels[name] for name in VOLUME_LABELS if name in spec.labels}
    volume = {"NoCopy": True, "Labels": labels, "DriverConfig": driver}
    return [{"Type": "volume", "Target": "/dev/pts", "VolumeOptions": volume}]


def _ulimits(spec: ContainerSpec) -> list[dict[str, Any]]:
    # Not `nproc`: the kernel counts it by user id, over all containers.
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
        "an image cannot start another program before the agent",
    ),
    Setting(
        "Cmd",
        lambda s: list(s.command),
        "PID 1 is the agent, which reaps orphans: else they stay as zombies until fork fails",
    ),
    Setting(
        "Healthcheck",
        lambda s: {"Test": ["NONE"]},
        "an image cannot have the engine run programs in the container",
    ),
    Setting(
        "WorkingDir",
        lambda s: WORKSPACE,
        "programs start where the user's files are",
    ),
    Setting(
        "Hostname",
        lambda s: HOST_NAME,
        "the default would be the container's id",
    ),
    Setting(
        "User",
        lambda s: f"{s.uid}:{s.uid}",
        "never root, and a different user for each live session: the kernel limits inotify watches and "
        "pipe pages by user, so with a shared user one session could use up those of the others",
    ),
    Setting(
        "Env",
        lambda s: [f"{k}={v}" for k, v in environment(s.env).items()],
        "what programs expect, with temporary files in the largest file system; no secrets, as every "
        "program of the session can read it",
    ),
    Setting(
        "Labels",
        lambda s: dict(s.labels),
        "to which server it belongs, and when it may be removed",
    ),
    Setting(
        "Tty",
        lambda s: False,
        "the engine's stream stays binary; the agent makes terminals inside",
    ),
    Setting(
        "OpenStdin",
        lambda s: True,
        "the agent reads its commands from stdin",
    ),
    Setting(
        "StdinOnce",
        lambda s: False,
        "the agent's stdin stays open when the server detaches, so that it can attach again",
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
        "the default capabilities of root include raw sockets, mknod, chroot and setuid",
    ),
    Setting(
        "HostConfig.CapAdd",
        lambda s: [],
        "none is added",
    ),
    Setting(
        "HostConfig.SecurityOpt",
        lambda s: ["no-new-privileges:true", f"seccomp={seccomp_profile()}"],
        "a setuid program gets euid 0 even without any capability; the engine's default seccomp profile "
        "allows io_uring and AF_VSOCK",
    ),
    Setting(
        "HostConfig.ReadonlyRootfs",
        lambda s: True,
        "writes to the image's file system have no limit",
    ),
    Setting(
        "HostConfig.Tmpfs",
        _tmpfs,
        "the only writable places, limited in bytes and in inodes (else many empty files would use up the "
        "memory), without setuid and device files; executable, as compilers put programs there",
    ),
    Setting(
        "HostConfig.Mounts",
        _mounts,
        "a /dev/pts with a limit (an unnamed volume), as the engine's own has none: five processes took all "
        "3,072 pseudo-terminals of the machine; and a folder that has only the socket to which the agent "
        "connects",
    ),
    Setting(
        "HostConfig.Sysctls",
        lambda s: dict(SYSCTLS) if s.runtime in USUAL_RUNTIMES else None,
        "these use kernel memory that counts against no container: buffers of TCP connections (by default up "
        "to 32 MiB each), connections that are not accepted (4,096 for each listening socket), multicast "
        "groups of a socket (20); IPv6 on loopback, as `localhost` is also `::1` in the engine's hosts file",
    ),
    Setting(
        "HostConfig.ExtraHosts",
        lambda s: [f"{HOST_NAME}:{OWN_ADDRESS}"],
        "the container's host name resolves: without a network the engine adds no address for it",
    ),
    Setting(
        "HostConfig.NetworkMode",
        lambda s: "none",
        "an internal bridge does not isolate: the host's services can be reached at the gateway's address, "
        "and containers reach each other",
    ),
    Setting(
        "HostConfig.Dns",
        lambda s: [NAMESERVERS[0]],
        "in a group's network, the engine resolves the members' names and forwards all others to this "
        "address, where no server is; without it, to the host's resolver, whose address would be visible in "
        "any container",
    ),
    Setting(
        "HostConfig.DnsSearch",
        lambda s: ["."],
        "none; else the host's search domains would be visible",
    ),
    Setting(
        "HostConfig.DnsOptions",
        lambda s: ["timeout:1", "attempts:1"],
        "an unknown name fails after one second, not ten; and the host's options are not visible",
    ),
    Setting(
        "HostConfig.PidsLimit",
        lambda s: pids_of(s.limits, s.runtime),
        "limits a fork bomb; 0 would mean unlimited. Higher for gVisor, whose own threads count, too",
    ),
    Setting(
        "HostConfig.Memory",
        lambda s: memory_of(s.limits, s.runtime),
        "for programs, tmpfs and shared memory together, or for the compiler if it needs more: then the "
        "agent limits programs to their share",
    ),
    Setting(
        "HostConfig.MemorySwap",
        lambda s: memory_of(s.limits, s.runtime),
        "equal to the memory, so no swap; by default it is twice the memory",
    ),
    Setting(
        "HostConfig.OomKillDisable",
        lambda s: False,
        "without the OOM killer, a container hangs when its memory is used up",
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
        "an image is larger than a session's memory, so reading it repeatedly keeps the host's disk busy",
    ),
    Setting(
        "HostConfig.Ulimits",
        _ulimits,
        "open files, no core dumps, and the largest file (a sparse one of 60 GB is refused); not "
        "processes, which the kernel counts by user over all containers",
    ),
    Setting(
        "HostConfig.ShmSize",
        lambda s: shm_bytes(s.limits),
        "shared memory counts as the session's memory",
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
        "the host's control groups are not visible",
    ),
    Setting(
        "HostConfig.MaskedPaths",
        lambda s: masked_paths(),
        "files that reveal facts about the host; the list replaces the engine's, so it includes that",
    ),
    Setting(
        "HostConfig.ReadonlyPaths",
        lambda s: list(READONLY_PATHS),
        "kernel settings",
    ),
    Setting(
        "HostConfig.Binds",
        lambda s: [],
        "nothing of the host is mounted but what is in `Mounts`",
    ),
    Setting(
        "HostConfig.Devices",
        lambda s: [],
        "no device of the host",
    ),
    Setting(
        "HostConfig.LogConfig",
        lambda s: {"Type": "none", "Config": {}},
        "the agent keeps the output; four seconds of `yes` wrote 229 MB to the engine's log file",
    ),
    Setting(
        "HostConfig.RestartPolicy",
        lambda s: {"Name": "no", "MaximumRetryCount": 0},
        "a session's container is not restarted",
    ),
    Setting(
        "HostConfig.AutoRemove",
        lambda s: False,
        "the server asks a container that ended for the reason",
    ),
)


def create_body(spec: ContainerSpec) -> dict[str, Any]:
    """The JSON object of the create request for a container."""
    # The order of the table does not matter: each key occurs once (a test compares them with the engine's
    # document).
    body: dict[str, Any] = {"HostConfig": {}}
    for setting in SETTINGS:
        value = setting.value(spec)
        if value is None:
            continue
        *outer, key = setting.key.split(".")
        (body["HostConfig"] if outer else body)[key] = value
    return body


def settings_digest(spec: ContainerSpec) -> str:
    """A digest of the settings without name, user id and labels: containers with the same digest have the
    same limits, so one verdict of the canary holds for all of them."""
    # What differs from container to container is left out; whether there is a socket at all changes the
    # mounts.
    kind = replace(spec, name="", uid=0, labels={}, socket=spec.socket and "socket")
    return hashlib.sha256(json.dumps(create_body(kind), sort_keys=True).encode()).hexdigest()
