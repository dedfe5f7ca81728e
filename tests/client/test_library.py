"""The library's examples in `docs/clients.md`, as they stand there; a program and a server's death."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from coderunner.client import blocking
from coderunner.client.library import Client
from coderunner.client.refused import Refused
from coderunner.core.codec import STDOUT, encode_output, encode_server
from coderunner.schema import messages as m
from tests.client.examples import EXAMPLES
from tests.harness import ROOT, Server, eventually, running_server
from tests.web.ordering import COUNT, again, numbers


@pytest.mark.long
@pytest.mark.parametrize(("example", "seen"), EXAMPLES)
def test_examples(server: Server, tmp_path: Path, example: str, seen: str):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "server"), "CODERUNNER": server.url}
    done = subprocess.run(
        [sys.executable, "-c", example],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        timeout=50,
    )
    assert done.stderr == b""
    assert re.fullmatch(seen, done.stdout.decode(), re.S), done.stdout


@pytest.mark.long
async def test_output_survives_the_servers_death(tmp_path: Path):
    with running_server(tmp_path, LANGUAGES="python") as server:
        async with Client(server.url) as client:
            program = client.start("python", COUNT.format(n=60, pause=0.05), entry="main.py")
            seen, later = b"", None
            async for output in program:
                seen += output.data
                if later is None and b"0000010" in seen:
                    server.process.kill()
                    server.process.wait()
                    later = again(server, tmp_path)
            assert seen.decode() == numbers(60)
            assert program.exit is not None
            assert (program.exit.reason, program.exit.code) == ("exited", 0)
        assert later is not None
        assert later.stop() == 0


async def test_refusals_say_why(server: Server):
    async with Client(server.url) as client:
        assert "python" in [one.name for one in await client.languages()]
        with pytest.raises(Refused, match="klingon"):
            await client.run("klingon", "x")
        with pytest.raises(Refused, match="klingon"):
            async for _ in client.start("klingon", "x", entry="a"):
                raise AssertionError


async def test_more_files_than_a_session_takes_are_refused(server: Server):
    files = {f"f{number}.py": "x" for number in range(257)}
    async with Client(server.url) as client:
        with pytest.raises(Refused, match="files"):
            async for _ in client.start("python", files=files, entry="f0.py"):
                raise AssertionError
        async with await client.open("python") as session:
            refused = await session.run("f0.py", files=files)
            with pytest.raises(Refused, match="files"):
                _ = [output async for output in refused]


ECHO = "import sys\nfor line in sys.stdin:\n    print(line.upper(), end='', flush=True)\n"


@pytest.mark.long
async def test_a_session_survives_the_servers_death(tmp_path: Path):
    with running_server(tmp_path, LANGUAGES="python") as server:
        async with Client(server.url) as client, await client.open("python") as session:
            await session.files.put("kept/name.txt", "Ada")
            refused = await session.run("../main.py")
            with pytest.raises(Refused, match="path"):
                _ = [output async for output in refused]
            counter = await session.run("count.py", files={"count.py": COUNT.format(n=60, pause=0.05)})
            echo = await session.run("echo.py", files={"echo.py": ECHO})
            shell = await session.shell()
            heard = aiter(echo)
            await echo.write("before\n")
            assert (await anext(heard)).data == b"BEFORE\n"
            seen, later = b"", None
            async for output in counter:
                seen += output.data
                if later is None and b"0000010" in seen:
                    server.process.kill()
                    server.process.wait()
                    await echo.write("while it is away\n")
                    getting = asyncio.create_task(session.files.get("kept/name.txt"))
                    later = again(server, tmp_path)
            assert (seen.decode(), counter.exit and counter.exit.code) == (numbers(60), 0)
            assert await getting == b"Ada"
            assert (await anext(heard)).data == b"WHILE IT IS AWAY\n"
            await echo.write("and after\n")
            await echo.end_input()
            assert [output.data async for output in echo] == [b"AND AFTER\n"]
            await shell.write("cat kept/name.txt; exit 7\n")
            told = b"".join([output.data async for output in shell])
            assert (b"Ada" in told, shell.exit and shell.exit.code) == (True, 7)
            listed = {one.path for one in await session.files.list()}
            assert listed >= {"count.py", "echo.py", "kept", "kept/name.txt"}
            # Nothing that has ended counts any more, on either side.
            for number in range(10):
                program = await session.run("n.py", files={"n.py": f"print({number})"})
                assert [output.data async for output in program] == [b"%d\n" % number]
        assert later is not None
        await eventually(lambda: later.stats()["queue"]["active"] == 0, 20, "the session's end")
        assert later.stop() == 0


@pytest.mark.long
def test_more_input_than_is_kept_is_taken_before_the_output_is_read(server: Server):
    with blocking.Client(server.url) as client:
        program = client.start("python", "import sys\nprint(len(sys.stdin.read()))", entry="main.py")
        program.write("x" * 300_000)
        program.end_input()
        assert [output.data for output in program] == [b"300000\n"]
        ends = client.start("python", "print('done')", entry="main.py")
        ends.write("x" * 300_000)  # which it does not read: dropped when it ends
        assert [output.data for output in ends] == [b"done\n"]


@pytest.mark.long
def test_what_a_session_refuses(server: Server):
    with blocking.Client(server.url) as client:
        with pytest.raises(Refused, match="klingon"):
            client.open("klingon")
        with client.open("bash") as session:
            with pytest.raises(Refused, match="nothing"):
                session.files.get("nothing")
            with pytest.raises(Refused, match="path"):
                session.files.put("../x", b"")
            waiting = session.run("w.sh", files={"w.sh": "sleep 1000"})
        with pytest.raises(Refused, match="over"):
            list(waiting)
        with pytest.raises(Refused, match="over"):
            session.run("w.sh")


@pytest.mark.long
def test_what_is_too_much_for_a_message_is_uploaded(server: Server):
    size = "import os\nprint(os.path.getsize('data'))"
    # A megabyte that is two in JSON, and what is too much in any case.
    for data in (b"\n" * 1_100_000, bytes(3_000_000)):
        with blocking.Client(server.url) as client:
            program = client.start("python", size, files={"data": data}, entry="main.py")
            assert [output.data for output in program] == [b"%d\n" % len(data)]
            with client.open("python", files={"data": data}) as session:
                program = session.run("main.py", files={"main.py": size, "more": data})
                assert [output.data for output in program] == [b"%d\n" % len(data)]
    with blocking.Client(server.url) as client, pytest.raises(Refused, match="in a message"):
        list(client.start("python", "1", entry="main.py", args=["x" * 60_000] * 40))


def test_what_is_too_large_is_refused_alone(server: Server):
    """It ended all programs of its session, and every later call raised one and the same exception."""
    with blocking.Client(server.url) as client:
        session = client.open("python")
        other = session.run("w.py", files={"w.py": "print('begun', flush=True)\nprint(input())"})
        heard = iter(other)
        assert next(heard).data == b"begun\n"
        refusals = []
        for _ in range(2):
            with pytest.raises(Refused, match=r"in a message: .* of at most 2097152") as refused:
                session.run("w.py", args=["a" * 60_000] * 60)
            refusals.append(refused.value)
        assert refusals[0] is not refusals[1]
        other.write("still here\n")
        assert b"".join(output.data for output in heard) == b"still here\n"
        later = session.run("x.py", files={"x.py": "print(1)"})
        assert [output.data for output in later] == [b"1\n"]
        session.close()
        with pytest.raises(Refused, match="over") as first:
            session.run("x.py")
        with pytest.raises(Refused, match="over") as second:
            session.run("x.py")
        assert first.value is not second.value


@pytest.mark.parametrize(
    "files",
    [{"a": "x" * 500_000}, {f"{'d' * 200}/{'e' * 100}/{number}": "" for number in range(220)}],
    ids=["content", "names"],
)
def test_a_session_begins_with_more_files_than_its_first_message_takes(
    server: Server, files: dict[str, str | bytes]
):
    with blocking.Client(server.url) as client, client.open("python", files=files) as session:
        found = {one.path: one.size for one in session.files.list() if not one.folder}
        assert found == {path: len(content) for path, content in files.items()}


@pytest.mark.parametrize(
    ("url", "key", "said"),
    [
        ("", "", "is to begin with http"),
        ("nowhere", "", "is to begin with http"),
        ("127.0.0.1:3977", "", "is to begin with http"),
        ("ftp://x", "", "is to begin with http"),
        ("http://127.0.0.1:99999", "", "cannot be a server's address: Port out of range"),
        ("http://[::1", "", "cannot be a server's address"),
        ("http://me:hidden@127.0.0.1/", "", "no user and password"),
        ("http://127.0.0.1/", "x\ny", "no key has"),
    ],
)
@pytest.mark.parametrize("kind", [Client, blocking.Client])
def test_addresses_and_keys_that_are_none(
    kind: type[Client] | type[blocking.Client], url: str, key: str, said: str
):
    with pytest.raises(Refused, match=said) as refused:
        kind(url, key)
    assert not refused.value.retryable
    assert "hidden" not in str(refused.value)


NO_TEXT = "\udcff"
NONE: Any = 5  # of which `bytes` makes five zeros
HUGE = {"wall_ms": 1 << 70}
OUTSIDE: dict[str, Callable[[blocking.Client], object]] = {
    "arguments": lambda client: client.run("python", "1", args=[NO_TEXT]),
    "source": lambda client: client.run("python", NO_TEXT),
    "entry": lambda client: client.run("python", "1", entry=NO_TEXT),
    "language": lambda client: client.run(NO_TEXT, "1"),
    "environment": lambda client: client.run("python", "1", env={NO_TEXT: "x"}),
    "files": lambda client: client.run("python", files={NO_TEXT: "x"}),
    "limits": lambda client: client.run("python", "1", limits=HUGE),
    "what JSON has not": lambda client: client.run("python", "1", stdin=object()),
    "start's arguments": lambda client: list(client.start("python", "1", entry="main.py", args=[NO_TEXT])),
    "start's source": lambda client: list(client.start("python", NO_TEXT, entry="main.py")),
    "start's entry": lambda client: list(client.start("python", "1", entry=NO_TEXT)),
    "open's language": lambda client: client.open(NO_TEXT),
    "open's files": lambda client: client.open("python", files={NO_TEXT: "x"}),
    "open's member": lambda client: client.open("python", member=NO_TEXT),
    "open's limits": lambda client: client.open("python", limits={"memory_bytes": 1 << 70}),
    "batch": lambda client: client.batch({"language": "python", "source": NO_TEXT, "cases": [{}]}),
    "a batch that is none": lambda client: client.batch(NONE),
    "files that are none": lambda client: client.run("python", files=NONE),
    "start's files": lambda client: client.start("python", files=NONE, entry="main.py"),
    "a number as content": lambda client: client.run("python", files={"main.py": NONE}),
    "a number as name": lambda client: client.run("python", files={NONE: "1"}),
    "a number as source": lambda client: client.start("python", NONE, entry="main.py"),
    "a number as argument": lambda client: client.start("python", "1", entry="main.py", args=[NONE]),
    "half a terminal": lambda client: client.start("python", "1", entry="main.py", terminal=(80,)),
    "half a group": lambda client: client.open("python", group=("a",)),
    "a list of limits": lambda client: client.open("python", limits=[1]),
    "a number as a file": lambda client: client.open("python", files={"a": NONE}),
}
INSIDE: dict[str, Callable[[blocking.Session], object]] = {
    "arguments": lambda session: session.run("main.py", args=[NO_TEXT]),
    "environment": lambda session: session.run("main.py", env={"A": NO_TEXT}),
    "limits": lambda session: session.run("main.py", limits=HUGE),
    "files": lambda session: session.run("main.py", files={"a": NO_TEXT}),
    "a path to read": lambda session: session.files.get(NO_TEXT),
    "a path to write": lambda session: session.files.put(NO_TEXT, b""),
    "content": lambda session: session.files.put("a", NO_TEXT),
    "a number as content": lambda session: session.files.put("a", NONE),
    "a number as path": lambda session: session.files.get(NONE),
    "a number as argument": lambda session: session.run("main.py", args=[NONE]),
    "a number of arguments": lambda session: session.run("main.py", args=NONE),
    "a text of arguments": lambda session: session.run("main.py", args="abc"),
    "a number in the environment": lambda session: session.run("main.py", env={"A": NONE}),
    "an environment that is none": lambda session: session.run("main.py", env=[1]),
    "a limit that is none": lambda session: session.run("main.py", limits={"wall_ms": "x"}),
    "a number as a file": lambda session: session.run("main.py", files={"main.py": NONE}),
    "letters of a terminal": lambda session: session.run("main.py", terminal=("a", "b")),
    "a shell in half a terminal": lambda session: session.shell((80,)),
}


def test_what_cannot_be_sent_is_refused_in_a_sentence(server: Server):
    """It was a UnicodeEncodeError, a ValueError or an OverflowError."""
    with blocking.Client(server.url) as client:
        for what, call in OUTSIDE.items():
            with pytest.raises(Refused) as refused:
                call(client)
            assert not refused.value.retryable, what
        with client.open("python") as session:
            for what, inner in INSIDE.items():
                with pytest.raises(Refused) as refused:
                    inner(session)
                assert not refused.value.retryable, what
            program = session.run("x.py", files={"x.py": "print(input())"})
            with pytest.raises(Refused, match="not UTF-8"):
                program.write(NO_TEXT)
            program.write("fine\n")
            assert [output.data for output in program] == [b"fine\n"]
            with pytest.raises(Refused, match="has ended, and takes no input"):
                program.write("late")


def test_a_client_outside_of_its_block_says_so():
    """It waited without end, or failed with an AssertionError or RuntimeError."""
    one = blocking.Client("http://127.0.0.1:9/")
    for call in OUTSIDE.values():
        with pytest.raises(Refused):
            call(one)
    with pytest.raises(Refused, match="not open"):
        one.languages()
    with one:
        pass
    with pytest.raises(Refused, match="not open"):
        one.languages()
    with pytest.raises(Refused, match="another one"), one:
        raise AssertionError


async def test_an_async_client_outside_of_its_block_says_so():
    one = Client("http://127.0.0.1:9/")

    async def all_refused() -> None:
        with pytest.raises(Refused, match="not open"):
            await one.languages()
        with pytest.raises(Refused, match="not open"):
            await one.run("python", "1")
        with pytest.raises(Refused, match="not open"):
            await one.open("python")
        with pytest.raises(Refused, match="not open"):
            await one.batch({"language": "python", "source": "1", "cases": [{}]})
        with pytest.raises(Refused, match="not open"):
            _ = [output async for output in one.start("python", "1", entry="main.py")]

    await all_refused()
    async with one:
        pass
    await all_refused()


def test_bytes_are_sent_as_bytes(server: Server):
    """They came as the text of their base64."""
    no_text = b"\xff\x00\n"
    with blocking.Client(server.url) as client:
        echo = "import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read())"
        assert client.run("python", echo, stdin=b"x").stdout == "x"
        assert client.run("python", echo.encode(), stdin=bytearray(no_text)).stdout_base64 == no_text
        latin = b"# coding: latin-1\nprint(ascii('\xe4'))"
        for entry in (None, "own.py"):
            assert client.run("python", latin, entry=entry).stdout == "'\\xe4'\n"
        cat = "print(open('data', 'rb').read())"
        ran = client.run("python", files={"main.py": cat.encode(), "data": no_text}, entry="main.py")
        assert ran.stdout == f"{no_text!r}\n"
        program = client.start("python", latin, entry="main.py")
        assert [output.data for output in program] == [b"'\\xe4'\n"]
        cases = [{"stdin": no_text, "expected": no_text}, {"stdin": b"a", "expected": "a"}]
        for source in (echo, echo.encode(), b"# coding: latin-1\n# \xe4\n" + echo.encode()):
            assert client.batch({"language": "python", "source": source, "cases": cases})["passed"] == 2
        with pytest.raises(Refused, match="args is to be text"):
            client.run("python", echo, args=[b"x"])


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("", "empty"),
        ("a\nb", r"U\+000A"),
        ("/a", "absolute"),
        ("a//b", "empty component"),
        ("a/", "empty comp"),
    ],
)
def test_a_path_that_no_file_has_is_refused_as_that(server: Server, path: str, said: str):
    """It was told as a path that nothing is at."""
    with blocking.Client(server.url) as client, client.open("python") as session:
        with pytest.raises(Refused, match=said):
            session.files.put(path, "x")
        with pytest.raises(Refused, match=said):
            session.files.get(path)
        with pytest.raises(Refused, match=said):
            list(session.run("main.py", files={path: b"x" * 3_000_000}))


def test_what_a_program_and_a_session_cannot_do(server: Server):
    """It was left out silently."""
    with blocking.Client(server.url) as client:
        with client.open("python") as session:
            program = session.run("x.py", files={"x.py": "input()"})
            with pytest.raises(Refused, match="has no terminal"):
                program.resize(80, 24)
            with pytest.raises(Refused, match="to be text or bytes, not int"):
                program.write(NONE)
            shell = session.shell()
            with pytest.raises(Refused, match="cols must be a whole number"):
                shell.resize("x", 24)  # type: ignore[arg-type]
            shell.resize(-1, 99_999_999)  # clamped, as in all messages
            session.extend()
        with pytest.raises(Refused, match="over"):
            session.extend()


@pytest.mark.parametrize("repl", [False, True])
def test_a_shell_takes_the_end_of_its_input_at_once(server: Server, repl: bool):
    """Ctrl-D was typed before the shell had set its terminal's modes, which drops it."""
    with blocking.Client(server.url) as client, client.open("python") as session:
        for _ in range(3):
            shell = session.shell(repl=repl)
            shell.end_input()
            assert list(shell)
            assert shell.exit is not None
            assert (shell.exit.reason, shell.exit.code) == ("exited", 0)
            shell.end_input()


TWICE = "import sys\nprint(repr(sys.stdin.read()), repr(sys.stdin.read()))"


@pytest.mark.parametrize("source", ["breakpoint()", "import code\ncode.interact()", TWICE])
@pytest.mark.parametrize("stdin", ["", "1 + 1\n"])
def test_the_end_of_a_terminals_input_comes_whenever_it_is_read(server: Server, source: str, stdin: str):
    """Ctrl-D was typed once, before readline had set the terminal's modes: the program ran into `wall_ms`."""
    with blocking.Client(server.url) as client:
        done = client.run("python", source, mode="tty", stdin=stdin, limits={"wall_ms": 30_000})
        assert done.exit.reason == "exited", done
        if source == TWICE:
            assert f"{stdin!r} ''" in str(done.stdout)


EXPIRES, ISOLATION = m.Expiry(None, 1000), m.Isolation("runc", "none")


async def test_a_bound_below_the_servers_ends_what_was_sent_alone():
    """As a proxy may have one: the connection is closed by 1009 after each `run` whose text is long."""
    known: set[int] = set()

    async def talk(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("coderunner.v1",))
        await socket.prepare(request)
        async for frame in socket:
            said = json.loads(frame.data)
            if said["type"] == "open":
                await socket.send_str(
                    encode_server(m.Opened("s" * 24, "t" * 32, "python", True, EXPIRES, ISOLATION, {}))
                )
            elif said["type"] == "attach":
                views = tuple(
                    m.ChannelView(one, "pipe", "running", 0, 0, 0, False, None, None) for one in known
                )
                await socket.send_str(encode_server(m.Attached("s" * 24, "control", views, EXPIRES)))
            elif said["type"] == "close":
                await socket.close()
            elif said["type"] == "run" and len(frame.data) > 1000:
                await socket.close(code=1009)
            elif said["type"] == "run":
                known.add(said["channel"])
                await socket.send_bytes(encode_output(1, STDOUT, 5 * (len(known) - 1), b"heard"))
        return socket

    async def ended(_: web.Request) -> web.Response:
        return web.json_response({})

    async with contextlib.AsyncExitStack() as stack:
        app = web.Application()
        app.router.add_get("/ws", talk)
        app.router.add_get("/ws/{session}", talk)
        app.router.add_delete("/api/sessions/{session}", ended)
        server = TestServer(app)
        await stack.enter_async_context(server)
        client = await stack.enter_async_context(Client(str(server.make_url("/"))))
        session = await client.open("python")
        small = await session.run("a.py")
        heard = aiter(small)
        assert (await anext(heard)).data == b"heard"
        large = await session.run("b.py", args=["x" * 2000])
        with pytest.raises(Refused, match="in a message"):
            _ = [output async for output in large]
        await session.run("c.py")
        assert (await anext(heard)).data == b"heard"
        assert known == {1, 3}


@pytest.mark.long
def test_what_is_wrong_is_refused_in_a_sentence(server: Server):
    with blocking.Client("http://127.0.0.1:9/") as client, pytest.raises(Refused, match="no server answers"):
        client.languages()
    with blocking.Client(server.url) as client:
        with pytest.raises(Refused, match="NUL"):
            client.start("python", "1", entry="main.py", args=["a\0b"])
        with pytest.raises(Refused, match="group"):
            client.open("python", group=("a", "b"))
        with client.open("python") as session:
            program = session.run(
                "m.py", files={"m.py": "import sys\nprint(sys.stdin.read())"}, terminal=(80, 24)
            )
            with pytest.raises(Refused, match="no signal FOO; there are INT, TERM"):
                program.signal("FOO")
            program.end_input()
            assert b"".join(output.data for output in program).endswith(b"\r\n")
            assert program.exit is not None
            assert program.exit.code == 0
