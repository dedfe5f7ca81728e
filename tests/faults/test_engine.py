"""Faults of the engine: streams cut alone, calls that never answer, containers harmed from outside."""

from __future__ import annotations

import os
import re
import signal
import subprocess

import pytest

from coderunner.schema import messages as m
from tests.harness import (
    ENGINE_SOCKET,
    ROOT,
    connect,
    docker,
    eventually,
    running_server,
    session,
    wait_ready,
)
from tests.proxy import Proxy

# In the server: SIGUSR1 cuts all its sockets to agents, which nothing stands between.
SCISSORS = """
import signal, weakref
from coderunner.engine.direct import DirectStream

streams = weakref.WeakSet()
begin = DirectStream.connection_made

def noted(self, transport):
    begin(self, transport)
    streams.add(transport)

def cut(*_):
    for one in list(streams):
        one.abort()

DirectStream.connection_made = noted
signal.signal(signal.SIGUSR1, cut)
"""


@pytest.fixture(scope="module", params=["socket", "attach"])
def harmed(tmp_path_factory, request):
    """(server, proxy between it and its engine)"""
    folder = tmp_path_factory.mktemp("harmed")
    (folder / "sitecustomize.py").write_text(SCISSORS)
    with (
        Proxy(ENGINE_SOCKET, str(folder / "engine.sock")) as proxy,
        running_server(
            folder,
            DOCKER_HOST=f"unix://{folder / 'engine.sock'}",
            DOCKER_CMD_TIMEOUT="2000",
            DOCKER_TIMEOUT="6000",
            LANGUAGES="python",
            WARM_MAX="1",
            AGENT_STREAM=request.param,
            PYTHONPATH=f"{folder}:{ROOT / 'server'}",
        ) as server,
    ):
        yield server, proxy


def is_attach(request: bytes) -> bool:
    return b"/attach" in request


def cut(server, proxy) -> bool:
    """The streams to the agents, and nothing else; whether there were any."""
    if server.environment["AGENT_STREAM"] == "attach":
        return bool(proxy.cut(is_attach))
    server.process.send_signal(signal.SIGUSR1)
    return True


class TestStream:
    async def test_a_cut_alone_is_mended_out_of_sight(self, harmed):
        server, proxy = harmed
        code = "import time\nfor i in range(3000):\n    print('%06d' % i, flush=True)\n    time.sleep(.001)"
        async with session(server) as client:
            await client.run(1, code)
            await client.run(2, "import sys\nprint(len(sys.stdin.read()))", entry="two.py")
            for goal in (200, 700, 1500):
                await client.wait(lambda goal=goal: client.channel(1).end > goal * 7, 20)
                assert cut(server, proxy)
                await client.input(2, b"x" * 1000)
            await client.send(m.Eof(2, 3000))
            assert (await client.ended(2)).text == "3000\n"
            channel = await client.ended(1)
            assert bytes(channel.data) == b"".join(b"%06d\n" % i for i in range(3000))
            assert channel.gaps == []

    async def test_a_flood_is_whole_across_cuts(self, harmed):
        server, proxy = harmed
        async with session(server) as client:
            await client.run(1, "for i in range(400_000): print('%07d' % i)")
            for goal in (100_000, 1_000_000, 2_000_000):
                await client.wait(lambda goal=goal: client.channel(1).end > goal, 20)
                cut(server, proxy)
            channel = await client.ended(1)
            assert bytes(channel.data) == b"".join(b"%07d\n" % i for i in range(400_000))

    async def test_an_engine_that_is_away_for_a_while(self, harmed):
        server, proxy = harmed
        async with session(server) as client:
            await client.run(1, "print(input())", mode="tty")
            await client.wait(lambda: client.channel(1).states)
            proxy.refuse = True
            proxy.cut()
            try:
                await eventually(lambda: not _ready(server), 10, "not ready")
                await client.input(1, b"typed while away\n")
            finally:
                proxy.refuse = False
            await client.until(1, "typed while away\r\ntyped while away")
            await client.ended(1)
            await eventually(lambda: _ready(server), 10, "ready again")

    async def test_no_engine_is_told_and_leaks_no_slot(self, harmed):
        server, proxy = harmed
        await eventually(lambda: server.stats()["queue"]["active"] == 0, 10, "nobody")
        proxy.refuse = True
        proxy.cut()
        cut(server, proxy)  # else what waits warm is served, as it needs no engine
        try:
            async with connect(server.url) as client:
                await client.send(m.Open("python", client.client))
                error = await client.wait(
                    lambda: next((x for x in client.messages if isinstance(x, m.ErrorMessage)), None), 20
                )
                assert error.retryable
                assert await client.closed() == 4503
        finally:
            proxy.refuse = False
        await eventually(lambda: server.stats()["queue"]["active"] == 0, 20, "the slot given back")
        async with session(server) as client:
            assert (await client.result(1, "print('back')")).text == "back\n"


def _ready(server) -> bool:
    status, document = server.ask("api/ready")
    assert status == (200 if document["ready"] else 503)
    assert bool(document["reasons"]) != document["ready"]
    return bool(document["ready"])


class TestCalls:
    @pytest.mark.parametrize("call", [b"/containers/create", b"/start", b"/attach"])
    async def test_a_call_that_never_answers_is_an_error_in_time(self, harmed, call):
        server, proxy = harmed
        proxy.hold = lambda request: call in request.split(b"\r\n")[0]
        cut(server, proxy)  # what waits warm is gone as well, and cannot be attached to anew
        try:
            async with connect(server.url) as client:
                await client.send(m.Open("python", client.client, limits={"pids": 64}))
                found = await client.wait(
                    lambda: (
                        client.opened
                        or next((x for x in client.messages if isinstance(x, m.ErrorMessage)), None)
                    ),
                    30,
                )
                if isinstance(found, m.ErrorMessage):
                    assert found.retryable
                    assert await client.closed() in (4503, 1011)
                else:
                    await client.send(m.Close())
                    await client.closed(30)
        finally:
            proxy.hold = lambda request: False
            proxy.cut(lambda request: call in request)
        await eventually(lambda: server.stats()["queue"]["active"] == 0, 30, "the slot given back")
        async with session(server) as client:
            assert (await client.result(1, "print('back')")).text == "back\n"


def paused(name: str) -> bool:
    try:
        docker("pause", name)
    except subprocess.CalledProcessError:
        return False
    return True


class TestHarmFromOutside:
    @pytest.mark.parametrize("harm", [("kill",), ("rm", "-f")])
    async def test_a_container_killed_or_removed(self, server, harm):
        async with session(server, keep=True) as client:
            await client.run(1, "print('up', flush=True)\nimport time; time.sleep(60)")
            await client.until(1, "up")
            docker(*harm, f"coderunner-{client.opened.session}")
            assert (await client.ended(1)).exit.reason == "engine_lost"
            assert await client.closed() == 1000
            assert [x.reason for x in client.messages if isinstance(x, m.Closed)] == ["engine_lost"]

    async def test_a_paused_container_goes_on_where_it_was(self, server):
        async with session(server) as client:
            await client.run(1, "print(input())", mode="tty")
            await client.wait(lambda: client.channel(1).states)
            name = f"coderunner-{client.opened.session}"
            await eventually(lambda: paused(name), 20, "the pause: a busy machine's freezer may refuse it")
            try:
                await client.input(1, b"frozen\n")
            finally:
                docker("unpause", name)
            await client.until(1, "frozen\r\nfrozen")
            await client.ended(1)

    async def test_a_wedged_pid_1_does_not_outlive_the_wall_limit(self, server):
        async with session(server, keep=True) as client:
            await client.run(1, "print('up', flush=True)\nwhile True: pass", limits={"wall_ms": 500})
            await client.until(1, "up")
            name = f"coderunner-{client.opened.session}"
            pid = docker("inspect", "-f", "{{.State.Pid}}", name).strip()
            os.kill(int(pid), signal.SIGSTOP)
            channel = await client.ended(1, 30)
            assert channel.exit.reason == "wall_timeout"
            assert await client.closed(30) == 1000
            await eventually(lambda: name not in docker("ps", "-a", "--format", "{{.Names}}"), 20, "gone")

    @pytest.mark.timed  # another test's pruning may take the layer that this build has just made
    async def test_an_image_that_goes_is_told_and_made_again(self, tmp_path):
        # A range of user ids of its own makes images of its own.
        settings = {"SESSION_UID_BASE": "47100", "SESSION_UID_COUNT": "70"}
        with running_server(tmp_path, LANGUAGES="bash", WARM_MAX="0", ready=("bash",), **settings) as server:
            image = re.findall(r"image=(coderunner/bash:\w+)", server.log.read_text())[-1]
            docker("rmi", image)
            async with connect(server.url) as client:
                await client.send(m.Open("bash", client.client))
                await client.error("image_missing")
                assert await client.closed() == 4503
            wait_ready(server, ("bash",))
            async with session(server, "bash") as client:
                assert (await client.result(1, "echo fine", entry="main.sh")).text == "fine\n"
        docker("rmi", image)
