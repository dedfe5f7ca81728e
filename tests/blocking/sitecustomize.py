"""In each server that tests start: a call that blocks the event loop is named in the server's log.

Python imports this module by its name, before all else; `tests/harness.py` puts its folder into PYTHONPATH,
and fails a test whose server's log has such a line. What is done before a server listens and after it has
stopped delays nobody, and is not looked at.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

MARK = "BLOCKS THE EVENT LOOP"
IN_MEMORY = ("/proc/", "/sys/", "/dev/")
"""Files that no disk is asked for."""
LIBRARY = os.path.dirname(os.__file__) + os.sep
"""Python's own modules, each of which is loaded once."""
SHOWN = 4  # of our own functions, the innermost first
OWN = f"{os.sep}coderunner{os.sep}"

A_FOLDER = "metadata of a folder below STATE_DIR: microseconds, less than a thread's start"
ONCE = "once in a server's life, a file that the kernel has read for its import"
A_RUN = "a record is the kernel's before anybody is told of it, in order; what is long is done in a thread"
ALLOWED = {
    "engine/sockets.py AgentSocket.listen": A_FOLDER,
    "engine/sockets.py AgentSockets.make": A_FOLDER,
    "engine/sockets.py remove_folder": A_FOLDER,
    "engine/filter.py seccomp_profile": ONCE,
    "engine/firewall.py _program": ONCE,
    "jobs/": A_RUN,
    "logs.py": "the source's lines in a traceback: of a fault, which a test expects or fails at",
    "web/files.py _spool": "an archive is written piece by piece, as it arrives, at most 256 KiB at once",
}
"""Our functions, or files and folders of them, that may block, and why."""

Judge = Callable[[tuple[Any, ...]], bool]


def _always(_: tuple[Any, ...]) -> bool:
    return True


def _on_disk(args: tuple[Any, ...]) -> bool:
    if isinstance(args[0], int):
        return False  # a descriptor, which is open
    path = os.fsdecode(args[0] or ".")
    library = path.startswith(LIBRARY) and "site-packages" not in path
    return not library and not path.startswith(IN_MEMORY)


JUDGES: dict[str, Judge] = {
    "sleep": lambda args: args[0] > 0,
    "socket.connect": lambda args: args[0].gettimeout() != 0,
    "socket.getaddrinfo": _always,
    "socket.gethostbyname": _always,
    "socket.gethostbyaddr": _always,
    "subprocess.Popen": _always,
    "os.system": _always,
    "os.fork": _always,
    "fcntl.flock": _always,
    "fcntl.lockf": _always,
    "sqlite3.connect": _always,
    **dict.fromkeys(
        (
            "open", "os.chmod", "os.chown", "os.link", "os.listdir", "os.mkdir", "os.remove", "os.rename",
            "os.rmdir", "os.scandir", "os.symlink", "os.truncate", "os.utime", "shutil.copyfile",
            "shutil.copytree", "shutil.move", "shutil.rmtree", "tempfile.mkdtemp", "tempfile.mkstemp",
        ),
        _on_disk,
    ),
}  # fmt: skip
"""Python's audit events and our own, and whether one with these arguments may block."""


def _own(frame: FrameType | None) -> list[str] | None:
    """Our functions on the stack, the innermost first; None where it may block."""
    found = []
    while frame is not None:
        code = frame.f_code
        _, inside, path = code.co_filename.rpartition(OWN)
        if inside:
            if (path, code.co_name) == ("app.py", "serving"):
                return None
            if not found and path.startswith("cli/"):
                return None  # nothing of ours runs: it is the loop's own, or whoever measures it
            if not found and f"{path} {code.co_qualname}".startswith(tuple(ALLOWED)):
                return None
            found.append(f"{path}:{frame.f_lineno} {code.co_qualname}")
        frame = frame.f_back
    return found


def _hook(event: str, args: tuple[Any, ...]) -> None:
    judge = JUDGES.get(event)
    if judge is None:
        return
    # Asked of the module, where it is loaded: to import it here would cost each process its time.
    running = getattr(sys.modules.get("asyncio.events"), "_get_running_loop", None)
    if running is None or running() is None or not judge(args):
        return
    own = _own(sys._getframe(1))  # noqa: SLF001
    if own:
        told = ", ".join(repr(one)[:100] for one in args[:2])
        os.write(2, f"{MARK}: {event}({told}) in {' < '.join(own[:SHOWN])}\n".encode())


def _sleep(seconds: float, _real: Callable[[float], None] = time.sleep) -> None:
    _hook("sleep", (seconds,))
    _real(seconds)


# Else a test reads what stands here. The process that a server starts for agents has a loop of its own, in
# which it imports their SDK: that delays no terminal.
if __name__ == "sitecustomize" and "--of-server" not in sys.orig_argv:
    sys.addaudithook(_hook)
    time.sleep = _sleep  # before Python 3.13 it is no audit event
