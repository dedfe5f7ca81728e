"""The agent's side of a preload: what suits it goes there, and nothing that it does or leaves undone is
missed by a program.  The host is a few lines that answer as they are told to."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from coderunner.agent import preload
from tests.agent.outside import Server, started
from tests.harness import ROOT, wait_until

HOST = f"""
import array, ctypes, json, os, signal, socket, sys
sys.path.insert(0, {str(ROOT / "server")!r})
from coderunner.agent import supervisor
libc = ctypes.CDLL(None)
CLONE, CLONE_PARENT = {{"x86_64": 56, "aarch64": 220}}[os.uname().machine], 0x8000
open("hosts", "a").write(f"{{os.getpid()}}\\n")
ear = socket.socket(fileno=3)
how = sys.argv[1]
if how == "never":
    print("I cannot", flush=True)
    signal.pause()
ear.send(b"ready")
while True:
    data, controls, _, _ = ear.recvmsg(1 << 20, 999)
    if not data:
        break
    given = array.array("i")
    given.frombytes(controls[0][2])
    request = json.loads(data)
    pid = None
    if how == "silent":
        signal.pause()
    elif how == "nonsense":
        ear.send(b"[" * 2000)
    elif how == "fork":
        pid = libc.syscall(CLONE, CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)
        if pid == 0:
            ear.detach()
            def turn(argv, spec):
                os.write(1, f"forked {{argv}} {{spec['env']['WORD']}}".encode())
                os._exit(3)
            if os.read(given[4], 1):
                supervisor.supervise(request["spec"], given[:3], *given[3:5], *given[5:], become=turn)
            os._exit(0)
    elif how == "dead":
        pid = libc.syscall(CLONE, CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)
        if pid == 0:
            os._exit(1)
        import time; time.sleep(.2)
    for number in given: os.close(number)
    ear.send(json.dumps({{"number": request["number"], "pid": pid}}).encode())
"""
BEFORE = """
import os, socket, sys
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
output = os.pipe()
pid = os.fork()
if pid == 0:
    os.chdir(sys.argv[2])
    os.setsid()
    for number, target in ((output[1], 1), (output[1], 2), (theirs.fileno(), 3)):
        os.dup2(number, target)
    os.execv("/usr/bin/python3", ["python3", "-c", *sys.argv[3:]])
theirs.close()
os.close(output[1])
sys.path.insert(0, sys.argv[1])
from coderunner.agent import main
main.Agent(None, (pid, ours, output[0])).run()
"""
"""An agent that has forked the preload before it began, as a language's own command does."""
RUN = ["sh", "-c", "printf 'plain %s' \"$WORD\"; exit 4", "{entry}", "{args}"]
FORKED = "forked ['sh', '-c', 'printf \\'plain %s\\' \"$WORD\"; exit 4', 'a.demo', 'x'] w"


class Place:
    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.number = 0

    def prepare(self, how: str, start_ms: int = 10_000, **more: object) -> dict:
        declared = {
            "command": ["/usr/bin/python3", "-c", HOST, how],
            "env": {"TMPDIR": str(self.folder), "FIXED": "1"},
            "folder": str(self.folder), "start_ms": start_ms, "run": RUN, "entries": ["*.demo"],
            "fixed": ["FIX*"],
        }  # fmt: skip
        return self.server.call("prepare", preload=declared, **more)

    def run(self, mode: str = "pipe", **changes: object) -> str:
        """Its output, with an exit code that shows how it was started."""
        env = {"TMPDIR": str(self.folder), "FIXED": "1", "WORD": "w", **changes.pop("env", {})}
        spec = {
            "mode": mode, "cols": 80, "rows": 24, "workspace": str(self.folder), "build": str(self.folder),
            "entry": "a.demo", "args": ["x"], "sources": [], "compile": [], "run": RUN, "env": env,
            "limits": {"wall_ms": 10_000, "cpu_ms": 10_000, "output_bytes": 1 << 20, "cpus": 1,
                       "memory_bytes": 1 << 40}, **changes,
        }  # fmt: skip
        self.number += 1
        self.server.call("run", channel=self.number, spec=spec, controlled=True)
        state = self.server.ended(self.number)
        reply, data = self.server.whole("fetch", channel=self.number, offset=0, limit=9999)
        assert reply["from"] == 0
        text = data.decode()
        assert state["evidence"]["main"]["code"] == (3 if text.startswith("forked") else 4)
        assert not state["evidence"]["supervisor_lost"]
        return text

    def hosts(self) -> list[int]:
        return [int(line) for line in (self.folder / "hosts").read_text().split()]


@pytest.fixture
def place(agent, tmp_path):
    folder = tmp_path / "workspace"
    folder.mkdir()
    return Place(Server(*agent, folder), folder)


@pytest.mark.parametrize("mode", ["pipe", "tty"])
def test_a_run_that_suits_it_is_forked_there(place, mode):
    assert place.prepare("fork") == {"id": 1, "preload": None}
    assert place.run(mode) == FORKED
    assert place.run(mode) == FORKED
    assert len(place.hosts()) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"entry": "a.other"},
        {"env": {"FIXED": "2"}},
        {"env": {"FIX_MORE": "1"}},
        {"run": [*RUN, "more"]},
        {"args": ["x" * preload.MAX_SPEC]},
        {"compile": ["true"]},
    ],
    ids=["another entry", "a fixed name", "a new fixed name", "another command", "too long", "compiled"],
)
def test_what_does_not_suit_it_is_executed(place, changes):
    place.prepare("fork")
    assert place.run(**changes) == "plain w"
    assert place.run() == FORKED


@pytest.mark.parametrize("how", ["null", "dead", "nonsense"])
def test_what_it_cannot_do_is_done_plainly(place, how):
    place.prepare(how)
    assert place.run() == "plain w"
    assert place.run("tty") == "plain w"


def test_one_that_is_silent_is_replaced(place):
    place.prepare("silent")
    [first] = place.hosts()
    assert place.run() == "plain w"
    wait_until(lambda: len(place.hosts()) == 2, 10, "another")
    assert not Path(f"/proc/{first}").exists()


def test_one_that_dies_is_missed_by_nobody_and_comes_back(place):
    place.prepare("fork")
    os.kill(place.hosts()[0], signal.SIGKILL)
    assert place.run() in ("plain w", FORKED)
    wait_until(lambda: len(place.hosts()) == 2, 10, "another")
    wait_until(lambda: place.run() == FORKED, 10, "forked again")


def test_one_that_does_not_begin_is_told_and_harms_nothing(place):
    reply = place.prepare("never", 500)
    assert "the preload was not ready within 0.5 s; it said: I cannot" in reply["preload"]
    assert place.run() == "plain w"


def test_a_program_that_takes_down_its_supervisor_leaves_the_host_alone(place):
    place.prepare("fork")
    place.server.run(900, "sh", "-c", "kill -9 $PPID; sleep 1000")
    assert place.server.ended(900)["evidence"]["supervisor_lost"]
    assert place.run() == FORKED
    assert len(place.hosts()) == 1


def test_who_has_a_user_waiting_does_not_wait_for_it(place):
    assert place.prepare("never", 60_000, wait_for_preload=False) == {"id": 1, "preload": None}
    assert place.run() == "plain w"


def test_where_a_user_waits_it_starts_behind_the_first_program(place):
    """Most sessions that are made for one program are over by then."""
    place.prepare("fork", wait_for_preload=False)
    assert place.run() == "plain w"
    assert not (place.folder / "hosts").exists()
    wait_until(lambda: (place.folder / "hosts").exists(), 10, "the preload's start")
    wait_until(lambda: place.run() == FORKED, 10, "a program that is forked there")


Forked = Callable[[str, str], Place]


@pytest.fixture
def forked(tmp_path: Path) -> Iterator[Forked]:
    """forked(how, fixed): a place whose preload, with this value of FIXED, was there before the agent."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    with ExitStack() as stack:

        def place(how: str, fixed: str) -> Place:
            begun = started(tmp_path, BEFORE, str(folder), HOST, how, FIXED=fixed, TMPDIR=str(folder))
            return Place(Server(*stack.enter_context(begun), folder), folder)

        yield place


def test_one_that_is_there_before_the_agent_is_taken_over(forked):
    place = forked("fork", "1")
    wait_until(lambda: (place.folder / "hosts").exists(), 10, "the preload")
    assert place.prepare("fork") == {"id": 1, "preload": None}
    assert place.run() == FORKED
    assert place.run("tty") == FORKED
    assert len(place.hosts()) == 1


def test_it_is_taken_over_at_once_where_a_user_waits(forked):
    place = forked("fork", "1")
    wait_until(lambda: (place.folder / "hosts").exists(), 10, "the preload")
    place.prepare("fork", wait_for_preload=False)
    wait_until(lambda: place.run() == FORKED, 1, "a program that is forked there")
    assert len(place.hosts()) == 1


def test_one_with_another_environment_is_not_taken_over(forked):
    place = forked("fork", "2")
    wait_until(lambda: (place.folder / "hosts").exists(), 10, "the preload")
    [first] = place.hosts()
    assert place.prepare("fork") == {"id": 1, "preload": None}
    assert place.run() == FORKED
    assert len(place.hosts()) == 2
    wait_until(lambda: not Path(f"/proc/{first}").exists(), 10, "the end of the first")


@pytest.mark.parametrize("prepared", [True, False])
def test_one_that_was_there_before_the_agent_may_die(forked, prepared):
    place = forked("fork", "1")
    wait_until(lambda: (place.folder / "hosts").exists(), 10, "the preload")
    [first] = place.hosts()
    if prepared:
        place.prepare("fork")
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{first}").exists(), 10, "its end")
    place.prepare("fork")
    wait_until(lambda: place.run() == FORKED, 10, "a program that another has forked")
    assert len(place.hosts()) == 2


@pytest.mark.parametrize("prepared", [True, False])
def test_a_kept_workspace_has_none(forked, prepared):
    place = forked("fork", "1")
    wait_until(lambda: (place.folder / "hosts").exists(), 10, "the preload")
    if prepared:
        place.prepare("fork")
    place.server.call("keep")
    wait_until(lambda: not Path(f"/proc/{place.hosts()[0]}").exists(), 10, "its end")
    assert place.run() == "plain w"


def test_what_it_says_is_in_its_log(forked):
    place = forked("never", "1")
    assert "it said: I cannot" in place.prepare("never", 500)["preload"]
    assert (place.folder / "preload.log").read_text() == "I cannot\n"
