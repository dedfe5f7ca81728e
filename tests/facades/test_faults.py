"""The server fails at the connection of a facade's client: the client is told, and the program ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest

from coderunner import app
from coderunner.errors import NoRun
from coderunner.facades import piston_socket
from coderunner.facades.judge0_repeats import Repeats
from coderunner.facades.piston_socket import Talk
from coderunner.fleet.registry import Caller
from coderunner.jobs.job import Job
from coderunner.jobs.runs import KEPT_SECONDS, Runs
from coderunner.web.keys import PARTS, TCP_CONNECTIONS
from tests.harness import eventually
from tests.inside import bash_settings
from tests.sessions.test_faults import Bug, faults

NOBODY = Caller("127.0.0.1", None)


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


async def test_a_fault_at_the_next_run_of_a_submission_is_told_and_ends_it_alone(caplog):
    again, later = Repeats(), asyncio.Event()

    async def fails() -> None:
        raise Bug

    async def works() -> None:
        later.set()

    again.go_on(fails)
    again.go_on(works)
    await asyncio.wait_for(later.wait(), 5)
    await eventually(lambda: {"owner": "repeats", "task": "repeat"} in faults(caplog), 5, "the line")
    await again.close()


@pytest.mark.long
async def test_a_submission_that_is_run_again_is_kept_until_after_its_last_run(tmp_path: Path):
    settings = bash_settings(tmp_path, FACADES="judge0")
    async with app.serving(settings) as server, aiohttp.ClientSession() as http:
        await eventually(lambda: server.parts.catalog.ready(), 120, "a language")
        order = {"language_id": 46, "source_code": "sleep 1; echo done", "number_of_runs": 2}
        async with http.post(server.url + "submissions", json=order) as answer:
            token = (await answer.json())["token"]
        runs = server.parts.runs
        first = runs.find(token, NOBODY, Job)
        second = await eventually(lambda: known(runs, f"{token}-2"), 60, "the next")
        assert first.done
        runs.sweep(first.ended_at + KEPT_SECONDS + 1)  # while the second runs or waits
        await eventually(lambda: second.done, 60, "its end")
        runs.sweep(second.ended_at + KEPT_SECONDS - 1)
        async with http.get(server.url + f"submissions/{token}?fields=status_id,stdout") as answer:
            assert await answer.json() == {"status_id": 3, "stdout": "done\n"}
        runs.sweep(second.ended_at + KEPT_SECONDS + 1)
        assert [known(runs, one.id) for one in (first, second)] == [None, None]
        async with http.get(server.url + f"submissions/{token}") as answer:
            assert answer.status == 404


def known(runs: Runs, name: str) -> Job | None:
    """A run that a server has, by its id."""
    with contextlib.suppress(NoRun):
        return runs.find(name, NOBODY, Job)
    return None


INIT = '{"type": "init"}'


class Peer:
    """A client of the socket. `then`: what it sends, and when, in seconds."""

    def __init__(self, *then: tuple[float, str]) -> None:
        self._then = list(then)

    async def receive(self) -> aiohttp.WSMessage:
        seconds, text = self._then.pop(0) if self._then else (3600.0, "")
        await asyncio.sleep(seconds)
        return aiohttp.WSMessage(aiohttp.WSMsgType.TEXT, text, None)


async def test_the_servers_own_delay_is_no_lateness_of_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class behind one address waits for its rate, and each has sent `init` in time."""
    monkeypatch.setattr(piston_socket, "INIT_SECONDS", 0.3)

    async def pace(address: str, cost: float) -> None:
        await asyncio.sleep(0.6)

    app = {PARTS: None, TCP_CONNECTIONS: SimpleNamespace(pace=pace)}
    request = SimpleNamespace(app=app, transport=None)

    def talk(*then: tuple[float, str]) -> Talk:
        return Talk(request, Peer(*then), SimpleNamespace(address="192.0.2.1"))  # type: ignore[arg-type]

    assert await talk((0.0, INIT)).first() == {"type": "init"}
    silent, later = talk(), talk(*[(0.0, "{}")] * 9, (0.0, INIT))
    with pytest.raises(TimeoutError):
        await silent.first()
    with pytest.raises(TimeoutError):  # other messages do not postpone it
        await later.first()
