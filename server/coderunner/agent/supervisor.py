"""One supervisor for each channel: the parent of its programs, and of every orphan they leave.

The agent forks it; it is never executed anew.  It runs the channel's phases (compile, run) one after
the other, waits for every process of the tree, kills what outlives the main one, and reports in JSON
lines.  After each phase it waits for the agent's word, so that the agent has read the terminal or the
pipes to the end first: a terminal whose session leader is gone loses what nobody read.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
import struct
import termios
import time

from . import kernel, owner, sources, terminal, tree

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    import resource
    from collections.abc import Callable
    from typing import Any, NoReturn

NICE = 10  # programs; the agent and its supervisors stay at 0, so that a fork bomb does not stall them
OOM_SCORE = 500  # programs go before the agent when memory is out
if TYPE_CHECKING:
    # Called with the command and the spec: turns this process into the program, or returns.
    Become = Callable[[list[str], dict[str, Any]], None]

_RESET = [number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)]


def expand(argv: list[str], spec: dict[str, Any], say: Callable[[str], None]) -> list[str]:
    """Replace {entry}, {args}, {sources} and {build} in a command of a language's declaration.

    ``say``: called with a line for the user where sources are left out.  Raises sources.NoProgram.
    """
    out = []
    for word in argv:
        if word == "{args}":
            out += spec["args"]
        elif word == "{sources}":
            found, left = sources.program(
                spec["workspace"], spec["entry"], spec["sources"], spec["main"], spec["extensions"]
            )
            if left:
                say(f"Not part of {spec['entry']}'s program, so left out: {sources.named(left)}")
            out += found
        else:
            out.append(word.replace("{entry}", spec["entry"]).replace("{build}", spec["build"]))
    return out


def chosen(spec: dict[str, Any]) -> dict[str, Any]:
    """``spec`` with the commands of the first of its variants whose file is in the workspace."""
    for variant in spec.get("variants", ()):
        if os.path.isfile(os.path.join(spec["workspace"], variant["when"])):
            return {**spec, "compile": variant["compile"], "run": variant["run"]}
    return spec


def supervise(
    spec: dict[str, Any],
    stdio: tuple[int, int, int],
    report: int,
    go: int,
    source: int = -1,
    become: Become | None = None,
) -> NoReturn:
    """The supervisor's whole life; never returns.

    ``stdio``: (stdin, stdout, stderr) descriptors for the programs, the terminal three times in tty mode.
    ``source``: what the program has for standard input instead, or -1; its compiler has it not.
    ``report``: where JSON lines go.  ``go``: a byte read from here lets the next phase begin.
    ``become(argv, spec)``: called where a program would be executed, in its process.  It turns this process
    into the program without executing anything, or returns where it cannot.
    """
    status = 70
    try:
        _settle(stdio, report, go, source)
        _run(spec, stdio, report, go, source, become)
        status = 0
    finally:
        os._exit(status)


def _settle(stdio: tuple[int, int, int], report: int, go: int, source: int) -> None:
    for number in _RESET:  # a program may signal it with any; the end of its tree is still to be told
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    leave({*stdio, report, go, source})
    os.setsid()
    kernel.adopt_orphans()
    if os.isatty(stdio[0]):
        fcntl.ioctl(stdio[0], termios.TIOCSCTTY, 0)


def leave(keep: set[int]) -> None:
    """In a fork of the agent: nothing of the agent's is left open but ``keep``, and no signal held back."""
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    for number in range(highest + 1):
        if number not in keep:
            with contextlib.suppress(OSError):
                os.close(number)
    # Never a pipe of ours on a number that a program's standard stream will take.
    null = os.open("/dev/null", os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)


def default_signals() -> None:
    """Signals as a new program expects them: each with its default."""
    for number in _RESET:
        signal.signal(number, signal.SIG_DFL)


def _run(
    spec: dict[str, Any],
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
        streams.restore()
        try:
            argv = expand(spec[phase], spec, lambda line: _tell(stdio, line))
        except sources.NoProgram as problem:
            _tell(stdio, str(problem))
            argv = []
        if not argv:
            record = _record(phase, time.monotonic(), code=1)
        elif phase == "compile":
            record = _phase(phase, argv, spec, stdio, report, tty, stdio[0], None)
        else:
            given = source if source >= 0 else stdio[0]
            record = _phase(phase, argv, spec, stdio, report, tty, given, become)
        last = phase == "run" or record["code"] != 0
        record["last"] = last
        _say(report, record)
        if not os.read(go, 1) or last:
            return


def _tell(stdio: tuple[int, int, int], line: str) -> None:
    """A line of ours, where the user looks for what compilers say."""
    os.write(stdio[2], f"{line}\n".encode("utf-8", "surrogateescape"))


def _phase(
    phase: str,
    argv: list[str],
    spec: dict[str, Any],
    stdio: tuple[int, int, int],
    report: int,
    tty: bool,
    given: int,
    become: Become | None,
) -> dict[str, Any]:
    began = time.monotonic()
    pid, problem = _spawn(argv, spec, stdio, tty, given, become)
    if problem:
        # Told where the user looks, in the words of a shell, with a shell's exit codes.
        number, what = problem
        os.write(stdio[2], f"{what or argv[0]}: {_why(number, what)}\n".encode())
        return _record(phase, began, code=127 if number == errno.ENOENT and not what else 126)
    _say(report, {"event": "began", "phase": phase, "pid": pid})
    usage = _Usage()
    while True:
        ended, status, resources = os.wait4(-1, os.WUNTRACED | os.WCONTINUED)
        if os.WIFSTOPPED(status) or os.WIFCONTINUED(status):
            if ended == pid:
                by = _name(os.WSTOPSIG(status)) if os.WIFSTOPPED(status) else None
                _say(report, {"event": "stopped", "by": by})
            continue
        usage.add(resources)
        if ended == pid:
            break
    main_ended = time.monotonic()
    left = 0
    while True:
        left = max(left, tree.kill(os.getpid()))
        if not _reap(usage):
            break
    if tty:
        # The next phase's group becomes the foreground one anew; until then nobody gets the signals.
        os.tcsetpgrp(stdio[0], os.getpgrp())
    killed_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    code = None if killed_by else os.WEXITSTATUS(status)
    record = _record(phase, began, code=code, number=killed_by, left=left, usage=usage)
    record["wall_ms"] = round((main_ended - began) * 1000)
    return record


def _why(number: int, folder: str) -> str:
    """What the system says, and where it is one of our folders, what to do."""
    said = os.strerror(number)
    if not folder:
        return said
    if number in (errno.ENOSPC, errno.EDQUOT):
        return f"{said}; delete something in the workspace first"
    if number in (errno.EEXIST, errno.ENOTDIR):
        return f"{said}; programs need this folder: remove or rename what is there"
    return f"{said}; programs need this folder"


def _reap(usage: _Usage) -> bool:
    """Wait for what was killed, for a moment; False when no child is left."""
    deadline = time.monotonic() + 0.05
    while True:
        try:
            pid, _, resources = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid:
            usage.add(resources)
        elif time.monotonic() > deadline:
            return True
        else:
            time.sleep(0.001)


class _Usage:
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
) -> dict[str, Any]:
    return {
        "event": "ended",
        "phase": phase,
        "code": code,
        "signal": _name(number) if number else None,
        "left_behind": left,
        "cpu_ms": round(usage.cpu * 1000) if usage else 0,
        "memory_peak_bytes": usage.resident if usage else 0,
        "wall_ms": round((time.monotonic() - began) * 1000),
    }


def _name(number: int) -> str:
    """The signal's name without SIG, as the wire has it; real-time ones have none of their own."""
    try:
        return signal.Signals(number).name[3:]
    except ValueError:
        return f"RT{number}"


def _spawn(
    argv: list[str],
    spec: dict[str, Any],
    stdio: tuple[int, int, int],
    tty: bool,
    given: int,
    become: Become | None,
) -> tuple[int, tuple[int, str] | None]:
    """(pid, None), or (0, (errno, folder)) when the command could not be executed; the folder of ours that
    was in the way, or ""."""
    ready, failed = os.pipe()  # closed by the exec (or by what comes instead), or carries the problem
    try:
        pid = os.fork()
    except OSError as error:
        os.close(ready)
        os.close(failed)
        return 0, (error.errno or errno.EIO, "")
    if pid == 0:
        _become(argv, spec, stdio, tty, given, failed, become)
    os.close(failed)
    _group(pid, pid, stdio, tty)
    problem = os.read(ready, 4096)
    os.close(ready)
    if problem:
        os.waitpid(pid, 0)
        return 0, (struct.unpack_from("i", problem)[0], problem[4:].decode("utf-8", "replace"))
    # Only from here: until it executed, the child was as hidden as the agent, from itself as well.
    mark(pid)
    return pid, None


def mark(pid: int) -> bool:
    """The kernel takes this process before the agent; False where it has ended, or not executed yet."""
    try:
        with open(f"/proc/{pid}/oom_score_adj", "w") as file:
            file.write(str(OOM_SCORE))
    except OSError:
        return False
    return True


def _group(pid: int, group: int, stdio: tuple[int, int, int], tty: bool) -> None:
    """Both parent and child do this, so that neither runs ahead of it."""
    try:
        os.setpgid(pid, group)
        if tty:
            os.tcsetpgrp(stdio[0], group or os.getpgrp())
    except OSError:
        pass  # the child has executed already, and had done it itself before


def _become(
    argv: list[str],
    spec: dict[str, Any],
    stdio: tuple[int, int, int],
    tty: bool,
    given: int,
    failed: int,
    become: Become | None,
) -> NoReturn:
    """In the child: turn into the program.  Never returns."""
    folder = ""
    try:
        _group(0, 0, stdio, tty)
        default_signals()
        for target, descriptor in enumerate((given, *stdio[1:])):
            os.dup2(descriptor, target)
        os.nice(NICE)
        os.umask(0o022)
        for folder in (spec["workspace"], spec["build"], spec["env"]["TMPDIR"]):
            owner.mend(folder)
        folder = spec["workspace"]
        owner.mend_kept(folder)
        os.chdir(folder)
        folder = ""
        if become is not None:
            become(argv, spec)
        os.execvpe(argv[0], argv, spec["env"])
    except OSError as error:
        os.write(failed, struct.pack("i", error.errno or errno.EIO) + folder.encode()[:4000])
    finally:
        os._exit(127)


def _say(report: int, message: dict[str, Any]) -> None:
    os.write(report, json.dumps(message).encode() + b"\n")
