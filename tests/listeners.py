"""Services of the host, on all of its addresses, and a program that tries to reach them from a container."""

from __future__ import annotations

import contextlib
import re
import selectors
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

FAMILIES = ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::"))
KINDS = (socket.SOCK_STREAM, socket.SOCK_DGRAM)


@dataclass
class Host:
    """`heard` is what came to a service: (address that it listens on, from where)."""

    port: int
    heard: list[tuple[str, str]] = field(default_factory=list)


def addresses() -> list[str]:
    """Every address that the host has, of all interfaces, link-local ones as well."""
    said = subprocess.run(["ip", "-o", "addr"], capture_output=True, text=True, timeout=10, check=True).stdout
    return sorted(set(re.findall(r"inet6? ([0-9a-f.:]+)", said)))


def _open(family: int, kind: int, address: str, port: int) -> socket.socket:
    plug = socket.socket(family, kind)
    if family == socket.AF_INET6:
        plug.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    plug.bind((address, port))
    plug.setblocking(False)
    if kind == socket.SOCK_STREAM:
        plug.listen()
    return plug


@contextlib.contextmanager
def listening() -> Iterator[Host]:
    """TCP and UDP on 0.0.0.0 and [::], one port for all."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(_open(*FAMILIES[0][:1], KINDS[0], FAMILIES[0][1], 0))
        host = Host(first.getsockname()[1])
        chooser = stack.enter_context(selectors.DefaultSelector())
        chooser.register(first, selectors.EVENT_READ)
        for family, address in FAMILIES:
            for kind in KINDS:
                if (family, kind) != (FAMILIES[0][0], KINDS[0]):
                    plug = stack.enter_context(_open(family, kind, address, host.port))
                    chooser.register(plug, selectors.EVENT_READ)
        ours, theirs = socket.socketpair()
        stack.enter_context(ours)
        chooser.register(stack.enter_context(theirs), selectors.EVENT_READ)

        def listen() -> None:
            while True:
                for key, _ in chooser.select():
                    plug = key.fileobj
                    assert isinstance(plug, socket.socket)
                    if plug is theirs:
                        return
                    with contextlib.suppress(BlockingIOError):
                        if plug.type == socket.SOCK_STREAM:
                            other, peer = plug.accept()
                            other.close()
                            words = "a connection"
                        else:
                            data, peer = plug.recvfrom(200)
                            words = data.decode(errors="replace")
                        host.heard.append((f"{plug.getsockname()[0]}: {words}", str(peer[0])))

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        try:
            yield host
        finally:
            ours.send(b"x")
            thread.join(10)


# Run in a container: argv is a port and addresses.  It tries each address by every way that an unprivileged
# program has, and says which datagrams the kernel took and which connections came about.
REACH = """\
import errno, socket, struct, sys
port, addresses = int(sys.argv[1]), sys.argv[2:]
device = next((name for _, name in socket.if_nameindex() if name != "lo"), "lo")
index = socket.if_nametoindex(device)
def plain(plug): pass
def device_only(plug): plug.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
def no_route(plug): plug.setsockopt(socket.SOL_SOCKET, socket.SO_DONTROUTE, 1)
def both(plug): device_only(plug); no_route(plug)
def by_index(plug): plug.setsockopt(socket.IPPROTO_IP, 50, struct.pack("!I", index))
connected = taken = 0
for address in addresses:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    scope = index if address[:2] in ("fe", "ff") else 0
    where = (address, port) if family == socket.AF_INET else (address, port, 0, scope)
    for way in (plain, device_only, no_route, both, by_index):
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(family, kind) as plug:
                try:
                    plug.settimeout(0.3)
                    way(plug)
                    if kind == socket.SOCK_DGRAM:
                        plug.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                        for _ in range(2): plug.sendto(f"{address} {way.__name__}".encode(), where)
                        taken += 1
                    elif plug.connect_ex(where) == 0:
                        connected += 1
                        print("connected:", address, way.__name__)
                except OSError:
                    pass
print("tried", len(addresses), "taken", taken, "connected", connected, "end", flush=True)
"""
