"""The server fails at a live session with a real container: its client reconnects and loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from pathlib import Path

import aiohttp
import aiohttp.web
import pytest

from coderunner import app, arrival, config, garbage, metrics, tasks
from coderunner.engine.docker import DockerEngine
from coderunner.errors import EngineUnavailable
from coderunner.fleet.budget import Budget
from coderunner.fleet.charging import Charging
from coderunner.fleet.guests import Guests
from coderunner.fleet.surroundings import Surroundings
from coderunner.fleet.watchdog import Watchdog
from coderunner.jobs.runs import Runs
from coderunner.prepare import Preparation
from coderunner.schema import messages as m
from coderunner.sessions.attachment import Attachment
from coderunner.sessions.channels import Channels
from coderunner.sessions.session import Session
from coderunner.store.store import Store
from coderunner.web import connection
from coderunner.web.handshake import Handshake
from coderunner.web.mcp import Mcp
from coderunner.web.tcp_limits import TcpConnections
from tests.harness import attach, connect, docker, eventually, session
from tests.inside import bash_settings

COUNT = "i=0; while read -r word; do i=$((i+1)); echo $i $word; done"


def once(monkeypatch: pytest.MonkeyPatch, kind: type, name: str) -> None:
    real, failed = getattr(kind, name), []

    def fails(*given: object, **named: object) -> object:
        if not failed:
            failed.append(True)
            raise KeyError("a fault made by a test")
        return real(*given, **named)

    monkeypatch.setattr(kind, name, fails)


async def test_a_fault_costs_a_client_a_reconnect_and_nothing_else(tmp_path: Path, monkeypatch, caplog):
    settings = bash_settings(tmp_path)
    async with app.serving(settings) as server:
        registry = server.parts.registry
        await eventually(lambda: server.parts.catalog.ready(), 120, "a language")
        async with session(server.url, "bash", keep=True) as client:
            await client.run(1, COUNT, entry="main.sh")
            await client.input(1, b"one\n")
            await client.until(1, "1 one")
            container = registry.sessions[client.opened.session].container.id
            once(monkeypatch, Channels, "on_output")  # at the echo
            await client.input(1, b"two\n")
            assert await client.closed() == 1011
            assert any(isinstance(one, m.ErrorMessage) and one.code == "internal" for one in client.messages)
        opened, channels = client.opened, client.channels

        async def there() -> bool:
            live = registry.sessions.get(opened.session)
            return live is not None and not live.over

        await eventually(there, 10, "the session, adopted anew")
        async with attach(server.url, opened, client=client.client, channels=channels) as back:
            await back.until(1, "2 two")
            once(monkeypatch, Session, "have")  # while the stream is mended
            await registry.sessions[opened.session].container.link.close()
            assert await back.closed() == 1011
        await eventually(there, 10, "the session, adopted anew")
        async with attach(server.url, opened, client=client.client, channels=back.channels) as again:
            await again.input(1, b"three\n")
            await again.until(1, "3 three")
            assert again.channel(1).text == "1 one\n2 two\n3 three\n"
            assert registry.sessions[opened.session].container.id == container
            assert registry.queue.stats().active == 1
            once(monkeypatch, Channels, "on_output")  # the third in a minute
            await again.input(1, b"four\n")
            assert await again.closed() == 1000
            assert again.messages[-1] == m.Closed("engine_lost")
        await eventually(lambda: registry.queue.stats().active == 0, 10, "the slot given back")
        assert docker("ps", "-aq", "--filter", f"id={container}") == ""
        # Another session is as good as ever.
        async with session(server.url, "bash") as client:
            assert (await client.result(1, "echo here", entry="main.sh")).text == "here\n"
    assert docker("ps", "-aq", "--filter", f"label=coderunner.instance={settings.instance_name}") == ""
    assert caplog.text.count("a task failed: a fault of this server") >= 3
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert left == []


@pytest.fixture
async def serving(tmp_path: Path):
    """Yields (server, its registry), in this process; Bash is ready."""
    settings = config.load(
        {
            "PORT": "0",
            "STATE_DIR": str(tmp_path),
            "INSTANCE_NAME": f"test-{secrets.token_hex(4)}",
            "LANGUAGES": "bash",
            "WARM_MAX": "1",
            "RELOAD": "off",
        }
    )
    async with app.serving(settings) as server:
        await eventually(lambda: server.parts.catalog.ready(), 120, "a language")
        yield server, server.parts.registry
    left = [task for task in asyncio.all_tasks() if task.get_name().startswith(("ws-", "session", "agent"))]
    assert left == []


AT = {
    "reading a text": (connection.Connection, "_text", 1011),
    "reading bytes": (connection.Connection, "_binary", 1011),
    "writing": (Attachment, "next", 1006),  # nobody is there to tell it
    "keeping it alive": (aiohttp.web.WebSocketResponse, "ping", 1011),
}


@pytest.mark.parametrize("what", AT)
async def test_a_fault_at_a_connection_ends_that_connection_alone(serving, monkeypatch, caplog, what):
    server, registry = serving
    kind, name, code = AT[what]
    if name == "ping":
        monkeypatch.setattr(connection, "KEEPALIVE_SECONDS", 0.2)
    async with session(server.url, "bash", keep=True) as client:
        await client.run(1, COUNT, entry="main.sh")
        await client.input(1, b"one\n")
        await client.until(1, "1 one")
        once(monkeypatch, kind, name)
        with contextlib.suppress(ConnectionError):
            await client.send(m.Ping(5))
            await client.input(1, b"two\n")
        assert await client.closed() == code
    told = [one.fields for one in caplog.records if getattr(one, "fields", {}).get("owner") == "connection"]
    assert [one["address"] for one in told] == ["127.0.0.1"]
    assert registry.queue.stats().active == 1
    async with attach(server.url, client.opened, client=client.client, channels=client.channels) as back:
        attached = await back.message(m.Attached)
        taken = attached.channels[0].input_offset
        await back.input(1, b"one\ntwo\n"[taken:], offset=taken)
        await back.until(1, "2 two")
        assert back.channel(1).text == "1 one\n2 two\n"
        await back.send(m.Close())
        assert await back.closed() == 1000


BEFORE = {
    "the greeting": (connection.Connection, "post", 1011),
    "the wait for a request": (Handshake, "expect_first", 1011),
    "the end": (Handshake, "lost", None),
}


@pytest.mark.parametrize("what", BEFORE)
async def test_a_fault_before_anything_is_read_is_told_and_leaves_no_task(serving, monkeypatch, caplog, what):
    """The fixture checks that no task is left."""
    server, _ = serving
    kind, name, code = BEFORE[what]
    once(monkeypatch, kind, name)
    async with connect(server.url) as client:
        if code:
            assert await client.closed() == code
        else:
            await client.disconnect()
        await eventually(lambda: "a fault made by a test" in caplog.text, 5, "the log line")
    async with session(server.url, "bash") as client:
        assert (await client.result(1, "echo here", entry="main.sh")).text == "here\n"


@pytest.mark.parametrize(("path", "name"), [("api/sessions/x/files", "find"), ("api/ready", "ready")])
async def test_a_fault_at_a_request_is_an_error_as_any(serving, monkeypatch, caplog, path, name):
    """aiohttp's own answer would be text, which clients of this server do not read."""
    server, registry = serving
    once(monkeypatch, type(registry) if name != "ready" else type(server.parts.catalog), name)
    async with aiohttp.ClientSession(server.url, headers={"Authorization": "Bearer x"}) as http:
        async with http.get(path) as answer:
            assert answer.status == 500
            assert (await answer.json(content_type=None))["code"] == "internal"
        async with http.get(path) as answer:
            assert answer.status != 500
    assert "a fault made by a test" in caplog.text


async def test_a_fault_at_handing_over_a_new_session_leaves_it_to_the_next_try(serving, monkeypatch, caplog):
    server, registry = serving
    once(monkeypatch, Handshake, "_begin")
    nonce = secrets.token_urlsafe(16)
    async with connect(server.url) as client:
        await client.send(m.Open("bash", client.client, nonce=nonce))
        assert await client.closed() == 1011
    told = [one.fields for one in caplog.records if getattr(one, "fields", {}).get("owner") == "connection"]
    assert [one["task"] for one in told] == ["ws-open"]
    (waiting,) = registry.sessions
    # The opening is the registry's, not the connection's: the same request finds what it has made.
    async with connect(server.url, client=client.client) as again:
        await again.send(m.Open("bash", again.client, nonce=nonce))
        await again.wait(lambda: again.opened, 30, "opened")
        assert again.opened.session == waiting
        assert (await again.result(1, "echo here", entry="main.sh")).text == "here\n"
        await again.send(m.Close())
        assert await again.closed() == 1000
    await eventually(lambda: registry.queue.stats().active == 0, 10, "the slot given back")


async def test_a_fault_at_a_guests_coming_is_told_and_harms_nobody(serving, monkeypatch, caplog):
    server, _ = serving
    once(monkeypatch, Guests, "admit")
    async with session(server.url, "bash") as owner:
        async with connect(server.url, f"ws/{owner.opened.session}") as one:
            await one.send(m.Attach(owner.opened.session, f"crg_{'0' * 12}_{'A' * 43}", one.client))
            assert await one.closed() == 1011
        told = [getattr(each, "fields", {}) for each in caplog.records]
        assert [each["task"] for each in told if each.get("owner") == "connection"] == ["ws-guest"]
        assert (await owner.result(1, "echo here", entry="main.sh")).text == "here\n"


# A job of the server's own -> what of it fails, once.
JOBS = {
    "budget": (Budget, "watch"),
    "charging": (Charging, "watch"),
    "database": (Store, "run"),
    "runs": (Runs, "watch"),
    "loop-lag": (metrics, "watch_loop"),
    "garbage": (garbage, "watch"),
    "engine-info": (DockerEngine, "info"),
    "tcp-connections": (TcpConnections, "watch"),
    "images": (Preparation, "all"),
    "reload": (app, "changed_sources"),
    "sweep": (app, "warn_of_shared_ids"),
    "surroundings": (Surroundings, "look"),
    "watchdog": (Watchdog, "run"),
    "remove": (arrival, "remove_all"),
    "adopt": (arrival, "adopt_all"),
    "keys": (app, "_watch_keys"),
    "revoked-keys": (app, "end_revoked"),
    "mcp": (Mcp, "run"),
}


async def test_a_fault_at_each_of_the_servers_own_jobs(tmp_path: Path, monkeypatch, caplog):
    """It is logged with its owner, the job starts again, no client notices, and everything is released."""
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(tasks, "AGAIN_SECONDS", 0.1)
    monkeypatch.setattr(arrival, "RETRY_SECONDS", 0.1)
    for kind, name in JOBS.values():
        once(monkeypatch, kind, name)
    adopt, asked = arrival.adopt_all, []

    async def adopts(*given: object) -> object:
        asked.append(True)
        if len(asked) == 1:  # so that adopting is a job beside the others
            raise EngineUnavailable("away, for a test")
        return await adopt(*given)

    monkeypatch.setattr(arrival, "adopt_all", adopts)
    settings = bash_settings(tmp_path, RELOAD="on", MCP="on", WATCHDOG_INTERVAL="1000")

    def told() -> set[str]:
        found = [getattr(one, "fields", {}) for one in caplog.records if one.levelname == "ERROR"]
        return {one["task"] for one in found if one.get("owner") == "server"}

    async with app.serving(settings) as server:
        await eventually(lambda: told() == set(JOBS), 60, "a line for each job")
        await eventually(server.parts.catalog.ready, 120, "a language")
        # The image of a language that is lost is made by a job of its own.
        once(monkeypatch, Preparation, "one")
        server.parts.catalog.lose("bash")
        await eventually(lambda: "image-bash" in told(), 30, "the line of the image's job")
        await eventually(server.parts.catalog.ready, 120, "the language again")

        async def ready() -> bool:
            return not await server.parts.ready()

        await eventually(ready, 60, "readiness")
        async with session(server.url, "bash") as client:
            assert (await client.result(1, "echo here", entry="main.sh")).text == "here\n"
        registry = server.parts.registry
        await eventually(lambda: registry.queue.stats().active == 0, 10, "the slot given back")
    assert docker("ps", "-aq", "--filter", f"label=coderunner.instance={settings.instance_name}") == ""
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
    await eventually(lambda: len(os.listdir("/proc/self/fd")) <= before, 10, "the descriptors given back")
