"""A language's own service: up before anybody runs anything, and beside it, not below it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from coderunner.agent import service, tree
from tests.agent.outside import Server
from tests.harness import wait_until


@pytest.fixture
def server(agent, tmp_path):
    (tmp_path / "workspace").mkdir()
    return Server(*agent, tmp_path / "workspace")


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "workspace" / ".service"


def declared(folder: Path, script: str, start_ms: int = 10_000) -> dict:
    return {
        "command": ["sh", "-c", script],
        "env": {"TMPDIR": str(folder), "WORD": "from the declaration"},
        "folder": str(folder),
        "ready": str(folder / "ready"),
        "start_ms": start_ms,
    }


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def pid_of(folder: Path, start: int = 0) -> int:
    return int(wait_until(lambda: lines(folder / "starts")[start:], 10, f"start {start}")[0])


BEGIN = "echo $$ >> starts; "


def test_it_is_told_ready_when_it_is_and_the_agent_waits_for_nothing(server, folder):
    script = BEGIN + "mkfifo go; echo $WORD; read x < go; touch ready; exec sleep 1000"
    server.ask("prepare", 5, service=declared(folder, script))
    wait_until(lambda: (folder / "go").exists(), 10, "its begin")
    # Programs run meanwhile; had it been told ready, that answer would have come before theirs.
    assert server.run(1, "true")["state"]["channel"] == 1
    assert server.ended(1)["evidence"]["main"]["code"] == 0
    assert not (folder / "ready").exists()
    (folder / "go").write_text("go\n")
    assert "error" not in server.answer(5)
    assert (folder / "ready").exists()
    wait_until(lambda: lines(folder / "log") == ["from the declaration"], 10, "its log")
    # Asked again, it is the same one.
    assert "error" not in server.call("prepare", service=declared(folder, script))
    assert len(lines(folder / "starts")) == 1
    pid = pid_of(folder)
    assert os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, 0) + service.Service.NICE
    assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "500"
    # While the shell becomes `sleep`, the loader has its libraries open.
    wait_until(lambda: sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"], 10, "no others")


def test_one_that_does_not_become_ready_is_told_with_its_last_words(server, folder):
    answer = server.call("prepare", service=declared(folder, "echo no port left >&2; exit 3", 400))
    assert answer["error"]["code"] == "start_failed"
    assert "not ready within 0.4 s" in answer["error"]["message"]
    assert "no port left" in answer["error"]["message"]


def test_one_that_cannot_be_executed_says_so(server, folder):
    wrong = {**declared(folder, "", 300), "command": ["/no/such/program"]}
    assert "/no/such/program: No such file" in server.call("prepare", service=wrong)["error"]["message"]


def test_one_that_waits_to_be_started_again_is_told_of_in_time(server, folder):
    answer = server.call("prepare", service=declared(folder, "exit 3", 1000))
    assert answer["error"]["code"] == "start_failed"


def test_it_outlives_programs_and_is_started_again_when_it_dies(server, folder):
    script = BEGIN + "touch ready; exec sleep 1000"
    server.call("prepare", service=declared(folder, script))
    first = pid_of(folder)
    server.run(1, "sh", "-c", "sleep 1000 & exit 4")
    state = server.ended(1)
    assert (state["evidence"]["main"]["code"], state["evidence"]["main"]["left_behind"]) == (4, 1)
    # A program that kills its own supervisor takes down what it ran, and nothing else.
    server.run(2, "sh", "-c", "kill -9 $PPID; sleep 1000")
    assert server.ended(2)["evidence"]["supervisor_lost"]
    assert lines(folder / "starts") == [str(first)]
    os.kill(first, signal.SIGKILL)
    second = pid_of(folder, 1)
    assert second != first
    wait_until(lambda: (folder / "ready").exists(), 10, "ready again")
    assert server.run(3, "true")["state"]["channel"] == 3


def test_what_a_dead_one_left_is_gone_and_the_next_waits_a_little_longer(server, folder):
    script = BEGIN + "sleep 1000 & echo $! >> children; touch ready; sleep 0.2; exit 1"
    server.call("prepare", service=declared(folder, script))
    wait_until(lambda: len(lines(folder / "starts")) >= 4, 10, "four starts")
    children = [int(one) for one in lines(folder / "children")[:3]]
    wait_until(lambda: not set(children) & tree.processes().keys(), 10, "its children gone")


def test_its_log_is_bounded_and_has_the_latest(server, folder):
    script = "seq 100000; echo the end; touch ready; exec sleep 1000"
    server.call("prepare", service=declared(folder, script, 30_000))
    log = folder / "log"
    wait_until(lambda: lines(log)[-1:] == ["the end"], 10, "the last line")
    assert service.LOG_BYTES / 2 < log.stat().st_size <= service.LOG_BYTES
    assert lines(log)[-2] == "100000"


def test_a_folder_that_a_program_spoilt_is_no_end_of_the_agent(server, folder, tmp_path):
    script = BEGIN + "touch ready; exec sleep 1000"
    server.call("prepare", service=declared(folder, script))
    first = pid_of(folder)
    folder.rename(tmp_path / "away")
    folder.write_text("a file where a folder was")
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: "not started" in (tmp_path / "away" / "log").read_text(), 10, "a failed start")
    assert server.run(1, "true")["state"]["channel"] == 1
    folder.unlink()
    assert pid_of(folder)
