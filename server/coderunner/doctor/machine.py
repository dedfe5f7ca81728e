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

SERVER_BYTES = 100 * 2**20  # the server itself, docs/deployment.md
SESSION_BYTES = 20 * 2**20  # a session that waits at a prompt; more is its program's
DISK_SHORT, DISK_OUT = 5 * 2**30, 2**30  # an image of a language is up to 700 MB
STATE_SHORT = 100 * 2**20
DESCRIPTORS = 6  # for each session: its client, the agent, and files under way
CLOCK_SECONDS = 5.0  # tokens and certificates are judged by the clock


def checks(settings: Settings, memory_bytes: int, disk: Path | None) -> list[Finding]:
    """`memory_bytes`: of the machine with the engine. `disk`: its folder, None where that is elsewhere."""
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
    above = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as error:
        return fail(
            "state", f"nothing can be written below {above} ({error.strerror})",
            "give this user the right to, or set STATE_DIR to another folder",
        )  # fmt: skip
    free = shutil.disk_usage(above).free
    if free < STATE_SHORT:
        mend = "free some: sealed keys and the answers of runs are kept there"
        return fail("state", f"{above} has {free >> 20} MiB left", mend)
    where = str(folder) if above == folder.absolute() else f"{folder} will be made in {above}"
    return ok("state", f"{where}, {free >> 20} MiB free")


def _port(settings: Settings) -> Finding:
    place = settings.host if settings.host.startswith(UNIX) else f"{settings.host} port {settings.port}"
    try:
        running = lives(Path(settings.state_dir), settings.instance_name)
    except CannotStart as error:
        return fail("port", error.message, "run this as the server's own user")
    if running:
        return ok("port", f"the server {settings.instance_name} runs, and has {place}")
    try:
        with bound(settings.host, settings.port):
            return ok("port", f"{place} is free")
    except CannotStart as error:
        return fail("port", error.message, "ss -ltnp says who has it")


def _memory(settings: Settings, memory_bytes: int) -> Finding:
    sessions = settings.max_concurrent_sessions
    needed = SERVER_BYTES + sessions * SESSION_BYTES
    text = f"{memory_bytes / 2**30:.1f} GiB for up to {sessions} sessions"
    if memory_bytes and needed > memory_bytes:
        mend = f"set MAX_CONCURRENT_SESSIONS to {max(1, (memory_bytes - SERVER_BYTES) // SESSION_BYTES)}"
        return fail("memory", f"{text}, which need {needed >> 20} MiB before any program runs", mend)
    return ok("memory", text)


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    text = f"{folder} has {free / 2**30:.1f} GiB left"
    mend = "coderunner images prune; docker system df says what takes the room"
    if free < DISK_OUT:
        return fail("disk", text, mend)
    return warn("disk", text, mend) if free < DISK_SHORT else ok("disk", text)


def _descriptors(settings: Settings) -> Finding:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = settings.max_concurrent_sessions * DESCRIPTORS + 256
    if most != resource.RLIM_INFINITY and most < needed:
        text = f"a process may open {most} files, and the sessions need {needed}"
        return fail("descriptors", text, f"ulimit -Hn {needed}, or LimitNOFILE={needed} in the unit")
    return ok("descriptors", f"a process may open {'any number of' if most < 0 else most} files")


def _firewall(settings: Settings) -> Finding:
    if not settings.max_groups:
        return ok("firewall", "not needed: MAX_GROUPS is 0")
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12):  # NETLINK_NETFILTER
            pass
    except OSError as error:
        text = f"the kernel has no packet filter ({error.strerror}), so sessions cannot have a network"
        return warn("firewall", text, "load nf_tables, or set MAX_GROUPS=0")
    return ok("firewall", "the kernel has the packet filter that groups need")


def clock(check: str, date: str) -> Finding:
    """`date`: of an answer over HTTP that has just come."""
    try:
        away = email.utils.parsedate_to_datetime(date).timestamp() - time.time()
    except (TypeError, ValueError):
        return warn(check, "the answer has no date", "compare the clocks by hand")
    if abs(away) > CLOCK_SECONDS + 1:
        text = f"the clock there is {abs(away):.0f} s {'ahead of' if away > 0 else 'behind'} this one's"
        return warn(check, text, "timedatectl set-ntp true on both")
    return ok(check, "as this machine's clock")
