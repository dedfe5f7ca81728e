"""If the server ends, its containers continue, the next server adopts them, and clients reconnect."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from coderunner.instance import lock_of
from coderunner.schema import messages as m
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
SWEPT = {**SETTINGS, "CLEANUP_INTERVAL": "1000", "DOCKER_TIMEOUT": "4000", "DOCKER_CMD_TIMEOUT": "4000"}
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


async def test_a_session_that_is_paused_when_the_server_dies_goes_on(tmp_path):
    with running_server(tmp_path, **SETTINGS) as server:
        async with session(server, keep=True) as client:
            await client.run(1, "print('up', flush=True)\nprint(input())")
            await client.until(1, "up")
            docker("pause", f"coderunner-{client.opened.session}")
            server.stop(signal.SIGKILL)
            await client.closed()
        server.process = again(server, tmp_path).process
        async with attach(server, client.opened, client=client.client, channels=client.channels) as back:
            await back.input(1, b"still here\n")
            assert "still here" in (await back.ended(1)).text
            await back.send(m.Close())
            await back.closed()


async def test_nobody_waits_for_a_container_that_says_nothing(tmp_path):
    """Such as one that is just being made or removed. Clients of its session are told to try again."""
    with running_server(tmp_path, **SETTINGS) as server:
        async with session(server, keep=True) as silent, session(server, keep=True) as client:
            name = f"coderunner-{silent.opened.session}"
            await silent.run(1, "print('up', flush=True)\nprint(input())")
            await silent.until(1, "up")
            docker("kill", "--signal=STOP", name)
            server.stop(signal.SIGKILL)
            await client.closed()
            await silent.closed()
        server.process = again(server, tmp_path).process
        async with attach(server, client.opened, client=client.client, channels=client.channels) as back:
            await back.message(m.Attached)
            async with attach(server, silent.opened, client=silent.client, patient=False) as early:
                error = await early.message(m.ErrorMessage)
                assert (error.code, error.retryable) == ("engine_unavailable", True)
            docker("kill", "--signal=CONT", name)

            async def adopted() -> bool:
                return server.stats()["queue"]["active"] == 2

            await eventually(adopted, 30, "the other session")
            async with attach(server, silent.opened, client=silent.client, channels=silent.channels) as late:
                await late.input(1, b"still here\n")
                assert "still here" in (await late.ended(1)).text
                await late.send(m.Close())
                await late.closed()
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


def coderunner(server: Server, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in this server's environment; its output includes standard error."""
    return subprocess.run(
        [sys.executable, "-m", "coderunner", "--env-file", "/dev/null", *words],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT / "server"), **server.environment},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
    )  # fmt: skip


def created(container: str, **labels: str) -> None:
    """A container that looks like one of this server's, from an existing image."""
    image = docker("images", "-q", "--filter", "label=type=coderunner-image").split()[0]
    words = [f"--label={name.replace('_', '.')}={value}" for name, value in labels.items()]
    docker("create", "--name", container, "--label", "type=coderunner-session", *words, image, "true")


@pytest.mark.long
async def test_a_lost_key_is_told_and_removes_only_what_no_server_has(tmp_path):
    with running_server(tmp_path, **SETTINGS) as server:
        async with session(server, keep=True) as client:
            old = set(server.containers())
            server.stop(signal.SIGKILL)
            await client.closed()
        key = next(Path(server.environment["STATE_DIR"]).glob("*.key"))
        key.write_bytes(bytes(32))
        done = coderunner(server, "serve")
        assert done.returncode == 75, done.stdout
        assert "made with another key" in done.stdout
        assert "coderunner reap --lost-key" in done.stdout
        assert set(server.containers()) == old
        assert "0 containers removed" in coderunner(server, "reap").stdout
        done = coderunner(server, "reap", "--all")
        assert done.returncode == 1, done.stdout
        assert f"{len(old)} containers of '{server.instance}' were made with another key" in done.stdout
        assert "coderunner reap --lost-key" in done.stdout
        assert set(server.containers()) == old
        done = coderunner(server, "reap", "--lost-key")
        assert (done.returncode, server.containers()) == (0, []), done.stdout
        assert f"session={client.opened.session}" in done.stdout
        assert "why=its key is lost" in done.stdout
        server.process = again(server, tmp_path).process
        async with attach(server, client.opened) as back:
            await back.error("no_session")
            assert await back.closed() == 4404


@pytest.mark.parametrize("port", ["the same", "another"])
async def test_a_server_of_the_same_name_elsewhere_touches_nothing(tmp_path, port):
    """Such as two checkouts with the same INSTANCE_NAME, each with its own key."""
    with running_server(tmp_path, **SETTINGS) as server:
        async with session(server) as client:
            await client.run(1, COUNT.format(n=400, pause=0.005))
            theirs = set(server.containers())
            other = {**server.environment, "STATE_DIR": str(tmp_path / "other")}
            if port == "the same":
                other["PORT"] = server.url.rsplit(":", 1)[1].strip("/")
            second = Server("", server.instance, server.process, other, server.log)
            done = coderunner(second, "serve")
            assert done.returncode == 75, done.stdout
            said = "cannot be listened on" if port == "the same" else "made with another key"
            assert said in done.stdout
            done = coderunner(second, "reap", "--lost-key")
            assert done.returncode != 0, done.stdout
            assert "a server that runs has" in done.stdout
            assert theirs <= set(server.containers())
            assert bytes((await client.ended(1)).data) == numbers(400)


async def test_a_copy_of_the_folder_is_no_second_server(tmp_path):
    """The lock is another file, but the key is the same, so each would adopt the other's sessions."""
    with running_server(tmp_path, **SETTINGS) as server:
        async with session(server) as client:
            copy = tmp_path / "copy"
            copy.mkdir()
            key = next(Path(server.environment["STATE_DIR"]).glob("*.key"))
            (copy / key.name).write_bytes(key.read_bytes())
            theirs = set(server.containers())
            other = {**server.environment, "STATE_DIR": str(copy)}
            second = Server("", server.instance, server.process, other, server.log)
            done = coderunner(second, "serve")
            assert done.returncode == 75, done.stdout
            assert "a copy of its STATE_DIR" in done.stdout
            done = coderunner(second, "reap", "--all")
            assert done.returncode == 75, done.stdout
            assert "stop it first" in done.stdout
            assert theirs <= set(server.containers())
            assert (await client.result(1, "print('there')")).text == "there\n"


async def test_what_a_server_has_that_stands_still_is_not_lost(tmp_path):
    """A stopped server answers nobody, but is still alive."""
    with running_server(tmp_path, **SETTINGS) as server:
        async with session(server) as client:
            theirs = set(server.containers())
            other = {**server.environment, "STATE_DIR": str(tmp_path / "other")}
            second = Server("", server.instance, server.process, other, server.log)
            server.process.send_signal(signal.SIGSTOP)
            try:
                done = coderunner(second, "reap", "--lost-key")
            finally:
                server.process.send_signal(signal.SIGCONT)
            assert done.returncode != 0, done.stdout
            assert "a server that runs has" in done.stdout
            assert theirs <= set(server.containers())
            assert (await client.result(1, "print('there')")).text == "there\n"


async def test_the_sweep_leaves_what_another_key_made(tmp_path):
    """Also if the other server started later, without sessions."""
    with running_server(tmp_path, **SWEPT) as server:
        mine, others = f"{server.instance}-mine", f"{server.instance}-others"
        label = {"coderunner_instance": server.instance, "coderunner_session": "lost"}
        owner = docker(
            "inspect", "-f", '{{index .Config.Labels "coderunner.owner"}}', server.containers()[0]
        ).strip()
        try:
            created(mine, **label, coderunner_owner=owner)
            created(others, **label, coderunner_owner="0" * 16)
            await eventually(lambda: "lost" in server.log.read_text(), 40, "the sweep")
            line = next(line for line in server.log.read_text().splitlines() if "container removed" in line)
            assert "session=lost" in line
            assert "age_s=" in line
            assert "why=no session uses it" in line
            assert docker("ps", "-aq", "--filter", f"name={mine}") == ""
            assert docker("ps", "-aq", "--filter", f"name={others}") != ""
            assert "another server has this INSTANCE_NAME" in server.log.read_text()
        finally:
            docker("rm", "-fv", others)


@pytest.mark.long
async def test_what_was_made_before_there_were_fingerprints_is_judged_by_its_seal(tmp_path, monkeypatch):
    """Containers of an old server have no owner label."""
    hook = tmp_path / "before"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(
        "from coderunner.fleet import provision\n"
        "labels = provision.Identity.labels.fget\n"
        "provision.Identity.labels = property(\n"
        "    lambda self: {k: v for k, v in labels(self).items() if k != 'coderunner.owner'})\n"
    )
    monkeypatch.setattr("tests.harness.ROOT", Before(hook))
    with running_server(tmp_path, **SETTINGS) as server:
        monkeypatch.undo()
        assert "coderunner.owner" not in docker("inspect", *server.containers())
        async with session(server, keep=True) as client:
            other = {**server.environment, "STATE_DIR": str(tmp_path / "other")}
            second = Server("", server.instance, server.process, other, server.log)
            theirs = set(server.containers())
            done = coderunner(second, "serve")
            assert done.returncode == 75, done.stdout
            assert "made with another key" in done.stdout
            assert "a server that runs has" in coderunner(second, "reap", "--lost-key").stdout
            assert theirs <= set(server.containers())
            assert (await client.result(1, "print('there')")).text == "there\n"
            server.stop(signal.SIGKILL)
            await client.closed()
        done = coderunner(second, "serve")
        assert done.returncode == 75, done.stdout
        assert "made with another key" in done.stdout
        server.process = again(server, tmp_path).process
        async with attach(server, client.opened, client=client.client) as back:
            assert (await back.result(2, "print('adopted')")).text == "adopted\n"
            await back.send(m.Close())
            await back.closed()


class Before:
    """In place of the root: `server` leads to a folder before it as well."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __truediv__(self, name: str) -> str:
        return f"{self._folder}:{ROOT / name}"


async def test_what_is_not_adopted_is_removed_and_told(tmp_path):
    with running_server(tmp_path, **SETTINGS) as server:
        async with session(server, keep=True) as client:
            waiting = await eventually(lambda: len(server.containers()) == 2, 20, "a waiting container")
            assert waiting
            old = server.containers()
            [dead] = [one for one in old if client.opened.session in docker("inspect", one)]
            server.stop(signal.SIGKILL)
            await client.closed()
        docker("kill", dead)
        server.process = again(server, tmp_path).process
        await eventually(lambda: not set(old) & set(server.containers()), 20, "the old containers removed")
        log = server.log.with_name("again.log")

        def lines() -> list[str]:
            return [line for line in log.read_text().splitlines() if "container removed" in line]

        said = await eventually(lambda: len(lines()) >= len(old) and lines(), 20, "a line for each")
        [line] = [line for line in said if client.opened.session in line]
        assert f"container={dead[:12]}" in line
        assert "why=it does not run: exited" in line
        assert any("why=it has no session" in line for line in said)
        async with attach(server, client.opened) as back:
            await back.error("no_session")
            assert await back.closed() == 4404


async def test_a_second_server_of_the_same_name_is_refused(tmp_path):
    with running_server(tmp_path, **SETTINGS) as server:
        with pytest.raises(AssertionError, match="is already running"):
            start_server(server.environment, tmp_path / "second.log", seconds=20)


async def test_the_reaper_removes_what_is_over_its_deadline(tmp_path):
    name = f"reap-{secrets.token_hex(4)}"
    one = Server("", name, None, {"INSTANCE_NAME": name, "STATE_DIR": str(tmp_path)}, tmp_path)
    over, in_time = {"coderunner_deadline": "1000"}, {"coderunner_deadline": "99999999999"}
    try:
        created(f"{name}-over", coderunner_instance=name, coderunner_session="over-it", **over)
        created(f"{name}-in-time", coderunner_instance=name, **in_time)
        created(f"{name}-others", coderunner_instance=f"{name}-2", **over)
        done = coderunner(one, "reap")
        assert "1 containers removed" in done.stdout
        assert "session=over-it" in done.stdout
        assert "why=its deadline has passed" in done.stdout
        assert sorted(docker("ps", "-a", "--format", "{{.Names}}", "--filter", f"name={name}").split()) == [
            f"{name}-in-time", f"{name}-others",
        ]  # fmt: skip
    finally:
        for container in docker("ps", "-aq", "--filter", f"name={name}").split():
            docker("rm", "-fv", container)


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


def next_beside(server: Server, folder: Path, *words: str, **settings: str) -> subprocess.CompletedProcess:
    """Runs `serve --replace` as `systemctl reload` does."""
    environment = {**server.environment, "PORT": server.url.rsplit(":", 1)[1].strip("/"), **settings}
    with (folder / "next.log").open("a") as sink:
        return subprocess.run(
            [sys.executable, "-m", "coderunner", "--env-file", "/dev/null", "serve", "--replace", *words],
            env={**os.environ, "PYTHONPATH": str(ROOT / "server"), **environment},
            stdout=sink, stderr=subprocess.STDOUT, text=True, timeout=60, cwd=folder,
        )  # fmt: skip


async def test_the_next_server_takes_the_place_of_the_one_that_runs(tmp_path):
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(str(tmp_path / "notify"))
    told.settimeout(10)
    with running_server(tmp_path, **SETTINGS) as server:
        async with session(server, keep=True) as client:
            await client.run(1, COUNT.format(n=400, pause=0.005))
            await client.until(1, "0000050")
            # Wrong settings: the one that runs goes on.
            assert next_beside(server, tmp_path, "--background", WARM_MAX="many").returncode == 2
            assert server.process.poll() is None
            # Clients wait for the server only after this, so it is in a thread: they go on meanwhile.
            done = await asyncio.to_thread(
                next_beside, server, tmp_path, "--background", NOTIFY_SOCKET=str(tmp_path / "notify")
            )
            assert done.returncode == 0, (tmp_path / "next.log").read_text()
            assert await client.closed() == 1012
        assert server.process.wait(10) == 0
        successor = int(told.recv(100).removeprefix(b"MAINPID="))
        try:
            async with attach(server, client.opened, client=client.client, channels=client.channels) as back:
                assert (await back.ended(1)).text == numbers(400).decode()
        finally:
            os.kill(successor, signal.SIGINT)
            await eventually(lambda: not Path(f"/proc/{successor}/fd").exists(), 20, "the successor's end")


def test_a_process_that_does_not_hold_the_lock_is_left_alone(tmp_path):
    """The number in the lock file may be another process here, such as that of a server in a container."""
    with running_server(tmp_path, **SETTINGS) as server, subprocess.Popen(["sleep", "60"]) as stranger:
        lock = lock_of(Path(server.environment["STATE_DIR"]), server.instance)
        lock.write_text(f"{stranger.pid}\n")
        assert next_beside(server, tmp_path).returncode == 75
        assert "cannot be seen from here" in (tmp_path / "next.log").read_text()
        assert stranger.poll() is None
        assert server.process.poll() is None
        stranger.kill()
