"""A program that had ended when its container was lost: what is left of its output is no result."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from coderunner import declarations
from coderunner.errors import NoSession
from coderunner.jobs.about import About
from coderunner.jobs.bench import Bench, Lost
from coderunner.jobs.job import Job
from coderunner.schema import messages as m
from coderunner.schema.api import RunRequest
from coderunner.sessions.specs import run_spec
from coderunner.wire import frames
from tests.sessions.fakes import CLIENT, TOKEN, Agent, World, hello, state, until


async def loses(world: World) -> None:
    """The program ends with 20 bytes, of which 9 have come when the container is lost."""
    world.agent.say(frames.OUTPUT, bytes(9), channel=1, stream=1, offset=0)
    said = {"phase": "exited", "to": 20, "sent": 9, "end": 20, "evidence": {"main": {"code": 0}}}
    world.agent.say_state(state(1, **said))
    await until(lambda: world.session.channels[1].exit is not None, "the end")
    world.container.condemn("for this test")


async def test_a_case_is_not_judged_by_a_part_of_its_output():
    world = await World(Agent()).begin()
    world.agent.answers["run"] = lambda body: {"state": state(1)}
    declared = declarations.load(only=["python"])
    wanted = m.Run(1, "pipe", entry="main.py")
    spec = run_spec(wanted, declared.languages["python"], world.session.limits, declared.rules)
    bench = Bench(world.session, CLIENT, spec, 1000)
    judged = asyncio.create_task(bench.run(b""))
    await until(lambda: 1 in world.session.channels and not world.session.channels[1].asked, "the start")
    await loses(world)
    with pytest.raises(Lost):
        await judged


async def test_a_run_is_not_done_with_a_part_of_its_output(tmp_path: Path):
    world = await World(Agent()).begin()
    world.session.on_attached(hello([state(1)]))

    def find(session: str, token: str) -> tuple[Any, str]:
        if world.session.over:
            raise NoSession()
        return world.session, "control"

    about = About(
        id="i", nonce="n", digest="d", principal=None, address="a", version="1", room=10**6, created=0.0,
        compiles=False, request=RunRequest(language="python", source=""), session="s-1", token=TOKEN,
    )  # fmt: skip
    job = Job(about, tmp_path, SimpleNamespace(find=find))
    working = asyncio.create_task(job.run())
    await until(lambda: world.session.company.people(), "its attachment")
    await loses(world)
    await working
    with job.answer() as file:
        answer = json.load(file)
    assert answer["exit"]["reason"] == "engine_lost"
    assert answer["gaps"] == []
