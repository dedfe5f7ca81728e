"""`coderunner attach`, `watch`, `cp`, `batch`, `login` and `completion` as a user has them."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from coderunner import cli
from coderunner.client import remote
from coderunner.client.credential import readable
from coderunner.client.errands import line_of
from coderunner.client.kept import Kept, Login, Store
from coderunner.mcp import serve
from tests.client.test_remote import COMMAND, environment, run, terminal
from tests.harness import Server, wait_until

SUM = '#include <stdio.h>\nint main(void) { int a, b; scanf("%d %d", &a, &b); printf("%d\\n", a + b); }'


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user of its own, for this process and the commands that it starts."""
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path


def kept() -> list[str]:
    """The ids of the sessions that are noted."""
    return [path.stem for path in Path(os.environ["XDG_STATE_HOME"]).glob("coderunner/sessions/*.json")]


@pytest.mark.long
def test_a_shell_is_left_and_gone_on_with(server: Server, tmp_path: Path):
    with terminal(server.url, tmp_path, "shell") as one:
        one.type("word=kept; echo at''work\r")
        one.shows("atwork")
        (session,) = kept()
        one.type("~d")
        one.shows("detached; `coderunner attach ")
        one.shows("` goes on")
        assert one.process.wait(30) == 0
        told = re.search(rb"coderunner attach (\S+)` goes on", one.screen)
        assert told is not None
        assert session.startswith(told[1].decode())
    # The shell went on meanwhile, and nothing of what it printed is lost.
    with terminal(server.url, tmp_path, "attach", session[:8]) as one:
        one.shows("atwork")
        one.type("echo $word-$(stty size)\r")
        one.shows("kept-30 90")
        one.type("exit 4\r")
        assert one.process.wait(30) == 4
    assert kept() == []
    done = run(server, "attach", session, cwd=tmp_path)
    assert b"there is no session" in done.stderr


@pytest.mark.long
def test_what_could_not_be_attached_is_left_as_it_is(server: Server, tmp_path: Path):
    def ask(method: str, path: str, body: bytes | None = None, **headers: str) -> dict[str, Any]:
        headers["Content-Type"] = "application/json"
        request = urllib.request.Request(f"{server.url}api/sessions{path}", body, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    opened = ask("POST", "", b'{"language": "python"}')
    session, bearer = opened["session"], {"Authorization": f"Bearer {opened['token']}"}
    Store(os.environ).keep(Kept(session, opened["token"], server.url))
    Store(os.environ).keep(Kept("away", opened["token"], "http://127.0.0.1:9/"))
    with terminal(server.url, tmp_path, "attach", session) as one:  # as a page may have opened it
        one.shows("nothing runs in this session")
        assert one.process.wait(30) == 255
    with terminal(server.url, tmp_path, "attach", "away") as one:
        assert one.process.wait(30) == 75  # the same command may succeed later
    assert sorted(kept()) == sorted(["away", session])
    assert ask("GET", f"/{session}", **bearer)["session"] == session
    ask("DELETE", f"/{session}", **bearer)
    with terminal(server.url, tmp_path, "attach", session) as one:
        one.shows("the session is over")
        assert one.process.wait(30) == 255
    assert kept() == ["away"]


@pytest.mark.long
def test_who_watches_sees_and_types_nothing(server: Server, tmp_path: Path):
    with terminal(server.url, tmp_path, "shell") as one:
        one.type("echo at''work\r")
        one.shows("atwork")
        (session,) = kept()
        with terminal(server.url, tmp_path, "watch", session) as other:
            other.shows("atwork")
            other.type("echo in''truder\r")
            one.type("echo still''mine\r")
            other.shows("stillmine")
            other.type("q")
            assert other.process.wait(30) == 0
        one.type("exit 3\r")
        assert one.process.wait(30) == 3
        assert b"intruder" not in one.screen


@pytest.mark.long
def test_files_to_and_from_a_session(server: Server, tmp_path: Path):
    (tmp_path / "here/deep").mkdir(parents=True)
    (tmp_path / "here/a.txt").write_text("a")
    (tmp_path / "here/deep/b.bin").write_bytes(bytes(range(256)))
    (tmp_path / "here/50% of #1, or what?").write_text("odd")
    with terminal(server.url, tmp_path, "shell") as one:
        one.type("mkdir -p made/x; echo hi > made/x/c.txt; echo re''ady\r")
        one.shows("ready")
        (session,) = kept()
        for words in (("here", f"{session[:8]}:"), ("here/a.txt", f"{session}:other.txt")):
            done = run(server, "cp", *words, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
        one.type("cat here/a.txt other.txt; wc -c < here/deep/b.bin; echo lo''oked\r")
        one.shows("looked")
        assert b"aa256" in one.screen
        (tmp_path / "back").mkdir()
        for words in (
            (f"{session}:made", "back"),
            (f"{session}:here/deep/b.bin", "one.bin"),
            (f"{session}:here", "all"),
        ):
            done = run(server, "cp", *words, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
        assert (tmp_path / "back/made/x/c.txt").read_text() == "hi\n"
        assert (tmp_path / "all/50% of #1, or what?").read_text() == "odd"
        assert (tmp_path / "one.bin").read_bytes() == bytes(range(256))
        done = run(server, "cp", f"{session}:nothing", ".", cwd=tmp_path)
        assert (done.returncode, b"no file 'nothing'" in done.stderr) == (255, True)
        one.type("~.")
        assert one.process.wait(30) == 0


def test_a_batch(server: Server, tmp_path: Path):
    (tmp_path / "sum.c").write_text(SUM)
    cases = [{"stdin": "1 2", "expected": "3"}, {"name": "wrong", "stdin": "2 2", "expected": "5"}]
    document = {"language": "c", "source_file": "sum.c", "cases": cases}
    (tmp_path / "batch.json").write_text(json.dumps(document))
    done = run(server, "batch", "batch.json", cwd=tmp_path)
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 1, done.stderr
    assert [line.split("\t")[:2] for line in lines[:2]] == [["0", "passed"], ["wrong", "wrong_answer"]]
    assert lines[2] == "1 of 2 passed (1 passed, 1 wrong answer)"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_batch_that_is_interrupted_is_cancelled(server: Server, tmp_path: Path, number: signal.Signals):
    cases = [{"stdin": "0"}, {"stdin": "50"}]
    source = "import time\ntime.sleep(int(input()))"
    document = {"language": "python", "source": source, "cases": cases, "limits": {"wall_ms": 60000}}
    (tmp_path / "batch.json").write_text(json.dumps(document))
    words = [*COMMAND, "batch", "batch.json"]
    before = server.stats()["queue"]["active"]  # sessions of other tests, which may live on for a while
    with subprocess.Popen(
        words, env=environment(server.url), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        assert command.stdout.readline().startswith(b"0\t")
        command.send_signal(number)
        assert command.wait(20) == 128 + number
        assert b"was cancelled" in command.stderr.read()
    wait_until(lambda: server.stats()["queue"]["active"] <= before, 20, "its session gone")


@pytest.mark.long
def test_a_batch_as_json_and_what_is_none(server: Server, tmp_path: Path):
    request = json.dumps({"language": "c", "source": SUM, "cases": [{"stdin": "1 2", "expected": "3"}]})
    done = run(server, "batch", "--json", "-", cwd=tmp_path, stdin=request.encode())
    assert (done.returncode, json.loads(done.stdout)["counts"]) == (0, {"passed": 1}), done.stderr
    for text, said in (
        ("[]", "must have an object"),
        ("{", "is not JSON"),
        ('{"language": "c"}', "cases is missing"),
    ):
        done = run(server, "batch", "-", cwd=tmp_path, stdin=text.encode())
        assert done.returncode == 255
        assert said in done.stderr.decode()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("attach", "nope"), 255, "there is no session nope"),
        (("watch", "nope"), 255, "there is no session nope"),
        (("cp", "nope:x", "."), 255, "there is no session nope"),
        (("cp", "a", "b"), 2, "one of the two is to be in a session"),
        (("cp", "a:b", "c:d"), 2, "one of the two is to be in a session"),
    ],
)
def test_a_session_that_is_none(
    words: tuple[str, ...], code: int, said: str, capfd: pytest.CaptureFixture[str]
):
    assert cli.main(list(words)) == code
    assert said in capfd.readouterr().err


def test_the_server_that_was_chosen(server: Server, tmp_path: Path):
    done = run("", "login", server.url, cwd=tmp_path, stdin=b"\n")
    assert done.returncode == 0, done.stderr
    file = Store(os.environ).login_file
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (tmp_path / "main.py").write_text("print(6 * 7)\n")
    done = run("", "run", "main.py", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b"42\n"), done.stderr
    done = run("", "login", server.url, cwd=tmp_path, stdin=b"no-key-of-this-server\n")
    assert done.returncode == 255
    assert b"no-key" not in done.stderr
    assert run("", "login", "--forget", cwd=tmp_path).returncode == 0
    assert not file.exists()


def test_a_key_is_shown_to_its_own_server_only(monkeypatch: pytest.MonkeyPatch):
    seen: list[str] = []
    monkeypatch.setattr(remote, "main", lambda arguments, url: seen.append(arguments.bearer) or 0)
    monkeypatch.delenv("CODERUNNER_URL", raising=False)
    Store(os.environ).log_in(Login("https://own.example/", "the-key"))
    cli.main(["run", "main.py"])
    cli.main(["run", "--url", "https://own.example", "main.py"])
    cli.main(["run", "--url", "https://other.example/", "main.py"])
    monkeypatch.setenv("CODERUNNER_URL", "https://third.example/")
    cli.main(["run", "main.py"])
    assert seen == ["the-key", "the-key", "", ""]


@pytest.mark.parametrize(
    ("typed", "configured", "key"),
    [
        ("", "https://own.example/", "of-own"),
        ("https://OWN.example:443", "https://own.example/", "of-own"),
        ("http://own.example/", "https://own.example/", ""),
        ("https://own.example:8443/", "https://own.example/", ""),
        ("https://own.example/other/", "https://own.example/", ""),
        ("https://stranger.example/", "https://own.example/", ""),
        ("https://stranger.example/", "", ""),
        ("https://user:hidden@own.example/", "https://own.example/", ""),
        ("", "", "of-own"),
    ],
)
@pytest.mark.parametrize("command", [["run", "main.py"], ["mcp"]])
def test_a_key_of_the_environment_is_for_the_configured_server(
    monkeypatch: pytest.MonkeyPatch, capsys, command: list[str], typed: str, configured: str, key: str
):
    """Without CODERUNNER_URL that is the one of `login`."""
    seen: list[str] = []
    for module in (remote, serve):
        monkeypatch.setattr(module, "main", lambda arguments, url: seen.append(arguments.bearer) or 0)
    monkeypatch.setenv("CODERUNNER_KEY", "of-own")
    monkeypatch.setenv("CODERUNNER_URL", configured)
    Store(os.environ).log_in(Login("https://login.example/", ""))
    cli.main([command[0], "--url", typed, *command[1:]])
    assert seen == [key]
    told = capsys.readouterr().err
    assert ("CODERUNNER_KEY is not sent to" in told) == (not key)
    assert "hidden" not in told
    cli.main([command[0], "--url", typed, "--bearer", "typed", *command[1:]])
    assert seen[1:] == ["typed"]


def test_agents_use_the_server_and_key_of_login(monkeypatch: pytest.MonkeyPatch):
    seen: list[tuple[str, str]] = []
    monkeypatch.setattr(serve, "main", lambda arguments, url: seen.append((url, arguments.bearer)) or 0)
    monkeypatch.delenv("CODERUNNER_URL", raising=False)
    monkeypatch.delenv("CODERUNNER_KEY", raising=False)
    Store(os.environ).log_in(Login("https://own.example/", "the-key"))
    cli.main(["mcp"])
    cli.main(["mcp", "--url", "https://other.example/"])
    cli.main(["mcp", "--listen", "127.0.0.1:3001"])
    assert seen == [
        ("https://own.example/", "the-key"),
        ("https://other.example/", ""),
        ("https://own.example/", ""),
    ]


def test_a_key_is_sent_in_plain_text_only_when_that_is_said(tmp_path: Path):
    done = run("", "login", "http://192.0.2.1:9/", cwd=tmp_path, stdin=b"the-key\n")
    assert done.returncode == 255
    assert b"in plain text" in done.stderr
    assert b"the-key" not in done.stderr
    assert not Store(os.environ).login_file.exists()


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("http://code.example/", True),
        ("http://10.0.0.1/", True),
        ("http://[2001:db8::1]/", True),
        ("https://code.example/", False),
        ("http://localhost:3000/", False),
        ("http://127.1.2.3/", False),
        ("http://[::1]:3000/", False),
        ("unix:/run/coderunner.sock", False),
        ("http://[::1", True),
        ("code.example", True),
    ],
)
def test_who_could_read_what_is_sent(url: str, read: bool):
    assert readable(url) == read


def test_what_a_program_prints_makes_no_line_of_a_verdict():
    said = "word 1:\n2\tpassed\x1b]0;title\x07\x1b[2J\u202e"
    verdict = {"index": 1, "verdict": "wrong_answer", "message": said, "usage": {"wall_ms": 5}}
    assert line_of(verdict) == "1\twrong_answer\t5 ms\tword 1: 2 passed?]0;title??[2J?"


def test_what_is_kept_is_found_by_its_beginning(home: Path):
    store = Store(os.environ)
    for session in ("abc1", "abd2"):
        store.keep(Kept(session, "t", "http://a/"))
    found = [store.find(name) for name in ("abc1", "abd", "ab", "", "x")]
    assert [one and one.session for one in found] == ["abc1", "abd2", None, None, None]
    (path,) = home.rglob("abc1.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("{")
    assert store.find("abc1") is None


def test_completion_is_of_that_shell(tmp_path: Path):
    done = run("", "completion", "bash", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    ask = done.stdout.decode() + "\nCOMP_WORDS=(coderunner att); COMP_CWORD=1\n"
    ask += "_shtab_coderunner; echo ${COMPREPLY[@]}"
    told = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, timeout=20)
    assert "attach" in told.stdout.split(), told.stderr
    assert b"#compdef coderunner" in run("", "completion", "zsh", cwd=tmp_path).stdout
