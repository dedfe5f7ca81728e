"""The engine's own death and return: killed and restarted, with live-restore and without.

With an engine of the test's own, in a network namespace of its own: no bridge of this machine's is touched.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from coderunner.schema import messages as m
from tests.harness import connect, docker, eventually, running_server, session, wait_until
from tests.web.test_groups import PYTHON_CLIENT, PYTHON_SERVER, place

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]

LINES = 3000
COUNT = f"import time\nfor i in range({LINES}):\n    print('%06d' % i, flush=True)\n    time.sleep(.002)\n"


class Daemon:
    """dockerd over a containerd of its own, as a distribution runs the two: each dies by itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700m", "none", str(self.data)], check=True)
        self.socket = folder / "engine.sock"
        self.process: subprocess.Popen[bytes] | None = None
        settings = folder / "containerd.toml"
        settings.write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
        (folder / "daemon.json").write_text("{}")  # not this machine's
        command = [
            "containerd", "--config", str(settings), "--root", str(folder / "c-root"),
            "--state", str(folder / "c-state"), "--address", str(folder / "containerd.sock"),
        ]  # fmt: skip
        with (folder / "containerd.log").open("ab") as log:
            self.containerd = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        # It outlives the daemon, as a machine's network does, and with it what the daemon made there.
        self.network = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        own = os.readlink("/proc/self/ns/net")
        wait_until(lambda: os.readlink(self.network_path) != own, 10, "a network of its own")

    @property
    def network_path(self) -> str:
        return f"/proc/{self.network.pid}/ns/net"

    def start(self, *, live_restore: bool) -> None:
        command = [
            "nsenter", f"--net={self.network_path}", "dockerd", "--host", f"unix://{self.socket}",
            "--config-file", str(self.folder / "daemon.json"),
            "--data-root", str(self.data), "--exec-root", str(self.folder / "exec"),
            "--pidfile", str(self.folder / "pid"), "--containerd", str(self.folder / "containerd.sock"),
            "--bridge", "none", f"--live-restore={str(live_restore).lower()}",
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_until(self.answers, 40, "the engine's answer", self.last_words)

    def last_words(self) -> str:
        return (self.folder / "log").read_text()[-1500:]

    def answers(self) -> bool:
        done = subprocess.run(
            ["docker", "-H", f"unix://{self.socket}", "version"], capture_output=True, timeout=20, check=False
        )
        return done.returncode == 0

    def end(self, number: int) -> None:
        """Signals the daemon alone; with live-restore its containers and their shims go on."""
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(40)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(40)
        self.network.kill()
        self.network.wait(10)
        self.containerd.terminate()
        self.containerd.wait(40)
        # What a killed daemon left: shims and mounts.
        subprocess.run(["pkill", "-KILL", "-f", str(self.folder)], check=False)
        mounts = Path("/proc/self/mounts").read_text()
        for line in reversed(re.findall(rf"^\S+ ({re.escape(str(self.folder))}\S*)", mounts, re.MULTILINE)):
            subprocess.run(["umount", "-l", line], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory, server):
    """An engine with the image of Bash in it, stopped."""
    one = Daemon(tmp_path_factory.mktemp("d"))
    image = re.findall(r"image=(coderunner/python:\w+)", server.log.read_text())[-1]
    try:
        one.start(live_restore=True)
        save = subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE)
        subprocess.run(
            ["docker", "-H", f"unix://{one.socket}", "load", "-q"],
            stdin=save.stdout, check=True, timeout=120, capture_output=True,
        )  # fmt: skip
        assert save.wait(10) == 0
        one.end(signal.SIGTERM)
        yield one
    finally:
        one.close()


def settings(daemon: Daemon) -> dict[str, str]:
    return {"DOCKER_HOST": f"unix://{daemon.socket}", "LANGUAGES": "python", "WARM_MAX": "1"}


def forget(daemon: Daemon) -> None:
    """The test's server looks for its containers with this machine's engine; these are elsewhere."""
    found = docker("-H", f"unix://{daemon.socket}", "ps", "-aq").split()
    assert found == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_with_live_restore_a_session_does_not_notice(daemon, tmp_path, how):
    daemon.start(live_restore=True)
    try:
        with running_server(tmp_path, **settings(daemon)) as server:
            async with session(server) as client:
                await client.run(1, COUNT)
                await client.until(1, "000200")
                daemon.end(how)
                await eventually(lambda: server.ask("api/ready")[0] == 503, 20, "not ready")
                daemon.start(live_restore=True)
                await eventually(lambda: server.ask("api/ready")[0] == 200, 20, "ready again")
                channel = await client.ended(1, 60)
                assert bytes(channel.data) == b"".join(b"%06d\n" % i for i in range(LINES))
                assert (channel.exit.reason, channel.exit.code) == ("exited", 0)
                assert (await client.result(2, "print('goes on')")).text == "goes on\n"
            await eventually(lambda: server.stats()["queue"]["active"] == 0, 20, "the slot given back")
        forget(daemon)
    finally:
        daemon.end(signal.SIGTERM)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_with_live_restore_a_group_goes_on(daemon, tmp_path, how):
    daemon.start(live_restore=True)
    try:
        with running_server(tmp_path, **settings(daemon)) as server:
            async with session(server, network="group", member="alice") as alice:
                await alice.run(1, PYTHON_SERVER)
                await alice.until(1, "listening")
                async with session(server, **place(alice.opened)) as bob:
                    daemon.end(how)
                    await eventually(lambda: server.ask("api/ready")[0] == 503, 20, "not ready")
                    daemon.start(live_restore=True)
                    await eventually(lambda: server.ask("api/ready")[0] == 200, 20, "ready again")
                    channel = await bob.result(1, PYTHON_CLIENT, args=("alice",))
                    assert channel.text == "answer: hello from python\n"
                    async with session(server, **place(alice.opened)) as carol:
                        channel = await carol.result(1, PYTHON_CLIENT, args=("alice",))
                        assert channel.text == "answer: hello from python\n"
            networks = ("network", "ls", "-q", "--filter", "label=type=coderunner")
            await eventually(
                lambda: not docker("-H", f"unix://{daemon.socket}", *networks), 20, "the network removed"
            )
        forget(daemon)
    finally:
        daemon.end(signal.SIGTERM)


async def test_without_live_restore_the_end_is_told_and_the_server_recovers(daemon, tmp_path):
    daemon.start(live_restore=False)
    try:
        with running_server(tmp_path, **settings(daemon)) as server:
            async with session(server, keep=True) as client:
                await client.run(1, "print('up', flush=True)\nimport time; time.sleep(100)")
                await client.until(1, "up")
                daemon.end(signal.SIGTERM)
                daemon.start(live_restore=False)
                channel = await client.ended(1, 40)
                assert channel.exit.reason == "engine_lost"
                assert await client.closed() == 1000
                assert [x.reason for x in client.messages if isinstance(x, m.Closed)] == ["engine_lost"]
            await eventually(lambda: server.stats()["queue"]["active"] == 0, 40, "the slot given back")
            async with session(server) as client:
                assert (await client.result(1, "print('new')")).text == "new\n"
        forget(daemon)
    finally:
        daemon.end(signal.SIGTERM)


async def test_a_disk_that_is_full_is_told_and_the_server_recovers(daemon, tmp_path):
    """The engine's own folder is a file system of a size of its own, which is filled to the last byte."""
    daemon.start(live_restore=True)
    ballast = daemon.data / "ballast"
    try:
        with running_server(tmp_path, **{**settings(daemon), "WARM_FLOOR": "1"}) as server:
            async with session(server) as before:
                await eventually(lambda: server.stats()["warmPool"]["ready"] == 1, 30, "a waiting container")
                fill(ballast)
                async with session(server) as lucky:  # a container was waiting: nobody notices yet
                    assert (await lucky.result(1, "print('warm')")).text == "warm\n"
                    await eventually(lambda: server.ask("api/ready")[0] == 503, 30, "not ready")
                    reasons = server.ask("api/ready")[1]["reasons"]
                    assert any("no space left" in reason for reason in reasons), reasons
                    async with connect(server.url) as late:
                        await late.send(m.Open("python", late.client))
                        error = await late.error("start_failed", 30)
                        assert "no space left" in error.message
                        assert error.retryable
                        assert await late.closed() == 4503
                    assert (await before.result(1, "print('lives on')")).text == "lives on\n"
                ballast.unlink()
                await eventually(lambda: server.ask("api/ready")[0] == 200, 30, "ready again")
                async with session(server) as after:
                    assert (await after.result(1, "print('room')")).text == "room\n"
            await eventually(lambda: server.stats()["queue"]["active"] == 0, 20, "the slots given back")
        forget(daemon)
    finally:
        ballast.unlink(missing_ok=True)
        daemon.end(signal.SIGTERM)


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as ballast:
        for size in (1 << 20, 4096, 1):
            with pytest.raises(OSError, match="No space left"):
                while True:
                    ballast.write(bytes(size))


def test_it_needs_root():
    assert os.geteuid() == 0, "run these tests as root: they start a container engine of their own"
