"""Both streams between server and agent, the socket and the engine's attach stream, give the same
guarantees."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from coderunner.schema import messages as m
from tests.harness import Server, attach, docker, eventually, running_server, session, start_server
from tests.share import some_now

SETTINGS = {"LANGUAGES": "python", "WARM_MAX": "1"}
FLOOD = "i = 0\nwhile True:\n    print('%07d' % i)\n    i += 1\n"
BOTH = ("socket", "attach")


def again(server: Server, folder: Path, **settings: str) -> Server:
    """The next server of the same instance, on the same port."""
    port = server.url.rsplit(":", 1)[1].strip("/")
    return start_server({**server.environment, "PORT": port, **settings}, folder / "again.log")


def counted(data: bytearray) -> int:
    """Returns the number of lines, after checking that none is missing or doubled."""
    lines = bytes(data).replace(b"\r", b"").split(b"\n")[:-1]
    assert lines == [b"%07d" % number for number in range(len(lines))]
    return len(lines)


def folders(server: Server) -> list[str]:
    parent = Path(server.environment["STATE_DIR"]) / "sockets" / server.instance
    return sorted(one.name for one in parent.iterdir()) if parent.exists() else []


def mounts(server: Server, name: str) -> str:
    return docker("inspect", "-f", "{{json .HostConfig.Mounts}}", f"coderunner-{name}")


@pytest.mark.parametrize("stream", some_now(BOTH, "socket"))
async def test_a_flooding_server_that_is_killed_is_followed_without_a_gap(tmp_path, stream):
    """On a terminal, whose output is not held back for long while no client has the control."""
    with running_server(tmp_path, **SETTINGS, AGENT_STREAM=stream) as server:
        assert server.get("api/ready")["agent_stream"] == stream
        async with session(server, keep=True) as client:
            assert ("/run/coderunner" in mounts(server, client.opened.session)) == (stream == "socket")
            await client.run(1, FLOOD, mode="tty")
            await client.wait(lambda: client.channel(1).end > 500_000)
            server.stop(signal.SIGKILL)
            await client.closed()
        server.process = again(server, tmp_path).process
        async with attach(server, client.opened, client=client.client, channels=client.channels) as back:
            seen = back.channel(1).end
            await back.wait(lambda: back.channel(1).end > seen)
            await back.wait(lambda: back.channel(1).end > seen + 500_000)
            assert back.channel(1).gaps == []
            assert counted(back.channel(1).data) > 100_000
            await back.send(m.Kill(1))
            await back.wait(lambda: back.channel(1).exit)
            assert back.channel(1).exit.reason == "killed"
            await back.send(m.Close())
            await back.closed()
        await eventually(lambda: client.opened.session not in folders(server), 20, "its folder gone")
    assert folders(server) == []


@pytest.mark.parametrize(("before", "after"), [BOTH, BOTH[::-1]])
async def test_a_server_that_reaches_agents_otherwise_adopts(tmp_path, before, after):
    with running_server(tmp_path, **SETTINGS, AGENT_STREAM=before) as server:
        async with session(server, keep=True) as client:
            await client.run(1, FLOOD, mode="pipe")
            await client.wait(lambda: client.channel(1).end > 100_000)
            server.stop(signal.SIGTERM)
            await client.closed()
        server.process = again(server, tmp_path, AGENT_STREAM=after).process
        async with attach(server, client.opened, client=client.client, channels=client.channels) as back:
            seen = back.channel(1).end
            await back.wait(lambda: back.channel(1).end > seen + 500_000)
            assert counted(back.channel(1).data) > 60_000
            assert (await back.result(2, "print('adopted')")).text == "adopted\n"
            await back.send(m.Close())
            await back.closed()
            await eventually(lambda: server.stats()["queue"]["active"] == 0, 20, "its end")
    assert folders(server) == []


KNOCK = """
import os, socket
one = socket.socket(socket.AF_UNIX)
try:
    one.connect("/run/coderunner/agent.sock")
    print("connected", one.recv(100))
except OSError as error:
    print("no:", error.strerror)
for what in (
    lambda: os.listdir("/run/coderunner"),
    lambda: os.unlink("/run/coderunner/agent.sock"),
    lambda: os.rename("/run/coderunner/agent.sock", "/run/coderunner/other"),
    lambda: os.symlink("/etc/passwd", "/run/coderunner/link"),
    lambda: os.chmod("/run/coderunner/agent.sock", 0),
    lambda: os.listdir("/run/coderunner/.."),
):
    try:
        print("done:", what())
    except OSError as error:
        print("no:", error.strerror)
"""


async def test_a_program_finds_nobody_there_and_changes_nothing(server):
    async with session(server) as client:
        lines = (await client.result(1, KNOCK)).text.splitlines()
        assert lines[:5] == [
            "no: Connection refused", "no: Permission denied", *["no: Read-only file system"] * 3
        ]  # fmt: skip
        assert lines[5].startswith("no: ")
        assert "sockets" not in lines[6]
        # Nothing but its own folder is there, whatever other sessions there are.
        seen = (await client.result(2, "print(open('/proc/self/mountinfo').read())")).text
        ours = [line for line in seen.splitlines() if "/sockets/" in line]
        assert len(ours) == 1
        assert client.opened.session in ours[0]
        assert re.search(r" /run/coderunner ro,", ours[0])
