"""A group's network against the real engine: who talks with whom, and that nobody else is reached."""

from __future__ import annotations

import secrets
import socket
import time
from dataclasses import replace

import pytest

from coderunner.canary.program import command
from coderunner.canary.run import read_findings
from coderunner.engine.containers import create_body
from coderunner.engine.docker import DockerEngine
from coderunner.engine.effective import compare
from coderunner.engine.firewall import Helper, bound_member, install_host_rules
from coderunner.engine.networks import (
    NetworkSpec,
    NetworkSummary,
    differences,
    network_body,
)
from coderunner.errors import (
    AddressesTaken,
    ContainerGone,
    NetworkBusy,
    NetworkFailed,
    NetworkGone,
)
from tests.engine.conftest import MakeSpec
from tests.engine.groups import POOL, Begin, MakeNetwork, next_subnet
from tests.harness import eventually
from tests.listeners import REACH, addresses, listening

SERVER = """
import socket
server = socket.create_server(("", 5000))
print("listening", flush=True)
while True:
    plug, peer = server.accept()
    plug.sendall(b"hello " + plug.recv(100))
    plug.close()
"""
CLIENT = """
import socket, sys
with socket.create_connection((sys.argv[1], 5000), 10) as plug:
    plug.sendall(b"from me")
    print("answer:", plug.recv(100), flush=True)
"""
NAMES = """
import socket, sys, time
for name in sys.argv[1:]:
    began = time.monotonic()
    try: found = {each[4][0] for each in socket.getaddrinfo(name, 80)}
    except OSError as error: found = type(error).__name__
    print(name, found, "slow" if time.monotonic() - began > 4 else "", flush=True)
print(open("/etc/resolv.conf").read())
print("done", flush=True)
"""


async def test_a_running_container_is_moved_and_finds_the_others_by_name(
    begin: Begin, make_network: MakeNetwork, engine: DockerEngine
) -> None:
    network, spec = await make_network()
    server, client = await begin(SERVER), await begin(CLIENT, "alice")
    await server.move(network, "alice")
    await client.move(network, "bob")
    for one in (server, client):
        found = await engine.networks_of(one.container)
        assert list(found) == [spec.name]
        assert found[spec.name].startswith(str(spec.subnet.network_address).rsplit(".", 1)[0])
    await server.go()
    await server.until(b"listening")
    await client.go()
    assert b"answer: b'hello from me'" in await client.until(b"from me'")


async def test_what_was_made_is_what_was_asked(engine: DockerEngine, make_network: MakeNetwork) -> None:
    network, spec = await make_network()
    document = await engine.networks.inspect_raw(network)
    assert differences(network_body(spec), document) == []
    assert document["Internal"] is True
    row = next(one for one in await engine.networks.list(spec.labels) if one.id == network)
    assert row == NetworkSummary(network, spec.name, spec.labels, (spec.subnet,), row.created)
    assert abs(row.created - time.time()) < 60


def test_every_difference_is_named() -> None:
    spec = NetworkSpec(name="n", bridge="b" * 12, subnet=POOL[0], labels={"a": "b"})
    body = network_body(spec)
    for key in ("Driver", "Internal", "Attachable", "EnableIPv6", "Options", "Labels", "IPAM"):
        [found] = differences(body, {**body, key: None})
        assert found.startswith(key)
    more = {**body, "Options": {**body["Options"], "of.the.engine": "x"}}
    assert differences(body, more) == []


async def test_nothing_of_the_host_is_reached(
    begin: Begin, make_network: MakeNetwork, engine: DockerEngine, image: str, labels: dict[str, str]
) -> None:
    """By no address, broadcast and multicast included, and by no way of sending."""
    await install_host_rules(engine, Helper(image, f"{labels['coderunner.instance']}-host", labels, 20))
    network, spec = await make_network()
    with listening() as host:
        gateway, last = str(spec.subnet[1]), str(spec.subnet[-1])
        tried = [
            gateway, last, "255.255.255.255", "224.0.0.1", "169.254.169.254", "1.1.1.1", "ff02::1",
            *addresses(),
        ]  # fmt: skip
        assert any(address.startswith("fe80::") for address in tried)
        prober = await begin(REACH, str(host.port), *tried)
        await prober.move(network, "prober")
        await prober.go()
        said = await prober.until(b" end")
        assert b"connected 0 end" in said, said.decode()
        assert b"taken 0" not in said  # it did send
        # What was sent has arrived by the time that this does.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plug:
            plug.sendto(b"proof", ("127.0.0.1", host.port))
        proof = ("0.0.0.0: proof", "127.0.0.1")
        await eventually(lambda: proof in host.heard, 10, "the services are there")
        assert host.heard == [proof]


async def test_the_trial_would_hear_of_an_open_door(begin: Begin) -> None:
    """The same program, on the engine's usual bridge, is heard: so silence means something."""
    with listening() as host:
        tried = [address for address in addresses() if not address.startswith("127.")]
        prober = await begin(REACH, str(host.port), *tried)
        await prober.move("bridge")
        await prober.go()
        assert b"connected 0 end" not in await prober.until(b" end")
        # What arrived is noted by a thread of its own.
        heard = "0.0.0.0: a connection"
        await eventually(lambda: heard in {kind for kind, _ in host.heard}, 10, "its connection is noted")
        await eventually(lambda: len(host.heard) > 1, 10, "and what it sent is")


async def test_groups_do_not_reach_each_other(
    begin: Begin, make_network: MakeNetwork, engine: DockerEngine
) -> None:
    one, _ = await make_network()
    other, spec = await make_network()
    server = await begin(SERVER)
    await server.move(other, "alice")
    await server.go()
    await server.until(b"listening")
    address = (await engine.networks_of(server.container))[spec.name]
    prober = await begin(REACH + NAMES.replace("sys.argv[1:]", "['alice']"), "5000", address)
    await prober.move(one, "bob")
    await prober.go()
    said = await prober.until(b"done")
    assert b"connected 0 end" in said
    assert b"alice gaierror" in said


async def test_only_members_have_names(begin: Begin, make_network: MakeNetwork) -> None:
    network, _ = await make_network()
    asker = await begin(NAMES, "asker", "example.com", "host.docker.internal", "localhost")
    await asker.move(network, "asker")
    await asker.go()
    said = (await asker.until(b"done")).decode()
    assert "asker {'10.229." in said
    assert "example.com gaierror \n" in said  # and soon
    assert "host.docker.internal gaierror" in said
    servers = [line for line in said.splitlines() if line.startswith(("nameserver", "search", "domain"))]
    assert servers == ["nameserver 127.0.0.11"]


async def test_a_member_is_as_hard_as_any(
    engine: DockerEngine, make_spec: MakeSpec, make_network: MakeNetwork
) -> None:
    """The canary attacks from within a group: of all that it tries, only the group's network is new."""
    network, _ = await make_network()
    container_spec = make_spec()
    container_spec = replace(container_spec, command=command(container_spec))
    container = await engine.create(container_spec)
    await engine.networks.disconnect("none", container)
    await engine.networks.connect(network, container, ("canary",))
    assert compare(create_body(container_spec), await engine.inspect_raw(container)) == []
    stream = await engine.attach(container)
    try:
        await engine.start(container)
        findings = await read_findings(stream)
    finally:
        await stream.close()
    assert {name for name, one in findings.items() if one.outcome not in ("held", "untried")} == {"network"}
    assert "there are routes" in findings["network"].detail


SPRAY = """
import socket, sys, time
def spray(address, source=""):
    plug = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    plug.bind((source, 0))
    for port in range(1, 10001):
        try: plug.sendto(b"x", (address, port))
        except OSError: plug.sendto(b"x", (address, port))
own = socket.gethostbyname("own")
for where in (own, socket.gethostbyname("other"), "127.0.0.1", "127.0.0.11"): spray(where)
spray("127.0.0.1", "127.0.0.11")
for _ in range(200):  # the allowance for names is used up, and comes again
    try: print("names:", socket.gethostbyname("other")); break
    except OSError: time.sleep(.05)
print("entries:", open("/proc/sys/net/netfilter/nf_conntrack_count").read().strip(), "end", flush=True)
"""


async def test_a_member_fills_no_table_of_connections(
    begin: Begin, make_network: MakeNetwork, engine: DockerEngine, image: str, labels: dict[str, str]
) -> None:
    """50,000 pairs of ports would be twice as many entries in its own, which no limit counts."""
    network, spec = await make_network()
    one, other = await begin(SPRAY), await begin("input()")
    for number, (program, name) in enumerate(((one, "own"), (other, "other"))):
        helper = Helper(image, f"{labels['coderunner.instance']}-member-{number}", labels, 20)
        await bound_member(engine, program.container, spec.subnet, helper)
        await program.move(network, name)
    await one.go()
    said = (await one.until(b" end")).decode()
    assert "names: 10.229." in said
    assert int(said.split("entries: ")[1].split()[0]) < 20_000


CROWD = """
import socket
plugs = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(40)]
for plug in plugs:  # each holds what waits for its neighbours' answers
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_DONTROUTE, 1)
    plug.setblocking(False)
for number in range(4000):
    try: plugs[number % 40].sendto(b"x", (f"11.0.{number >> 8}.{number & 255}", 9))
    except OSError: pass
print("other:", socket.gethostbyname("other"), "end", flush=True)
input()
"""


def neighbours() -> int:
    """Entries of the kernel's one table, of all its networks."""
    with open("/proc/net/stat/arp_cache") as file:
        return int(file.read().splitlines()[1].split()[0], 16)


async def test_a_member_fills_no_table_of_neighbours(
    begin: Begin, make_network: MakeNetwork, engine: DockerEngine, image: str, labels: dict[str, str]
) -> None:
    """It has a thousand places for the whole machine: without one, the host reaches nobody new."""
    network, spec = await make_network()
    one, other = await begin(CROWD), await begin("input()")
    for number, (program, name) in enumerate(((one, "own"), (other, "other"))):
        helper = Helper(image, f"{labels['coderunner.instance']}-crowd-{number}", labels, 20)
        await bound_member(engine, program.container, spec.subnet, helper)
        await program.move(network, name)
    before = neighbours()
    await one.go()
    assert "other: 10.229." in (await one.until(b" end")).decode()
    assert neighbours() - before < 200


KNOCK = """
import socket, sys
held = []
def attempt(number):
    try:
        plug = socket.socket()
        plug.settimeout(2)
        plug.connect(("127.0.0.11", number))
        held.append(plug)
        return "connected"
    except OSError as error:
        return type(error).__name__
print("other:", socket.gethostbyname("other"), flush=True)
seen = {attempt(53) for _ in range(20)} | {attempt(number) for number in range(32768, 61000, 7)}
print(*sorted(seen), "end", flush=True)
"""


async def test_the_engines_name_server_keeps_no_connections(
    begin: Begin, make_network: MakeNetwork, engine: DockerEngine, image: str, labels: dict[str, str]
) -> None:
    """Each would be a descriptor of the engine's, as many as a member has of its own."""
    network, spec = await make_network()
    one, other = await begin(KNOCK), await begin("input()")
    for number, (program, name) in enumerate(((one, "own"), (other, "other"))):
        helper = Helper(image, f"{labels['coderunner.instance']}-names-{number}", labels, 20)
        await bound_member(engine, program.container, spec.subnet, helper)
        await program.move(network, name)
    await one.go()
    said = (await one.until(b" end")).decode()
    assert "other: 10.229." in said
    assert said.splitlines()[-1].startswith("ConnectionRefusedError end")


async def test_what_is_gone_or_taken_or_in_use_is_said(
    engine: DockerEngine, begin: Begin, make_network: MakeNetwork
) -> None:
    network, spec = await make_network()
    with pytest.raises(AddressesTaken):
        await engine.networks.create(replace(spec, name=spec.name + "-2", bridge=secrets.token_hex(6)))
    with pytest.raises(NetworkFailed, match="already exists"):
        await engine.networks.create(replace(spec, subnet=next_subnet()))
    with pytest.raises(ContainerGone):
        await engine.networks.connect(network, "no-such-container", ())
    member = await begin("input()")
    await member.move(network, "a")
    with pytest.raises(NetworkBusy):
        await engine.networks.remove(network)
    await engine.remove(member.container)
    await engine.networks.remove(network)
    await engine.networks.remove(network)
    for call in (engine.networks.inspect_raw(network), engine.networks.disconnect(network, member.container)):
        with pytest.raises((NetworkGone, ContainerGone)):
            await call
