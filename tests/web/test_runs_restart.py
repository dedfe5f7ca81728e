"""Runs over plain HTTP that continue after a restart of the server."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import uuid
from pathlib import Path

import aiohttp
import orjson
import pytest

from tests.harness import docker, eventually, running_server
from tests.web.ordering import (
    COUNT,
    SETTINGS,
    Event,
    again,
    ask,
    events,
    http,
    idle,
    numbers,
    run,
)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_run_outlives_the_server_and_nothing_is_lost_or_doubled(tmp_path, how):
    key = {"Idempotency-Key": str(uuid.uuid4()), "Accept": "text/event-stream"}
    program = "import sys\n" + COUNT.format(n=400, pause=0.005) + "print(sys.stdin.read())\n"
    wanted = {"language": "python", "source": program, "stdin": "typed " * 30_000}
    seen: list[Event] = []
    with running_server(tmp_path, **SETTINGS) as server:
        async with http() as client:
            async with client.post(server.url + "api/run", json=wanted, headers=key) as answer:
                with contextlib.suppress(aiohttp.ClientError):
                    async for event in events(answer):
                        seen.append(event)
                        if event.name == "output" and "0000050" in event.data["text"]:
                            server.stop(how)
        assert seen[-1].name != "done"
        server.process = again(server, tmp_path).process
        behind = {**key, "Last-Event-ID": str([one.id for one in seen if one.id][-1])}
        async with http() as client:
            async with client.post(server.url + "api/run", json=wanted, headers=behind) as answer:
                assert answer.status == 200, await answer.text()
                seen += [event async for event in events(answer)]
        assert seen[-1].name == "done"
        assert seen[-1].data["exit"]["reason"] == "exited"
        text = "".join(one.data["text"] for one in seen if one.name == "output")
        assert text == numbers(400) + "typed " * 30_000 + "\n"
        whole = await ask(server, "GET", f"api/runs/{seen[-1].data['id']}")
        assert whole.document["stdout"] == text
        assert [one.data["phase"] for one in seen if one.name == "state"] == ["running", "exited"]
        await idle(server)


async def test_an_answer_outlives_the_server(tmp_path):
    key = {"Idempotency-Key": str(uuid.uuid4())}
    with running_server(tmp_path, **SETTINGS) as server:
        before = await run(server, key, source="import uuid; print(uuid.uuid4())")
        server.stop(signal.SIGKILL)
        server.process = again(server, tmp_path).process
        after = await run(server, key, source="import uuid; print(uuid.uuid4())")
        assert after.document == before.document


async def test_a_run_that_waits_for_its_slot_is_queued_again(tmp_path):
    settings = {**SETTINGS, "MAX_CONCURRENT_SESSIONS": "1"}
    with running_server(tmp_path, **settings) as server:
        first, second = ({"Idempotency-Key": str(uuid.uuid4())} for _ in range(2))
        program = "import time\ntime.sleep({})\nprint('ran')\n"
        waiting = [
            asyncio.create_task(run(server, first, source=program.format(4))),
            asyncio.create_task(run(server, second, source=program.format(0))),
        ]
        await eventually(lambda: server.stats()["queue"]["queued"] == 1, 20, "one waits")
        server.stop(signal.SIGKILL)
        for one in waiting:
            with pytest.raises(aiohttp.ClientError):
                await one
        server.process = again(server, tmp_path).process
        replies = await asyncio.gather(
            run(server, second, source=program.format(0)), run(server, first, source=program.format(4))
        )
        assert [one.document["stdout"] for one in replies] == ["ran\n", "ran\n"]
        await idle(server)


@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": str(uuid.UUID(int=7))}])
async def test_a_session_that_was_not_noted_is_found_when_it_answers_late(tmp_path, key):
    wanted = {"language": "python", "source": "import time\nprint('begun', flush=True)\ntime.sleep(3)\n"}
    with running_server(tmp_path, **SETTINGS) as server:
        asked = asyncio.create_task(ask(server, "POST", "api/run", json=wanted, headers=key))
        (about,) = await eventually(lambda: _noted(tmp_path), 20, "its session is noted")
        docker("kill", "--signal=STOP", *server.containers())
        server.stop(signal.SIGKILL)
        with pytest.raises(aiohttp.ClientError):
            await asked
        # As if the server had been killed an instant earlier.
        about.write_bytes(orjson.dumps({**orjson.loads(about.read_bytes()), "session": "", "token": ""}))
        server.process = again(server, tmp_path).process
        for one in server.containers():
            # The new server removes what it does not need meanwhile, and makes others.
            with contextlib.suppress(subprocess.CalledProcessError):
                docker("kill", "--signal=CONT", one)
        log = tmp_path / "again.log"
        await eventually(lambda: "session adopted" in log.read_text(), 20, "it has answered")
        if key:
            assert (await ask(server, "POST", "api/run", json=wanted, headers=key)).document[
                "stdout"
            ] == "begun\n"
        await idle(server)


def _noted(folder: Path) -> list[Path]:
    """The run's file, once the session is stored in it."""
    found = list(folder.glob("*/*.runs/*/about.json"))
    return [one for one in found if orjson.loads(one.read_bytes()).get("session")]


async def test_what_nobody_can_ask_for_ends_with_the_server_that_began_it(tmp_path):
    with running_server(tmp_path, **SETTINGS) as server:
        waiting = asyncio.create_task(run(server, source="import time\ntime.sleep(300)\n"))
        await eventually(lambda: server.stats()["queue"]["active"] == 1, 20, "it runs")
        server.stop(signal.SIGKILL)
        with pytest.raises(aiohttp.ClientError):
            await waiting
        server.process = again(server, tmp_path).process
        await idle(server)
