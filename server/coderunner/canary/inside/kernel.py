"""Probes of system calls, sockets and networks."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import signal
import socket
from typing import Any

from coderunner.canary.inside.tools import (
    CLONE_NEWUSER,
    OWN_KERNEL,
    Untried,
    expect,
    in_child,
    probe,
    system_call,
)

# Calls that must be refused: name, number on x86_64 and on aarch64 (None: does not exist), arguments with
# which the call does no harm, but fails with another error than EPERM or ENOSYS if it reaches the kernel.
SYSTEM_CALLS: tuple[tuple[str, int | None, int | None, tuple[int, ...]], ...] = (
    ("io_uring_setup", 425, 425, (1, 0)),
    ("io_uring_enter", 426, 426, (-1, 0, 0, 0, 0, 0)),
    ("io_uring_register", 427, 427, (-1, 0, 0, 0)),
    ("ptrace", 101, 117, (0, 0, 0, 0)),
    ("process_vm_readv", 310, 270, (1, 0, 0, 0, 0, 0)),
    ("process_vm_writev", 311, 271, (1, 0, 0, 0, 0, 0)),
    ("process_madvise", 440, 440, (-1, 0, 0, 0, 0)),
    ("pidfd_getfd", 438, 438, (-1, 0, 0)),
    ("kcmp", 312, 272, (1, 1, 0, 0, 0)),
    ("unshare", 272, 97, (CLONE_NEWUSER,)),
    ("setns", 308, 268, (-1, 0)),
    ("mount", 165, 40, (0, 0, 0, 0, 0)),
    ("umount2", 166, 39, (0, 0)),
    ("pivot_root", 155, 41, (0, 0)),
    ("chroot", 161, 51, (0,)),
    ("fsopen", 430, 430, (0, 0)),
    ("open_tree", 428, 428, (-1, 0, 0)),
    ("move_mount", 429, 429, (-1, 0, -1, 0, 0)),
    ("open_by_handle_at", 304, 265, (-1, 0, 0)),
    ("name_to_handle_at", 303, 264, (-1, 0, 0, 0, 0)),
    ("bpf", 321, 280, (0, 0, 0)),
    ("perf_event_open", 298, 241, (0, 0, -1, -1, 0)),
    ("userfaultfd", 323, 282, (0,)),
    ("keyctl", 250, 219, (0, -3, 0, 0, 0)),
    ("add_key", 248, 217, (0, 0, 0, 0, 0)),
    ("request_key", 249, 218, (0, 0, 0, 0)),
    ("fanotify_init", 300, 262, (0, 0)),
    ("io_setup", 206, 0, (0, 0)),
    ("memfd_secret", 447, 447, (0x7FFFFFFF,)),
    ("cachestat", 451, 451, (-1, 0, 0, 0)),
    ("memfd_create of large pages", 319, 279, (0, 4)),
    ("move_pages", 279, 239, (0, 0, 0, 0, 0, 0)),
    ("modify_ldt", 154, None, (0, 0, 0)),
    ("syslog", 103, 116, (10, 0, 0)),
    ("init_module", 175, 105, (0, 0, 0)),
    ("kexec_load", 246, 104, (0, 0, 0, 0)),
    ("quotactl", 179, 60, (0, 0, 0, 0)),
    ("personality", 135, 92, (8,)),
)
NUMBERS = {
    "x86_64": {
        "socket": 41, "clone": 56, "clone3": 435, "setsockopt": 54, "fcntl": 72, "prctl": 157, "seccomp": 317,
        "fsync": 74, "fdatasync": 75, "syncfs": 306, "ioctl": 16,
    },
    "aarch64": {
        "socket": 198, "clone": 220, "clone3": 435, "setsockopt": 208, "fcntl": 25, "prctl": 167,
        "seccomp": 277, "fsync": 82, "fdatasync": 83, "syncfs": 267, "ioctl": 29,
    },
}  # fmt: skip
# Family, type and protocol of sockets that programs do not need.
SOCKETS = (
    ("AF_VSOCK", 40, 1, 0), ("AF_ALG", 38, 5, 0), ("AF_PACKET", 17, 3, 0), ("AF_XDP", 44, 3, 0),
    ("AF_KEY", 15, 3, 2), ("AF_BLUETOOTH", 31, 3, 1), ("AF_CAN", 29, 3, 1), ("AF_TIPC", 30, 1, 0),
    ("AF_RDS", 21, 5, 0), ("AF_NETLINK of kernel events", 16, 3, 15), ("raw IPv4", 2, 3, 1),
    ("raw IPv6", 10, 3, 58), ("DCCP", 2, 6, 33), ("L2TP", 10, 2, 115), ("UDP-Lite", 2, 2, 136),
    ("a packet socket of no protocol", 2, 5, 0),
)  # fmt: skip
# Refused with EPROTONOSUPPORT, as on a kernel without these protocols: programs then use TCP.
NOT_SUPPORTED = (("SCTP", 2, 1, 132), ("MPTCP", 10, 1, 262))
TCP, IPV6 = 6, 41
UNCHARGED = (  # socket options that use kernel memory which counts against no container, or shared tables
    ("labels of flows", IPV6, 32), ("groups of IPv6", IPV6, 20), ("groups by MCAST_JOIN_GROUP", IPV6, 42),
    ("sources of groups", IPV6, 46), ("filters of groups", IPV6, 48), ("anycast", IPV6, 27),
    ("keys of TCP", TCP, 14), ("keys of TCP by prefix", TCP, 32), ("keys of TCP-AO", TCP, 38),
)  # fmt: skip
# Requests by which the kernel may load modules: TIOCSETD, SIOCGIFBR, SIOCSIFBR, SIOCGIFVLAN, SIOCSIFVLAN
LOADING = (0x5423, 0x8940, 0x8941, 0x8982, 0x8983)
# A cloud's metadata service, the engine's usual gateway, private networks, the internet.
DESTINATIONS = (
    ("169.254.169.254", 80), ("172.17.0.1", 22), ("10.0.0.1", 80), ("192.168.0.1", 80), ("1.1.1.1", 53),
    ("fd00:ec2::254", 80), ("2606:4700:4700::1111", 53),
)  # fmt: skip


@probe(
    "system_calls",
    "io_uring, ptrace, namespaces, mounts, keys, bpf and similar calls are refused",
    not_in_gvisor=OWN_KERNEL,
)
def _(want: dict[str, Any]) -> str:
    number_of("socket")  # raises Untried if the architecture is unknown
    x86 = platform.machine() == "x86_64"

    def attack() -> dict[str, int]:
        calls = ((name, x86_64 if x86 else arm, arguments) for name, x86_64, arm, arguments in SYSTEM_CALLS)
        return {name: system_call(number, *args) for name, number, args in calls if number is not None}

    results, status = in_child(attack)
    expect(isinstance(results, dict), f"the attacking process ended with status {status}: {results}")
    assert isinstance(results, dict)
    passed = {
        name: code(value) for name, value in results.items() if -value not in (errno.EPERM, errno.ENOSYS)
    }
    expect(not passed, f"the kernel answered {passed}")
    return f"{len(results)} refused"


@probe("new_namespaces", "clone cannot make namespaces, and clone3 does not exist", not_in_gvisor=OWN_KERNEL)
def _(want: dict[str, Any]) -> None:
    clone, clone3 = number_of("clone"), number_of("clone3")

    def attack() -> int:
        result = system_call(clone, CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0)
        # The child of a call that was not refused: it must not go on with the probes.
        if result == 0:
            os._exit(0)
        if result > 0:
            os.waitpid(result, 0)
        return result

    result, _status = in_child(attack)
    expect(result == -errno.EPERM, f"clone with CLONE_NEWUSER: {result}")
    result, _status = in_child(lambda: system_call(clone3, 0, 0))
    # ENOSYS and not EPERM: the C library falls back to clone, whose flags a filter can read.
    expect(result == -errno.ENOSYS, f"clone3: {result}, promised {-errno.ENOSYS}")


@probe(
    "sockets",
    "only UNIX, TCP, UDP, ICMP echo and NETLINK_ROUTE sockets, and none that loads a module",
    not_in_gvisor=OWN_KERNEL,
)
def _(want: dict[str, Any]) -> str:
    number = number_of("socket")
    seen = {name: system_call(number, *arguments) for name, *arguments in SOCKETS}
    passed = {name: code(result) for name, result in seen.items() if result != -errno.EPERM}
    expect(not passed, f"not refused by the filter: {passed}")
    for name, *arguments in NOT_SUPPORTED:
        result = system_call(number, *arguments)
        expect(result == -errno.EPROTONOSUPPORT, f"{name}: {code(result)}, promised EPROTONOSUPPORT")
    # With the invalid descriptor -1: if the call reached the kernel, the error would be EBADF.
    for name, level, option in UNCHARGED:
        result = system_call(number_of("setsockopt"), -1, level, option, 0, 0)
        expect(result == -errno.EPERM, f"{name}: {code(result)}, promised EPERM")
    for request in LOADING:
        result = system_call(number_of("ioctl"), -1, request, 0)
        expect(result == -errno.EPERM, f"ioctl {request:#x}: {code(result)}, promised EPERM")
    return f"{len(seen) + len(NOT_SUPPORTED)} refused"


@probe(
    "foreign_calls",
    "system calls of the 32-bit and x32 interfaces, which have no rules, are refused",
    not_in_gvisor=OWN_KERNEL,
)
def _(want: dict[str, Any]) -> str:
    if platform.machine() != "x86_64":
        raise Untried("only on x86_64")

    def by_interrupt() -> int:
        memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        # The 32-bit entry: the filter must refuse it by architecture, as its calls have other numbers
        # (seccomp(2)).
        memory.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20 (getpid); int 0x80; ret
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        return int(ctypes.CFUNCTYPE(ctypes.c_int)(address)())

    answers = []
    # 0x40000000 marks a call of x32 (__X32_SYSCALL_BIT), which has the architecture of x86-64.
    for attack in (by_interrupt, lambda: system_call(0x40000000 | 39)):
        result, status = in_child(attack)
        if isinstance(result, str):
            raise RuntimeError(result)
        expect(result is None or (isinstance(result, int) and result < 0), f"a foreign getpid gave {result}")
        answers.append(f"{result}, signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else str(result))
    return str(answers)


@probe("network", "there is no network: nothing outside the container can be reached")
def _(want: dict[str, Any]) -> str:
    with open("/proc/net/route") as file:
        routes = file.read().splitlines()[1:]
    expect(not routes, f"there are routes: {routes}")
    for address, port in DESTINATIONS:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            # gVisor has other words for it.
            _unreachable(family, kind, address, port, (errno.EHOSTUNREACH,) if want["gvisor"] else ())
    return f"{len(DESTINATIONS)} addresses unreachable"


@probe("resolver", "the host's resolver and its domains are not visible")
def _(want: dict[str, Any]) -> str:
    with open("/etc/resolv.conf") as file:
        words = [line.split() for line in file if line.strip() and not line.startswith("#")]
    servers = {each[1] for each in words if each[0] == "nameserver"}
    domains = {name for each in words if each[0] in ("search", "domain") for name in each[1:]}
    expect(servers <= set(want["nameservers"]), f"name servers {servers}")
    # "." is the root: it adds nothing to a name.
    expect(domains <= {"."}, f"domains {domains}")
    return f"name servers {servers}"


def _unreachable(family: int, kind: int, address: str, port: int, more: tuple[int, ...]) -> None:
    try:
        with socket.socket(family, kind) as plug:
            # Without a network, connect() fails at once with ENETUNREACH; with one, it would wait for an
            # answer.
            plug.setblocking(False)
            result = plug.connect_ex((address, port))
    except OSError as error:
        result = error.errno or 0
    unreachable = (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, *more)
    expect(result in unreachable, f"{address} port {port}: {errno.errorcode.get(result, 'connected')}")


def number_of(name: str) -> int:
    """The number of a system call on this machine. Raises Untried if it is not known."""
    numbers = NUMBERS.get(platform.machine())
    if numbers is None:
        raise Untried(f"no system call numbers for {platform.machine()}")
    return numbers[name]


def code(result: int) -> str:
    """The result of a system call as text: the name of the error, or the value."""
    return errno.errorcode.get(-result, str(result)) if result < 0 else f"returned {result}"
