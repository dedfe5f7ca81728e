"""A real server in a process of its own, and how tests and the benchmark reach it.

Nothing here knows the server's inside: what a test sees, a user would.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from coderunner.client.peer import Channel as Channel
from coderunner.client.peer import Peer
from coderunner.client.peer import Unexpected as Unexpected
from coderunner.client.peer import random_id as random_id
from coderunner.engine.docker import usual_socket
from coderunner.schema import messages as m
from tests.blocking.sitecustomize import MARK

ROOT = Path(__file__).parent.parent
ENGINE = os.environ.get("DOCKER_HOST") or usual_socket()
"""The engine's address, for tests that do without a server or stand between it and the engine."""
ENGINE_SOCKET = ENGINE.removeprefix("unix://")
FORKED = """\
place = open('/proc/self/stat').read().rpartition(')')[2].split()
print(int(place[45]) < int(place[25]))
"""
"""A Python program that says whether it was forked from a preload: its command line is below its stack then,
and above it where the kernel has put both there (fields 48 and 28 of /proc/self/stat)."""
LANGUAGES = ("python", "javascript", "c", "cpp", "bash")
"""Those of the plain run, whose images scripts/test.sh builds; the long suites have all."""
SLOWNESS = float(os.environ.get("PLATFORM_SLOWNESS", "1"))
"""How many times longer than usual things may take: on an emulated processor (tests/platforms)."""
START_SECONDS = 300  # the first start builds images
STOP_SECONDS = 40 * SLOWNESS
ADOPTION_SECONDS = 20 * SLOWNESS  # a loaded machine's, until a container has answered a new server

T = TypeVar("T")


class Client(Peer):
    """A peer that waits longer where everything is slow."""

    async def wait(self, condition: Callable[[], T], seconds: float = 15, what: str = "condition") -> T:
        return await super().wait(condition, seconds * SLOWNESS, what)

    async def closed(self, seconds: float = 15) -> int:
        return await super().closed(seconds * SLOWNESS)


@dataclass
class Server:
    """A server process.  ``url`` ends with a slash; ``instance`` is in its containers' labels."""

    url: str
    instance: str
    process: subprocess.Popen[str]
    environment: dict[str, str]
    log: Path

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=10 * SLOWNESS) as answer:
            return json.load(answer)

    def ask(self, path: str) -> tuple[int, Any]:
        """(status, document), whatever the status."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10 * SLOWNESS) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def stats(self) -> dict[str, Any]:
        return dict(self.get("api/queue-stats"))

    def containers(self) -> list[str]:
        """Ids of all its containers, also of stopped ones."""
        return docker(
            "ps", "-aq", "--no-trunc", "--filter", f"label=coderunner.instance={self.instance}"
        ).split()

    def networks(self) -> list[str]:
        """Ids of the networks of its groups."""
        return docker(
            "network", "ls", "-q", "--no-trunc", "--filter", "label=type=coderunner",
            "--filter", f"label=coderunner.instance={self.instance}",
        ).split()  # fmt: skip

    def notes(self) -> list[str]:
        """What is written down of the images that it uses."""
        return docker("volume", "ls", "-q", "--filter", f"label=coderunner.instance={self.instance}").split()

    def stop(self, number: int = signal.SIGINT) -> int:
        """Signal it and wait; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


def docker(*words: str) -> str:
    done = subprocess.run(
        ["docker", *words], capture_output=True, text=True, timeout=60 * SLOWNESS, check=True
    )
    return done.stdout


def wait_until(
    condition: Callable[[], Any], seconds: float, what: str, why: Callable[[], str] = lambda: ""
) -> Any:
    """Looks until the condition is true; its value.  AssertionError after ``seconds``, with ``why``."""
    deadline = time.monotonic() + seconds * SLOWNESS
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what} {why()}"
        time.sleep(0.02 * SLOWNESS)


async def eventually(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """As ``wait_until``, without blocking the loop."""
    deadline = time.monotonic() + seconds * SLOWNESS
    while True:
        value = condition()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.01 * SLOWNESS)


async def preloaded(client: Client) -> None:
    """Waits until Python's programs are forked from the session's preload: where several sessions were opened
    just before, that starts two seconds later."""
    numbers = itertools.count(60_000)

    async def forked() -> bool:
        channel = client.channel(number := next(numbers))
        await client.run(number, FORKED, entry="forked.py")
        await client.ended(number)
        return channel.text == "True\n"

    await eventually(forked, 60, "the preload")


MEASURED = {"PYTHONPATH": str(ROOT / "server"), "LOG_LEVEL": "info"}
"""Settings of a server that is measured: it has no audit hook that looks for calls that block, which would
make each system call dearer."""


def start_server(
    environment: dict[str, str], log: Path, *, seconds: float = START_SECONDS, words: tuple[str, ...] = ()
) -> Server:
    """Starts `python -m coderunner serve` and waits until it has told its address. ``words``: its options."""
    before = len(log.read_text()) if log.exists() else 0
    with log.open("a") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "coderunner", "--env-file", "/dev/null", "serve", *words],
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'server'}:{ROOT / 'tests/blocking'}", **environment},
            stdout=sink,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=log.parent,
        )

    def address() -> str | None:
        assert process.poll() is None, f"the server ended:\n{log.read_text()[-4000:]}"
        said = log.read_text()[before:]
        found = re.findall(r"CodeRunner is at (http://\S+)|\"url\":\"(http://[^\"]+)\"", said)
        return "".join(found[-1]) if found else None

    url = wait_until(address, seconds, "the server's address")
    return Server(url, environment["INSTANCE_NAME"], process, environment, log)


@contextlib.contextmanager
def running_server(
    folder: Path, *, ready: tuple[str, ...] = ("python",), **settings: str
) -> Iterator[Server]:
    """A server with an instance name of its own; at the end nothing of it is left, which is checked."""
    environment = {
        "APP_ENV": "development",
        "HOST": "127.0.0.1",
        "PORT": "0",
        "INSTANCE_NAME": f"test-{secrets.token_hex(4)}",
        "STATE_DIR": tempfile.mkdtemp(prefix="state-", dir=folder),
        "LOG_LEVEL": "debug",
        "LANGUAGES": ",".join(LANGUAGES),
        "WARM_MAX": "4",
        "RELOAD": "off",
        **settings,
    }
    server = start_server(environment, folder / f"{environment['INSTANCE_NAME']}.log")
    try:
        wait_ready(server, ready)
        yield server
    finally:
        if server.process.poll() is None:
            code = server.stop()
            left = server.containers()
            for container in left:
                docker("rm", "-fv", container)
            networks = server.networks()
            for network in networks:
                docker("network", "rm", network)
            assert code == 0, f"the server ended with {code}:\n{server.log.read_text()[-4000:]}"
            assert not left, f"containers left behind: {left}"
            assert not networks, f"networks left behind: {networks}"
            assert not server.notes(), "a note of the images that it uses is left behind"
        check_loop(server)
        for note in server.notes():  # of a server that was to be followed by another
            docker("volume", "rm", note)


def check_loop(server: Server) -> None:
    """No call blocked the server's event loop (tests/blocking)."""
    lines = [line for line in server.log.read_text(errors="replace").splitlines() if MARK in line]
    assert not lines, "\n".join(["the event loop was blocked:", *dict.fromkeys(lines)])


def wait_ready(server: Server, languages: tuple[str, ...]) -> None:
    """Until these languages are ready and a container of each waits, where any may."""

    def ready() -> bool:
        rows = {row["name"]: row for row in server.get("api/languages")["languages"]}
        for name in languages:
            assert rows[name]["status"] != "failed", rows[name]["message"]
        if not all(rows[name]["status"] == "ready" for name in languages):
            return False
        shelves = server.stats()["warmPool"]["languages"]
        return all(
            shelves.get(name, {}).get("ready", 0) >= shelves.get(name, {}).get("target", 1)
            for name in languages
        )

    wait_until(ready, START_SECONDS, f"{languages} ready")


def workspace(server: Server | str, name: str, token: str) -> dict[str, bytes]:
    """The files of a live session, by their paths; looking at them touches neither terminal nor channel."""
    url = server if isinstance(server, str) else server.url
    request = urllib.request.Request(
        f"{url}api/sessions/{name}/archive", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.headers["Content-Type"] == "application/zip"
        with zipfile.ZipFile(io.BytesIO(answer.read())) as archive:
            assert archive.testzip() is None
            return {one.filename: archive.read(one) for one in archive.infolist() if not one.is_dir()}


@contextlib.asynccontextmanager
async def connect(
    url: str, path: str = "ws", *, client: str | None = None, **fields: Any
) -> AsyncIterator[Client]:
    """A WebSocket to the server; reading begins at once."""
    fields.setdefault("protocols", ("coderunner.v1",))
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(url + path, max_msg_size=0, autoclose=False, **fields) as socket:
            one = Client(socket, client or random_id())
            try:
                yield one
            finally:
                await one.disconnect()


@contextlib.asynccontextmanager
async def session(
    server: Server | str, language: str = "python", *, keep: bool = False, **fields: Any
) -> AsyncIterator[Client]:
    """A client with an open session, which ends with the block (unless ``keep``)."""
    url = server if isinstance(server, str) else server.url
    async with connect(url, **{key: fields.pop(key) for key in ("headers", "ssl") if key in fields}) as one:
        await one.send(m.Open(language, one.client, **fields))
        await one.wait(lambda: one.opened, 60, "opened")
        try:
            yield one
        finally:
            if not keep and one.close_code is None:
                with contextlib.suppress(ConnectionError):
                    await one.send(m.Close())
                    await one.closed()


def send_bytes(client: Client, data: bytes) -> None:
    """Bytes that need not be frames, on the client's connection; few enough that it takes them at once."""
    with client.socket.get_extra_info("socket").dup() as connection:
        assert connection.send(data) == len(data)


@contextlib.asynccontextmanager
async def attach(
    server: Server | str,
    opened: m.Opened,
    *,
    client: str | None = None,
    role: str | None = None,
    channels: dict[int, Channel] | None = None,
    cursors: dict[int, int] | None = None,
    patient: bool = True,
    **fields: Any,
) -> AsyncIterator[Client]:
    """Another connection to a live session; with ``channels``, it goes on where those stopped.

    ``patient``: as every client, it comes again where the container has not answered a new server yet.
    """
    url = server if isinstance(server, str) else server.url
    due = time.monotonic() + ADOPTION_SECONDS
    while True:
        async with connect(url, f"ws/{opened.session}", client=client, **fields) as one:
            if channels is not None:
                one.channels = channels
            for number, offset in (cursors or {}).items():
                one.channel(number).start = offset
            told = one.cursors()
            await one.send(m.Attach(opened.session, opened.token, one.client, role=role, cursors=told))
            if patient and time.monotonic() < due and await _too_early(one):
                await asyncio.sleep(0.1)
                continue
            yield one
            return


async def _too_early(one: Client) -> bool:
    """Whether the answer to `attach` was to come again."""

    def answers() -> list[m.ServerMessage]:
        return [each for each in one.messages if isinstance(each, m.Attached | m.ErrorMessage)]

    with contextlib.suppress(Unexpected):
        await one.wait(answers, 15, "an answer to attach")
    first = next(iter(answers()), None)
    return isinstance(first, m.ErrorMessage) and first.code == "engine_unavailable"
