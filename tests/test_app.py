"""The whole server in this process: it comes up, serves, goes, and leaves nothing."""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import subprocess
import threading
from types import SimpleNamespace

import pytest

from coderunner import app, config, stopping
from coderunner.engine.docker import DockerEngine
from coderunner.engine.states import ContainerState
from coderunner.errors import ConfigError, EngineError, EngineUnavailable
from coderunner.fleet import readiness as readiness_module
from coderunner.fleet.readiness import PING_SECONDS, Readiness
from coderunner.schema import messages as m
from tests.harness import docker, eventually, running_server, session, wait_until
from tests.inside import bash_settings


def descriptors() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
    return found


async def visit(settings: config.Settings) -> None:
    async with app.serving(settings) as server:
        await eventually(lambda: server.parts.catalog.ready(), 120, "a language")
        async with session(server.url, "bash") as client:
            channel = await client.result(1, "echo here", entry="main.sh")
            assert channel.text == "here\n"
        async with session(server.url, "bash", keep=True) as client:
            await client.run(1, "sleep 60", entry="main.sh")
            await client.wait(lambda: client.channel(1).states)
            client.drop()
            await client.closed()


async def test_nothing_is_left(tmp_path):
    settings = bash_settings(tmp_path)
    await visit(settings)  # loads what is loaded once: modules, the thread pool
    gc.collect()
    before = descriptors()
    await visit(settings)
    gc.collect()
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert left == []
    assert sorted(descriptors().values()) == sorted(before.values())
    assert docker("ps", "-aq", "--filter", f"label=coderunner.instance={settings.instance_name}") == ""
    assert [one for one in threading.enumerate() if one.name.startswith("docker")] == []


async def test_an_adoption_asks_the_engine_for_no_container(tmp_path, monkeypatch):
    """However many sessions there are, a restart costs one list: the kernel says who connects."""
    settings = bash_settings(tmp_path, AGENT_STREAM="socket")
    async with app.serving(settings) as server:
        await eventually(lambda: server.parts.catalog.ready(), 120, "a language")
        async with session(server.url, "bash", keep=True) as client:
            server.stop(stopping.SUSPEND)
    asked: list[str] = []
    inspect = DockerEngine.inspect

    async def counted(engine: DockerEngine, container: str) -> ContainerState:
        asked.append(container)
        return await inspect(engine, container)

    monkeypatch.setattr(DockerEngine, "inspect", counted)
    async with app.serving(settings) as server:
        sessions = server.parts.registry.sessions
        await eventually(lambda: client.opened.session in sessions, 30, "the adoption")
        assert sessions[client.opened.session].container.id not in asked


def test_production_proves_its_containers_before_it_serves(tmp_path):
    settings = {
        "APP_ENV": "production",
        "ANONYMOUS": "yes",
        "ADMIN_KEY": secrets.token_hex(32),
        "ALLOWED_HOSTS": "127.0.0.1",
        "LANGUAGES": "bash",
        "WARM_MAX": "1",
    }
    with running_server(tmp_path, ready=("bash",), **settings) as server:
        log = server.log.read_text()
        assert '"msg":"container limits verified"' in log
        assert log.index("container limits verified") < log.index("language ready")
        assert settings["ADMIN_KEY"] not in log

        async def use() -> None:
            async with session(server, "bash") as client:
                assert (await client.result(1, "id -u", entry="main.sh")).exit.code == 0
                assert client.opened.isolation == m.Isolation("runc", "none")

        asyncio.run(use())


def test_wrong_settings_are_told_all_at_once(tmp_path):
    with pytest.raises(ConfigError) as caught:
        config.load({"PORT": "many", "APP_ENV": "production"}, "WORKER_TREADS=4\n")
    text = "\n".join(caught.value.problems)
    assert "PORT" in text
    assert "WORKER_THREADS" in text
    assert "ADMIN_KEY" in text


def test_a_waiting_container_is_light(server):
    """The agent's promise: under 12 MB, as the kernel counts the container's memory."""

    def megabytes() -> float | None:
        for container in server.containers():
            try:
                text = docker("stats", "--no-stream", "--format", "{{.MemUsage}}", container)
            except subprocess.CalledProcessError:
                continue  # it was being removed
            used = text.split("/")[0].strip()
            if used.endswith("MiB"):
                return float(used[:-3])
        return None

    assert wait_until(megabytes, 20, "a container's memory") < 12


class CountedEngine:
    """``error``: what it answers a ping with."""

    def __init__(self) -> None:
        self.pings = 0
        self.error: EngineError | None = None

    async def ping(self) -> None:
        self.pings += 1
        await asyncio.sleep(0.01)
        if self.error is not None:
            raise self.error


async def test_readiness_asks_the_engine_at_most_once_a_second(monkeypatch):
    now = 100.0
    monkeypatch.setattr(readiness_module, "timing", SimpleNamespace(now=lambda: now))
    engine = CountedEngine()
    calm = SimpleNamespace(ready=lambda: ["python"], trouble=lambda: None, waiting=1)
    readiness = Readiness(engine, calm, calm, calm)  # type: ignore[arg-type]
    readiness.blocked = None
    assert await asyncio.gather(*(readiness() for _ in range(1000))) == [[]] * 1000
    assert engine.pings == 1
    engine.error = EngineUnavailable("away")
    now += PING_SECONDS * 0.9
    assert await asyncio.gather(*(readiness() for _ in range(50))) == [[]] * 50
    assert engine.pings == 1
    for pings in (2, 3):
        now += PING_SECONDS
        answers = await asyncio.gather(*(readiness() for _ in range(50)))
        assert all("away" in why for (why,) in answers)
        assert engine.pings == pings
