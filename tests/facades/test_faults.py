"""The server fails at the connection of a facade's client: the client is told, and the program ends."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import pytest

from coderunner import app
from coderunner.facades.piston_socket import Talk
from tests.harness import eventually
from tests.inside import bash_settings
from tests.sessions.test_faults import Bug, faults


@pytest.mark.parametrize(("part", "task"), [("_receive", "piston-read"), ("_send_output", "piston-write")])
async def test_a_fault_at_a_task_of_pistons_socket(tmp_path: Path, monkeypatch, caplog, part, task):
    settings = bash_settings(tmp_path, FACADES="piston")
    async with app.serving(settings) as server, aiohttp.ClientSession() as http:
        await eventually(lambda: server.parts.catalog.ready(), 120, "a language")
        runtimes = await (await http.get(server.url + "api/v2/runtimes")).json()
        order = {"type": "init", "language": "bash", "version": runtimes[0]["version"]}
        program = {"name": "main.sh", "content": "echo hello; read line"}
        real, calls = getattr(Talk, part), []

        async def fails(talk: Talk, *given: object) -> object:
            calls.append(part)
            if part == "_receive" and len(calls) == 1:
                return await real(talk, *given)  # `init`, which no task reads
            raise Bug

        monkeypatch.setattr(Talk, part, fails)
        async with http.ws_connect(server.url + "api/v2/connect") as socket:
            await socket.send_str(json.dumps({**order, "files": [program]}))
            heard = [json.loads(frame.data) async for frame in socket]
        assert (heard[-1]["type"], socket.close_code) == ("error", 4002)
        assert {"owner": "piston connection", "task": task} in faults(caplog)
        await eventually(lambda: not server.parts.registry.sessions, 30, "the end of its session")
