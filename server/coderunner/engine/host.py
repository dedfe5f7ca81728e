"""Measures what sessions use of the kernel beyond their control groups' accounts, by bounded reads of
`/proc`.

No privileges are needed if `/proc` shows other users' processes (it is not mounted with `hidepid`). The
methods block for a few milliseconds at most and raise nothing: what cannot be read counts as 0 or None."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

# Of `/proc/locks`. Reading it takes time that grows with the square of the lines, and blocks other locks.
MAX_LINES = 10_000
MAX_SOCKETS = 4096  # lines read of each list of sockets
FEW_SOCKETS = 16  # so few cannot hold enough memory to matter
LISTENING = "0A"  # the state of a listening socket in /proc/net/tcp
UNACCEPTED_BYTES = 3072  # kernel memory of a connection that is not accepted yet
READ_BYTES = 1 << 16  # read at most of a file


class Host:
    """Reads the kernel's files. `proc`, `groups`: where procfs and the cgroup file system are mounted."""

    def __init__(self, proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> None:
        self._proc = proc
        self._groups = groups

    def locks(self, worth: int) -> Counter[int]:
        """Numbers of file locks by user id; empty if there are fewer than `worth` in all.

        Only the first MAX_LINES are counted, which are the newest of each processor.
        """
        owners: Counter[int] = Counter()
        for line in self._lines(self._proc / "locks", MAX_LINES):
            # `->` marks a lock that waits for another one; it is kernel memory as well.
            words = line.replace("-> ", "").split()
            if len(words) > 4 and words[4].isdigit():
                owners[int(words[4])] += 1
        users: Counter[int] = Counter()
        if owners.total() >= worth:
            for pid, count in owners.items():
                # Only looked up once there are many locks: it opens a file for each process.
                uid = self.uid(pid)
                if uid is not None:
                    users[uid] += count
        return users

    def uid(self, pid: int) -> int | None:
        """The user id of a process inside its container; None if the process does not exist or is hidden.

        If the engine maps user ids (userns-remap), this is not the id on the host.
        """
        for line in self._lines(self._proc / str(pid) / "status", 20):
            if line.startswith("Uid:"):
                return self._inside(pid, int(line.split()[1]))
        return None

    def is_first_of(self, pid: int, container: str) -> bool:
        """Whether a process is the first one of a container; False also where that does not show.

        By its control group, and by its number in a namespace of processes right below ours: one that a
        program of the container made would be deeper. ``container``: its full id.
        """
        # Two conditions, as each alone can be forged: a program can make a namespace, and be in the same
        # control group.
        numbers = self._numbers(str(pid))
        if numbers[-1:] != ["1"] or len(numbers) != len(self._numbers("self")) + 1:
            return False
        names = (container, f"docker-{container}.scope")
        groups = [
            line.rstrip("\n").rpartition("/")[2] for line in self._lines(self._proc / str(pid) / "cgroup", 30)
        ]
        return any(group in names for group in groups)

    def _numbers(self, pid: str) -> list[str]:
        """Of a process, in each namespace from ours inwards."""
        for line in self._lines(self._proc / pid / "status", 40):
            if line.startswith("NSpid:"):
                return line.split()[1:]
        return []

    def _inside(self, pid: int, uid: int) -> int:
        # 340 lines is the kernel's own limit of such a map.
        for line in self._lines(self._proc / str(pid) / "uid_map", 340):
            inside, outside, count = (int(word) for word in line.split())
            if outside <= uid < outside + count:
                return inside + uid - outside
        return uid

    def waiting_bytes(self, pid: int) -> int:
        """Bytes of data in the sockets of this process's network namespace, which count against no container.

        A connection that is not accepted yet counts as UNACCEPTED_BYTES.
        """
        net = self._proc / str(pid) / "net"
        # A short read first: most sessions have a handful of sockets, and are done here.
        used = re.search(r"^sockets: used (\d+)", self._text(net / "sockstat"), re.M)
        if used is None or int(used[1]) <= FEW_SOCKETS:
            return 0
        total = seen = 0
        for name in ("udp", "udp6", "tcp", "tcp6"):
            for line in self._lines(net / name, MAX_SOCKETS):
                words = line.split()
                if len(words) > 4 and ":" in words[4]:
                    seen += 1
                    sent, received = (int(part, 16) for part in words[4].split(":"))
                    # For a listening socket, this column is the number of connections to be accepted.
                    listens = words[3] == LISTENING and name.startswith("tcp")
                    total += received * UNACCEPTED_BYTES if listens else sent + received
        for line in self._lines(net / "netlink", MAX_SOCKETS):
            words = line.split()
            if len(words) > 5 and words[4].isdigit():
                seen += 1
                total += int(words[4]) + int(words[5])
        # If the lists were cut off, the other sockets are assumed to hold as much on average.
        return total * max(1, int(used[1]) // max(seen, 1)) if seen >= MAX_SOCKETS else total

    def kernel_seconds(self) -> float | None:
        """Processor time of all kernel threads since their start, in seconds; None if they are not
        visible."""
        # All kernel threads are children of kthreadd, which has process id 2.
        children = self._text(self._proc / "2" / "task" / "2" / "children").split()
        ticks = 0
        for pid in children:
            # Behind the last parenthesis: a thread's name may contain some.
            fields = self._text(self._proc / pid / "stat").rpartition(")")[2].split()
            if len(fields) > 12:
                ticks += int(fields[11]) + int(fields[12])
        # 100 is USER_HZ, in which the kernel reports to all programs, whatever its own clock is.
        return ticks / 100 if children else None

    def stalled_seconds(self) -> float | None:
        """Seconds since the start of the machine in which all runnable tasks waited for a disk; None if the
        kernel does not measure it."""
        found = re.search(r"^full .*total=(\d+)", self._text(self._proc / "pressure" / "io"), re.M)
        return int(found[1]) / 1e6 if found else None

    def session_seconds(self, pid: int) -> float | None:
        """Processor time of this process's control group in seconds; None if it cannot be read."""
        for line in self._lines(self._proc / str(pid) / "cgroup", 30):
            _, controllers, path = line.rstrip("\n").split(":", 2)
            # Version 1: each controller has its own tree. An empty list of controllers is version 2.
            if "cpuacct" in controllers.split(","):
                for folder in (controllers, "cpuacct"):
                    text = self._text(self._groups / folder / path.lstrip("/") / "cpuacct.usage")
                    if text.strip().isdigit():
                        return int(text) / 1e9
            if not controllers:
                found = re.search(r"^usage_usec (\d+)", self._text(self._group_file(path)), re.M)
                if found:
                    return int(found[1]) / 1e6
        return None

    def session_memory(self, pid: int) -> int | None:
        """Bytes of memory of this process's control group, files that are cached included; None if it cannot
        be read."""
        for line in self._lines(self._proc / str(pid) / "cgroup", 30):
            _, controllers, path = line.rstrip("\n").split(":", 2)
            places = [("memory", "memory.usage_in_bytes")] if "memory" in controllers.split(",") else []
            if not controllers:
                places = [("", "memory.current")]
            for folder, name in places:
                text = self._text(self._groups / folder / path.lstrip("/") / name).strip()
                if text.isdigit():
                    return int(text)
        return None

    def _group_file(self, path: str) -> Path:
        return self._groups / path.lstrip("/") / "cpu.stat"

    def _lines(self, path: Path, maximum: int) -> Iterator[str]:
        with contextlib.suppress(OSError), path.open(encoding="utf-8", errors="replace") as file:
            # Bounded by lines and not by bytes: a line of these files has a fixed length.
            for number, line in enumerate(file):
                if number >= maximum:
                    return
                yield line

    def _text(self, path: Path) -> str:
        try:
            with path.open("rb") as file:
                return file.read(READ_BYTES).decode("utf-8", "replace")
        except OSError:
            return ""
