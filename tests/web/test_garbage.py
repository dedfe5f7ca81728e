"""Objects of a connection are freed when it ends, without the garbage collector, which would block the event
loop for a hundred milliseconds after a crowd."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from coderunner.attack import raw
from coderunner.attack.clients.strangers import http
from coderunner.attack.stage import Stage
from coderunner.schema import messages as m
from tests.harness import ROOT, Server, connect, eventually, running_server

HOOK = """
import gc, signal

def begin(*_):
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)  # what is unreachable is kept, to be counted

def tell(*_):
    gc.collect()
    print("unreachable:", len(gc.garbage), flush=True)
    gc.set_debug(0)
    gc.garbage.clear()

signal.signal(signal.SIGUSR1, begin)
signal.signal(signal.SIGUSR2, tell)
"""
TIMES = 30
EACH = 15  # objects: asyncio's transport and aiohttp's route of a 404 refer to themselves


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("watched")
    (folder / "sitecustomize.py").write_text(HOOK)
    path = f"{folder}:{ROOT / 'server'}"
    with running_server(folder, LANGUAGES="python", WARM_MAX="1", PYTHONPATH=path) as one:
        yield one


async def _asks(server: Server, path: str) -> None:
    async with raw.connect(server.url) as one:
        await one.send(http(Stage(server.url), "GET", path, {"Authorization": "Bearer nobody"}))
        assert await one.status()


async def _speaks_no_http(server: Server) -> None:
    async with raw.connect(server.url) as one:
        await one.send(b"GET / FOO\r\n\r\n")
        await one.ended(5)


async def _hangs_up(server: Server) -> None:
    async with raw.websocket(server.url):
        pass


async def _sends_too_much(server: Server) -> None:
    async with raw.websocket(server.url) as one:
        await one.send(raw.frame(raw.TEXT, b"", length=1 << 20))
        assert await one.close_code() == 1009


async def _floods(server: Server) -> None:
    async with raw.websocket(server.url) as one:
        await one.send(raw.frame(raw.TEXT, b"[]") * 500)


async def _says_good_bye(server: Server) -> None:
    async with connect(server.url) as client:
        await client.message(m.Hello)


KINDS = {
    "answered": lambda server: _asks(server, "api/health"),
    "refused": lambda server: _asks(server, "api/sessions/x/files"),
    "not found": lambda server: _asks(server, "nowhere"),
    "no HTTP": _speaks_no_http,
    "hangs up": _hangs_up,
    "too much": _sends_too_much,
    "flood": _floods,
    "good-bye": _says_good_bye,
}


def _connections(server: Server) -> int:
    """Sockets of the server's that have a peer; each ended one is gone once this is what it was."""
    sockets = Path(f"/proc/{server.process.pid}/fd")
    count = 0
    for one in sockets.iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since the listing
            count += "socket:" in str(one.readlink())
    return count


def _counts(server: Server) -> list[str]:
    return re.findall(r"unreachable: (\d+)\n", server.log.read_text())


async def _left(server: Server, before: int) -> int:
    await eventually(lambda: _connections(server) <= before, 20, "the connections gone")
    told = len(_counts(server))
    server.process.send_signal(signal.SIGUSR2)
    found = await eventually(lambda: _counts(server)[told:], 10, "the count")
    return int(found[0])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_connection_leaves_nothing_for_the_garbage_collector(watched, kind):
    before = _connections(watched)
    watched.process.send_signal(signal.SIGUSR1)
    for _ in range(TIMES):
        await KINDS[kind](watched)
    assert await _left(watched, before) <= EACH * TIMES
