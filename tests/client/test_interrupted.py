"""Calls that are interrupted: by Ctrl-C, a signal, a cancelled task, or an exception of what they call."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from coderunner.client import blocking, patience
from coderunner.client.library import Client
from coderunner.client.refused import Refused
from tests.client.test_patience import answering
from tests.client.test_remote import COMMAND, environment
from tests.harness import Server, eventually, running_server, wait_until

LONG = "import time\ntime.sleep(1000)"
LIMITS = {"wall_ms": 60_000}
CASES = [{"stdin": ""}, {"stdin": ""}]
BATCH = {"language": "python", "source": LONG, "cases": CASES, "limits": LIMITS}
ENDED = """
import os, sys
from coderunner.client.blocking import Client
LONG = 'import time\\ntime.sleep(1000)'
with Client(os.environ["CODERUNNER_URL"]) as client:
    try:
        WORK
    except KeyboardInterrupt:
        print("clean")
"""
OF_CALLER: dict[str, str] = {
    "start": "for _ in client.start('python', LONG, entry='main.py'): pass",
    "session": "list(client.open('python').run('main.py', files={'main.py': LONG}))",
    "run": "client.run('python', LONG)",
    "batch": "client.batch({'language': 'python', 'source': LONG, 'cases': [{}, {}]})",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One of this file's own: sessions of others would be taken for those of a test."""
    with running_server(tmp_path_factory.mktemp("server"), LANGUAGES="python") as one:
        yield one


def active(server: Server) -> int:
    """The number of sessions."""
    return int(server.stats()["queue"]["active"])


@pytest.fixture(autouse=True)
def idle(request: pytest.FixtureRequest) -> None:
    """Waits for the end of the last test's sessions."""
    if "server" in request.fixturenames:
        server = request.getfixturevalue("server")
        wait_until(lambda: active(server) == 0, 20, "no sessions")


@contextlib.contextmanager
def command(words: Sequence[str], url: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is killed where it does not end."""
    with subprocess.Popen(
        words,
        env=environment(url),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("call", OF_CALLER)
def test_ctrl_c_reaches_the_caller_and_ends_what_was_begun(server: Server, tmp_path: Path, call: str):
    """It became a RuntimeError, or left the program running."""
    words = [sys.executable, "-W", "default", "-c", ENDED.replace("WORK", OF_CALLER[call])]
    with command(words, server.url, tmp_path) as process:
        wait_until(lambda: active(server) > 0, 20, "a session")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, b"clean\n", b"")
    wait_until(lambda: active(server) == 0, 20, "its session gone")


@pytest.mark.parametrize("call", ["run", "batch"])
async def test_a_cancelled_call_is_cancelled_on_the_server(server: Server, call: str):
    """A run went on to its end, and so did a batch whose id was not known yet."""
    async with Client(server.url) as client:
        work: Any = client.run("python", LONG, limits=LIMITS) if call == "run" else client.batch(BATCH)
        task = asyncio.create_task(work)
        await eventually(lambda: active(server) > 0, 20, "a session")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await eventually(lambda: active(server) == 0, 20, "its session gone")


@pytest.mark.parametrize("call", ["run", "batch"])
async def test_it_is_cancelled_before_the_server_has_told_its_id(call: str):
    asked: list[str] = []
    waits = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(f"{request.method} {request.path}")
        if request.method == "DELETE":
            return web.json_response({}, status=202)
        if len(asked) == 1:
            waits.set()
            await asyncio.Event().wait()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        name = request.path.rpartition("/")[2]
        await response.write(b'event: %s\nid: 1\ndata: {"id": "the-id"}\n\n' % name.encode())
        await asyncio.Event().wait()
        return response

    async with answering(answer) as url, Client(url) as client:
        task = asyncio.create_task(client.run("python", "1") if call == "run" else client.batch(dict(BATCH)))
        await waits.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert asked == [f"POST /api/{call}"] * 2 + [
        f"DELETE /api/{'runs' if call == 'run' else 'batches'}/the-id"
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_as_json_that_is_interrupted_is_cancelled(
    server: Server, tmp_path: Path, number: signal.Signals
):
    (tmp_path / "main.py").write_text(LONG)
    with command([*COMMAND, "run", "--json", "main.py"], server.url, tmp_path) as process:
        wait_until(lambda: active(server) > 0, 20, "a session")
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (128 + number, b"", b"coderunner: the run was cancelled\n")
    wait_until(lambda: active(server) == 0, 20, "its session gone")


ERRORS: list[Callable[[], BaseException]] = [
    lambda: FileNotFoundError("my own log file"),
    lambda: TimeoutError("of the caller"),
    lambda: KeyError("index"),
    lambda: SystemExit(3),
    lambda: Refused("of the caller"),
]


@pytest.mark.parametrize("make", ERRORS, ids=lambda make: type(make()).__name__)
def test_an_exception_of_the_callers_own_comes_out_of_a_batch(
    server: Server, make: Callable[[], BaseException]
):
    """An OSError was taken for a lost connection, and SystemExit ended the thread of the client."""
    error, seen = make(), []

    def told(verdict: dict[str, Any]) -> None:
        seen.append(verdict["index"])
        raise error

    with blocking.Client(server.url) as client:
        with pytest.raises(type(error)) as raised:
            client.batch({"language": "python", "source": "1", "cases": CASES}, told)
        assert raised.value is error
        assert seen == [0]
        assert client.languages()


def test_a_verdict_that_cannot_be_printed_is_told_as_that(server: Server, tmp_path: Path):
    """It was told as a lost connection."""
    (tmp_path / "batch.json").write_text(json.dumps({"language": "python", "source": "1", "cases": CASES}))
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, "batch", "batch.json"],
            env=environment(server.url),
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=50,
        )
    assert done.returncode == 255
    assert b"No space left on device" in done.stderr
    assert b"connect" not in done.stderr


def test_a_call_from_where_a_call_calls_back_is_refused(server: Server):
    """It waited for itself, without end."""
    with blocking.Client(server.url) as client:
        with pytest.raises(Refused, match="calls back"):
            client.batch({"language": "python", "source": "1", "cases": CASES}, lambda _: client.languages())


def test_a_block_that_is_left_ends_the_calls_of_other_threads(server: Server):
    """They waited without end."""
    told: list[BaseException] = []

    def work(client: blocking.Client) -> None:
        try:
            client.run("python", LONG, limits=LIMITS)
        except Refused as error:
            told.append(error)

    with blocking.Client(server.url) as client:
        thread = threading.Thread(target=work, args=(client,))
        thread.start()
        wait_until(lambda: active(server) > 0, 20, "a session")
    thread.join(20)
    assert [str(error) for error in told] == [blocking.NOT_OPEN]
    wait_until(lambda: active(server) == 0, 20, "its session gone")


LINES = "for i in range(5): print(input(), flush=True)"


async def test_a_loop_that_was_left_is_gone_on_with(server: Server):
    """The second one raised CancelledError."""
    async with Client(server.url) as client:
        program = client.start("python", LINES, entry="main.py")
        await program.write("a\n")
        seen = b""
        async for output in program:
            seen += output.data
            break
        await program.write("b\nc\nd\ne\n")
        async for output in program:
            seen += output.data
        assert seen == b"a\nb\nc\nd\ne\n"
        assert program.exit is not None
        assert [output async for output in program] == []
        # The places of programs that have ended are free, before the client's end.
        await eventually(lambda: active(server) == 0, 20, "its session gone")


def test_each_piece_may_be_taken_by_a_loop_of_its_own(server: Server):
    """More than the window, which only goes on when the last piece in it is confirmed."""
    with blocking.Client(server.url) as client:
        program = client.start("python", "import sys\nsys.stdout.write('x' * 600_000)", entry="main.py")
        seen = 0
        for piece in iter(lambda: next(iter(program), None), None):
            seen += len(piece.data)
        assert seen == 600_000
        assert program.exit is not None


async def test_a_program_whose_client_has_ended_says_so(server: Server):
    async with Client(server.url) as client:
        program = client.start("python", LONG, entry="main.py")
        await program.write("x")
        taken = asyncio.create_task(anext(aiter(program)))
        await asyncio.sleep(0)
    for one in (taken, anext(aiter(program))):
        with pytest.raises(Refused, match="over"):
            await one


FOREIGN = [
    b"event: batch\ndata: {}\n\n",
    b"event: batch\ndata: nonsense\n\n",
    b"event: batch\ndata: [1]\n\n",
    b'event: case\ndata: {"a": 1}\n\n',
    b"event: problem\ndata: {}\n\n",
    b"event: done\ndata: {}\n\n",
    b"event: batch\n\n",
    b"event: \xff\n\n",
    b"data: " + b"[" * 100_000 + b"\n\n",
    b"event: batch\ndata: " + b"[" * 100_000 + b"\n\n",
    b"hello\n\n",
    b"",
]


@pytest.mark.parametrize("events", FOREIGN, ids=lambda events: events[:30])
async def test_events_of_what_is_no_coderunner_are_refused(monkeypatch: pytest.MonkeyPatch, events: bytes):
    """They raised KeyError, JSONDecodeError or UnicodeDecodeError."""
    monkeypatch.setattr(patience, "FIRST_SECONDS", 0.3)
    monkeypatch.setattr(patience, "PAUSE", 0.1)

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=events, content_type="text/event-stream")

    async with answering(answer) as url, Client(url) as client:
        with pytest.raises(Refused):
            await client.batch(dict(BATCH))
