"""Calls to what is no CodeRunner, or none yet: one rule for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from coderunner import cli
from coderunner.client import patience, visit
from coderunner.client.library import Client
from coderunner.client.refused import Refused
from coderunner.core.codec import encode_server
from coderunner.schema import messages as m
from coderunner.schema.answers import FileLimits, Languages
from tests.client.test_remote import COMMAND, environment

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
NO_LANGUAGES = Languages((), FileLimits(1))
EXPIRES, ISOLATION = m.Expiry(None, 1000), m.Isolation("runc", "none")


@contextlib.asynccontextmanager
async def answering(handler: Handler) -> AsyncIterator[str]:
    """The address of a server whose every answer is the handler's."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    server = TestServer(app)
    async with server:
        yield str(server.make_url("/"))


def other(status: int) -> web.Response:
    """An answer of another program than a CodeRunner."""
    return web.Response(status=status, text="<html>Welcome</html>", content_type="text/html")


async def started(client: Client) -> None:
    _ = [output async for output in client.start("python", "1", entry="main.py")]


CALLS: dict[str, Callable[[Client], Awaitable[Any]]] = {
    "languages": lambda client: client.languages(),
    "run": lambda client: client.run("python", "1"),
    "start": started,
    "open": lambda client: client.open("python"),
    "batch": lambda client: client.batch({"language": "python", "source": "1", "cases": [{}]}),
}


@pytest.mark.parametrize("status", [502, 503, 504, 500, 429, 200, 404])
@pytest.mark.parametrize("call", CALLS)
async def test_a_first_call_asks_for_three_seconds_whatever_answers(
    monkeypatch: pytest.MonkeyPatch, call: str, status: int
):
    """Some were refused at once, others waited for minutes."""
    monkeypatch.setattr(patience, "FIRST_SECONDS", 0.3)
    monkeypatch.setattr(patience, "PAUSE", 0.1)
    times = 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal times
        times += 1
        return other(status)

    async with answering(answer) as url, Client(url) as client:
        with pytest.raises(Refused, match=f"no CodeRunner answers at .*, but {status}"):
            await CALLS[call](client)
    assert times > 1


@pytest.mark.parametrize("call", ["languages", "open"])
async def test_the_seconds_of_a_first_call_end(monkeypatch: pytest.MonkeyPatch, call: str):
    """The pauses of a session grew beyond the time after which the seconds began anew."""
    clock, asleep = [0.0], asyncio.sleep

    async def sleep(seconds: float) -> None:
        clock[0] += seconds
        await asleep(0)

    monkeypatch.setattr(patience.asyncio, "sleep", sleep)
    monkeypatch.setattr(patience, "now", lambda: clock[0])

    async def refuses(*_: object, **__: object) -> None:
        raise ConnectionRefusedError(111, "refused")

    for method in ("get", "connected"):
        monkeypatch.setattr(visit.Visit, method, refuses)
    async with Client("http://127.0.0.1:9/") as client:
        for _ in range(5):  # each call has its own
            begun = clock[0]
            with pytest.raises(Refused, match="no server answers"):
                await CALLS[call](client)
            assert clock[0] - begun == pytest.approx(patience.FIRST_SECONDS)


async def test_a_wrong_name_is_refused_at_once(monkeypatch: pytest.MonkeyPatch):
    client = SimpleNamespace(place="http://a.example/", reached=False)
    key = SimpleNamespace(host="a.example", port=80, ssl=True)
    for error in (aiohttp.ClientConnectorDNSError(key, OSError("unknown")), OSError(113, "no route")):  # type: ignore[arg-type]
        with pytest.raises(Refused, match="no server answers"):
            patience.Patience(client).left(error)
    assert patience.Patience(client).left(ConnectionResetError(104, "reset")) > 0


async def test_the_operators_commands_wait_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    answers = [other(502), other(200), web.json_response({"sessions": []})]
    monkeypatch.setattr(patience, "PAUSE", 0.01)

    async def answer(_: web.Request) -> web.Response:
        return answers.pop(0)

    async with answering(answer) as url:
        code = await asyncio.to_thread(cli.main, ["ps", "--url", url, "--bearer", "a-key"])
    assert (code, capsys.readouterr().err) == (0, "")


async def test_what_may_have_been_done_is_not_asked_for_twice(monkeypatch: pytest.MonkeyPatch):
    asked = 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return other(504)

    async with answering(answer) as url:
        words = ["notice", "a-session", "hello", "--url", url, "--bearer", "a-key"]
        assert await asyncio.to_thread(cli.main, words) == 75
    assert asked == 1


@pytest.mark.parametrize("status", [200, 401, 404, 429, 502])
async def test_a_session_is_found_again_behind_what_is_no_coderunner(status: int):
    connections = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal connections
        if request.method == "DELETE":
            return web.json_response({})
        connections += 1
        if connections in (2, 3):
            return other(status)
        socket = web.WebSocketResponse(protocols=("coderunner.v1",))
        await socket.prepare(request)
        async for frame in socket:
            said = json.loads(frame.data)
            if said["type"] == "open":
                await socket.send_str(
                    encode_server(m.Opened("s" * 24, "t" * 32, "python", True, EXPIRES, ISOLATION, {}))
                )
            elif said["type"] == "attach":
                view = m.ChannelView(1, "pipe", "exited", 0, 0, 0, False, None, None)
                await socket.send_str(encode_server(m.Attached("s" * 24, "control", (view,), EXPIRES)))
                usage = m.Usage(wall_ms=1, cpu_ms=1, memory_peak_bytes=1, output_bytes=0)
                end = m.Exit(1, code=5, signal=None, reason="exited", limits_hit=(), left_behind=0,
                             usage=usage, offset=0)  # fmt: skip
                await socket.send_str(encode_server(end))
            elif said["type"] == "run":
                assert request.transport is not None
                request.transport.abort()
        return socket

    async with answering(answer) as url, Client(url) as client, await client.open("python") as session:
        program = await session.run("main.py")
        assert [output async for output in program] == []
        assert program.exit is not None
        assert program.exit.code == 5
    assert connections == 4


@pytest.mark.parametrize("status", [200, 401, 429, 502])
async def test_a_batch_goes_on_behind_what_is_no_coderunner(monkeypatch: pytest.MonkeyPatch, status: int):
    monkeypatch.setattr(patience, "PAUSE", 0.01)
    keys: list[tuple[str, str]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return web.json_response({"id": "b", "passed": 1})
        headers = request.headers
        keys.append((headers["Idempotency-Key"], headers.get("Last-Event-ID", "")))
        if len(keys) == 2:
            return other(status)
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        name = "batch" if len(keys) == 1 else "done"
        await stream.write(f'event: {name}\nid: {len(keys)}\ndata: {{"id": "b"}}\n\n'.encode())
        return stream

    async with answering(answer) as url, Client(url) as client:
        assert (await CALLS["batch"](client))["passed"] == 1
    assert [last for _, last in keys] == ["", "1", "1"]
    assert len({key for key, _ in keys}) == 1


@pytest.mark.parametrize("there", [True, False], ids=["a long program", "a server that is away"])
async def test_a_silent_connection_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, there: bool):
    monkeypatch.setattr(visit, "SILENCE", 0.2)
    monkeypatch.setattr(patience, "RECONNECT_SECONDS", 0.3)
    keys: list[str] = []
    silent = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.json_response(msgspec.to_builtins(NO_LANGUAGES)) if there or not keys else other(502)
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) <= 3 or not there:
            await silent.wait()
        problem = {"detail": "over now", "code": "bad_message", "retryable": False}
        return web.json_response(problem, status=400)

    async with answering(answer) as url, Client(url) as client:
        await client.languages()
        with pytest.raises(Refused, match="over now" if there else "cannot be reached any more"):
            await client.run("python", "1")
        silent.set()
    assert len(keys) >= (4 if there else 2)
    assert len(set(keys)) == 1


DRAINS = {"detail": "it takes no new sessions", "code": "draining", "retryable": True}


async def test_a_batch_says_why_it_waits(tmp_path: Path):
    """It waited without a word, and said of a batch that had not begun that it was cancelled."""
    (tmp_path / "batch.json").write_text('{"language": "python", "source": "1", "cases": []}')
    drains = True

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal drains
        if request.method == "GET":
            return web.json_response({"id": "b", "passed": 0, "counts": {}})
        if drains:
            return web.json_response(DRAINS, status=503)
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        await stream.write(b'event: done\nid: 1\ndata: {"id": "b"}\n\n')
        return stream

    async with answering(answer) as url:
        for number in (signal.SIGINT, None):
            drains = True
            command = await asyncio.create_subprocess_exec(
                *COMMAND, "batch", "batch.json", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env=environment(url), cwd=tmp_path,
            )  # fmt: skip
            assert command.stderr is not None
            line = await asyncio.wait_for(command.stderr.readline(), 30)
            assert line == b"coderunner: it takes no new sessions\n"
            if number is not None:
                command.send_signal(number)
            drains = number is not None
            told, said = await asyncio.wait_for(command.communicate(), 30)
            if number is not None:
                assert command.returncode == 128 + number
                assert said == b"coderunner: ended before the batch began\n"
            else:
                assert (command.returncode, said) == (0, b"")
                assert told.startswith(b"0 of 0 passed")


async def test_no_page_is_taken_for_a_file(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(patience, "PAUSE", 0.01)
    answers = [other(200), other(404), web.Response(body=b"data", content_type="application/octet-stream")]

    async def answer(_: web.Request) -> web.Response:
        return answers.pop(0)

    from coderunner.client.line import Place
    from coderunner.client.session import Workspace

    async with answering(answer) as url, visit.Visit(url) as one:
        assert await Workspace(one, Place("s" * 24, "t" * 32)).get("a.txt") == b"data"


async def test_files_are_copied_when_the_server_is_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    """A page was taken for the file."""
    monkeypatch.setattr(patience, "PAUSE", 0.01)
    row = {"path": "a.txt", "folder": False}
    file = web.Response(body=b"data", content_type="application/octet-stream")
    answers = [
        other(502), other(200), web.json_response({"files": [row], "complete": True}), other(200), other(401),
        file,
    ]  # fmt: skip

    async def answer(_: web.Request) -> web.Response:
        return answers.pop(0)

    async with answering(answer) as url:
        words = ["cp", "--url", url, "--token", "t" * 32, "abc:a.txt", str(tmp_path / "a.txt")]
        assert await asyncio.to_thread(cli.main, words) == 0
    assert (tmp_path / "a.txt").read_bytes() == b"data"
    monkeypatch.setattr(patience, "FIRST_SECONDS", 0.1)
    assert await asyncio.to_thread(cli.main, [*words[:2], "http://127.0.0.1:9/", *words[3:]]) == 75
    assert "no server answers" in capfd.readouterr().err
