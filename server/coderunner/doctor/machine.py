"""Checks of this machine: memory, disk, descriptors, clock, the kernel's packet filter, the state folder."""

from __future__ import annotations

import email.utils
import resource
import shutil
import socket
import tempfile
import time
from pathlib import Path

from coderunner.config import Settings
from coderunner.doctor.findings import Finding, fail, guarded, ok, warn
from coderunner.errors import CannotStart
from coderunner.instance import lives
from coderunner.schema.forms import UNIX
from coderunner.web.listen import bound

SERVER_BYTES = 100 * 2**20  # memory of the server itself (docs/deployment.md)
SESSION_BYTES = 20 * 2**20  # memory of a session that waits at a prompt, without its program's
DISK_SHORT, DISK_OUT = 5 * 2**30, 2**30  # free bytes; a language's image takes up to 700 MB
STATE_SHORT = 100 * 2**20  # free bytes; runs' answers need SPOOL_SIZE besides
DESCRIPTORS = 6  # for each session: its client, the agent, and file transfers
CLOCK_SECONDS = 5.0  # tokens and certificates are valid by the clock


def checks(settings: Settings, memory_bytes: int, disk: Path | None) -> list[Finding]:
    """Checks this machine.

    `memory_bytes`: of the engine's machine, 0 if unknown. `disk`: the engine's data folder, None if it is on
    another machine.
    """
    found: list[Finding] = []
    with guarded("state", found):
        found.append(_state(Path(settings.state_dir)))
    with guarded("port", found):
        found.append(_port(settings))
    with guarded("memory", found):
        found.append(_memory(settings, memory_bytes))
    with guarded("disk", found):
        if disk is not None:
            found.append(_disk(disk))
    with guarded("descriptors", found):
        found.append(_descriptors(settings))
    with guarded("firewall", found):
        found.append(_firewall(settings))
    return found


def _state(folder: Path) -> Finding:
    """Whether this user can write to STATE_DIR, or to the folder in which it will be created, and how much
    room is left."""
    above = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    try:
        # Written and not only asked for by access(2): quotas and read-only mounts show only so.
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as error:
        return fail(
            "state", f"this user cannot write to {above} ({error.strerror})",
            "give this user write permission, or set STATE_DIR to another folder",
        )  # fmt: skip
    free = shutil.disk_usage(above).free
    if free < STATE_SHORT:
        mend = "free some space: keys and the answers of runs are stored there"
        return fail("state", f"{above} has {free >> 20} MiB left", mend)
    where = str(folder) if above == folder.absolute() else f"{folder} will be created in {above}"
    return ok("state", f"{where}, {free >> 20} MiB free")


def _port(settings: Settings) -> Finding:
    """Whether the server can listen at its address, or does already."""
    place = settings.host if settings.host.startswith(UNIX) else f"{settings.host} port {settings.port}"
    try:
        running = lives(Path(settings.state_dir), settings.instance_name)
    except CannotStart as error:
        return fail("port", error.message, "run this command as the server's user")
    if running:
        return ok("port", f"the server {settings.instance_name} is running, on {place}")
    try:
        with bound(settings.host, settings.port):
            return ok("port", f"{place} is free")
    except CannotStart as error:
        return fail("port", error.message, "`ss -ltnp` shows which process uses it")


def _memory(settings: Settings, memory_bytes: int) -> Finding:
    """Whether the machine has enough memory for MAX_CONCURRENT_SESSIONS."""
    sessions = settings.max_concurrent_sessions
    needed = SERVER_BYTES + sessions * SESSION_BYTES
    if not memory_bytes:
        return ok("memory", "not known, as the engine does not say how much its machine has")
    text = f"{memory_bytes / 2**30:.1f} GiB for up to {sessions} sessions"
    if needed > memory_bytes:
        mend = f"set MAX_CONCURRENT_SESSIONS to {max(1, (memory_bytes - SERVER_BYTES) // SESSION_BYTES)}"
        return fail("memory", f"{text}, which need {needed >> 20} MiB before any program runs", mend)
    return ok("memory", text)


def _disk(folder: Path) -> Finding:
    """How much room the engine's data folder has for images."""
    free = shutil.disk_usage(folder).free
    text = f"{folder} has {free / 2**30:.1f} GiB left"
    mend = "run `coderunner images prune`; `docker system df` shows what uses the space"
    if free < DISK_OUT:
        return fail("disk", text, mend)
    return warn("disk", text, mend) if free < DISK_SHORT else ok("disk", text)


def _descriptors(settings: Settings) -> Finding:
    """Whether a process may open enough files for MAX_CONCURRENT_SESSIONS."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # 256: for all that the server opens besides sessions.
    needed = settings.max_concurrent_sessions * DESCRIPTORS + 256
    if most != resource.RLIM_INFINITY and most < needed:
        text = f"a process may open {most} files, and the sessions need {needed}"
        return fail("descriptors", text, f"set `ulimit -Hn {needed}`, or LimitNOFILE={needed} in the unit")
    return ok("descriptors", f"a process may open {'any number of' if most < 0 else most} files")


def _firewall(settings: Settings) -> Finding:
    """Whether the kernel has nf_tables, which the networks of groups need."""
    if not settings.max_groups:
        return ok("firewall", "not needed: MAX_GROUPS is 0")
    try:
        # The kernel loads the module when the socket is made, as the server's helper would.
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12):  # NETLINK_NETFILTER
            pass
    except OSError as error:
        text = f"the kernel has no packet filter ({error.strerror}), so sessions cannot have a network"
        return warn("firewall", text, "load the kernel module nf_tables, or set MAX_GROUPS=0")
    return ok("firewall", "the kernel has the packet filter that groups need")


def clock(check: str, date: str) -> Finding:
    """Compares this machine's clock with the `Date` header of an HTTP response that has just arrived.

    `check`: name of the finding.
    """
    try:
        away = email.utils.parsedate_to_datetime(date).timestamp() - time.time()
    except (TypeError, ValueError):
        return warn(check, "the response has no Date header", "compare the two clocks by hand")
    # The header has whole seconds.
    if abs(away) > CLOCK_SECONDS + 1:
        where = "ahead of" if away > 0 else "behind"
        text = f"the server's clock is {abs(away):.0f} s {where} this machine's"
        return warn(check, text, "run `timedatectl set-ntp true` on both machines")
    return ok(check, "the server's clock agrees with this machine's")
