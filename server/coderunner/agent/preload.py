"""A preload: an interpreter with its heavy modules imported, from which programs are forked.

It is started as a service is, with a socket as its descriptor 3.  For each run that suits it, it is sent
what a supervisor needs (``{"number", "spec"}`` in JSON, and the descriptors of ``supervise``: the program's
three, ``report``, ``go`` and perhaps ``source``), and
makes one: a fork of itself that is our child, which waits for a byte on ``go`` before it begins.  It
answers ``{"number", "pid"}``, with null where it could not fork.  Its first word is ``ready``.

Nothing depends on it: what does not suit it, or comes while it is not there, is executed plainly.
"""

from __future__ import annotations

import array
import fnmatch
import json
import os
import signal
import socket

from .service import Service

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from typing import Any

MAX_SPEC = 65536  # bytes; more goes plainly
PATIENCE_SECONDS = 1.0  # for its answer; then it counts as broken
READY = b"ready"
_SOCKET = 3


class Preload(Service):
    """``spec`` has ``run`` (the command that it stands in for), ``entries`` (patterns of the files that it
    can run) and ``fixed`` (patterns of the names in the environment that it read when it began), too."""

    NAME = "preload"
    LOG = "preload.log"
    NICE = 0  # supervisors are its forks, and stay where the agent's are
    SPARE = True  # so are they spared when memory is out

    def __init__(self, spec: dict[str, Any], now: float) -> None:
        super().__init__(spec, now)
        self.usable = False
        self.socket: socket.socket | None = None

    def _is_ready(self) -> bool:
        return self.usable

    def _tidy(self) -> None:
        self._hang_up()

    def _fork(self, out: int) -> int:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                pid = os.fork()
            except OSError:
                ours.close()
                raise
            if pid == 0:
                # Numbers that are no target of the copying, so that none is overwritten before its turn.
                spare = os.dup(theirs.fileno())
                null = os.open("/dev/null", os.O_RDWR)
                self._become({0: null, 1: out, 2: out, _SOCKET: spare})
        ours.setblocking(False)
        self.socket = ours
        return pid

    def died(self, now: float) -> None:
        """Reaped by PID 1; it is started again as a service is."""
        self._hang_up()
        super().died(now)

    def _hang_up(self) -> None:
        self.usable = False
        if self.socket is not None:
            self.socket.close()
        self.socket = None

    def descriptor(self) -> int | None:
        """The descriptor on which it answers, or None."""
        return self.socket.fileno() if self.socket is not None else None

    # --- programs ----------------------------------------------------------------------------------

    def suits(self, spec: dict[str, Any]) -> bool:
        """Whether a run of this would be the same from here."""
        if not self.usable or spec["compile"] or spec["run"] != self.spec["run"]:
            return False
        if not any(fnmatch.fnmatchcase(spec["entry"], pattern) for pattern in self.spec["entries"]):
            return False
        mine, theirs = self.spec["env"], spec["env"]
        return all(
            mine.get(name) == theirs.get(name)
            for name in mine.keys() | theirs.keys()
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in self.spec["fixed"])
        )

    def ask(self, number: int, spec: dict[str, Any], descriptors: tuple[int, ...]) -> bool:
        """Have it make a supervisor; False where the run does not suit it, or it cannot be asked."""
        if self.socket is None or not self.suits(spec):
            return False
        data = json.dumps({"number": number, "spec": spec}).encode()
        if len(data) > MAX_SPEC:
            return False
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
        try:
            self.socket.sendmsg([data], [rights])
        except OSError:
            return False
        return True

    def answers(self) -> list[tuple[int, int | None]]:
        """What it has said: a list of (number, pid or None)."""
        found: list[tuple[int, int | None]] = []
        while self.socket is not None:
            try:
                data = self.socket.recv(4096)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self._hang_up()  # it ends, or has closed its socket
            elif data == READY:
                self.usable = True
            else:
                found += self._answer(data)
        return found

    def _answer(self, data: bytes) -> list[tuple[int, int | None]]:
        try:
            answer = json.loads(data)
            number, pid = answer["number"], answer["pid"]
            if type(number) is int and (pid is None or (type(pid) is int and pid > 1)):
                return [(number, pid)]
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        self.fail()  # a program has taken its place
        return []

    def fail(self) -> None:
        """It has not answered in time, or invalidly: kill it; it is started again."""
        self._hang_up()
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)
