"""`coderunner doctor`: what is wrong is found, and said with what mends it."""

from __future__ import annotations

import email.utils
import json
import os
import socket
import subprocess
import sys

import pytest

from coderunner import config
from coderunner.doctor import engine, machine, run
from coderunner.doctor.findings import FAIL, OK, WARN, as_text, fail, guarded, ok, warn
from coderunner.engine.states import EngineInfo
from tests.harness import ROOT


def doctor(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "coderunner", "--env-file", "/dev/null", "doctor", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "server"), **settings}
    return subprocess.run(command, capture_output=True, text=True, timeout=50, env=environment, cwd="/")


def info(**fields) -> EngineInfo:
    usual = {
        "id": "x", "version": "28", "api_version": "1.41", "kernel": "another", "operating_system": "Debian",
        "cgroup_version": 2, "cpus": 4, "memory_bytes": 4 * 2**30, "default_runtime": "runc",
        "security": ("name=seccomp,profile=builtin",), "live_restore": True, "runtimes": ("runc",),
    }  # fmt: skip
    return EngineInfo(**{**usual, **fields})


def test_no_engine_is_a_failure_with_what_to_do(tmp_path):
    done = doctor(DOCKER_HOST="unix:///nowhere", STATE_DIR=str(tmp_path), PORT="0")
    assert done.returncode == 1
    assert "fail  engine" in done.stdout
    assert "systemctl status docker" in done.stdout
    assert "Traceback" not in done.stderr


def test_an_engine_that_hangs(tmp_path):
    """It accepts calls and answers none: of its machine nothing is known."""
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent.sock"))
        silent.listen()
        hung = {"DOCKER_HOST": f"unix://{tmp_path}/silent.sock", "DOCKER_CMD_TIMEOUT": "500"}
        done = doctor(STATE_DIR=str(tmp_path), PORT="0", **hung)
    assert done.returncode == 1
    assert "within 0.5 s" in done.stdout
    assert "systemctl restart docker" in done.stdout
    assert "memory        not known" in done.stdout


def test_for_programs(tmp_path):
    with socket.socket(socket.AF_UNIX) as dead:  # it is there, and nobody listens
        dead.bind(str(tmp_path / "dead.sock"))
        done = doctor("--json", DOCKER_HOST=f"unix://{tmp_path}/dead.sock", STATE_DIR=str(tmp_path), PORT="0")
    document = json.loads(done.stdout)
    assert document["ok"] is False
    rows = {row["check"]: row for row in document["findings"]}
    assert set(rows["engine"]) == {"check", "state", "text", "mend"}
    assert rows["state"]["state"] == rows["port"]["state"] == rows["settings"]["state"] == "ok"


def test_wrong_settings_are_all_named(tmp_path):
    done = doctor(PORT="x", LANGUAGES="pyton", STATE_DIR=str(tmp_path))
    assert done.returncode == 1
    assert done.stdout.count("fail  settings") == 2
    assert "python" in done.stdout


def test_a_server_that_does_not_answer(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    nowhere = {"DOCKER_HOST": "unix:///nowhere", "STATE_DIR": str(tmp_path), "PORT": "0"}
    done = doctor("--url", f"http://127.0.0.1:{port}", **nowhere)
    assert "fail  server" in done.stdout
    assert "does not answer" in done.stdout


def test_a_taken_port(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = doctor(
            DOCKER_HOST="unix:///nowhere", STATE_DIR=str(tmp_path), PORT=str(listener.getsockname()[1])
        )
    assert "fail  port" in done.stdout
    assert "ss -ltnp" in done.stdout


def test_a_state_folder_that_is_none(tmp_path):
    (tmp_path / "file").touch()
    done = doctor(DOCKER_HOST="unix:///nowhere", STATE_DIR=str(tmp_path / "file"), PORT="0")
    assert done.returncode == 1
    assert "STATE_DIR" in done.stdout
    assert "Traceback" not in done.stderr + done.stdout


SETTINGS = config.load({"DOCKER_RUNTIME": "runsc", "MAX_CONCURRENT_SESSIONS": "50"}, None)


@pytest.mark.parametrize(
    ("check", "about", "state"),
    [
        ("seccomp", info(), OK),
        ("seccomp", info(security=()), FAIL),
        ("cgroups", info(), OK),
        ("cgroups", info(cgroup_version=1, security=("name=rootless",)), FAIL),
        ("live-restore", info(), OK),
        ("live-restore", info(live_restore=False), WARN),
        ("runtime", info(), FAIL),
        ("runtime", info(runtimes=("runc", "runsc")), OK),
        ("confinement", info(security=("name=apparmor", "name=seccomp")), OK),
        ("kernel", info(), OK),
    ],
)
def test_what_the_engine_says_of_itself(check, about, state):
    found = {one.check: one for one in engine.promises(SETTINGS, about)}
    assert found[check].state == state
    assert bool(found[check].mend) is (state != OK)


@pytest.mark.parametrize(("memory", "state"), [(4 * 2**30, OK), (2**30, FAIL)])
def test_memory_for_the_sessions(memory, state):
    found = {one.check: one for one in machine.checks(SETTINGS, memory, None)}
    assert found["memory"].state == state
    assert ("MAX_CONCURRENT_SESSIONS" in found["memory"].mend) is (state == FAIL)


async def test_what_the_server_warns_of_as_well_is_said_once(monkeypatch, tmp_path):
    async def engines(_settings):
        return [warn("kernel", "low", "raise it")], None

    async def servers(_url, **_options):
        return [ok("ready", "well"), warn("ready", "low", "raise it"), warn("ready", "other", "mend it")]

    monkeypatch.setattr(run.engine, "checks", engines)
    monkeypatch.setattr(run.server, "checks", servers)
    settings = config.load({"STATE_DIR": str(tmp_path), "PORT": "0"}, None)
    found = await run.examine(settings, "", "http://x/", 0.0, "")
    told = [(one.check, one.text) for one in found if one.mend in ("raise it", "mend it")]
    assert told == [("kernel", "low"), ("ready", "other")]


def test_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 2**20}))
    found = {one.check: one for one in machine.checks(SETTINGS, 4 * 2**30, tmp_path)}
    assert (found["disk"].state, found["state"].state) == (FAIL, FAIL)
    assert "prune" in found["disk"].mend


def test_a_clock_that_is_wrong():
    assert machine.clock("clock", "Thu, 01 Jan 2026 00:00:00 GMT").state == WARN
    assert machine.clock("clock", email.utils.formatdate(usegmt=True)).state == OK
    assert machine.clock("clock", "soon").state == WARN


def test_a_check_that_fails_keeps_no_other_from_being_made():
    found = [ok("first", "well")]
    with guarded("second", found):
        raise RuntimeError("a surprise")
    found.append(fail("third", "not well", "mend it"))
    assert [one.state for one in found] == [OK, FAIL, FAIL]
    assert "a surprise" in as_text(found)
