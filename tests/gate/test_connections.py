"""Connections of the engine proxy have an owner: a fault ends one alone, and none outlives the proxy."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coderunner import config
from coderunner.engine.attach import Address
from coderunner.gate import proxy
from coderunner.gate.bodies import Tables
from coderunner.gate.proxy import EngineGate
from tests.harness import eventually

PING = b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n"
PONG = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK"


class Engine:
    """Answers each request, after ``answers`` is set."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = 0
        self.open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await reader.readuntil(b"\r\n\r\n")
                self.asked += 1
                answer = asyncio.ensure_future(self.answers.wait())
                gone = asyncio.ensure_future(reader.read())
                await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
                answer.cancel()
                gone.cancel()
                if self.answers.is_set():
                    writer.write(PONG)
                    await writer.drain()
        finally:
            self.open -= 1
            writer.close()


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    one = Engine()
    async with await asyncio.start_unix_server(one.serve, tmp_path / "engine.sock"):
        yield one


@contextlib.asynccontextmanager
async def gate(folder: Path) -> AsyncIterator[Path]:
    tables = Tables.of(config.load({"INSTANCE_NAME": "gate", "LANGUAGES": "python"}))
    path = folder / "gate.sock"
    async with EngineGate(tables, Address.parse(f"unix://{folder / 'engine.sock'}")).listening(path):
        yield path


async def ask(path: Path) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(PING)
    async with asyncio.timeout(10):
        try:
            return await reader.read()
        except ConnectionResetError:  # it was closed before the request was read
            return b""
        finally:
            writer.close()


@pytest.mark.parametrize("at", ["_copy", "_head", "_request"])
async def test_a_fault_ends_its_connection_alone_and_is_logged(tmp_path, engine, monkeypatch, caplog, at):
    def fails(*_: object) -> None:
        raise LookupError("a fault of this server's")

    async with gate(tmp_path) as path:
        assert await ask(path) == PONG
        with monkeypatch.context() as patched:
            patched.setattr(proxy, at, fails)
            await ask(path)
        await eventually(lambda: caplog.records, 10, "the log line")
        [record] = [one for one in caplog.records if one.levelno >= logging.ERROR]
        assert record.fields["owner"].startswith("engine-proxy")
        assert isinstance(record.exc_info[1], LookupError)
        assert await ask(path) == PONG
        await eventually(lambda: engine.open == 0, 10, "no connection to the engine is left")


async def test_no_connection_outlives_the_proxy(tmp_path, engine):
    before = len(asyncio.all_tasks())
    engine.answers.clear()
    async with gate(tmp_path) as path:
        waiting = asyncio.ensure_future(ask(path))
        await eventually(lambda: engine.asked, 10, "a call that waits for its answer")
    assert await waiting == b""
    await eventually(lambda: engine.open == 0, 10, "the engine's end of it")
    await eventually(lambda: len(asyncio.all_tasks()) == before, 10, "its tasks")


async def test_connections_have_a_bound_and_it_is_given_back(tmp_path, engine, monkeypatch):
    monkeypatch.setattr(proxy, "MAX_CONNECTIONS", 1)
    engine.answers.clear()
    async with gate(tmp_path) as path:
        first = asyncio.ensure_future(ask(path))
        await eventually(lambda: engine.asked, 10, "the first")
        assert await ask(path) != PONG
        assert engine.asked == 1
        engine.answers.set()
        assert await first == PONG
        await eventually(lambda: engine.open == 0, 10, "its end")
        assert await ask(path) == PONG
