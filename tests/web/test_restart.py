"""The server may die: its containers live on, the next server adopts them, clients go on."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from coderunner.core import messages as m
from tests.harness import (
    ROOT,
    Server,
    attach,
    connect,
    docker,
    eventually,
    random_id,
    running_server,
    session,
    start_server,
)

SETTINGS = {"LANGUAGES": "python", "WARM_MAX": "1"}
COUNT = "import time\nfor i in range({n}):\n    print('%07d' % i, flush=True)\n    time.sleep({pause})\n"


def numbers(count: int) -> bytes:
    return b"".join(b"%07d\n" % i for i in range(count))


def again(server: Server, folder: Path) -> Server:
    """The next server of the same instance, on the same port."""
    port = server.url.rsplit(":", 1)[1].strip("/")
    return start_server({**server.environment, "PORT": port}, folder / "again.log")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_sessions_outlive_the_server(tmp_path, how):
    with running_server(tmp_path, **SETTINGS) as server:
        async with session(server, keep=True) as client:
            await client.run(1, COUNT.format(n=400, pause=0.005))
            await client.run(2, "import sys\nprint(sys.stdin.read())", entry="two.py")
            await client.until(1, "0000050")
            await client.input(2, b"typed before, ")
            await client.wait(lambda: client.channel(2).in_ack == 14)
            server.stop(how)
            code = await client.closed()
            assert code == (1012 if how == signal.SIGTERM else 1006)
        server.process = again(server, tmp_path).process
        async with attach(server, client.opened, client=client.client, channels=client.channels) as back:
            view = {one.channel: one for one in (await back.message(m.Attached)).channels}
            assert view[2].input_offset == 14
            await back.input(2, b"typed after")
            await back.send(m.Eof(2, 25))
            assert (await back.ended(2)).text == "typed before, typed after\n"
            channel = await back.ended(1)
            assert bytes(channel.data) == numbers(400)
            assert channel.exit.reason == "exited"
            assert server.stats()["queue"]["active"] == 1
            await back.send(m.Close())
            assert await back.closed() == 1000
        await eventually(lambda: server.stats()["queue"]["active"] == 0, 10, "the slot given back")


async def test_a_program_that_ended_meanwhile_is_told(tmp_path):
    with running_server(tmp_path, **SETTINGS) as server:
        async with session(server, keep=True) as client:
            await client.run(1, "print('up', flush=True)\nimport time, sys; time.sleep(1); sys.exit(6)")
            await client.until(1, "up")
            server.stop(signal.SIGKILL)
            await client.closed()
        name = f"coderunner-{client.opened.session}"
        await eventually(lambda: "sys.exit(6)" not in _processes(name), 10, "the end of the program")
        server.process = again(server, tmp_path).process
        async with attach(server, client.opened, client=client.client, channels=client.channels) as back:
            assert (await back.ended(1)).exit.code == 6
            await back.send(m.Close())
            await back.closed()


def _processes(container: str) -> str:
    done = subprocess.run(
        ["docker", "top", container], capture_output=True, text=True, timeout=20, check=False
    )
    return "sys.exit(6)" if "main.py" in done.stdout else ""


async def test_another_instances_containers_are_never_touched(tmp_path):
    with running_server(tmp_path, **SETTINGS) as one, running_server(tmp_path, **SETTINGS) as other:
        async with session(other) as client:
            theirs = set(other.containers())
            one.stop(signal.SIGKILL)
            one.process = again(one, tmp_path).process
            assert theirs <= set(other.containers())
            assert (await client.result(1, "print('untouched')")).text == "untouched\n"


async def test_what_has_no_valid_record_is_removed(tmp_path):
    with running_server(tmp_path, **SETTINGS) as server:
        async with session(server, keep=True) as client:
            server.stop(signal.SIGKILL)
            await client.closed()
        key = next(Path(server.environment["STATE_DIR"]).glob("*.key"))
        key.write_bytes(bytes(32))
        old = set(server.containers())
        assert old
        server.process = again(server, tmp_path).process
        await eventually(lambda: not old & set(server.containers()), 20, "the old containers removed")
        async with attach(server, client.opened) as back:
            await back.error("no_session")
            assert await back.closed() == 4404


async def test_a_second_server_of_the_same_name_is_refused(tmp_path):
    with running_server(tmp_path, **SETTINGS) as server:
        with pytest.raises(AssertionError, match="runs already"):
            start_server(server.environment, tmp_path / "second.log", seconds=20)


async def test_the_reaper_removes_what_is_over_its_deadline(tmp_path):
    label = f"coderunner.instance=reap-{tmp_path.name}"
    image = docker("images", "-q", "--filter", "label=type=coderunner-image").split()[0]
    for deadline in ("1000", "99999999999"):
        docker(
            "create", "--label", "type=coderunner-session", "--label", label,
            "--label", f"coderunner.deadline={deadline}", image, "true",
        )  # fmt: skip
    try:
        done = subprocess.run(
            [sys.executable, "-m", "coderunner", "--env-file", "/dev/null", "reap"],
            env={"PYTHONPATH": str(ROOT / "server"), "PATH": "/usr/bin:/bin"},
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        assert "containers removed" in done.stdout
        left = docker("ps", "-aq", "--filter", f"label={label}").split()
        assert len(left) == 1
    finally:
        for container in docker("ps", "-aq", "--filter", f"label={label}").split():
            docker("rm", "-f", container)


async def test_an_open_repeated_across_a_restart_is_the_same_session(tmp_path):
    nonce = random_id()
    with running_server(tmp_path, **SETTINGS) as server:
        async with connect(server.url) as client:
            await client.send(m.Open("python", client.client, nonce=nonce))
            await client.wait(lambda: client.opened)
            server.stop(signal.SIGKILL)
            await client.closed()
        server.process = again(server, tmp_path).process
        async with connect(server.url, client=client.client) as back:
            await back.send(m.Open("python", back.client, nonce=nonce))
            await back.wait(lambda: back.opened)
            assert back.opened.session == client.opened.session
            assert (await back.result(1, "print('same')")).text == "same\n"
            assert server.stats()["queue"]["active"] == 1
            await back.send(m.Close())
            await back.closed()
