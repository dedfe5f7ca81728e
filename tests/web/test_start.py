"""What a server does before its clients can reconnect: little, and not more while the warm pool is being
filled."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter

from coderunner.schema import messages as m
from tests.harness import ROOT, attach, eventually, running_server, session, start_server

HOOK = """
from aiohttp import web
from coderunner.engine.docker import DockerEngine

call, start = DockerEngine._call, web.SockSite.start

def told(self, what, *rest, **named):
    print("engine call:", what, flush=True)
    return call(self, what, *rest, **named)

async def opened(self):
    await start(self)
    print("engine call: open", flush=True)

DockerEngine._call, web.SockSite.start = told, opened
"""
MAX_MODULES = 690  # 671 in November 2026, 28 for the metrics (10 ms); each takes half a millisecond


def test_what_is_not_needed_to_listen_is_not_loaded():
    code = "import coderunner.cli.serving, sys; print(*sys.modules)"
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**unmeasured, "PYTHONPATH": str(ROOT / "server")},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    loaded = set(done.stdout.split())
    late = (
        "docker",
        "requests",
        "urllib3",
        "coderunner.attack",
        "coderunner.samples",
        "coderunner.engine.images",
    )
    assert loaded.isdisjoint(late)
    assert len(loaded) < MAX_MODULES


async def test_before_it_listens_it_asks_the_engine_for_what_it_adopts_alone(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(HOOK)
    path = f"{tmp_path}:{ROOT / 'server'}"
    with running_server(
        tmp_path, LANGUAGES="python", WARM_MAX="3", WARM_FLOOR="3", PYTHONPATH=path
    ) as server:
        async with session(server, keep=True) as client:
            await client.run(1, "print(input())")
            server.stop(signal.SIGTERM)  # while the pool fills
            await client.closed()
        port = server.url.rsplit(":", 1)[1].strip("/")
        log = tmp_path / "again.log"
        server.process = start_server({**server.environment, "PORT": port}, log).process
        async with attach(server, client.opened, client=client.client, channels=client.channels) as back:
            await back.input(1, b"there\n")
            assert "there" in (await back.ended(1)).text
            await back.send(m.Close())
            await back.closed()
        await eventually(lambda: "engine call: open" in log.read_text(), 5, "the log")
        calls = Counter(re.findall(r"engine call: (.*)", log.read_text().split("engine call: open")[0]))
        print(calls)
        assert "inspect" not in calls, "the kernel says who connects"
        assert sum(calls.values()) <= 3, calls
