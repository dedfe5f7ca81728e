"""A server that stops tells each client why, with the right close code."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from coderunner.schema import messages as m
from tests.harness import (
    ENGINE_SOCKET,
    ROOT,
    attach,
    connect,
    docker,
    eventually,
    running_server,
    session,
    start_server,
    wait_ready,
    wait_until,
)
from tests.proxy import Proxy

pytestmark = pytest.mark.timed

SETTINGS = {"LANGUAGES": "python", "WARM_MAX": "1", "MAX_CONCURRENT_SESSIONS": "1"}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
async def test_everybody_is_sent_away_in_order(tmp_path, how):
    with running_server(tmp_path, **SETTINGS) as server:
        async with (
            session(server, keep=True) as client,
            attach(server, client.opened, role="watch") as watcher,
            connect(server.url) as silent,
            connect(server.url) as waiting,
        ):
            await silent.message(m.Hello)
            await watcher.message(m.Attached)
            await waiting.send(m.Open("python", waiting.client))
            await waiting.message(m.Queued)
            server.process.send_signal(how)
            assert await silent.closed() == 1012
            await waiting.error("draining")
            assert await waiting.closed() == 4503
            for one in (client, watcher):
                assert await one.closed() == (1000 if how == signal.SIGINT else 1012)
            assert server.process.wait(20) == 0
        if how != signal.SIGINT:
            for container in server.containers():
                docker("rm", "-fv", container)
        assert server.containers() == []


def hangs(request: bytes) -> bool:
    """Makes the start or the removal of a container hang."""
    return b"/start" in request or request.startswith(b"DELETE")


async def test_a_restart_waits_for_no_container_in_the_making(tmp_path):
    """The engine may take any time for it; the next server finds and removes the container."""
    path = str(tmp_path / "engine.sock")
    settings = {**SETTINGS, "WARM_MAX": "4", "WARM_FLOOR": "4", "MAX_CONCURRENT_SESSIONS": "8"}
    settings |= {"DOCKER_TIMEOUT": "300000", "DOCKER_CMD_TIMEOUT": "300000"}  # for longer than is waited here
    with (
        Proxy(ENGINE_SOCKET, path) as proxy,
        running_server(tmp_path, DOCKER_HOST=f"unix://{path}", **settings) as server,
    ):
        async with session(server, keep=True) as client, session(server, keep=True) as leaver:
            await client.run(1, "print(input())", mode="tty")
            await client.wait(lambda: client.channel(1).states)
            proxy.hold = hangs
            await eventually(lambda: server.stats()["warmPool"]["starting"] >= 1, 20, "one in the making")
            await leaver.send(m.Close())  # its container cannot be removed now
            await leaver.closed()
            server.process.send_signal(signal.SIGTERM)
            assert await client.closed() == 1012
            assert server.process.wait(20) == 0
            proxy.hold = lambda request: False
        before = set(server.containers())
        mine = {docker("inspect", "-f", "{{.Id}}", f"coderunner-{client.opened.session}").strip()}
        port = server.url.rsplit(":", 1)[1].strip("/")
        server.process = start_server(
            {**server.environment, "PORT": port}, tmp_path / "again.log", seconds=20
        ).process
        async with attach(server, client.opened, client=client.client, channels=client.channels) as back:
            await back.message(m.Attached)
            await back.input(1, b"typed\n")
            await back.until(1, "typed\r\ntyped")
            async with attach(server, leaver.opened) as late:
                await late.error("no_session")  # it had ended
            await eventually(lambda: before & set(server.containers()) == mine, 20, "the rest removed")
            await back.send(m.Close())
            await back.closed()
        wait_ready(server, ("python",))


async def test_a_second_ctrl_c_leaves_at_once(tmp_path):
    path = str(tmp_path / "engine.sock")
    with (
        Proxy(ENGINE_SOCKET, path) as proxy,
        running_server(tmp_path, DOCKER_HOST=f"unix://{path}", **SETTINGS) as server,
    ):
        async with session(server, keep=True) as client:
            proxy.hold = hangs
            server.process.send_signal(signal.SIGINT)
            await client.closed()
            server.process.send_signal(signal.SIGINT)
            assert server.process.wait(2) == 130
        assert "exiting at once" in server.log.read_text()
        for container in server.containers():
            docker("rm", "-fv", container)


LONG = {"DOCKER_TIMEOUT": "300000", "DOCKER_CMD_TIMEOUT": "300000"}  # longer than any test waits


@pytest.mark.parametrize(
    "how", [signal.SIGTERM, signal.SIGHUP, pytest.param(signal.SIGINT, marks=pytest.mark.long)]
)
@pytest.mark.parametrize("moment", ["the first file", "the port is held"])
def test_a_signal_while_the_server_starts_ends_it_in_order(tmp_path, how, moment):
    """The engine accepts connections and never answers, so that the start cannot end before the signal."""
    path, state, log = tmp_path / "engine.sock", tmp_path / "state", tmp_path / "log"
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "server"),
        "DOCKER_HOST": f"unix://{path}",
        "STATE_DIR": str(state),
        "INSTANCE_NAME": tmp_path.name[-20:].replace("_", "-"),
        "PORT": "0",
        "RELOAD": "off",
        **SETTINGS,
        **LONG,
    }
    with socket.socket(socket.AF_UNIX) as engine, log.open("w") as sink:
        engine.bind(str(path))
        engine.listen(64)
        command = [sys.executable, "-m", "coderunner", "--env-file", "/dev/null", "serve"]
        process = subprocess.Popen(command, env=environment, stdout=sink, stderr=subprocess.STDOUT)
        try:
            if moment == "the first file":
                wait_until(lambda: state.exists() and list(state.iterdir()), 60, "the start")
            else:
                wait_until(lambda: "starts in development" in log.read_text(), 60, "the start")
            process.send_signal(how)
            assert process.wait(30) == 0, log.read_text()
        finally:
            process.kill()
    said = log.read_text()
    assert f"how={'end' if how == signal.SIGINT else 'suspend'}" in said
    assert "Traceback" not in said


@pytest.mark.long
@pytest.mark.parametrize("answers", [None, b"/_ping"])
async def test_ctrl_c_waits_for_no_engine_that_hangs(tmp_path, answers):
    """The engine accepts connections and never answers, or only pings. What cannot be removed is left to the
    next start."""
    path = str(tmp_path / "engine.sock")
    with (
        Proxy(ENGINE_SOCKET, path) as proxy,
        running_server(tmp_path, DOCKER_HOST=f"unix://{path}", **SETTINGS, **LONG) as server,
    ):
        async with session(server, keep=True) as client:
            proxy.hold = lambda request: answers is None or answers not in request
            proxy.cut()
            began = time.monotonic()
            server.process.send_signal(signal.SIGINT)
            await client.closed(20)
            assert await eventually(lambda: server.process.poll() is not None, 60, "the end")
            assert time.monotonic() - began < 20
            assert server.process.returncode == 0
        assert "the container engine does not answer, so the containers stay" in server.log.read_text()
        assert server.containers()
        done = subprocess.run(
            [sys.executable, "-m", "coderunner", "--env-file", "/dev/null", "reap", "--all"],
            env={**os.environ, "PYTHONPATH": str(ROOT / "server"), **server.environment,
                 "DOCKER_HOST": f"unix://{ENGINE_SOCKET}"},
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert (done.returncode, server.containers()) == (0, []), done.stdout + done.stderr
