"""How the server's process ends, as the unit in deploy/ sees it: it is restarted where that may help.

No engine is needed: where none answers, the server listens all the same.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from coderunner import app, cli, logs, stopping
from coderunner.config import SETTINGS
from coderunner.engine import sdk
from coderunner.errors import ConfigError
from coderunner.instance import instance, runs_of
from tests.engine.fake import FakeEngine, always, never

ROOT = Path(__file__).parents[2]
SECONDS = 30
NAMES = {setting.name for setting in SETTINGS}


def coderunner(folder: Path, *words: str, around: tuple[str, ...] = (), **settings: str) -> tuple[int, str]:
    """Runs the command to its end: its exit code, and what it said on standard error."""
    environment = {"APP_ENV": "development"} | {
        name: value for name, value in os.environ.items() if name not in NAMES
    }
    environment |= {
        "PYTHONPATH": str(ROOT / "server"),
        "INSTANCE_NAME": "test-ends",
        "STATE_DIR": str(folder / "state"),
        "PORT": "0",
        "DOCKER_HOST": f"unix://{folder}/nowhere.sock",
        **settings,
    }
    done = subprocess.run(
        [*around, sys.executable, "-m", "coderunner", *(words or ("serve",))],
        env=environment, cwd=folder, capture_output=True, text=True, timeout=SECONDS,
    )  # fmt: skip
    return done.returncode, done.stderr


def one_line(said: str) -> str:
    """What was said about the end: one line, and no traceback."""
    lines = [line for line in said.splitlines() if line.startswith("coderunner: ")]
    assert len(lines) == 1, said
    assert "Traceback" not in said
    return lines[0]


def test_a_busy_port(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        code, said = coderunner(tmp_path, PORT=port)
    assert code == os.EX_TEMPFAIL
    assert f"127.0.0.1:{port} cannot be listened on (" in one_line(said)


def test_where_the_log_is_json_so_is_the_last_line(tmp_path):
    with instance(tmp_path / "state", "test-ends"):
        code, said = coderunner(tmp_path, LOG_FORMAT="json")
    assert code == os.EX_TEMPFAIL
    [line] = [json.loads(line) for line in said.splitlines()]
    assert line["level"] == "critical"
    assert line["msg"].startswith("cannot serve: a server named 'test-ends' is already running")


def test_wrong_declarations_have_the_code_of_settings_in_json_too(tmp_path, monkeypatch):
    async def refused(*_: object, **__: object) -> None:
        raise ConfigError(["languages/python/language.toml: run is missing"])

    monkeypatch.setattr(app, "serve", refused)
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setenv("LOG_FORMAT", "json")
    assert cli.main(["--env-file", "/dev/null", "serve"]) == 2


def test_a_held_lock(tmp_path):
    with instance(tmp_path / "state", "test-ends"):
        code, said = coderunner(tmp_path)
    assert code == os.EX_TEMPFAIL
    assert "a server named 'test-ends' is already running" in one_line(said)
    assert "take its place with `serve --replace`" in said


def test_a_folder_that_is_none(tmp_path):
    (tmp_path / "state").write_text("a file")
    code, said = coderunner(tmp_path)
    assert code == os.EX_TEMPFAIL
    assert f"STATE_DIR {tmp_path}/state cannot be used (" in one_line(said)


def test_a_key_that_cannot_be_read(tmp_path):
    (tmp_path / "state" / "test-ends.key").mkdir(parents=True)
    code, said = coderunner(tmp_path)
    assert code == os.EX_TEMPFAIL
    assert "cannot be used (test-ends.key: it is no file)" in one_line(said)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    ("name", "make"),
    [("key", pipe), ("key", link_to_itself), ("lock", pipe), ("lock", Path.mkdir), ("runs", Path.touch)],
)
def test_something_else_in_the_place_of_a_file(tmp_path, name, make):
    """Said at once, by the check and by the server: opening a pipe could take for ever."""
    (tmp_path / "state").mkdir()
    make(tmp_path / "state" / f"test-ends.{name}")
    code, said = coderunner(tmp_path)
    assert code == os.EX_TEMPFAIL
    assert f"cannot be used (test-ends.{name}: " in one_line(said)
    code, said = coderunner(tmp_path, "settings", "--check")
    assert code == cli.WRONG_SETTINGS
    assert f"/test-ends.{name} is not the server's; remove it" in said


def test_something_else_in_the_place_of_a_facades_folder(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "test-ends.files").touch()
    code, said = coderunner(tmp_path, FACADES="jobe")
    assert code == os.EX_TEMPFAIL
    assert "cannot be used (test-ends.files: File exists)" in one_line(said)
    code, said = coderunner(tmp_path, "settings", "--check")
    assert code == cli.WRONG_SETTINGS
    assert "/test-ends.files is not the server's; remove it" in said


def test_two_names_in_one_folder_have_runs_of_their_own(tmp_path):
    with instance(tmp_path, "one"), instance(tmp_path, "other"):
        assert runs_of(tmp_path, "one") != runs_of(tmp_path, "other")


@pytest.mark.parametrize(
    ("options", "then", "reason"),
    [
        ("nr_inodes=1", "", "No space left on device"),
        ("nr_inodes=2", "", "No space left on device"),
        ("size=4k", "head -c 4096 /dev/zero >full", "No space left on device"),
        ("size=4k", "mount -o remount,ro .", "Read-only file system"),
    ],
    ids=["no room for the lock", "for the key", "for the key's content", "read-only"],
)
def test_a_disk_without_room(tmp_path, options, then, reason):
    state = tmp_path / "state"
    state.mkdir()
    mounted = f'set -e; mount -t tmpfs -o {options} none "{state}"; cd "{state}"; {then or ":"}; cd ..'
    own_mounts = ("unshare", "--mount", *([] if os.getuid() == 0 else ["--map-root-user"]))
    code, said = coderunner(tmp_path, around=(*own_mounts, "sh", "-c", f'{mounted}; exec "$@"', "sh"))
    assert code == os.EX_TEMPFAIL
    assert re.search(rf"STATE_DIR {state} cannot be used \([a-z.: -]*{reason}\)", one_line(said))


@pytest.mark.parametrize("word", ["--table", "--check"])  # more than a buffer, and less
async def test_a_reader_that_has_read_enough(tmp_path, word):
    engine = FakeEngine(tmp_path / "docker.sock", always(200, {"NCPU": 2}))
    command = [sys.executable, "-m", "coderunner", "--env-file", "/dev/null", "settings", word]
    script = 'exec 3>&1; "$@" 2>&3 | true'  # the pipe has no reader by the time the table comes
    async with engine.running():
        done = await asyncio.to_thread(
            subprocess.run, ["sh", "-c", script, "sh", *command], cwd=ROOT / "server",
            env=os.environ | {"DOCKER_HOST": engine.host}, capture_output=True, timeout=60,
        )  # fmt: skip
    assert done.stdout == b""


def test_wrong_settings(tmp_path):
    code, said = coderunner(tmp_path, PORT="http")
    assert code == 2
    assert "PORT cannot be 'http'" in said


def test_containers_that_do_not_hold_what_they_promise(tmp_path, monkeypatch):
    async def refused(*_: object, **__: object) -> str:
        return stopping.REFUSED

    monkeypatch.setattr(app, "serve", refused)
    monkeypatch.setattr(logs, "setup", lambda *_, **__: None)  # the other tests' logging stays as it is
    monkeypatch.chdir(tmp_path)
    assert cli.main(["serve"]) == 3


async def test_podman_is_refused_at_once(tmp_path):
    engine = FakeEngine(tmp_path / "podman.sock", never)
    engine.kind = "Podman Engine"
    async with engine.running():
        code, said = await asyncio.to_thread(coderunner, tmp_path, DOCKER_HOST=engine.host)
    assert code == cli.BROKEN_BOUND
    assert one_line(said).startswith("coderunner: Podman is not supported: ")
    assert len(said.splitlines()[-1]) < 300


@pytest.fixture
def at_hand(tmp_path, monkeypatch, capsys):
    """`at_hand(words)` runs a command in this process: its exit code, and its line on standard error."""
    monkeypatch.setattr(logs, "setup", lambda *_, **__: None)  # the other tests' logging stays as it is
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nowhere.sock")

    def run(words: str) -> tuple[int, str]:
        code = cli.main(["--env-file", "/dev/null", *words.split()])
        return code, one_line(capsys.readouterr().err)

    return run


@pytest.mark.parametrize(
    "words", ["images list", "images prune", "languages table", "upgrade-check", "reap", "reap --all"]
)
def test_an_engine_that_hangs_is_told_within_one_deadline(at_hand, tmp_path, monkeypatch, words):
    """As one that is stopped, or locked up: it takes connections, and answers none."""
    monkeypatch.setattr(sdk, "FIRST_SECONDS", 0.2)
    monkeypatch.setenv("DOCKER_CMD_TIMEOUT", "500")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "nowhere.sock"))
        silent.listen()
        began = time.monotonic()
        code, said = at_hand(words)
        assert time.monotonic() - began < SECONDS
    assert code == cli.FAILED
    assert re.search(r"(has not answered|no response from the engine) within 0.[25] s; see `journalctl", said)


@pytest.mark.parametrize("words", ["images list", "upgrade-check", "reap"])
@pytest.mark.parametrize("there", [False, True])
def test_an_engine_that_is_not_there_is_told_in_one_sentence(at_hand, tmp_path, words, there):
    with socket.socket(socket.AF_UNIX) as dead:
        if there:
            dead.bind(str(tmp_path / "nowhere.sock"))  # and nobody listens
        code, said = at_hand(words)
    assert code == cli.FAILED
    assert "check that Docker Engine is running" in said
    assert ("refused" if there else "No such file or directory") in said
    assert "Error" not in said


@pytest.mark.parametrize(
    ("parent", "fine"),
    [("/", False), ("/coderunner", False), ("coderunner--x.slice", False), ("coderunner.slice", True)],
)
async def test_a_control_group_that_the_engine_does_not_take(tmp_path, parent, fine):
    answer = always(200, {"NCPU": 2, "CgroupDriver": "systemd"})
    engine = FakeEngine(tmp_path / "docker.sock", answer)
    check = functools.partial(coderunner, tmp_path, "settings", "--check", DOCKER_HOST=engine.host)
    async with engine.running():
        code, said = await asyncio.to_thread(check, CGROUP_PARENT=parent)
        assert code == (0 if fine else cli.WRONG_SETTINGS)
        assert (f"CGROUP_PARENT is {parent}, but the engine's cgroup driver is systemd" in said) is not fine
        engine.answer = always(200, {"NCPU": 2, "CgroupDriver": "cgroupfs"})
        assert await asyncio.to_thread(check, CGROUP_PARENT=parent) == (0, "")


async def test_more_processors_than_the_engine_has(tmp_path):
    engine = FakeEngine(tmp_path / "docker.sock", always(200, {"NCPU": 2}))
    check = functools.partial(coderunner, tmp_path, "settings", "--check", DOCKER_HOST=engine.host)
    async with engine.running():
        code, said = await asyncio.to_thread(check, DOCKER_CPUS="2.5")
        assert code == cli.WRONG_SETTINGS
        assert "DOCKER_CPUS is 2.5, but the engine's machine has 2, and no container could be made" in said
        code, said = await asyncio.to_thread(check, DOCKER_CPUS="2")
        assert (code, said) == (0, "")


def test_the_unit_restarts_after_all_that_a_restart_may_mend():
    unit = (ROOT / "deploy/coderunner.service").read_text()
    [never] = re.findall(r"^RestartPreventExitStatus=(.*)$", unit, re.M)
    assert never.split() == [str(cli.WRONG_SETTINGS), str(cli.BROKEN_BOUND)]
    assert re.search(r"^Restart=always$", unit, re.M)


@pytest.mark.parametrize(
    "words", ["reap --al", "reap --lost", "images prune --every", "settings --che", "--env-fil x serve"]
)
def test_an_option_that_is_not_written_out_does_nothing(tmp_path, words):
    code, said = coderunner(tmp_path, *words.split())
    assert code == 2
    assert "coderunner: error: " in said or "coderunner settings: error: " in said
    assert not (tmp_path / "state").exists()


def test_an_attack_of_no_such_name_is_said(tmp_path):
    code, said = coderunner(tmp_path, "attack", "no-such-case")
    assert code != 0
    assert "no case is named no-such-case; see coderunner attack --list" in one_line(said)


@pytest.mark.parametrize("words", ["images list", "images build", "languages test"])
def test_a_language_of_no_such_name_is_not_blamed_on_the_settings(tmp_path, words):
    code, said = coderunner(tmp_path, *words.split(), "pyhton")
    assert code == 1
    assert one_line(said) == "coderunner: there is no language pyhton; did you mean python?"


def test_ctrl_c_at_a_command_is_no_fault(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(SECONDS)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        environment = {name: value for name, value in os.environ.items() if name not in NAMES}
        with subprocess.Popen(
            [sys.executable, "-m", "coderunner", "languages", "test", "--url", url],
            env=environment | {"PYTHONPATH": str(ROOT / "server")}, cwd=tmp_path,
            stderr=subprocess.PIPE, text=True,
        ) as command:  # fmt: skip
            connection, _ = silent.accept()
            command.send_signal(signal.SIGINT)
            with connection:
                said = command.communicate(timeout=SECONDS)[1]
    assert command.returncode == 130
    assert said == ""


def test_agents_over_http_have_no_credential_of_the_command(at_hand):
    """Whoever reached the address would be whom the key is for."""
    code, said = at_hand("mcp --listen 127.0.0.1:1 --bearer key")
    assert (code, "leave --bearer out" in said) == (1, True)
