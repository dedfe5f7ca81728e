"""The agents' sockets: who is let in, what lies on the disk, and when they are given up."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from coderunner.engine import sockets
from coderunner.engine.sockets import AgentSocket, AgentSockets, NobodyCame
from coderunner.wire import SOCKET_NAME
from tests.harness import eventually

KNOCK = (
    "import socket, sys\n"
    "one = socket.socket(socket.AF_UNIX)\n"
    "one.connect(sys.argv[1])\n"
    "sys.stdin.readline()\n"
    "one.sendall(b'it is me')\n"
    "print(one.recv(100), flush=True)\n"
)


@pytest.fixture
def made(tmp_path: Path) -> AgentSockets:
    return AgentSockets(tmp_path / "sockets", "i", "auto")


def connect(one: AgentSocket) -> socket.socket:
    """As a program in the container does; a path of any length."""
    folder = os.open(one.folder, os.O_PATH)
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(5)
    try:
        client.connect(f"/proc/self/fd/{folder}/{SOCKET_NAME}")
    finally:
        os.close(folder)
    return client


async def this_process(peer: int) -> bool:
    return peer == os.getpid()


async def nobody(_: int) -> bool:
    return False


async def test_the_agent_is_let_in_and_nobody_else(made: AgentSockets) -> None:
    one = made.make("i-1")
    one.listen()
    stranger = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KNOCK, str(one.folder / SOCKET_NAME),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        # The agent is this process: the stranger came first, or comes while it is waited for.
        accepted = asyncio.create_task(one.accept(this_process, 5))
        said, _ = await asyncio.wait_for(stranger.communicate(b"\n"), 20)
        assert said in (b"b''\n", b"")  # an end at once, or a broken pipe
        agent = connect(one)
        stream = await accepted
        agent.sendall(b"hello")
        assert await stream.read() == b"hello"
        assert stream.write_now(b"greetings")
        assert agent.recv(100) == b"greetings"
        agent.close()
        assert await stream.read() == b""
        await stream.close()
    finally:
        one.close()
    assert made.kind == "socket"


async def test_descriptors_that_come_with_bytes_are_not_kept(made: AgentSockets) -> None:
    one = made.make("i-1")
    one.listen()
    agent = connect(one)
    stream = await one.accept(this_process, 5)
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(20):
        socket.send_fds(agent, [b"x"], [0, 1, 2])
    agent.close()
    got = b""
    while data := await stream.read():
        got += data
    assert got == b"x" * 20
    assert len(os.listdir("/proc/self/fd")) <= len(before)
    await stream.close()
    one.close()


async def test_who_knocks_all_the_time_is_a_bounded_number_of_times_let_knock(
    made: AgentSockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "CONNECT_SECONDS", 0.5)
    one = made.make("i-1")
    one.listen()
    stop = False

    def flood() -> int:
        count = 0
        while not stop:
            try:
                connect(one).close()
                count += 1
            except OSError:
                pass
        return count

    flooding = asyncio.create_task(asyncio.to_thread(flood))
    with pytest.raises(NobodyCame, match="connections of other processes were refused"):
        await one.accept(nobody, 5)
    one.close()
    stop = True
    assert await flooding <= 0.5 / sockets.STRANGER_SECONDS + 2 * sockets.BACKLOG


async def test_it_listens_only_while_it_is_to(made: AgentSockets) -> None:
    one = made.make("i-1")
    one.listen()
    one.listen()
    waiting = connect(one)
    one.close()
    with pytest.raises(ConnectionResetError):
        waiting.recv(10)
    with pytest.raises(ConnectionRefusedError):
        connect(one)
    one.listen()  # in place of what a server before left behind
    connect(one).close()
    one.close()


@pytest.mark.parametrize("umask", [0o022, 0o077])
async def test_the_container_goes_through_the_folder_and_nobody_reads_the_parent(
    tmp_path: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        made = AgentSockets(tmp_path / ("long" * 30) / "sockets", "i", "auto")
        one = made.make("i-1")
        one.listen()
    finally:
        os.umask(before)

    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    assert (mode(one.folder.parent), mode(one.folder)) == (0o700, 0o711)
    assert mode(one.folder / SOCKET_NAME) == 0o666
    connect(one).close()
    one.close()
    found = made.find("i-1")
    assert found is not None
    assert found.folder == one.folder
    for name in ("i-2", "", "..", "../i", "i-1/.."):
        assert made.find(name) is None
    made.keep(0, {"i-1"})
    assert one.folder.exists()
    made.keep(60, set())
    assert one.folder.exists()
    made.keep(0, set())
    assert not one.folder.exists()
    made.remove("i-1")


def test_nothing_is_left_when_all_are_cleared(made: AgentSockets) -> None:
    folders = [made.make(name).folder for name in ("i-1", "i-2")]
    (folders[0] / sockets.SOCKET_NAME).touch()
    beside = AgentSockets(folders[0].parents[1], "another", "auto")
    kept = beside.make("another-1").folder
    made.clear()
    assert not folders[0].parent.exists()
    assert kept.exists()
    beside.clear()
    assert not kept.parents[1].exists()
    beside.clear()


async def test_what_does_not_work_is_given_up_and_said(made: AgentSockets) -> None:
    assert (made.kind, made.usable, made.warnings()) == ("untried", True, [])
    for _ in range(sockets.FAILURES):
        made.failed("not within 2 s")
    assert (made.kind, made.usable) == ("attach", False)
    assert "AGENT_STREAM=attach" in made.warnings()[0]
    assert made.find("i-1") is None


async def test_one_that_came_is_proof(made: AgentSockets) -> None:
    made.came()
    for _ in range(9):
        made.failed("not within 2 s")
    made.give_up("refused")
    assert (made.kind, made.warnings()) == ("socket", [])


def test_what_is_chosen_holds(tmp_path: Path) -> None:
    chosen = AgentSockets(tmp_path, "i", "socket")
    chosen.give_up("refused")
    assert chosen.usable
    assert not AgentSockets(tmp_path, "i", "attach").usable


async def test_an_engine_that_is_slow_to_say_who_the_agent_is(
    made: AgentSockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the kernel does not tell, the engine is asked, which has deadlines of its own."""
    monkeypatch.setattr(sockets, "CONNECT_SECONDS", 0.3)

    async def slow(peer: int) -> bool:
        answered = time.monotonic() + 0.5
        await eventually(lambda: time.monotonic() > answered, 20, "the engine's answer")
        return peer == os.getpid()

    one = made.make("i-1")
    one.listen()
    agent = connect(one)
    stream = await one.accept(slow, 5)
    agent.sendall(b"hello")
    assert await stream.read() == b"hello"
    agent.close()
    await stream.close()
    one.close()
