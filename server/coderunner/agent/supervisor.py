"""The supervisor of a channel: the parent of its programs and of every orphan that they leave.

The agent forks it, without an exec.  It runs the channel's phases (compile, run) one after the other, waits
for every process of the tree, kills those that outlive the main process, and reports to the agent in JSON
lines. After each phase it waits until the agent has read the terminal or the pipes to their end: a terminal
whose session leader is gone loses the output that nobody has read.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios
import time

from coderunner.wire import compact

from . import kernel, owner, sources, terminal, tree
from .lean import signal, signal_name, suppress

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    import resource
    from collections.abc import Callable, Mapping
    from typing import NoReturn, NotRequired

    from coderunner.wire import typed

NICE = 10  # of programs; the agent and its supervisors stay at 0, so that a fork bomb does not stall them
OOM_SCORE = 500  # of programs: when memory is short, the kernel kills them before the agent
# How long other processes are waited for once the main one has ended: helpers that end with it (Erlang's for
# ports) are not left behind. After that they are killed, and after as long a time once more.
REAP_SECONDS = 0.2
FAULT_STATUS = 70  # exit status of a supervisor that fails by a fault of its own
if TYPE_CHECKING:
    # Called with the command and the spec: runs the program in this process, or returns if it cannot.
    Become = Callable[[list[str], typed.ProgramSpec], None]

    class Record(typed.End):
        """How a phase ended. ``last``: no phase follows. ``supervisor_lost``: nobody saw how."""

        event: str
        phase: str
        last: NotRequired[bool]
        supervisor_lost: NotRequired[bool]


_RESET = [number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)]


def expand(argv: list[str], spec: typed.ProgramSpec, say: Callable[[str], None]) -> list[str]:
    """A command of a language's declaration with {entry}, {args}, {sources} and {build} replaced.

    ``say(line)``: called with a line for the user, when sources are left out or there is no program, which
    gives an empty command.
    """
    out = []
    for word in argv:
        if word == "{args}":
            out += spec["args"]
        elif word == "{sources}":
            chosen = sources.program(
                spec["workspace"], spec["entry"], spec["sources"], spec["main"], spec["extensions"]
            )
            if isinstance(chosen, str):
                say(chosen)
                return []
            found, left = chosen
            if left:
                say(f"Not part of {spec['entry']}'s program, so left out: {sources.named(left)}")
            out += map(_no_option, found)
        elif word == "{entry}":
            out.append(_no_option(spec["entry"]))
        else:
            out.append(word.replace("{entry}", spec["entry"]).replace("{build}", spec["build"]))
    return out


def _no_option(path: str) -> str:
    """A path that no tool takes for one of its options, as it would a file named `-c`."""
    return f"./{path}" if path.startswith("-") else path


def with_variant(spec: typed.ProgramSpec) -> typed.ProgramSpec:
    """``spec`` with the commands of its first variant whose file is in the workspace, if there is one."""
    for variant in spec.get("variants", ()):
        if os.path.isfile(os.path.join(spec["workspace"], variant["when"])):
            return {**spec, "compile": variant["compile"], "run": variant["run"]}
    return spec


def supervise(
    spec: typed.ProgramSpec,
    stdio: tuple[int, int, int],
    report: int,
    go: int,
    source: int = -1,
    become: Become | None = None,
) -> NoReturn:
    """Runs the channel's phases, as the whole life of this process.  Never returns.

    ``stdio``: (stdin, stdout, stderr) descriptors for the programs, the terminal three times in tty mode.
    ``source``: a file for the program's standard input instead (the compiler does not get it), or -1.
    ``report``: JSON lines are written to it.  ``go``: a byte read from it starts the next phase.
    ``become(argv, spec)``: called in the program's process instead of an exec.  It runs the program in this
    process, or returns if it cannot.
    """
    status = FAULT_STATUS
    try:
        _set_up(stdio, report, go, source)
        _run(spec, stdio, report, go, source, become)
        status = 0
    finally:
        os._exit(status)


def _set_up(stdio: tuple[int, int, int], report: int, go: int, source: int) -> None:
    for number in _RESET:  # a program may send it any signal, and it still has to report the end
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    close_inherited({*stdio, report, go, source})
    os.setsid()
    kernel.adopt_orphans()
    if os.isatty(stdio[0]):
        fcntl.ioctl(stdio[0], termios.TIOCSCTTY, 0)


def close_inherited(keep: set[int]) -> None:
    """In a fork of the agent: closes all descriptors but ``keep``, and unblocks all signals."""
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    for number in range(highest + 1):
        if number not in keep:
            with suppress(OSError):
                os.close(number)
    # 0 to 2 are taken, so that no pipe of ours gets a number that a standard stream will replace.
    null = os.open("/dev/null", os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)


def default_signals() -> None:
    """Sets every signal to its default, as a new program expects it."""
    for number in _RESET:
        signal.signal(number, signal.SIG_DFL)


def _run(
    spec: typed.ProgramSpec,
    stdio: tuple[int, int, int],
    report: int,
    go: int,
    source: int,
    become: Become | None,
) -> None:
    tty = os.isatty(stdio[0])
    streams = terminal.Streams({*stdio, source} - {-1}, stdio[0] if tty else -1)
    for phase in ("compile", "run"):
        if not spec[phase]:
            continue
        streams.restore()  # the compiler may have changed the modes of the terminal
        argv = expand(spec[phase], spec, lambda line: _print(stdio, line))
        if not argv:
            # Reported as a program that failed: the reason has been printed.
            record = _record(phase, time.monotonic(), code=1)
        elif phase == "compile":
            record = _phase(phase, argv, spec, stdio, report, tty, stdio[0], None)
        else:
            given = source if source >= 0 else stdio[0]
            record = _phase(phase, argv, spec, stdio, report, tty, given, become)
        last = phase == "run" or record["code"] != 0
        record["last"] = last
        _report(report, record)
        # No byte at all: the agent has closed the pipe, as the channel has ended.
        if not os.read(go, 1) or last:
            return


def _print(stdio: tuple[int, int, int], line: str) -> None:
    """Prints a line of the supervisor's own among the compiler's messages."""
    os.write(stdio[2], f"{line}\n".encode("utf-8", "surrogateescape"))


def _phase(
    phase: str,
    argv: list[str],
    spec: typed.ProgramSpec,
    stdio: tuple[int, int, int],
    report: int,
    tty: bool,
    given: int,
    become: Become | None,
) -> Record:
    began = time.monotonic()
    pid, problem = _spawn(argv, spec, stdio, tty, given, become)
    if problem:
        # As a shell does it: a message on standard error, and 127 for a command that is not there.
        number, what = problem
        os.write(stdio[2], f"{what or argv[0]}: {_explain(number, what)}\n".encode())
        return _record(phase, began, code=127 if number == errno.ENOENT and not what else 126)
    _report(report, {"event": "began", "phase": phase, "pid": pid})
    usage = _Usage()
    while True:
        # Any child, orphans of the tree included: their CPU time counts, and zombies use up the process
        # limit.
        ended, status, resources = os.wait4(-1, os.WUNTRACED | os.WCONTINUED)
        if os.WIFSTOPPED(status) or os.WIFCONTINUED(status):
            if ended == pid:
                by = signal_name(os.WSTOPSIG(status)) if os.WIFSTOPPED(status) else None
                _report(report, {"event": "stopped", "by": by})
            continue
        usage.add(resources)
        if ended == pid:
            break
    main_ended = time.monotonic()
    left = 0  # processes that outlived the main one; counted again until none is left, as some may fork
    while _reap(usage):
        left = max(left, tree.kill(os.getpid()))
    if tty:
        # Until the next phase sets its own group, a Ctrl-C must not go to a process that has ended.
        os.tcsetpgrp(stdio[0], os.getpgrp())
    killed_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    code = None if killed_by else os.WEXITSTATUS(status)
    record = _record(phase, began, code=code, number=killed_by, left=left, usage=usage)
    record["wall_ms"] = round((main_ended - began) * 1000)
    return record


def _explain(number: int, folder: str) -> str:
    """The system's message for an errno; for one of the agent's own folders also what to do."""
    said = os.strerror(number)
    if not folder:
        return said
    if number in (errno.ENOSPC, errno.EDQUOT):
        return f"{said}; delete something in the workspace first"
    if number in (errno.EEXIST, errno.ENOTDIR):
        return f"{said}; programs need this folder: remove or rename what is there"
    return f"{said}; programs need this folder"


def _reap(usage: _Usage) -> bool:
    """Waits for processes that end, for REAP_SECONDS at most; False when no child is left."""
    deadline = time.monotonic() + REAP_SECONDS
    while True:
        try:
            pid, _, resources = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid:
            usage.add(resources)
        else:
            time.sleep(0.001)
        if time.monotonic() > deadline:  # also where they end one after another, and new ones begin
            return True


class _Usage:
    """CPU time (seconds) and the largest resident size (bytes) of all processes of a phase."""

    def __init__(self) -> None:
        self.cpu = 0.0
        self.resident = 0

    def add(self, resources: resource.struct_rusage) -> None:
        self.cpu += resources.ru_utime + resources.ru_stime
        self.resident = max(self.resident, resources.ru_maxrss * 1024)


def _record(
    phase: str,
    began: float,
    *,
    code: int | None = None,
    number: int | None = None,
    left: int = 0,
    usage: _Usage | None = None,
) -> Record:
    """The report of a phase's end.  ``number``: of the signal that killed the main process."""
    return {
        "event": "ended",
        "phase": phase,
        "code": code,
        "signal": signal_name(number) if number else None,
        "left_behind": left,
        "cpu_ms": round(usage.cpu * 1000) if usage else 0,
        "memory_peak_bytes": usage.resident if usage else 0,
        "wall_ms": round((time.monotonic() - began) * 1000),
    }


def _spawn(
    argv: list[str],
    spec: typed.ProgramSpec,
    stdio: tuple[int, int, int],
    tty: bool,
    given: int,
    become: Become | None,
) -> tuple[int, tuple[int, str] | None]:
    """Starts the command: (pid, None), or (0, (errno, folder)) when it could not be executed.

    ``folder``: the one that could not be used, or "" when it was the command itself."""
    ready, failed = os.pipe()  # closed by the exec (or by `become`); carries the error when that fails
    try:
        pid = os.fork()
    except OSError as error:
        os.close(ready)
        os.close(failed)
        return 0, (error.errno or errno.EIO, "")
    if pid == 0:
        _execute(argv, spec, stdio, tty, given, failed, become)
    os.close(failed)
    _group(pid, pid, stdio, tty)
    problem = os.read(ready, 4096)
    os.close(ready)
    if problem:
        # It has executed nothing, so its end is not reported.
        os.waitpid(pid, 0)
        return 0, (struct.unpack_from("i", problem)[0], problem[4:].decode("utf-8", "replace"))
    # Not earlier: until its exec the child's files in /proc belong to root, as the agent's do.
    mark_for_oom(pid)
    return pid, None


def mark_for_oom(pid: int) -> bool:
    """Has the kernel kill this process before the agent when memory is short.

    False when it has ended, or has not executed its command yet."""
    try:
        with open(f"/proc/{pid}/oom_score_adj", "w") as file:
            file.write(str(OOM_SCORE))
    except OSError:
        return False
    return True


def _group(pid: int, group: int, stdio: tuple[int, int, int], tty: bool) -> None:
    """Puts ``pid`` into ``group``, as the terminal's foreground group.

    Called in parent and child, so that it is done before either goes on."""
    try:
        os.setpgid(pid, group)
        if tty:
            os.tcsetpgrp(stdio[0], group or os.getpgrp())
    except OSError:
        pass  # the child has executed its command already, and done this itself


def _execute(
    argv: list[str],
    spec: typed.ProgramSpec,
    stdio: tuple[int, int, int],
    tty: bool,
    given: int,
    failed: int,
    become: Become | None,
) -> NoReturn:
    """In the child: executes the command.  Never returns.

    ``given``: its standard input.  ``failed``: a pipe that gets errno and folder when something fails."""
    folder = ""  # that is being prepared, for the message
    try:
        _group(0, 0, stdio, tty)
        default_signals()
        for target, descriptor in enumerate((given, *stdio[1:])):
            os.dup2(descriptor, target)
        os.nice(NICE)
        os.umask(0o022)
        for folder in (spec["workspace"], spec["build"], spec["env"]["TMPDIR"]):
            owner.make_usable(folder)
        folder = spec["workspace"]
        owner.make_kept_usable(folder)
        os.chdir(folder)
        folder = ""
        if become is not None:
            become(argv, spec)
        os.execvpe(argv[0], argv, spec["env"])
    except OSError as error:
        # In one write of less than PIPE_BUF (4096 bytes), which cannot be split.
        os.write(failed, struct.pack("i", error.errno or errno.EIO) + folder.encode()[:4000])
    finally:
        os._exit(127)


def _report(report: int, message: Mapping[str, object]) -> None:
    os.write(report, compact.dumps(message) + b"\n")
