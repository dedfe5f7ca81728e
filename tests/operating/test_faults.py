"""Faults of this server in the operator's tasks: a line in the log, and the work can be started again."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

from coderunner import app, tasks
from coderunner.operating.history import History
from coderunner.operating.images import Jobs
from coderunner.operating.loadtests import LoadTests
from coderunner.schema.admin import StartLoadTest
from coderunner.tasks import Tasks
from tests.harness import eventually
from tests.sessions.test_faults import Bug, faults, raises_later


async def test_a_fault_at_work_on_images(caplog):
    jobs = Jobs()
    jobs.start("build", (), raises_later)
    await eventually(lambda: jobs.all()[0].state == "failed", 5, "the job's end")
    assert faults(caplog)[0] == {"owner": "operator's images", "task": "images-build"}

    async def work(say):
        say("made")

    jobs.start("renew", ("c",), work)
    await eventually(lambda: jobs.all()[0].state == "done", 5, "the next job's end")
    await eventually(lambda: jobs.all()[0].lines == ("made",), 5, "its line")
    assert jobs.all()[0].ended is not None


async def test_a_fault_at_a_load_test(caplog, monkeypatch, tmp_path):
    tests = LoadTests(tmp_path / "one.load-tests", "")

    def fails(*_):
        raise Bug

    monkeypatch.setattr(LoadTests, "_process", fails)
    first = tests.start(StartLoadTest())
    await eventually(lambda: tests.one(first.id).state == "failed", 5, "its end")
    await eventually(lambda: faults(caplog), 5, "the line in the log")
    assert faults(caplog)[0] == {"owner": "load tests", "task": "load-test"}
    monkeypatch.setattr(LoadTests, "_process", lambda *_: (0, ""))
    second = tests.start(StartLoadTest())
    await eventually(lambda: tests.one(second.id).state == "done", 5, "the next one's end")
    await tests.stop()


async def test_faults_at_reading_what_was_kept(caplog, monkeypatch, tmp_path):
    monkeypatch.setattr(tasks, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(LoadTests, "load", raises_later)
    run, failed = History.run, []

    async def once(self):
        if not failed:
            failed.append(True)
            raise Bug
        await run(self)

    monkeypatch.setattr(History, "run", once)
    history = History(tmp_path / "one.history", lambda: (0, 0, {}, {}))
    room = SimpleNamespace(load_tests=LoadTests(tmp_path / "one.load-tests", ""), history=history)
    async with contextlib.AsyncExitStack() as stack:
        owner = await stack.enter_async_context(Tasks("server"))
        app._open_room(room, "http://0.0.0.0:1/", None, SimpleNamespace(one=None), owner)  # noqa: SLF001
        await eventually((tmp_path / "one.history").exists, 5, "the figures to be kept after all")
        assert {one["task"] for one in faults(caplog)} == {"load-tests", "history"}
    assert room.load_tests.url == "http://127.0.0.1:1/"
