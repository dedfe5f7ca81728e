"""Checks of the host's kernel settings that bound what no container setting can bound.

They read this machine's values, and so cannot check an engine on another machine.
"""

from __future__ import annotations

import contextlib
import platform
from pathlib import Path

from coderunner.core.groups import MAX_MEMBERS
from coderunner.engine.containers import MAX_TERMINALS
from coderunner.engine.states import EngineInfo

FILTER_BYTES = 64 * 1024  # of a container's compiled seccomp filter; a generous estimate
SPARE_TERMINALS = 64  # for other users of the machine
SOCKET_SHARE = 1 / 8  # of memory, for the buffers of all sockets; the kernel's default is 1/4
PAGE = 4096
SPARE_NEIGHBOURS = 512  # ARP entries for the machine's own networks
GUIDE = "deploy/coderunner.sysctl.conf has it"
NO_CONFINEMENT, UNKNOWN = "none", "unknown"


def floors(
    containers: int, memory_bytes: int, settings: Path = Path("/proc/sys"), *, groups: bool = True
) -> list[str]:
    """The kernel settings that are too low (or, for buffers, too high), each as a sentence with its remedy.

    `containers`: the most that run at once. `memory_bytes`: of the machine. `settings`: the folder of the
    sysctls. `groups`: whether sessions may have networks.
    """
    return [
        *_terminals(containers, settings),
        *_filters(containers, settings),
        *(_neighbours(containers, settings) if groups else ()),
        *(text for kind in ("tcp", "udp") for text in _buffers(kind, memory_bytes, settings)),
    ]


def confinement(info: EngineInfo) -> str:
    """The engine's security module, which confines the containers: `apparmor`, `selinux` or `none`."""
    # A custom profile is `name=apparmor` as well, with further options behind the comma.
    names = {part.removeprefix("name=") for text in info.security for part in text.split(",")}
    return next((name for name in ("apparmor", "selinux") if name in names), NO_CONFINEMENT)


def unconfined(info: EngineInfo, system: Path = Path("/sys")) -> list[str]:
    """A sentence with its remedy if the kernel has a security module that the engine does not use.

    `system`: the path of sysfs.
    """
    if confinement(info) != NO_CONFINEMENT:
        return []
    if _text(system / "module/apparmor/parameters/enabled") == "Y":
        return [
            "The kernel has AppArmor, but the engine does not use it: sessions run unconfined. Fix: "
            "apt-get install apparmor && systemctl restart docker"
        ]
    if _text(system / "fs/selinux/enforce") == "1":
        return [
            "The kernel enforces SELinux, but the engine does not use it: sessions run unconfined. Fix: "
            'set "selinux-enabled": true in /etc/docker/daemon.json and restart the engine'
        ]
    return []


def is_here(info: EngineInfo) -> bool:
    """Whether the engine runs on this machine's kernel, as far as its version tells."""
    return info.kernel == platform.release()


def _terminals(containers: int, settings: Path) -> list[str]:
    most, reserved = _number(settings / "kernel/pty/max"), _number(settings / "kernel/pty/reserve")
    # Each session counts in full: one that has none now may open them all within a second.
    needed = containers * MAX_TERMINALS + SPARE_TERMINALS + (reserved or 0)
    if most is None or most >= needed:
        return []
    return [
        f"kernel.pty.max is {most}: {containers} sessions with {MAX_TERMINALS} pseudo-terminals each can "
        f"use all of the machine's. Fix: sysctl -w kernel.pty.max={needed} ({GUIDE})"
    ]


def _filters(containers: int, settings: Path) -> list[str]:
    most = _number(settings / "net/core/bpf_jit_limit")  # only root may read it
    needed = containers * FILTER_BYTES
    if most is None or most >= needed:
        return []
    return [
        f"net.core.bpf_jit_limit is {most}: the seccomp filters of {containers} containers may not fit, and "
        f"then no container starts. Fix: sysctl -w net.core.bpf_jit_limit={needed} ({GUIDE})"
    ]


def _neighbours(containers: int, settings: Path) -> list[str]:
    most = _number(settings / "net/ipv4/neigh/default/gc_thresh3")
    needed = containers * MAX_MEMBERS + SPARE_NEIGHBOURS
    if most is None or most >= needed:
        return []
    return [
        f"net.ipv4.neigh.default.gc_thresh3 is {most}: {containers} sessions in groups can fill the ARP"
        " table, and then the machine cannot reach new addresses. Fix: "
        f"sysctl -w net.ipv4.neigh.default.gc_thresh3={needed} ({GUIDE})"
    ]


def _buffers(kind: str, memory_bytes: int, settings: Path) -> list[str]:
    # The third number is the hard limit, in pages, for all sockets of the machine.
    words = _text(settings / f"net/ipv4/{kind}_mem").split()
    # Half for each of TCP and UDP.
    most = int(memory_bytes * SOCKET_SHARE / 2) // PAGE
    if len(words) != 3 or not words[2].isdigit() or not memory_bytes or int(words[2]) <= most:
        return []
    values = f"{most // 2} {most * 3 // 4} {most}"
    return [
        f"net.ipv4.{kind}_mem allows {int(words[2]) * PAGE >> 20} MiB of socket buffers, which count against"
        f" no container's memory limit. Fix: sysctl -w net.ipv4.{kind}_mem='{values}' ({GUIDE})"
    ]


def _number(path: Path) -> int | None:
    # -1 and empty files (no permission) mean that there is nothing to compare.
    text = _text(path)
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text("utf-8").strip()
    return ""
