"""`serve --replace`: the next server starts beside the one that runs, and takes its place once it is loaded.

What a start can fail at without the other one's lock (a broken installation, wrong settings) fails while the
other still serves; and its clients wait only while their sessions are adopted, not while Python imports.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from coderunner.errors import CannotStart

LEAVE_SECONDS = 30.0
"""For the other server to end: as TimeoutStopSec= of the unit. It usually takes tenths of a second."""
LISTEN_SECONDS = 60.0
"""For a server in the background to listen."""
PAUSE_SECONDS = 0.002  # between two looks at the lock: clients wait


async def take_over(lock: Path, environment: Mapping[str, str]) -> None:
    """Ends the server that holds `lock` as SIGTERM does, so that its sessions continue. Returns when it has
    ended, and at once if no server holds it.

    `environment`: of this process; where it names systemd's socket (NOTIFY_SOCKET), systemd is told that this
    is the service's main process from now on, before the other one ends. Raises CannotStart."""
    with contextlib.suppress(FileNotFoundError), lock.open("rb") as file:
        if _free(file.fileno()):
            return
        with contextlib.closing(_holder(file.fileno(), lock)) as other:
            notify(f"MAINPID={os.getpid()}", environment)
            other.end()
            try:
                async with asyncio.timeout(LEAVE_SECONDS):
                    while not _free(file.fileno()):  # noqa: ASYNC110 - a lock of another process
                        await asyncio.sleep(PAUSE_SECONDS)
            except TimeoutError:
                raise CannotStart(
                    f"the server that runs (process {other.pid}) has not ended within {LEAVE_SECONDS:g} s"
                ) from None


def _free(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(lock, fcntl.LOCK_UN)
    return True


def _holder(lock: int, path: Path) -> _Process:
    """The process that holds the lock, by what it has written there. That is checked: in a container the same
    number is another process. Raises CannotStart."""
    text = os.pread(lock, 20, 0)
    wanted = os.fstat(lock)
    with contextlib.suppress(OSError, ValueError, OverflowError), contextlib.ExitStack() as stack:
        # The descriptor first: what is looked at below and what is signalled later are then one process.
        process = _Process(int(text))
        stack.callback(process.close)
        for number in os.listdir(f"/proc/{process.pid}/fd"):
            with contextlib.suppress(OSError):
                found = os.stat(f"/proc/{process.pid}/fd/{number}")
                if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                    stack.pop_all()
                    return process
    raise CannotStart(
        f"the server that holds {path} cannot be seen from here: it runs in another container or as another"
        " user, or its version does not know `serve --replace`. Stop it, and start this one without --replace"
        " (of a unit: `systemctl restart`)"
    )


class _Process:
    """A process by a descriptor, so that no other one that gets its number is hit. Raises OSError."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            signal.pidfd_send_signal(self._descriptor, signal.SIGTERM)

    def close(self) -> None:
        os.close(self._descriptor)


def notify(text: str, environment: Mapping[str, str]) -> None:
    """Tells systemd, as sd_notify(3) describes it; nothing outside of a unit that wants it."""
    place = environment.get("NOTIFY_SOCKET", "")
    if not place:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.sendto(text.encode(), "\0" + place[1:] if place[0] == "@" else place)


def in_background() -> Callable[[], None] | None:
    """Forks: the child continues, with what it has to call once it listens. The parent returns None when that
    was called, and else ends: with the child's exit code, or with 1 after LISTEN_SECONDS, while the child
    goes on with its start.

    To be called before there are threads or an event loop."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        return lambda: _listens(writing)
    os.close(writing)
    ready, _, _ = select.select([reading], [], [], LISTEN_SECONDS)
    if not ready:
        print(
            f"coderunner: the new server (process {pid}) does not listen after {LISTEN_SECONDS:g} s; it goes"
            " on with its start, and its log says what it waits for",
            file=sys.stderr,
        )
        sys.exit(1)
    if os.read(reading, 1):
        return None
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) or 1)


def _listens(pipe: int) -> None:
    # From here on a Ctrl-C of the same terminal is meant for others: it would end all sessions.
    os.setsid()
    # Who waited may be gone: its time was up, or somebody has interrupted it.
    with contextlib.suppress(BrokenPipeError):
        os.write(pipe, b"1")
    os.close(pipe)
