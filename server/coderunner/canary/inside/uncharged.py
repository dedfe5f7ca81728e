"""Probes of kernel resources that count against no limit of the container, and so must be refused or
bounded."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import socket
import struct
from typing import Any

from coderunner.canary.inside.kernel import code, number_of
from coderunner.canary.inside.tools import (
    OWN_KERNEL,
    SCRATCH,
    Untried,
    expect,
    in_child,
    libc,
    probe,
    scratch,
    system_call,
)

SOL_SOCKET, SO_RCVBUF, SO_SNDBUF = 1, 8, 7
FILTERS = {"SO_ATTACH_FILTER": 26, "SO_ATTACH_BPF": 50, "SO_ATTACH_REUSEPORT_CBPF": 51, "…_EBPF": 52}
BEYOND = 1 << 32  # the kernel uses 32 bits of an int; this bit evades a filter that compares 64
PR_SET_SECCOMP, MODE_FILTER = 22, 2
F_OFD_SETLK, CLONE_FILES = 37, 0x400
DONTNEED = 4
NETLINK = 16


@probe("filters", "packet filters and filters of system calls are refused", not_in_gvisor=OWN_KERNEL)
def _(want: dict[str, Any]) -> None:
    # One instruction of classic BPF (struct sock_filter); the holder is a struct sock_fprog.
    program = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000))  # return: allow
    holder = ctypes.create_string_buffer(struct.pack("@HxxxxxxQ", 1, ctypes.addressof(program)))
    address, call = ctypes.addressof(holder), number_of("setsockopt")
    left, right = socket.socketpair()
    with left, right:
        for name, option in FILTERS.items():
            # With and without upper bits, which the kernel ignores in an int.
            for level, number in ((SOL_SOCKET, option), (SOL_SOCKET | BEYOND, option | BEYOND)):
                result = system_call(call, left.fileno(), level, number, address, 16)
                expect(result == -errno.EPERM, f"{name}: {code(result)}, promised EPERM")

    def install() -> list[int]:
        prctl = system_call(number_of("prctl"), PR_SET_SECCOMP | BEYOND, MODE_FILTER, address)
        return [prctl, system_call(number_of("seccomp"), 1, 0, address)]

    results, status = in_child(install)
    # EINVAL, as on a kernel without filters.
    expect(results == [-errno.EINVAL] * 2, f"a filter of system calls: {results}, status {status}")


@probe("locks", "locks that are not owned by one process are refused", not_in_gvisor=OWN_KERNEL)
def _(want: dict[str, Any]) -> None:
    with scratch(SCRATCH) as place, open(place + "/locked", "w+b") as file:
        lock = struct.pack("@hhqqi", 1, 0, 0, 1, 0)  # a write lock of the first byte
        for command in (F_OFD_SETLK, F_OFD_SETLK | BEYOND):
            words = ctypes.create_string_buffer(lock, 64)
            result = system_call(number_of("fcntl"), file.fileno(), command, ctypes.addressof(words))
            expect(result == -errno.EINVAL, f"F_OFD_SETLK: {code(result)}, promised EINVAL")

    def share() -> int:
        result = system_call(number_of("clone"), CLONE_FILES | signal.SIGCHLD, 0, 0, 0, 0)
        if result == 0:
            os._exit(0)
        if result > 0:
            os.waitpid(result, 0)
        return result

    shared, _status = in_child(share)
    expect(shared == -errno.EPERM, f"clone with CLONE_FILES: {shared}, promised {-errno.EPERM}")


@probe("buffers", "the buffers of sockets are limited", not_in_gvisor=OWN_KERNEL)
def _(want: dict[str, Any]) -> None:
    for kind in ((socket.AF_INET, socket.SOCK_STREAM), (socket.AF_INET, socket.SOCK_DGRAM), (NETLINK, 3)):
        with socket.socket(*kind) as plug:
            for option in (SO_RCVBUF, SO_SNDBUF):
                before = plug.getsockopt(SOL_SOCKET, option)
                # The filter reports success and changes nothing: many programs give up if this call fails.
                plug.setsockopt(SOL_SOCKET, option, 2 * before)
                after = plug.getsockopt(SOL_SOCKET, option)
                expect(after == before, f"a buffer of {before} bytes became {after}")
    for name, promised in want["sysctls"].items():
        with open("/proc/sys/" + name.replace(".", "/")) as file:
            have = " ".join(file.read().split())
        expect(have == promised, f"{name} is {have}, promised {promised}")


@probe("terminals", "the number of pseudo-terminals is limited")
def _(want: dict[str, Any]) -> str:
    bound = want["terminals"]
    if bound is None:
        raise Untried("this runtime has its own terminals")

    def attack() -> int:
        taken = 0
        try:
            while taken <= bound:
                os.openpty()
                taken += 1
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        return taken

    taken, _status = in_child(attack)
    expect(isinstance(taken, int) and taken <= bound, f"took {taken} terminals, promised {bound}")
    expect(taken != 0, "no terminal can be opened")
    return f"{taken} terminals"


@probe(
    "disk",
    "programs cannot force writes to the host's disk, or drop files of the image from memory",
    not_in_gvisor=OWN_KERNEL,
)
def _(want: dict[str, Any]) -> None:
    # With the invalid descriptor -1: only the filter returns success.
    for name, arguments in (("fsync", (-1,)), ("fdatasync", (-1,)), ("syncfs", (-1,))):
        result = system_call(number_of(name), *arguments)
        expect(result == 0, f"{name} reached the kernel: {code(result)}")
    result = libc.posix_fadvise(-1, 0, 0, DONTNEED)
    expect(result == 0, f"posix_fadvise reached the kernel: {code(-result)}")
