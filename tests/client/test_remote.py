"""`coderunner run` and `coderunner shell` as a user has them: real processes, a real pseudo-terminal."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import hashlib
import json
import os
import pty
import random
import shlex
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from coderunner.cli import main
from tests.harness import ROOT, Server, eventually, running_server, start_server, wait_until

COMMAND = [sys.executable, "-m", "coderunner", "--env-file", "/dev/null"]


def environment(url: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "server"), "CODERUNNER_URL": url, "TERM": "xterm"}


def run(
    server: Server | str, *words: str, cwd: Path, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    url = server if isinstance(server, str) else server.url
    return subprocess.run(
        [*COMMAND, *words], input=stdin, capture_output=True, env=environment(url), cwd=cwd, timeout=50
    )


def test_a_program_in_a_pipe(server: Server, tmp_path: Path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/part.py").write_text("word = 'from a module'\n")
    (tmp_path / "main.py").write_text(
        "import sys, lib.part\ndata = sys.stdin.buffer.read()\nsys.stdout.buffer.write(data[::-1])\n"
        "print(lib.part.word, sys.argv[1:], file=sys.stderr)\nsys.exit(7)\n"
    )
    data = bytes(range(256)) * 1000
    done = run(server, "run", "main.py", "lib", "--", "--json", "b c", cwd=tmp_path, stdin=data)
    assert done.stderr.decode() == "from a module ['--json', 'b c']\n"
    assert (done.returncode, done.stdout) == (7, data[::-1])


def test_files_that_are_too_large_for_a_message(server: Server, tmp_path: Path):
    (tmp_path / "lib").mkdir()
    large = random.Random(1).randbytes(3_000_000)
    (tmp_path / "lib/own words.jar").write_bytes(large)
    (tmp_path / "main.py").write_text(
        "import hashlib\nprint(hashlib.sha256(open('lib/own words.jar', 'rb').read()).hexdigest())\n"
    )
    done = run(server, "run", "main.py", "lib", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == hashlib.sha256(large).hexdigest() + "\n"


def test_a_program_from_standard_input_and_its_own_from_a_file(server: Server, tmp_path: Path):
    (tmp_path / "data").write_text("a word\n")
    words = ("run", "--language", "bash", "--stdin", "data", "-")
    done = run(server, *words, cwd=tmp_path, stdin=b'read x; echo "<$x>"; kill -TERM $$')
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGTERM, b"<a word>\n", b"")


@pytest.mark.long
def test_an_answer_as_json(server: Server, tmp_path: Path):
    (tmp_path / "main.py").write_text("print(input())\nraise SystemExit(4)\n")
    done = run(server, "run", "--json", "main.py", cwd=tmp_path, stdin=b"x\n")
    told = json.loads(done.stdout)
    assert (done.returncode, told["stdout"], told["exit"]["code"]) == (4, "x\n", 4)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "is to begin with http"),
        ("http://me:sEcret@127.0.0.1/", "no user and password"),
        ("http://me:sEcret@[::1", "cannot be a server's address"),
        ("http://127.0.0.1:99999", "Port out of range"),
        ("http://a.example/\udcff", "not UTF-8"),
    ],
)
@pytest.mark.parametrize("command", [("run", "main.py"), ("ps",)])
def test_addresses_that_are_none(
    command: tuple[str, ...], url: str, said: str, capfd: pytest.CaptureFixture[str]
):
    assert main([command[0], "--url", url, *command[1:]]) == 2
    told = capfd.readouterr().err
    assert said in told
    assert "sEcret" not in told


@pytest.mark.parametrize("command", [("run", "main.py"), ("ps",)])
@pytest.mark.parametrize("key", ["a\nb", "\udcff", "\u20ac"])
def test_keys_that_are_none(
    command: tuple[str, ...], key: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(os.environ, "CODERUNNER_URL", "http://127.0.0.1:1/")
    words = [command[0], "--bearer", key, *command[1:]]
    assert main(words) == 2
    assert "no key has" in capfd.readouterr().err


def test_a_folder_with_a_name_that_cannot_be_sent(server: Server, tmp_path: Path):
    for name in ("main.py", os.fsdecode(b"\xff.py")):
        (tmp_path / name).write_text("print(1)\n")
    done = run(server, "run", str(tmp_path), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (255, b"")
    assert b"its name is not UTF-8" in done.stderr


def test_a_folder_with_more_files_than_a_session_takes(server: Server, tmp_path: Path):
    for number in range(257):
        (tmp_path / f"f{number}.py").write_text("print(1)\n")
    (tmp_path / "main.py").write_text("print(1)\n")
    done = run(server, "run", str(tmp_path), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (255, b"")
    assert b"258 files are too many" in done.stderr


@pytest.mark.parametrize(
    "words", [("\udcff.py",), ("main.py", "--", "\udcff"), ("--language", "\udcff", "x")]
)
def test_words_that_cannot_be_sent(words: tuple[str, ...], capfd: pytest.CaptureFixture[str]):
    assert main(["run", "--url", "http://127.0.0.1:1/", *words]) == 2
    assert "is not UTF-8" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("run", "main.py"), 75, "no server answers at http://127.0.0.1:1/"),
        (("shell",), 255, "a shell needs a terminal"),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path: Path, words: tuple[str, ...], code: int, said: str):
    (tmp_path / "main.py").write_text("")
    done = run("http://127.0.0.1:1/", *words, cwd=tmp_path)
    assert said in done.stderr.decode()
    assert (done.returncode, done.stderr.count(b"\n")) == (code, 1), done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("main.nothing",), "is not known by its name: give it with --language"),
        (("main.nothing", "--language", "klingon"), "the server has no language 'klingon'; it has bash"),
        (("missing.py",), "No such file"),
    ],
)
def test_what_the_server_does_not_have(server: Server, tmp_path: Path, words: tuple[str, ...], said: str):
    (tmp_path / "main.nothing").write_text("x")
    done = run(server, "run", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (255, b"")
    assert said in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


@dataclass
class Terminal:
    """A terminal with a command in it."""

    end: int
    process: subprocess.Popen[bytes]
    screen: bytes = b""

    def type(self, keys: str) -> None:
        os.write(self.end, keys.encode())

    def shows(self, text: str, seconds: float = 30, *, behind: str = "") -> None:
        """Until the text is there; `behind` the last place of another one, if that is given."""

        def look() -> bool:
            with contextlib.suppress(BlockingIOError, OSError):
                self.screen += os.read(self.end, 65536)
            _, mark, rest = self.screen.rpartition(behind.encode()) if behind else (b"", b"x", self.screen)
            return bool(mark) and text.encode() in rest

        wait_until(look, seconds, f"{text!r} on the screen", lambda: repr(self.screen[-800:]))

    def resize(self, cols: int, rows: int) -> None:
        fcntl.ioctl(self.end, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
        self.process.send_signal(signal.SIGWINCH)


@contextlib.contextmanager
def terminal(
    url: str, cwd: Path, *words: str, command: Sequence[str] = COMMAND, leads: bool = False
) -> Iterator[Terminal]:
    """`leads`: the command has the terminal for itself, as its controlling terminal (credentials(7))."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 90, 0, 0))
    os.set_blocking(ours, False)
    before = termios.tcgetattr(theirs)
    process = subprocess.Popen(
        [*command, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=environment(url), cwd=cwd,
        preexec_fn=functools.partial(os.login_tty, theirs) if leads else None,
    )  # fmt: skip
    try:
        yield Terminal(ours, process)
        assert termios.tcgetattr(theirs) == before, "the terminal is not as it was"
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


def test_a_shell_has_the_terminal(server: Server, tmp_path: Path):
    with terminal(server.url, tmp_path, "shell", "bash") as one:
        one.type("stty size; echo $((6*7))-there\r")
        one.shows("30 90")
        one.shows("42-there")
        one.resize(101, 41)
        one.type("until [ \"$(stty size)\" = '41 101' ]; do sleep 0.1; done; echo re''sized\r")
        one.shows("resized")
        one.type("echo sle''eps; sleep 1000\r")
        one.shows("sleeps")
        one.type("\x03")
        one.shows("$ ", behind="^C")  # what is typed before the shell is back may be thrown away
        one.type("echo inter''rupted; exit 9\r")
        one.shows("interrupted")
        assert one.process.wait(30) == 9


@pytest.mark.long
def test_a_program_that_is_stopped_goes_on_with_its_command(server: Server, tmp_path: Path):
    (tmp_path / "main.sh").write_text("trap 'echo contin''ued' CONT; echo begun; read line; echo got $line\n")
    with terminal(server.url, tmp_path, "run", "main.sh", leads=True) as one:
        one.shows("begun")
        one.type("\x1a")
        one.shows("continued")  # no shell could continue the command here: it is not stopped
        one.type("this\r")
        one.shows("got this")
        assert one.process.wait(30) == 0
    script = f"set -m; {shlex.join([*COMMAND, 'run', 'main.sh'])}; echo stop''ped $?; fg; echo ended $?"
    with terminal(server.url, tmp_path, "-c", script, command=("bash",), leads=True) as one:
        one.shows("begun")
        one.type("\x1a")
        one.shows("stopped 148")  # 128 and SIGTSTP
        one.shows("continued")
        one.type("that\r")
        one.shows("got that")
        one.shows("ended 0")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("klingon",), "the server has no language 'klingon'"),
        (("bash", "--language", "python"), "name one language, not bash and python"),
    ],
)
def test_a_shell_in_a_language_that_is_none(server: Server, tmp_path: Path, words, said):
    with terminal(server.url, tmp_path, "shell", *words) as one:
        one.shows(said)
        assert one.process.wait(30) == 255


@pytest.mark.long
def test_the_escape_ends_it_and_a_signal_restores_the_terminal(server: Server, tmp_path: Path):
    with terminal(server.url, tmp_path, "shell") as one:
        one.type("echo ~~; echo at''work\r")
        one.shows("atwork")
        one.type("~.")
        assert one.process.wait(30) == 0
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT):
        with terminal(server.url, tmp_path, "shell") as one:
            one.type("echo at''work\r")
            one.shows("atwork")
            one.process.send_signal(number)
            assert one.process.wait(30) == 128 + number


@pytest.mark.long
def test_a_terminal_that_is_gone_ends_it(server: Server, tmp_path: Path):
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "shell"], stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=environment(server.url)
    ) as process:
        os.close(theirs)
        os.write(ours, b"echo at''work\r")
        shown = b""
        while b"atwork" not in shown:
            shown += os.read(ours, 65536)
        os.close(ours)
        try:
            assert process.stderr is not None
            assert process.stderr.read() in (b"", b"coderunner: [Errno 5] Input/output error\n")
            assert process.wait(30) in (128 + signal.SIGHUP, 255)
        finally:
            process.kill()


@contextlib.contextmanager
def piped(server: Server, cwd: Path, code: str, *shell: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program with pipes. `shell`: what starts the command, before its words."""
    (cwd / "main.py").write_text(code)
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [*shell, *COMMAND, "run", "main.py"],
        stdin=pipe, stdout=pipe, stderr=pipe, env=environment(server.url), cwd=cwd,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


FLOOD = "while True: print('x' * 1000)"


@pytest.mark.long
def test_a_reader_that_has_enough(server: Server, tmp_path: Path):
    with piped(server, tmp_path, FLOOD) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(3000)
        process.stdout.close()
        assert process.wait(30) == 128 + signal.SIGPIPE
        assert process.stderr.read() == b""


@pytest.mark.long
def test_a_signal_ends_it_where_nobody_reads(server: Server, tmp_path: Path):
    with piped(server, tmp_path, FLOOD) as process:
        assert process.stdout is not None
        assert process.stdout.read(1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM


@pytest.mark.long
def test_an_interrupt_is_the_programs(server: Server, tmp_path: Path):
    code = (
        "import sys, time\nprint('up', flush=True)\n"
        "try: time.sleep(1000)\nexcept KeyboardInterrupt: print('heard')\nsys.exit(8)\n"
    )
    with piped(server, tmp_path, code) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == b"heard\n"
        assert process.wait(30) == 8


@pytest.mark.long
def test_an_interrupt_ends_the_waiting(tmp_path: Path):
    """Nothing of the program is there yet that could hear it."""
    waits = "print('up', flush=True)\ninput()\n"
    with (
        running_server(tmp_path, LANGUAGES="python", MAX_CONCURRENT_SESSIONS="1") as server,
        piped(server, tmp_path, waits) as first,
    ):
        assert first.stdout is not None
        assert first.stdout.readline() == b"up\n"
        with piped(server, tmp_path, waits) as second:
            assert second.stderr is not None
            assert second.stderr.readline() == b"coderunner: waiting for a place: number 1\n"
            second.send_signal(signal.SIGINT)
            assert second.wait(30) == 128 + signal.SIGINT
        assert first.communicate(b"\n", timeout=30) == (b"", b"")
        assert first.returncode == 0


@pytest.mark.long
@pytest.mark.parametrize(("closed", "code", "out"), [("<&-", 3, b"b''\n"), (">&- 2>&-", 3, b"")])
def test_streams_that_are_closed(server: Server, tmp_path: Path, closed: str, code: int, out: bytes):
    program = "import sys\nprint(sys.stdin.buffer.read())\nsys.exit(3)\n"
    with piped(server, tmp_path, program, "bash", "-c", f'exec "$0" "$@" {closed}') as process:
        told, said = process.communicate(timeout=50)
        assert (process.returncode, told, said) == (code, out, b"")


def test_a_program_with_a_terminal(server: Server, tmp_path: Path):
    (tmp_path / "main.py").write_text("import sys\nprint(sys.stdin.isatty(), input('name? '))\nsys.exit(5)\n")
    with terminal(server.url, tmp_path, "run", "main.py") as one:
        one.shows("name? ")
        one.type("Ada\r")
        one.shows("True Ada")
        assert one.process.wait(30) == 5


@pytest.mark.long
async def test_a_program_is_followed_through_the_servers_end(tmp_path: Path):
    (tmp_path / "main.py").write_text(
        "import sys\nfor number in range(20000): print(number, flush=number % 100 == 0)\n"
        "for line in sys.stdin: print('got', line, end='', flush=True)\nsys.exit(6)\n"
    )
    with running_server(tmp_path, LANGUAGES="python") as server:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "run", "main.py", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env=environment(server.url), cwd=tmp_path, limit=1 << 20,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            told = await process.stdout.readuntil(b"\n100\n")
            server.process.kill()
            server.process.wait()
            process.stdin.write(b"one\n")
            await process.stdin.drain()
            port = server.url.rsplit(":", 1)[1].strip("/")
            again = start_server({**server.environment, "PORT": port}, tmp_path / "again.log")
            try:
                told += await asyncio.wait_for(process.stdout.readuntil(b"got one\n"), 60)
                process.stdin.write_eof()
                told += await asyncio.wait_for(process.stdout.read(), 60)
                assert await asyncio.wait_for(process.wait(), 60) == 6
                assert told.decode() == "".join(f"{number}\n" for number in range(20000)) + "got one\n"
                await eventually(lambda: again.stats()["queue"]["active"] == 0, 30, "the session's end")
            finally:
                again.stop()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.mark.long
def test_a_terminal_goes_on_in_place_after_a_restart(tmp_path: Path):
    with running_server(tmp_path, LANGUAGES="python") as server:
        with terminal(server.url, tmp_path, "shell") as one:
            one.type("echo be''fore; word=kept\r")
            one.shows("before")
            server.process.kill()
            server.process.wait()
            one.shows("]2;coderunner: the connection is lost")
            one.type("echo and-$word; exit 3\r")
            port = server.url.rsplit(":", 1)[1].strip("/")
            again = start_server({**server.environment, "PORT": port}, tmp_path / "again.log")
            try:
                one.shows("and-kept")
                assert one.process.wait(30) == 3
                assert one.screen.count(b"and-kept") == 1
            finally:
                again.stop()
