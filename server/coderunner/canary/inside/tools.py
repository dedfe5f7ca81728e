"""Functions that the probes share: the list of probes, expectations, child processes, temporary folders."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

WORKSPACE, TMP, SHM = "/workspace", "/tmp", "/dev/shm"
SCRATCH = WORKSPACE + "/canary"
MIB = 1024 * 1024
PR_SET_DUMPABLE = 4
CLONE_NEWUSER = 0x10000000
# use_errno: ctypes keeps a copy of errno, as Python itself makes calls between (ctypes.get_errno).
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


class Broken(Exception):
    """A limit does not hold; the text says what was found."""


class Untried(Exception):
    """The probe cannot be run on this machine; the text says why."""


Probe = Callable[[dict[str, Any]], str | None]
PROBES: list[tuple[str, str, Probe, str]] = []
OWN_KERNEL = "system calls end in gVisor's kernel, and what it uses counts as the session's"
"""Why what protects the machine's kernel is not needed in gVisor."""


def probe(name: str, promise: str, *, not_in_gvisor: str = "") -> Callable[[Probe], Probe]:
    """A decorator for a probe. `name`: its id. `promise`: the sentence that it tests. `not_in_gvisor`: why it
    is not tried there; empty: it is."""

    def add(function: Probe) -> Probe:
        PROBES.append((name, promise, function, not_in_gvisor))
        return function

    return add


def expect(holds: bool, seen: object) -> None:
    """Raises Broken with `seen` if the promise does not hold."""
    if not holds:
        raise Broken(str(seen))


def refused(what: str, action: Callable[[], object]) -> str:
    """Expects that an action is refused; returns the error. Raises Broken if it succeeds. `what`: its
    name."""
    try:
        action()
    except (OSError, ValueError) as error:
        return f"{what}: {error}"
    raise Broken(f"{what} succeeded")


def system_call(number: int, *arguments: int) -> int:
    """Makes a system call, past the C library; returns its result, or the negative error number."""
    # c_long: plain ints are passed as 32 bits.
    result = int(libc.syscall(ctypes.c_long(number), *(ctypes.c_long(each) for each in arguments)))
    return -ctypes.get_errno() if result == -1 else result


def in_child(action: Callable[[], object]) -> tuple[object, int]:
    """Runs an action in a child process; returns (its JSON result, None if it was killed; its wait
    status)."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        # In a child: an attack that succeeds, or a filter that kills, ends the child alone.
        _speak_and_leave(writer, action)
    os.close(writer)
    with open(reader, "rb") as file:
        text = file.read()
    return (json.loads(text) if text else None), os.waitpid(pid, 0)[1]


def _speak_and_leave(writer: int, action: Callable[[], object]) -> NoReturn:
    try:
        os.write(writer, json.dumps(action()).encode())
    except BaseException as error:
        os.write(writer, json.dumps(f"failed: {error!r}").encode())
    finally:
        # Not sys.exit: the parent's handlers and buffers must not run twice.
        os._exit(0)


def first_to_die() -> None:
    """Has the kernel kill this process before all others if memory is short."""
    with open("/proc/self/oom_score_adj", "w") as file:
        # The highest value: always chosen first (proc(5), oom_score_adj).
        file.write("1000")


def status_fields(pid: int | str = "self") -> dict[str, str]:
    """The fields of /proc/PID/status by name."""
    with open(f"/proc/{pid}/status") as file:
        return {name: value.strip() for name, _, value in (line.partition(":") for line in file)}


def create(path: str) -> None:
    """Creates an empty file, or opens it for writing. Raises OSError."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))


@contextlib.contextmanager
def scratch(path: str) -> Iterator[str]:
    """Creates a folder, which is removed with its files at the end."""
    os.mkdir(path)
    try:
        yield path
    finally:
        for entry in os.scandir(path):
            os.unlink(entry.path)
        os.rmdir(path)


def expect_limit(kind: int, value: int, what: str) -> None:
    """Raises Broken if the resource limit `kind` is not `value`, or can be raised. `what`: its name."""
    have = resource.getrlimit(kind)
    expect(have == (value, value), f"{what}: limits {have}, promised {value}")
    refused(f"raising the {what}", lambda: resource.setrlimit(kind, (value, value + 1)))
