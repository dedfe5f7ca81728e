"""The proxy before the engine: a server works behind it, and who takes that server over gets no more."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from msgspec import structs

from coderunner import config
from coderunner.engine.attach import Address
from coderunner.engine.building import archive_of
from coderunner.engine.containers import AGENT_COMMAND, ContainerSpec, command_of, create_body
from coderunner.engine.firewall import helper_body
from coderunner.engine.networks import NetworkSpec, network_body
from coderunner.engine.runtimes import inner_limits
from coderunner.gate import policy
from coderunner.gate.bodies import Tables
from coderunner.gate.proxy import EngineGate
from tests.harness import ENGINE, ROOT, Server, docker, running_server, session, wait_until

Body = dict[str, Any]
INSTANCE = f"test-gate-{secrets.token_hex(4)}"
PREFIX = f"coderunner-{INSTANCE}-"
LABELS = {"type": "coderunner-session", "coderunner.instance": INSTANCE}


@pytest.fixture(scope="module")
def tables() -> Tables:
    return Tables.of(config.load({"INSTANCE_NAME": INSTANCE, "LANGUAGES": "python"}))


@pytest.fixture
def spec(tables: Tables) -> ContainerSpec:
    from coderunner.core.limits import resolve

    [image] = tables.images
    limits = resolve(tables.rules.defaults, tables.languages["python"].limits)
    first = tables.settings.session_uid_base
    command = command_of(tables.languages["python"])
    return ContainerSpec(
        image=image, name=f"{PREFIX}one", uid=first + 7, limits=limits, labels=LABELS, command=command
    )


@pytest.fixture(scope="module")
def victim() -> Iterator[str]:
    """Another instance's container, with a volume and a network of somebody else's beside it."""
    name = f"victim-{secrets.token_hex(4)}"
    image = docker("images", "-q", "--filter", "label=type=coderunner-image").split()[0]
    docker("volume", "create", name)
    docker("network", "create", "--internal", name)
    labels = ("--label", "type=coderunner-session", "--label", "coderunner.instance=somebodys")
    docker("create", "--name", name, *labels, "--network", "none", image, "sleep", "600")
    yield name
    assert docker("inspect", "-f", "{{.State.Status}}", name).strip() == "created", "it was started"
    docker("rm", "-fv", name)
    docker("volume", "rm", name)
    docker("network", "rm", name)


class Gate:
    """Sends requests as bytes, as no library would."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket

    async def raw(self, data: bytes) -> tuple[int, Any]:
        reader, writer = await asyncio.open_unix_connection(str(self.socket))
        writer.write(data)
        answer = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        if b"chunked" in head:
            body = b"".join(body.split(b"\r\n")[1::2])
        try:
            document = json.loads(body)
        except ValueError:
            document = body
        return int(head.split(b" ")[1]), document

    async def ask(self, method: str, target: str, body: Any = None) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        head = f"{method} /v1.41{target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
        return await self.raw(head.encode() + data)


@pytest.fixture
async def gate(tables: Tables, tmp_path: Path) -> AsyncIterator[Gate]:
    socket = tmp_path / "gate.sock"
    async with EngineGate(tables, Address.parse(ENGINE)).listening(socket):
        yield Gate(socket)


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    for container in docker("ps", "-aq", "--filter", f"label=coderunner.instance={INSTANCE}").split():
        docker("rm", "-fv", container)
    for network in docker("network", "ls", "-q", "--filter", f"label=coderunner.instance={INSTANCE}").split():
        docker("network", "rm", network)


async def refused(gate: Gate, method: str, target: str, body: Any = None) -> str:
    status, document = await gate.ask(method, target, body)
    assert status == 403, f"{method} {target}: {status} {str(document)[:300]}"
    return str(document["message"])


# --- a create call's body --------------------------------------------------------------------------------


def host(**changes: Any) -> Callable[[Body], None]:
    return lambda body: body["HostConfig"].update(changes)


def top(**changes: Any) -> Callable[[Body], None]:
    return lambda body: body.update(changes)


BODIES: dict[str, Callable[[Body], None]] = {
    "privileged": host(Privileged=True),
    "the host's files": host(Binds=["/:/host"]),
    "the host's files as a mount": host(Mounts=[{"Type": "bind", "Source": "/", "Target": "/host"}]),
    "the engine's socket": host(Binds=["/var/run/docker.sock:/s"]),
    "the host's processes": host(PidMode="host"),
    "the host's network": host(NetworkMode="host"),
    "another's network": host(NetworkMode="container:victim"),
    "the host's IPC": host(IpcMode="host"),
    "the host's UTS": host(UTSMode="host"),
    "the host's users": host(UsernsMode="host"),
    "capabilities": host(CapAdd=["SYS_ADMIN"]),
    "capabilities kept": host(CapDrop=[]),
    "no filter": host(SecurityOpt=["seccomp=unconfined"]),
    "a device": host(Devices=[{"PathOnHost": "/dev/sda", "PathInContainer": "/d"}]),
    "device rules": host(DeviceCgroupRules=["a *:* rwm"]),
    "volumes of another": host(VolumesFrom=["victim"]),
    "another group": host(CgroupParent="/"),
    "another runtime": host(Runtime="io.containerd.runc.v2"),
    "writable root": host(ReadonlyRootfs=False),
    "more memory": host(Memory=2**40, MemorySwap=2**40),
    "nothing masked": host(MaskedPaths=[]),
    "a port": host(PortBindings={"80/tcp": [{"HostPort": "80"}]}),
    "root": top(User="0:0"),
    "a user out of range": top(User="1000:1000"),
    "another program": top(Cmd=["/bin/sh"]),
    "an entry point": top(Entrypoint=["/bin/sh"]),
    "another image": top(Image="debian:trixie-slim"),
    "a volume": top(Volumes={"/v": {}}),
    "another instance's label": top(Labels={**LABELS, "coderunner.instance": "somebodys"}),
    "no label": top(Labels={}),
    "a helper's role": top(Labels={**LABELS, "coderunner.role": "host"}),
    "another spelling": lambda body: body.update(hostconfig={"Privileged": True}),
    "networking": top(NetworkingConfig={"EndpointsConfig": {"bridge": {}}}),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_that_is_not_the_tables_is_refused(gate: Gate, spec: ContainerSpec, name: str) -> None:
    body = copy.deepcopy(create_body(spec))
    BODIES[name](body)
    await refused(gate, "POST", f"/containers/create?name={spec.name}", body)
    assert not docker("ps", "-aq", "--filter", f"name={spec.name}")


async def test_a_servers_own_container_is_made_and_removed(gate: Gate, spec: ContainerSpec) -> None:
    status, made = await gate.ask("POST", f"/containers/create?name={spec.name}", create_body(spec))
    assert status == 201, made
    assert (await gate.ask("POST", f"/containers/{made['Id']}/start"))[0] == 204
    assert (await gate.ask("GET", f"/containers/{spec.name}/json"))[1]["State"]["Running"]
    more = {"Memory": 300 << 20, "MemorySwap": 300 << 20}
    assert (await gate.ask("POST", f"/containers/{made['Id']}/update", more))[0] == 200
    memory = {"Memory": 2**42, "MemorySwap": 2**42}
    for wrong in (memory, {"PidsLimit": -1}, {"PidsLimit": 10**6}, {"CpuShares": 1}):
        await refused(gate, "POST", f"/containers/{made['Id']}/update", wrong)
    # Not even the server's own command, as this container is not in gVisor.
    await refused(gate, "POST", f"/containers/{made['Id']}/exec", inner_limits(16, 1 << 28))
    for call in ("exec", "kill", "resize?h=1&w=1", "stop", "restart", "rename?name=x", "archive?path=/"):
        await refused(gate, "POST", f"/containers/{made['Id']}/{call}", {"Cmd": ["id"]})
    assert (await gate.ask("DELETE", f"/containers/{made['Id']}?force=True&v=True"))[0] == 204
    assert (await gate.ask("GET", f"/containers/{made['Id']}/json"))[0] == 404


async def test_names_of_others_are_refused(gate: Gate, spec: ContainerSpec) -> None:
    for name in ("coderunner-somebodys-1", "x", ""):
        await refused(gate, "POST", f"/containers/create?name={name}", create_body(spec))


@pytest.mark.parametrize(
    ("network", "arguments"),
    [
        ("host", ("host", "docker")), ("host", ("no-host", "x")), ("host", ("member", "10.0.0.0/28")),
        ("bridge", ("no-host",)), ("container:victim", ("member", "0.0.0.0/0")),
    ],
)  # fmt: skip
async def test_a_helper_does_only_what_the_servers_does(
    gate: Gate, spec: ContainerSpec, network: str, arguments: tuple[str, ...]
) -> None:
    labels = {**LABELS, "coderunner.role": "host"}
    body = helper_body(spec.image, labels, network, arguments)
    await refused(gate, "POST", f"/containers/create?name={PREFIX}host-1", body)
    body = helper_body(spec.image, labels, "host", ("no-host",))
    body["Cmd"][4] = "import os; os.system('id')"
    await refused(gate, "POST", f"/containers/create?name={PREFIX}host-1", body)


# --- what is another's -----------------------------------------------------------------------------------


CALLS = (
    ("GET", "/containers/{v}/json"), ("GET", "/containers/{v}/logs?stdout=1"), ("GET", "/containers/{v}/top"),
    ("GET", "/containers/{v}/archive?path=/etc"), ("GET", "/containers/{v}/export"),
    ("GET", "/containers/{v}/stats"), ("GET", "/containers/{v}/changes"),
    ("POST", "/containers/{v}/start"), ("POST", "/containers/{v}/pause"),
    ("POST", "/containers/{v}/kill"), ("POST", "/containers/{v}/exec"), ("POST", "/containers/{v}/wait"),
    ("POST", "/containers/{v}/update"), ("DELETE", "/containers/{v}?force=1"),
    ("GET", "/containers/json?all=1"),
    ("POST", "/containers/{v}/attach?stream=1&stdin=1&stdout=1&stderr=1&logs=0&detachKeys="),
    ("PUT", "/containers/{v}/archive?path=/"), ("POST", "/containers/prune"),
    ("POST", "/commit?container={v}"),
    ("GET", "/volumes"), ("GET", "/volumes/{v}"), ("DELETE", "/volumes/{v}"), ("POST", "/volumes/prune"),
    ("GET", "/networks/{v}"), ("DELETE", "/networks/{v}"), ("POST", "/networks/prune"),
    ("POST", "/networks/{v}/connect"), ("GET", "/images/json"), ("GET", "/images/nginx:latest/json"),
    ("GET", "/images/coderunner/python:0/get"), ("GET", "/images/get?names=x"), ("POST", "/images/load"),
    ("DELETE", "/images/debian:trixie-slim"), ("POST", "/images/prune"), ("POST", "/images/x/push"),
    ("POST", "/images/create?fromImage=nginx&tag=latest"),
    ("POST", "/images/debian:trixie-slim/tag?repo=x"),
    ("POST", "/images/create?fromSrc=http://x&repo=debian&tag=trixie-slim"),
    ("POST", "/images/create?fromSrc=-&repo=debian&tag=trixie-slim"),
    ("GET", "/events"), ("GET", "/system/df"), ("POST", "/auth"), ("POST", "/swarm/init"),
    ("GET", "/plugins"),
    ("POST", "/plugins/pull?remote=x"), ("POST", "/session"), ("POST", "/grpc"), ("GET", "/secrets"),
    ("POST", "/exec/0/start"), ("POST", "/build/prune"), ("GET", "/distribution/x/json"), ("HEAD", "/_ping"),
)  # fmt: skip


@pytest.mark.parametrize(("method", "target"), CALLS)
async def test_a_call_for_what_is_anothers_is_refused(
    gate: Gate, victim: str, method: str, target: str
) -> None:
    await refused(gate, method, target.format(v=victim), {"Container": victim} if "connect" in target else {})


async def test_a_name_and_an_id_are_one(gate: Gate, victim: str) -> None:
    full = docker("inspect", "-f", "{{.Id}}", victim).strip()
    for name in (full, full[:12], full[:6]):
        await refused(gate, "GET", f"/containers/{name}/json")


async def test_lists_are_of_the_servers_own(gate: Gate, victim: str) -> None:
    twice = '{"label":["type=coderunner-session"],"label":[]}'
    for filters in ('{"label":["type=other"]}', "{}", '{"name":["v"]}', twice):
        await refused(gate, "GET", "/containers/json?" + urlencode({"all": "1", "filters": filters}))
    status, rows = await gate.ask("GET", "/networks")
    assert status == 200
    assert {key for row in rows for key in row} == {"Id", "Name", "Labels", "IPAM", "Created"}


@pytest.mark.parametrize(
    "change",
    [
        {"Internal": False}, {"Driver": "macvlan"}, {"Name": "bridge"}, {"Options": {}}, {"EnableIPv6": True},
        {"IPAM": {"Driver": "default", "Config": [{"Subnet": "0.0.0.0/0"}]}}, {"Scope": "swarm"},
        {"Labels": {}},
    ],
    ids=lambda change: "".join(change),
)  # fmt: skip
async def test_a_network_is_a_groups(gate: Gate, tables: Tables, change: Body) -> None:
    from ipaddress import IPv4Network

    pool = IPv4Network(tables.settings.group_address_pool)
    subnet = list(pool.subnets(new_prefix=28))[-1]
    labels = {"type": "coderunner", "coderunner.instance": INSTANCE}
    good = network_body(
        NetworkSpec(name=f"{PREFIX}g", bridge=secrets.token_hex(6), subnet=subnet, labels=labels)
    )
    await refused(gate, "POST", "/networks/create", {**good, **change})
    assert tables.network(good) == good


@pytest.mark.parametrize(
    "more",
    [
        {"networkmode": "host"}, {"remote": "http://x"}, {"extrahosts": "a:1.2.3.4"}, {"dockerfile": "x"},
        {"cachefrom": '["x"]'}, {"version": "2"}, {"outputs": "x"}, {"memory": "1"}, {"target": "x"},
        {"buildargs": '{"BASE":"nginx"}'}, {"t": "nginx:latest"}, {"labels": '{"type":"other"}'},
        {"session": "x"},
    ],
    ids=lambda more: "".join(more),
)  # fmt: skip
async def test_a_build_is_a_languages(gate: Gate, tables: Tables, more: dict[str, str]) -> None:
    [reference] = tables.images
    recipe = tables.recipes[reference]
    query = {"t": reference, "buildargs": json.dumps(dict(recipe.arguments))}
    query["labels"] = '{"type":"coderunner-image"}'
    context = archive_of(recipe.files).getvalue()
    await refused(gate, "POST", "/build?" + urlencode({**query, **more}), context)
    for wrong in ({"Dockerfile": b"FROM debian:trixie-slim\nRUN id\n"}, {"more": b"x"}):
        other = archive_of({**recipe.files, **wrong}).getvalue()
        await refused(gate, "POST", "/build?" + urlencode(query), other)
    assert tables.build(reference, query["buildargs"], context) is recipe


async def test_a_volume_has_no_options(gate: Gate, victim: str) -> None:
    labels = {"type": "coderunner-uses", "coderunner.instance": INSTANCE, "coderunner.images": ""}
    name = f"coderunner-uses-{INSTANCE}"
    bind = {"type": "none", "device": "/", "o": "bind"}
    for body in (
        {"Name": name, "Driver": "local", "Labels": labels, "DriverOpts": bind},
        {"Name": victim, "Driver": "local", "Labels": labels},
        {"Name": name, "Driver": "other", "Labels": labels},
        {"Name": name, "Driver": "local", "Labels": {**labels, "x": "y"}},
    ):
        await refused(gate, "POST", "/volumes/create", body)


# --- bytes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"GET /v1.41//info HTTP/1.1\r\n\r\n", b"GET /v1.41/../info HTTP/1.1\r\n\r\n",
        b"GET /v1.41/%69nfo HTTP/1.1\r\n\r\n", b"GET /info HTTP/9\r\n\r\n",
        b"GET /info?a=1&a=2 HTTP/1.1\r\n\r\n", b"GET http://x/info HTTP/1.1\r\n\r\n",
        b"GET /info\r\n\r\n", b"get /info HTTP/1.1\r\n\r\n", b"GET /info#x HTTP/1.1\r\n\r\n",
        b"GET /info HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 0\r\n\r\n",
        b"GET /info HTTP/1.1\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /info HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET /info HTTP/1.1\r\nContent-Length: +1\r\n\r\nx",
        b"GET /info HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", b"GET /info HTTP/1.1\r\n x: y\r\n\r\n",
        b"POST /containers/create?name=x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        b"\xff\xfe HTTP/1.1\r\n\r\n", b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
    ],
)  # fmt: skip
async def test_a_request_that_could_be_read_in_two_ways_is_refused(gate: Gate, data: bytes) -> None:
    status, _ = await gate.raw(data)
    assert status in (400, 403)


async def test_nothing_rides_behind_a_request(gate: Gate, victim: str) -> None:
    """A second one on the same connection goes nowhere."""
    behind = f"DELETE /containers/{victim}?force=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    status, document = await gate.raw(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n" + behind.encode())
    assert status == 200
    assert document == b"OK"
    assert docker("inspect", victim)


def test_the_document_lists_the_calls() -> None:
    assert policy.table() in (ROOT / "docs/engine-proxy.md").read_text("utf-8")


# --- a server behind it ----------------------------------------------------------------------------------


async def use(server: Server) -> None:
    async with session(server, limits={"memory_bytes": 300 << 20}) as one:
        await one.run(1, "print(input() + '!')", mode="tty")
        await one.input(1, b"hello\n")
        await one.until(1, "hello!")
    async with session(server, network="group") as member:
        await member.run(1, "import socket; print(socket.if_nameindex()[1][1])")
        assert "eth" in (await member.ended(1)).text


@pytest.mark.long
@pytest.mark.timeout(200)
def test_a_server_works_behind_it(tmp_path: Path) -> None:
    """Canary, sessions, groups, limits asked for, a restart's adoption and removal: nothing is refused."""
    socket, log = tmp_path / "gate.sock", tmp_path / "gate.log"
    same = {"INSTANCE_NAME": INSTANCE, "LANGUAGES": "python", "STATE_DIR": str(tmp_path / "state")}
    environment = {**os.environ, **same, "PYTHONPATH": str(ROOT / "server"), "DOCKER_HOST": ENGINE}
    command = (sys.executable, "-m", "coderunner", "--env-file", "/dev/null", "engine-proxy", str(socket))
    with log.open("w") as sink, subprocess.Popen(command, env=environment, stdout=sink, stderr=sink) as proxy:
        try:
            wait_until(socket.exists, 30, "the proxy listens")
            assert oct(socket.stat().st_mode & 0o777) == "0o660"
            here = {"DOCKER_HOST": f"unix://{socket}", "AGENT_STREAM": "attach"}
            settings = {**same, **here, "CANARY": "on", "WARM_MAX": "2"}
            with running_server(tmp_path, **settings) as server:
                asyncio.run(use(server))
                said = server.log.read_text()
            assert "container limits verified" in said
        finally:
            proxy.terminate()
            assert proxy.wait(10) == 0
    assert "refused" not in log.read_text()
    assert not socket.exists()


INNER = inner_limits(16, 1 << 28)


class Asked:
    """The engine, as the proxy asks it: a container in a runtime, and a command in it."""

    def __init__(self, runtime: str, instance: str = INSTANCE) -> None:
        labels = {"type": "coderunner-session", "coderunner.instance": instance}
        one = {"Id": "a" * 64, "Config": {"Labels": labels}, "HostConfig": {"Runtime": runtime}}
        command = {"ContainerID": "a" * 64, "ExitCode": 0}
        self.documents = {f"/containers/{'a' * 64}/json": one, f"/exec/{'e' * 64}/json": command}

    async def __call__(self, path: str) -> tuple[int, Any]:
        return (200, self.documents[path]) if path in self.documents else (404, None)


def asked(path: str, body: Body) -> policy.Call:
    return policy.Call("POST", path, {}, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("body", "runtime", "ours", "passes"),
    [
        (INNER, "runsc", True, True),
        (INNER, "runc", True, False),
        (INNER, "runsc", False, False),
        ({**INNER, "Privileged": True}, "runsc", True, False),
        ({**INNER, "Cmd": [*INNER["Cmd"][:-2], "16", "1; id"]}, "runsc", True, False),
        ({**INNER, "Cmd": ["/bin/sh", "-c", "id", "sh", "16", "1"]}, "runsc", True, False),
        ({**INNER, "Cmd": "id"}, "runsc", True, False),
        ({"Cmd": ["id"]}, "runsc", True, False),
    ],
)
async def test_the_one_command_in_gvisor_is_that_of_its_limits(
    tables: Tables, body: Body, runtime: str, ours: bool, passes: bool
) -> None:
    one = policy.Policy(tables, Asked(runtime, INSTANCE if ours else "somebodys"))
    call = asked(f"/containers/{'a' * 64}/exec", body)
    if passes:
        permit = await one.judge(call)
        assert permit.path == call.path
        assert json.loads(permit.body or b"") == INNER
    else:
        with pytest.raises(policy.Refused):
            await one.judge(call)


async def test_a_command_is_started_and_looked_at_in_ones_own_containers(tables: Tables) -> None:
    path = f"/exec/{'e' * 64}"
    own, foreign = (policy.Policy(tables, Asked("runsc", name)) for name in (INSTANCE, "somebodys"))
    permit = await own.judge(asked(f"{path}/start", {"Detach": True, "Tty": True}))
    assert json.loads(permit.body or b"") == {"Detach": False, "Tty": False}
    look = policy.Call("GET", f"{path}/json")
    assert (await own.judge(look)).path == look.path
    for call in (asked(f"{path}/start", {}), look):
        with pytest.raises(policy.Refused):
            await foreign.judge(call)


@pytest.mark.parametrize(
    ("wanted", "passes"),
    [
        ({}, True),
        ({"pids": 40, "memory_bytes": 128 << 20}, True),
        ({"pids": 1}, True),
        ({"pids": 1 << 20}, False),
        ({"memory_bytes": 1 << 40}, False),
    ],
)
def test_a_container_in_gvisor_has_the_requested_limits_from_the_start(
    spec: ContainerSpec, wanted: Body, passes: bool
) -> None:
    """As they cannot be changed later."""
    there = Tables.of(
        config.load({"INSTANCE_NAME": INSTANCE, "LANGUAGES": "python", "DOCKER_RUNTIME": "runsc"})
    )
    one = replace(spec, runtime="runsc", limits=structs.replace(spec.limits, **wanted), command=AGENT_COMMAND)
    body = create_body(one)
    if passes:
        assert there.container(body, one.name, lambda _: "") == body
        for wrong in ({"ShmSize": body["HostConfig"]["ShmSize"] + 1}, {"PidsLimit": 0}, {"Memory": None}):
            with pytest.raises(policy.Refused):
                there.container(
                    {**body, "HostConfig": {**body["HostConfig"], **wrong}}, one.name, lambda _: ""
                )
    else:
        with pytest.raises(policy.Refused):
            there.container(body, one.name, lambda _: "")
