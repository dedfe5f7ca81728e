"""Process trees by /proc: whom a program left, and an end to all of them."""

from __future__ import annotations

import contextlib
import os
import signal


def processes():
    """{pid: (parent, state)} of every process that can be seen; state as in /proc/PID/stat."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                line = file.read()
        except OSError:
            continue
        # The command may contain anything but ends at the last parenthesis.
        fields = line[line.rfind(b")") + 2 :].split(None, 2)
        found[int(name)] = (int(fields[1]), fields[0].decode())
    return found


def descendants(root, *, spare=()):
    """Living descendants of ``root``, without those below a process of ``spare`` or in it."""
    table = processes()
    children = {}
    for pid, (parent, state) in table.items():
        if state not in "ZX":
            children.setdefault(parent, []).append(pid)
        else:
            # A dead process has no children: its orphans have another parent already.
            continue
    found = []
    waiting = [root]
    while waiting:
        for pid in children.get(waiting.pop(), ()):
            if pid not in spare:
                found.append(pid)
                waiting.append(pid)
    return found


def kill(root, *, spare=()):
    """SIGKILL every descendant of ``root``; how many lived.

    They are stopped first, until no new one shows, so that what forks faster than it is killed cannot
    get away.  A process that cannot run in the container's quota dies later than this returns: whoever
    needs certainty waits for it, or calls again.
    """
    stopped = set()
    for _ in range(50):
        fresh = [pid for pid in descendants(root, spare=spare) if pid not in stopped]
        if not fresh:
            break
        for pid in fresh:
            send(pid, signal.SIGSTOP)
            stopped.add(pid)
    for pid in stopped:
        send(pid, signal.SIGKILL)
    return len(stopped)


def send(pid, number):
    """Signal a process that may be gone already."""
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def cpu_seconds(root, ticks):
    """CPU time of the living descendants of ``root`` and of the children they waited for."""
    total = 0
    for pid in descendants(root):
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                line = file.read()
        except OSError:
            continue
        fields = line[line.rfind(b")") + 2 :].split()
        total += sum(int(field) for field in fields[11:15])
    return total / ticks
