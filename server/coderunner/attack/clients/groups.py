"""Attacks on groups of sessions: joining another's group, and reaching out of one's own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from coderunner.attack.case import UNTRIED, Group
from coderunner.attack.stage import Stage
from coderunner.client.peer import Peer, Unexpected, random_id
from coderunner.schema import messages as m

GROUP = Group("groups")
_REFUSED = "no_group, closed with 4404"
_NONE = UNTRIED + "this server offers no groups, or not so many"


@contextlib.asynccontextmanager
async def _members(stage: Stage, count: int) -> AsyncIterator[list[Peer]]:
    """Yields `count` sessions of one group; none where the server has no room for them, or no groups."""
    async with contextlib.AsyncExitStack() as stack:
        peers: list[Peer] = []
        try:
            for number in range(count):
                where = peers[0].opened if peers else None
                peers.append(
                    await stack.enter_async_context(
                        stage.session(
                            network="group",
                            group=where.group if where else None,
                            group_token=where.group_token if where else None,
                            member=f"member-{number}",
                        )
                    )
                )
        except Unexpected as error:
            if not any(code in str(error) for code in ("unsupported", "too_many", "group_full")):
                raise
            peers = []
        yield peers


async def _join(stage: Stage, group: str | None, token: str | None) -> str:
    """Opens a session in a group. Returns the code of the refusal and the close code, as a text."""
    async with stage.connect() as peer:
        await peer.send(m.Open("python", random_id(), network="group", group=group, group_token=token))
        return f"{await peer.error_code()}, closed with {await peer.closed()}"


@GROUP.case("group-token-guessed", "a group, by its id and guessed tokens", _REFUSED)
async def _guessed(stage: Stage) -> str:
    async with _members(stage, 1) as peers:
        if not peers or not (opened := peers[0].opened) or not opened.group_token:
            return _NONE
        # A token that differs in its last character: a comparison that stops early would take longer for it.
        near = opened.group_token[:-1] + ("A" if opened.group_token[-1] != "A" else "B")
        guesses = ("x" * 32, "x", near, opened.token)
        return " / ".join(sorted({await _join(stage, opened.group, guess) for guess in guesses}))


@GROUP.case("group-token-of-another", "a group, by another's token; an ended group, by its own", _REFUSED)
async def _another(stage: Stage) -> str:
    async with _members(stage, 1) as one:
        async with _members(stage, 1) as two:
            if not one or not two or not one[0].opened or not (other := two[0].opened):
                return _NONE
            seen = {await _join(stage, one[0].opened.group, other.group_token)}
        seen.add(await _join(stage, other.group, other.group_token))
        seen.add(await _join(stage, "coderunner-0123456789abcdef", other.group_token))
        return " / ".join(sorted(seen))


# 127.0.0.11 is the engine's resolver. Each TCP connection to it would use a descriptor of the engine
# (docs/containers.md).
_HOLD = """
import socket
held, seen = [], set()
for _ in range(900):
    try:
        plug = socket.socket()
        plug.settimeout(1)
        plug.connect(("127.0.0.11", 53))
        held.append(plug)
    except OSError as error: seen.add(type(error).__name__); break
print(*seen or [f"{len(held)} connections"], "and", "a name" if socket.gethostbyname("member-0") else "")
"""


@GROUP.case(
    "group-holds-the-name-server",
    "the engine's descriptors, by connections to the group's name server",
    "ConnectionRefusedError and a name",
)
async def _names(stage: Stage) -> str:
    async with _members(stage, 1) as peers:
        return (await peers[0].result(1, _HOLD)).last_line if peers else _NONE


# Option 25 is SO_BINDTODEVICE, and 5 SO_DONTROUTE: each address is treated as a neighbour, for which the
# kernel makes an entry in its table (socket(7), arp(7)).
_CROWD = """
import socket
device = next(name for _, name in socket.if_nameindex() if name != "lo")
plugs = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(40)]
for plug in plugs:
    plug.setsockopt(1, 25, device.encode()); plug.setsockopt(1, 5, 1); plug.setblocking(False)
for number in range(2000):
    try: plugs[number % 40].sendto(b"x", (f"11.0.{number >> 8}.{number & 255}", 9))
    except OSError: pass
known = len(open("/proc/net/arp").read().splitlines()) - 1
print("few" if known < 20 else known, "neighbours, and", "a name" if socket.gethostbyname("member-0") else "")
"""


@GROUP.case("group-fills-the-neighbours", "the machine's neighbour (ARP) table", "few neighbours, and a name")
async def _neighbours(stage: Stage) -> str:
    async with _members(stage, 1) as peers:
        return (await peers[0].result(1, _CROWD)).last_line if peers else _NONE


# Routes are bypassed by SO_BINDTODEVICE (25) and SO_DONTROUTE (5); option 4 is SO_ERROR (socket(7)).
_SCAN = """
import errno, selectors, socket, struct
own = socket.gethostbyname("member-0")
base = struct.unpack("!I", socket.inet_aton(own))[0] & ~15
# The host's place is the first or, where the engine keeps none for it, nobody's: then the first is ours.
near = {socket.inet_ntoa(struct.pack("!I", base | number)) for number in (1, 2, 14)} - {own}
hosts = [*near, "172.17.0.1", "172.18.0.1", "192.168.0.1", "192.168.1.1", "10.0.0.1", "192.0.2.1",
         "192.168.65.2", "169.254.169.254", "100.100.100.200", "1.1.1.1", "8.8.8.8"]
ports = [22, 53, 80, 111, 443, 631, 2375, 2376, 3000, 3306, 5432, 6379, 8080, 9090]
device = next(name for _, name in socket.if_nameindex() if name != "lo")
def on_device(plug): plug.setsockopt(1, 25, device.encode())
def no_route(plug): on_device(plug); plug.setsockopt(1, 5, 1)
reached = set()
for way in (lambda plug: None, on_device, no_route):
    chooser = selectors.DefaultSelector()
    for host in hosts:
        for port in ports:
            plug = socket.socket(); plug.setblocking(False); way(plug)
            result = plug.connect_ex((host, port))
            if result in (0, errno.ECONNREFUSED): reached.add(f"{host}:{port}")
            if result == errno.EINPROGRESS: chooser.register(plug, selectors.EVENT_WRITE, (host, port))
    while found := chooser.select(3):
        for key, _ in found:
            chooser.unregister(key.fileobj)
            # A refused connection shows as well that a host is there.
            result = key.fileobj.getsockopt(1, 4)
            if result in (0, errno.ECONNREFUSED): reached.add("%s:%s" % key.data)
            key.fileobj.close()
    for key in list(chooser.get_map().values()): key.fileobj.close()
for address in (("ff02::1", 53, 0, socket.if_nametoindex(device)), ("2001:db8::1", 53)):
    try: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(b"x", address); reached.add(address[0])
    except OSError: pass
print(*sorted(reached) or ["nobody answers"])
"""


@GROUP.case("group-scans-the-host", "the host and the internet, from within a group", "nobody answers")
async def _scan(stage: Stage) -> str:
    async with _members(stage, 1) as peers:
        return (await peers[0].result(1, _SCAN, 60)).last_line if peers else _NONE


@GROUP.case("group-asks-for-names", "names outside of the group, and the host's resolver", "only its own")
async def _only_members(stage: Stage) -> str:
    ask = """
import socket
found = []
for name in ("example.com", "host.docker.internal", "gateway.docker.internal", "metadata.google.internal"):
    try: found.append(f"{name} {socket.gethostbyname(name)}")
    except OSError: pass
for line in open("/etc/resolv.conf"):
    words = line.split()
    foreign = words[:1] == ["nameserver"] and words[1] != "127.0.0.11"
    if foreign or words[:1] in (["search"], ["domain"]): found.append(line.strip())
assert socket.gethostbyname("member-0")
print(*found or ["only its own"])
"""
    async with _members(stage, 1) as peers:
        return (await peers[0].result(1, ask, 60)).last_line if peers else _NONE


@GROUP.case("group-reaches-another", "a service in another group", "not reached")
async def _across(stage: Stage) -> str:
    serve = (
        "import socket\nserver = socket.create_server(('', 7000))\n"
        "print(socket.gethostbyname('member-0'), flush=True)\nwhile True: server.accept()"
    )
    reach = """
import socket, sys
device = next(name for _, name in socket.if_nameindex() if name != "lo")
reached = False
for options in ((), ((25, device.encode()),), ((25, device.encode()), (5, 1))):
    plug = socket.socket(); plug.settimeout(1)
    for option, value in options: plug.setsockopt(1, option, value)
    reached = reached or plug.connect_ex((sys.argv[1], 7000)) == 0
print("reached" if reached else "not reached")
"""
    async with _members(stage, 1) as one, _members(stage, 1) as two:
        if not one or not two:
            return _NONE
        await one[0].run(1, serve)
        address = (await one[0].until(1, "\n")).text.strip()
        return (await two[0].result(1, reach, args=(address,))).last_line


@GROUP.case("group-flood", "the machine and a bystander, by members that flood each other", "flooded")
async def _flood(stage: Stage) -> str:
    sink = (
        "import socket\nplug = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\nplug.bind(('', 7001))\n"
        "server = socket.create_server(('', 7002))\nprint('up', flush=True)\n"
        "import threading\ndef take():\n    while True:\n        one, _ = server.accept()\n"
        "        while one.recv(65536): pass\nthreading.Thread(target=take, daemon=True).start()\n"
        "while True: plug.recv(65536)"
    )
    flood = """
import os, socket, time
end = time.monotonic() + 4
child = os.fork()
sent = 0
if child:
    plug = socket.create_connection(("member-0", 7002)); plug.settimeout(5)
    while time.monotonic() < end: sent += plug.send(bytes(65536))
else:
    plugs = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(200)]  # many ports
    for plug in plugs: plug.setsockopt(1, 6, 1)
    address = socket.gethostbyname("member-0")
    port = 0
    while time.monotonic() < end:
        for plug in plugs:
            port = port % 60000 + 1
            for where in ((address, 7001), (address, port), ("255.255.255.255", 7001)):
                try: plug.sendto(bytes(1200), where)
                except OSError: pass
    os._exit(0)
os.wait()
print("flooded" if sent else "nothing sent")
"""
    async with _members(stage, 3) as peers:
        if not peers:
            return _NONE
        await peers[0].run(1, sink)
        await peers[0].until(1, "up")
        await peers[1].run(1, flood)
        two = await peers[2].result(1, flood, 40)
        one = await peers[1].ended(1, 40)
        return " / ".join(sorted({one.last_line, two.last_line}))


@GROUP.case(
    "group-vanishing",
    "a group, by clients that disconnect before they are told its token",
    "no session left",
)
async def _vanishing(stage: Stage) -> str:
    for _ in range(5):
        async with stage.connect() as peer:
            await peer.send(m.Open("python", random_id(), network="group"))
            await peer.send(m.Ping(1))
            await peer.message(m.Pong)
            peer.drop()
    active = (await stage.stats()).queue.active
    left = not await stage.settled(lambda queue: queue.active <= max(1, active - 5), 30)
    async with _members(stage, 1) as peers:
        return "sessions left" if left else "no session left" if peers else _NONE
