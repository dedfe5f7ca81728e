"""A server that stops sends everybody away in order: told why, with the close code that says what to do."""

from __future__ import annotations

import signal

import pytest

from coderunner.core import messages as m
from tests.harness import attach, connect, docker, running_server, session

SETTINGS = {"LANGUAGES": "python", "WARM_MAX": "1", "MAX_CONCURRENT_SESSIONS": "1"}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_everybody_is_sent_away_in_order(tmp_path, how):
    with running_server(tmp_path, **SETTINGS) as server:
        async with (
            session(server, keep=True) as client,
            attach(server, client.opened, role="watch") as watcher,
            connect(server.url) as silent,
            connect(server.url) as waiting,
        ):
            await silent.message(m.Hello)
            await watcher.message(m.Attached)
            await waiting.send(m.Open("python", waiting.client))
            await waiting.message(m.Queued)
            server.process.send_signal(how)
            assert await silent.closed() == 1012
            await waiting.error("draining")
            assert await waiting.closed() == 4503
            for one in (client, watcher):
                assert await one.closed() == (1012 if how == signal.SIGTERM else 1000)
            assert server.process.wait(20) == 0
        if how == signal.SIGTERM:
            for container in server.containers():
                docker("rm", "-fv", container)
        assert server.containers() == []
