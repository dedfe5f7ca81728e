"""A preload: an interpreter with its slow modules imported, from which programs are forked.

It is started like a service, with a socket as its descriptor 3, and sends ``ready`` once its modules are
imported.  For each run that it can handle, it is sent what a supervisor needs: ``{"number", "spec"}`` in
JSON, and the descriptors of ``supervise`` (the program's three, ``report``, ``go`` and perhaps ``source``).
It forks a supervisor that is a child of this process, and that waits for a byte on ``go`` before it begins.
It answers ``{"number", "pid"}``, with null for pid when it could not fork.

Nothing depends on it: runs that it cannot handle, and runs while it is not ready, start without it.
"""

from __future__ import annotations

import os
import struct

from coderunner.wire import compact

from .lean import matches, signal, socket
from .service import Service

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from coderunner.wire import typed

    # One that this process forked before it became the agent: its process id, our end of its socket, and the
    # pipe of its output.
    Forked = tuple[int, socket.socket, int]

MAX_SPEC = 65536  # bytes; a longer spec starts without the preload
ANSWER_SECONDS = 1.0  # for its answer; a later one counts as broken
READY = b"ready"
_SOCKET = 3


class Preload(Service):
    """One preload, and its restarts.  ``usable``: ready, and its socket is open.

    ``spec``: as of a service, and ``run`` (the command that it replaces), ``entries`` (patterns of the files
    that it can run), ``fixed`` (patterns of the environment variables that it has read when it started)."""

    NAME = "preload"
    LOG = "preload.log"
    NICE = 0  # supervisors are its forks, and have the agent's priority
    OOM_PROTECTED = True  # and are not killed before the agent when memory is short

    def __init__(self, spec: typed.PreloadSpec, now: float) -> None:
        super().__init__(
            {"command": spec["command"], "env": spec["env"], "folder": spec["folder"],
             "start_ms": spec["start_ms"], "ready": ""},  # it answers on its socket instead
            now,
        )  # fmt: skip
        self._declared = spec
        self._environment: dict[str, str] = {}  # that the one which runs has read at its start
        self.usable = False
        self.socket: socket.socket | None = None

    def take_over(self, forked: Forked, now: float) -> bool:
        """Makes one that runs already this preload; False if it was started with another environment."""
        here = dict(os.environ)
        if not self._fits(here, self.spec["env"]):
            return False
        self.pid, self.socket, self.out = forked
        self.socket.setblocking(False)
        os.set_blocking(self.out, False)
        self._environment, self._began, self._marked = here, now, self.OOM_PROTECTED
        self.answers()  # that it is ready, if it has said so
        return True

    def _is_ready(self) -> bool:
        return self.usable

    def _tidy(self) -> None:
        self._close_socket()

    def _fork(self, out: int) -> int:
        # SOCK_SEQPACKET keeps messages apart, and carries descriptors.
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        if pid == 0:
            # New numbers, so that copying to 0 to 3 overwrites none before it was copied itself.
            copy = os.dup(theirs.fileno())
            null = os.open("/dev/null", os.O_RDWR)
            self._become({0: null, 1: out, 2: out, _SOCKET: copy})
        theirs.close()
        ours.setblocking(False)
        self.socket, self._environment = ours, self.spec["env"]
        return pid

    def died(self, now: float) -> None:
        """It has ended; it is restarted like a service."""
        self._close_socket()
        super().died(now)

    def _close_socket(self) -> None:
        self.usable = False
        if self.socket is not None:
            self.socket.close()
        self.socket = None

    def descriptor(self) -> int | None:
        """The descriptor on which it answers, or None."""
        return self.socket.fileno() if self.socket is not None else None

    # --- programs ----------------------------------------------------------------------------------

    def can_run(self, spec: typed.ProgramSpec) -> bool:
        """Whether a program with this spec behaves the same when the preload runs it."""
        if not self.usable or spec["compile"] or spec["run"] != self._declared["run"]:
            return False
        if not any(matches(spec["entry"], pattern) for pattern in self._declared["entries"]):
            return False
        return self._fits(self._environment, spec["env"])

    def _fits(self, mine: dict[str, str], theirs: dict[str, str]) -> bool:
        """Whether the runtime reads the same in both of these environments."""
        return all(
            mine.get(name) == theirs.get(name)
            for name in mine.keys() | theirs.keys()
            if any(matches(name, pattern) for pattern in self._declared["fixed"])
        )

    def ask(self, number: int, spec: typed.ProgramSpec, descriptors: tuple[int, ...]) -> bool:
        """Asks it to fork a supervisor; False when it cannot run this program, or cannot be asked."""
        if self.socket is None or not self.can_run(spec):
            return False
        data = compact.dumps({"number": number, "spec": spec})
        if len(data) > MAX_SPEC:
            return False
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(descriptors)}i", *descriptors))
        try:
            self.socket.sendmsg([data], [rights])
        # Its queue is full, or it has ended.
        except OSError:
            return False
        return True

    def answers(self) -> list[tuple[int, int | None]]:
        """Its answers so far, as (channel number, pid or None).  Also notices that it is ready, or gone."""
        found: list[tuple[int, int | None]] = []
        while self.socket is not None:
            try:
                data = self.socket.recv(4096)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self._close_socket()  # it is ending, or has closed its socket
            elif data == READY:
                self.usable = True
            else:
                found += self._answer(data)
        return found

    def _answer(self, data: bytes) -> list[tuple[int, int | None]]:
        try:
            answer = compact.loads(data)
            number, pid = answer["number"], answer["pid"]
            # Never 0, 1 or a negative number (a group): user programs can tamper with the process that
            # answers.
            if type(number) is int and (pid is None or (type(pid) is int and pid > 1)):
                return [(number, pid)]
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        self.fail()  # no answer of a preload: something else runs in its process
        return []

    def fail(self) -> None:
        """Kills it, as it has not answered in time, or invalidly; it is restarted when it has ended."""
        self._close_socket()
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)
