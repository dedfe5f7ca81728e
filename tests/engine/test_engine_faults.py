"""An engine that is silent, gone, broken, too old, or replaced: each becomes an error of ours, in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from msgspec import convert

from coderunner.engine.docker import DockerEngine
from coderunner.engine.networks import NetworkSpec
from coderunner.engine.states import ContainerSummary
from coderunner.errors import (
    AddressesTaken,
    ContainerGone,
    EngineError,
    EngineTimeout,
    EngineUnavailable,
    ImageMissing,
    NameConflict,
    NetworkBusy,
    NetworkFailed,
    NetworkGone,
    StartFailed,
)
from coderunner.fleet.sweep import remove_one
from coderunner.schema.engine import ContainerRow
from tests.engine.fake import Answer, FakeEngine, Request, always, never

CALL_S = 0.3


NETWORK = NetworkSpec(name="n", bridge="0" * 12, subnet=IPv4Network("10.9.0.0/28"))
NO_SUBNET = {"Id": "n", "Name": "n", "Created": "2026-01-01", "IPAM": {"Config": [{"Subnet": "x"}]}}
CALLS: dict[str, Callable[[DockerEngine], Awaitable[object]]] = {
    "info": lambda engine: engine.info(),
    "ping": lambda engine: engine.ping(),
    "image": lambda engine: engine.image("x"),
    "create": lambda engine: engine.create_from({"Image": "x"}, "name"),
    "attach": lambda engine: engine.attach("c"),
    "start": lambda engine: engine.start("c"),
    "wait": lambda engine: engine.wait("c", CALL_S),
    "remove": lambda engine: engine.remove("c"),
    "inspect": lambda engine: engine.inspect("c"),
    "networks": lambda engine: engine.networks_of("c"),
    "list": lambda engine: engine.list({"a": "b"}),
    "update": lambda engine: engine.update("c", pids=3),
    "network create": lambda engine: engine.networks.create(NETWORK),
    "network connect": lambda engine: engine.networks.connect("n", "c", ("alice",)),
    "network disconnect": lambda engine: engine.networks.disconnect("none", "c"),
    "network remove": lambda engine: engine.networks.remove("n"),
    "network inspect": lambda engine: engine.networks.inspect_raw("n"),
    "network list": lambda engine: engine.networks.list({"a": "b"}),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


@asynccontextmanager
async def fake(tmp_path: Path, answer: Answer) -> AsyncIterator[tuple[FakeEngine, DockerEngine]]:
    server = FakeEngine(tmp_path / "engine.sock", answer)
    async with server.running(), DockerEngine.connect(server.host, CALL_S) as engine:
        yield server, engine


@every_call
async def test_an_engine_that_never_answers_is_a_timeout(tmp_path: Path, call) -> None:
    async with fake(tmp_path, never) as (server, engine):
        with pytest.raises(EngineTimeout, match=f"{CALL_S} s"):
            await call(engine)
        async with asyncio.timeout(5):
            await server.idle.wait()  # the deadline has dropped the connection, too


@every_call
async def test_no_engine_at_all_is_unavailable(tmp_path: Path, call) -> None:
    async with DockerEngine.connect(f"unix://{tmp_path}/none.sock", CALL_S) as engine:
        with pytest.raises(EngineUnavailable, match=r"none\.sock"):
            await call(engine)


@every_call
async def test_an_engine_that_breaks_off_is_unavailable(tmp_path: Path, call) -> None:
    async def break_off(request: Request) -> None:
        await request.raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n")

    async with fake(tmp_path, break_off) as (_server, engine):
        with pytest.raises(EngineUnavailable):
            await call(engine)


@every_call
async def test_something_that_is_no_engine_is_unavailable(tmp_path: Path, call) -> None:
    async def chatter(request: Request) -> None:
        await request.raw(b"220 mail.example.org ESMTP\r\n\r\n\r\n")

    async with fake(tmp_path, chatter) as (_server, engine):
        with pytest.raises(EngineUnavailable):
            await call(engine)


@every_call
async def test_an_engine_in_trouble_never_raises_a_foreign_error(tmp_path: Path, call) -> None:
    async with fake(tmp_path, always(500, {"message": "disk full: no space left"})) as (_server, engine):
        with pytest.raises(EngineError, match="disk full"):
            await call(engine)


@pytest.mark.parametrize(
    ("call", "document"),
    [
        ("info", {"SecurityOptions": 5}),
        ("info", {"CgroupVersion": "two"}),
        ("image", {"RepoTags": []}),
        ("image", {"Id": "x", "Config": {"Labels": {"a": 1}}}),
        ("create", {}),
        ("wait", {"StatusCode": "none"}),
        ("inspect", {"Id": "c", "State": {"Running": "yes"}}),
        ("inspect", []),
        ("networks", {"NetworkSettings": {"Networks": {"bridge": []}}}),
        ("list", [{"Id": "c"}]),
        ("list", {"Id": "c"}),
        ("network create", {"Warning": ""}),
        ("network list", [{"Id": "n", "Name": "n", "Created": "yesterday"}]),
        ("network list", [NO_SUBNET]),
    ],
)  # fmt: skip
async def test_an_answer_of_another_shape_is_no_engines(tmp_path: Path, call: str, document: object) -> None:
    async with fake(tmp_path, always(200, document)) as (_server, engine):
        with pytest.raises(EngineUnavailable, match="not an engine's"):
            await CALLS[call](engine)


async def test_a_version_call_that_never_answers_is_a_timeout(tmp_path: Path) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    path = tmp_path / "silent.sock"
    server = await asyncio.start_unix_server(accept, path)
    async with server, DockerEngine.connect(f"unix://{path}", CALL_S) as engine:
        with pytest.raises(EngineTimeout):
            await engine.ping()


@pytest.mark.parametrize(
    ("status", "words", "call", "error"),
    [
        (404, "No such image: x:latest", "create", ImageMissing),
        (409, 'Conflict. The container name "/n" is already in use by container "c"', "create", NameConflict),
        (400, "unknown runtime specified runsc", "create", StartFailed),
        (404, "No such container: c", "start", ContainerGone),
        (400, "OCI runtime create failed: executable file not found", "start", StartFailed),
        (404, "No such container: c", "inspect", ContainerGone),
        (404, "No such container: c", "attach", ContainerGone),
        (404, "No such container: c", "update", ContainerGone),
        (500, "cgroup: device or resource busy", "update", StartFailed),
        (503, "engine is starting", "list", EngineUnavailable),
        (403, "Pool overlaps with other one on this address space", "network create", AddressesTaken),
        (409, "network with name n already exists", "network create", NetworkFailed),
        (404, "network n not found", "network connect", NetworkGone),
        (404, "No such container: c", "network connect", ContainerGone),
        (403, "container cannot be connected to multiple networks", "network connect", NetworkFailed),
        (404, "No such container: c", "network disconnect", ContainerGone),
        (403, "error while removing network: network n has active endpoints", "network remove", NetworkBusy),
        (404, "network n not found", "network inspect", NetworkGone),
    ],
)
async def test_refusals_by_their_names(
    tmp_path: Path, status: int, words: str, call: str, error: type[EngineError]
) -> None:
    async with fake(tmp_path, always(status, {"message": words})) as (_server, engine):
        with pytest.raises(error) as caught:
            await CALLS[call](engine)
        assert type(caught.value) is error
        assert words in caught.value.message


async def test_the_message_of_a_missing_image_says_what_to_do(tmp_path: Path) -> None:
    async with fake(tmp_path, always(404, {"message": "No such image: x"})) as (_server, engine):
        with pytest.raises(ImageMissing, match="make images"):
            await engine.create_from({}, "n")


@pytest.mark.parametrize(
    ("newest", "oldest", "spoken"),
    [("1.41", "1.12", "v1.41"), ("1.47", "1.24", "v1.41"), ("1.52", "1.44", "v1.44")],
)
async def test_the_oldest_common_version_is_spoken(
    tmp_path: Path, newest: str, oldest: str, spoken: str
) -> None:
    async with fake(tmp_path, always(200, [])) as (server, engine):
        server.newest, server.oldest = newest, oldest
        assert await engine.list({}) == []
        assert server.requests[-1].version == spoken


async def test_an_engine_that_is_too_old_is_named(tmp_path: Path) -> None:
    async with fake(tmp_path, always(200, [])) as (server, engine):
        server.newest = "1.40"
        with pytest.raises(EngineUnavailable, match=r"API 1\.40.*20\.10.*or newer"):
            await engine.list({})


async def test_a_newer_engine_in_its_place_is_spoken_to_anew(tmp_path: Path) -> None:
    async def answer(request: Request) -> None:
        if request.version == "v1.41" and server.oldest == "1.44":
            words = "client version 1.41 is too old. Minimum supported API version is 1.44"
            await request.reply(400, {"message": words})
        else:
            await request.reply(200, [])

    async with fake(tmp_path, answer) as (server, engine):
        await engine.list({})
        server.newest, server.oldest = "1.52", "1.44"
        with pytest.raises(EngineUnavailable, match="too old"):
            await engine.list({})
        assert await engine.list({}) == []
        assert server.requests[-1].version == "v1.44"


async def test_an_engine_that_comes_back_serves_the_same_adapter(tmp_path: Path) -> None:
    server = FakeEngine(tmp_path / "engine.sock", always(200, []))
    async with DockerEngine.connect(server.host, CALL_S) as engine:
        with pytest.raises(EngineUnavailable):
            await engine.list({})
        for _restart in range(2):
            async with server.running():
                assert await engine.list({}) == []
            with pytest.raises(EngineUnavailable):
                await engine.list({})


async def test_a_removal_of_what_is_gone_is_no_error(tmp_path: Path) -> None:
    async with fake(tmp_path, always(404, {"message": "No such container: c"})) as (_server, engine):
        await engine.remove("c")


async def test_a_removal_already_under_way_is_waited_for(tmp_path: Path) -> None:
    async def answer(request: Request) -> None:
        if request.method == "DELETE":
            await request.reply(409, {"message": "removal of container c is already in progress"})
        else:
            await request.reply(200, {"StatusCode": 0})

    async with fake(tmp_path, answer) as (server, engine):
        await engine.remove("c")
        assert server.requests[-1].path == "/containers/c/wait?condition=removed"


@pytest.mark.parametrize("host", ["docker", "unix://", "ssh://host", "ftp://host:1"])
async def test_an_address_that_is_not_understood_says_what_to_write(host: str) -> None:
    with pytest.raises(EngineUnavailable, match="write unix:///path or tcp://host:port"):
        async with DockerEngine.connect(host, CALL_S):
            pass


async def test_members_of_networks_leave_one_after_another(tmp_path: Path) -> None:
    """Two at once can lock up an engine before version 23 for good; other containers do not wait."""
    most = during = 0
    three = asyncio.Barrier(3)

    async def answer(request: Request) -> None:
        nonlocal most, during
        during += 1
        most = max(most, during)
        if request.path.startswith("/containers/other"):
            await three.wait()
        await asyncio.sleep(0)  # whoever may come meanwhile comes
        during -= 1
        await request.reply(200, {})

    async with fake(tmp_path, answer) as (server, engine):
        await asyncio.gather(*(engine.networks.connect("n", f"c{number}", ("x",)) for number in range(5)))
        engine.networks.joined("c5")
        leaves: list[Awaitable[object]] = [engine.remove(f"c{number}") for number in range(6)]
        row = {
            "Id": "c6", "State": "running", "Image": "i", "Created": 0,
            "NetworkSettings": {"Networks": {"group": {}}},  # an earlier process has connected it
        }  # fmt: skip
        swept = ContainerSummary.of(convert(row, ContainerRow))
        leaves.append(remove_one(engine, swept, "swept"))
        await asyncio.gather(*leaves, engine.networks.remove("n"), engine.networks.disconnect("none", "d"))
        assert most == 1
        assert len([one for one in server.requests if one.method == "DELETE"]) == 8
        await asyncio.wait_for(asyncio.gather(*(engine.remove(f"other{number}") for number in range(3))), 5)
        assert most == 3
