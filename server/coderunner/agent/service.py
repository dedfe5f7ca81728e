"""A service: a program of the language that runs beside the user's programs, and is started before them.

The agent starts it, keeps the end of its output in a file that the user can read, and restarts it when it
ends. It belongs to no channel, so it outlives every program, and ends with the container.  ``preload`` is a
special kind of service.
"""

from __future__ import annotations

import os
import time

from . import supervisor
from .lean import signal, suppress

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from typing import NoReturn

    from coderunner.wire import typed

LOOK_SECONDS = 0.01  # between two checks for its `ready` path
LOG_BYTES = 128 * 1024  # of its log file, at most; half of the content is dropped when it is full
LOG_SECONDS = 0.01  # between two reads of its output, so that a flood costs the agent little
TAIL_BYTES = 2000  # of its latest output, for the message that it did not become ready
FIRST_DELAY, MAX_DELAY = 0.1, 30.0  # seconds before it is restarted; doubled each time
STABLE_SECONDS = 10.0  # after running so long it is restarted with FIRST_DELAY again


class Service:
    """One service, and its restarts.  The agent's loop calls ``tick``, ``read_log`` and ``died``.

    ``spec``: ``command``, ``env``, ``folder`` (its working directory, with its log), ``ready`` (a path that
    exists once it is ready), ``start_ms`` (how long that may take).  ``now``: seconds of the monotonic clock.
    """

    NAME = "service"
    LOG = "log"
    NICE = 5  # between the agent and the programs, which wait for it
    OOM_PROTECTED = False  # when memory is short, the kernel kills it before the agent

    def __init__(self, spec: typed.ServiceSpec, now: float) -> None:
        self.spec: typed.ServiceSpec = {**spec, "env": {**os.environ, **spec["env"]}}
        self.pid: int | None = None
        self.out = -1  # pipe with its output
        self.ready = False
        self.log_due = now
        self._deadline = now + spec["start_ms"] / 1000
        self._began = now
        self._start_at = now
        self._delay = FIRST_DELAY
        self._marked = False  # `supervisor.mark_for_oom` has succeeded
        self._log = -1
        self._tail = b""

    def problem(self, now: float) -> str | None:
        """The message that it was not ready in time; None before its deadline, and once it is ready."""
        if self.ready or now < self._deadline:
            return None
        said = self._tail.decode("utf-8", "replace").strip()
        seconds = self.spec["start_ms"] / 1000
        return f"the {self.NAME} was not ready within {seconds:g} s; it said: {said or 'nothing'}"

    def tick(self, now: float) -> float | None:
        """Starts it if that is due; returns the moment at which it has to be called again, or None."""
        if self.pid is None:
            if now < self._start_at:
                return min(self._start_at, self._deadline) if self._awaited(now) else self._start_at
            self._start(now)
            if self.pid is None:
                return self._start_at
        if not self._marked:
            self._marked = supervisor.mark_for_oom(self.pid)
        if not self.ready:
            self.ready = self._is_ready()
        return now + LOOK_SECONDS if self._awaited(now) or not self._marked else None

    def _is_ready(self) -> bool:
        return os.path.exists(self.spec["ready"])

    def _awaited(self, now: float) -> bool:
        return not self.ready and now < self._deadline

    # --- start and end -----------------------------------------------------------------------------

    def _start(self, now: float) -> None:
        """Starts it; a failure is written to its log, and tried again later."""
        opened: tuple[int, ...] = ()
        try:
            self._prepare()
            opened = os.pipe()
            pid = self._fork(opened[1])
        except OSError as error:
            for number in opened:
                os.close(number)
            self._record(f"not started: {error}\n".encode())
            self._wait(now)
            return
        os.close(opened[1])
        self.pid, self.out = pid, opened[0]
        os.set_blocking(self.out, False)
        self._began, self._marked = now, self.OOM_PROTECTED

    def _fork(self, out: int) -> int:
        pid = os.fork()
        if pid == 0:
            self._become({0: os.open("/dev/null", os.O_RDWR), 1: out, 2: out})
        return pid

    def _prepare(self) -> None:
        os.makedirs(self.spec["folder"], exist_ok=True)
        self._tidy()
        if self._log < 0:
            self._open_log()

    def _open_log(self) -> None:
        os.makedirs(self.spec["folder"], exist_ok=True)
        path = os.path.join(self.spec["folder"], self.LOG)
        # A program may have put a link here: it is removed and created anew, never followed.
        with suppress(FileNotFoundError):
            os.unlink(path)
        self._log = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)

    def _tidy(self) -> None:
        """Removes the `ready` path that an ended one has left."""
        with suppress(FileNotFoundError):
            os.unlink(self.spec["ready"])

    def _become(self, descriptors: dict[int, int]) -> NoReturn:
        """In the child: executes the service.  Never returns.

        ``descriptors``: {number in the service: number here}."""
        try:
            supervisor.close_inherited({*descriptors.values()})
            os.setsid()
            for target, source in descriptors.items():
                os.dup2(source, target)
            os.nice(self.NICE)
            os.umask(0o022)
            os.chdir(self.spec["folder"])
            os.makedirs(self.spec["env"]["TMPDIR"], exist_ok=True)
            supervisor.default_signals()
            os.execvpe(self.spec["command"][0], self.spec["command"], self.spec["env"])
        except OSError as error:
            # Descriptor 2 is the pipe of its output, so this is in its log.
            os.write(2, f"{self.spec['command'][0]}: {error.strerror}\n".encode())
        finally:
            os._exit(127)

    def died(self, now: float) -> None:
        """It has ended.  The rest of its process group is killed, which could disturb the next one."""
        if self.pid is not None:
            with suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)
        self.pid = None
        # What it printed last explains its end.
        while self.out >= 0 and self._read():
            pass
        self._close()
        if now - self._began > STABLE_SECONDS:
            self._delay = FIRST_DELAY
        self._wait(now)

    def _wait(self, now: float) -> None:
        self._start_at = now + self._delay
        self._delay = min(2 * self._delay, MAX_DELAY)

    # --- its output --------------------------------------------------------------------------------

    def wants_log(self, now: float) -> bool:
        """Whether its output is to be polled now."""
        return self.out >= 0 and now >= self.log_due

    def read_log(self) -> None:
        """Reads its output once, and appends it to its log."""
        self.log_due = time.monotonic() + LOG_SECONDS
        self._read()

    def _read(self) -> bool:
        try:
            data = os.read(self.out, 16384)
        except BlockingIOError:
            return False
        if not data:
            self._close()
            return False
        self._record(data)
        return True

    def _close(self) -> None:
        if self.out >= 0:
            os.close(self.out)
        self.out = -1

    def _record(self, data: bytes) -> None:
        self._tail = (self._tail + data)[-TAIL_BYTES:]
        with suppress(OSError):  # the workspace may be full
            if self._log < 0:
                self._open_log()
            size = os.fstat(self._log).st_size
            if size + len(data) > LOG_BYTES:
                # Half of it is kept, so that the file is not moved with every line.
                kept = os.pread(self._log, LOG_BYTES // 2, max(0, size - LOG_BYTES // 2))
                os.ftruncate(self._log, 0)
                os.pwrite(self._log, kept, 0)
                size = len(kept)
            os.pwrite(self._log, data, size)
