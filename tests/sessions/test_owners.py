"""Every task of every owner fails once: a line in the log, the outcome for clients, nothing left.

`OWNED` names all tasks that the server's code starts, so that a new one needs a test as well.
"""

from __future__ import annotations

import ast
import asyncio
import errno
from pathlib import Path

import pytest

from coderunner.errors import NoSession, SpoolFull
from coderunner.fleet.recovery import Recovery
from coderunner.fleet.warm import WarmPool
from coderunner.jobs.job import Job
from coderunner.jobs.runs import Runs
from coderunner.schema import messages as m
from coderunner.schema.api import RunRequest
from coderunner.sessions.diagnostics import DiagnosticsFinder
from coderunner.sessions.follower import Follower
from coderunner.sessions.session import Session
from coderunner.web.api.followers import Followers
from tests.fleet.test_registry import CALLER, registry
from tests.harness import ROOT
from tests.sessions.fakes import hello, read_to_end, state, until
from tests.sessions.test_faults import Bug, begun, fail, faults, once, raises_later, recovered

# A task's name in the code -> the file with the test in which it fails.
OWNED = {
    "connection": "tests/gate/test_connections.py",
    "to-engine": "tests/gate/test_connections.py",
    "to-client": "tests/gate/test_connections.py",
    "adopt": "tests/web/test_faults.py",
    "adopt-container": "tests/sessions/test_faults.py",
    "guest-revoke": "tests/fleet/test_faults.py",
    "piston-read": "tests/facades/test_faults.py",
    "piston-write": "tests/facades/test_faults.py",
    "token-keys": "tests/identity/test_tokens.py",
    "callback": "tests/facades/test_callbacks.py",
    "repeat": "tests/facades/test_faults.py",
    "budget": "tests/web/test_faults.py",
    "charging": "tests/web/test_faults.py",
    "database": "tests/web/test_faults.py",
    "engine-info": "tests/web/test_faults.py",
    "garbage": "tests/web/test_faults.py",
    "image-": "tests/web/test_faults.py",
    "images": "tests/web/test_faults.py",
    "history": "tests/operating/test_faults.py",
    "images-": "tests/operating/test_faults.py",
    "load-test": "tests/operating/test_faults.py",
    "load-tests": "tests/operating/test_faults.py",
    "loop-lag": "tests/web/test_faults.py",
    "reload": "tests/web/test_faults.py",
    "remove": "tests/web/test_faults.py",
    "runs": "tests/web/test_faults.py",
    "surroundings": "tests/web/test_faults.py",
    "sweep": "tests/web/test_faults.py",
    "tcp-connections": "tests/web/test_faults.py",
    "watchdog": "tests/web/test_faults.py",
    "ws-keepalive": "tests/web/test_faults.py",
    "ws-read": "tests/web/test_faults.py",
    "ws-write": "tests/web/test_faults.py",
    "ws-open": "tests/web/test_faults.py",
    "ws-guest": "tests/web/test_faults.py",
    "keys": "tests/web/test_faults.py",
    "agent-beat": "tests/sessions/test_faults.py",
    "agent-read": "tests/sessions/test_faults.py",
    "agent-write": "tests/sessions/test_faults.py",
    "container-link": "tests/sessions/test_faults.py",
    "opening": "tests/sessions/test_faults.py",
    "return of ": "tests/sessions/test_faults.py",
    "session-kill": "tests/sessions/test_faults.py",
    "session-run": "tests/sessions/test_faults.py",
    "session-time": "tests/sessions/test_faults.py",
    "warm-container": "tests/fleet/test_faults.py",
    "warm-pool": "tests/fleet/test_faults.py",
    "worker-": "tests/fleet/test_faults.py",
    "follower": "tests/sessions/test_owners.py",
    "run": "tests/sessions/test_owners.py",
    "session-container": "tests/sessions/test_owners.py",
    "session-diagnostics": "tests/sessions/test_owners.py",
    "session-end": "tests/sessions/test_owners.py",
    "session-return": "tests/sessions/test_owners.py",
    "warm-container-removal": "tests/sessions/test_owners.py",
    "revoked-keys": "tests/web/test_faults.py",
    "mcp": "tests/web/test_faults.py",
    "start": "tests/test_stopping.py",
    "end": "tests/test_stopping.py",
    "watch of the engine": "tests/test_stopping.py",
    "bars": "tests/test_bars.py",
    "progress": "tests/test_bars.py",
}


def started(source: Path) -> set[str]:
    """The names of the tasks that a module starts: `owner.start(work, "name")`, also `keep` and `task`."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if not isinstance(node, ast.Call) or len(node.args) != 2:
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if called not in ("start", "keep", "_task"):
            continue
        name = node.args[1]
        if isinstance(name, ast.JoinedStr):
            name = name.values[0]
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            found.add(name.value)
    return found


def test_each_task_of_the_server_has_a_test_in_which_it_fails():
    names: set[str] = set()
    for source in (ROOT / "server/coderunner").rglob("*.py"):
        if not {"languages", "attack", "agent", "inside"} & set(source.parts):
            names |= started(source)
    assert names == set(OWNED)
    assert all((ROOT / file).exists() for file in OWNED.values())


async def alone() -> None:
    """Checks that only the test's own task is left."""
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()}, "no task left")


class TestFollower:
    async def test_a_fault_at_an_event(self, monkeypatch, caplog):
        one, _, opened, _ = await begun(monkeypatch)
        followers = Followers(one, 60.0)
        session = opened.session
        once(monkeypatch, Follower, "_message")
        with followers.at(session.id, opened.token, "0", None) as follower:
            await until(lambda: follower.over, "the end of what failed")
        assert faults(caplog)[0] == {"owner": "followers", "task": "follower"}
        assert len(session.channels.attachments) == 1  # the other client's
        with followers.at(session.id, opened.token, "0", None) as again:
            await until(lambda: again.after(0), "its first event")
            assert again.after(0)[0].kind == "attached"
        await one.end_all("evicted")
        assert again.over
        assert [event.kind for event in again.after(0)][-1] == "closed"
        await alone()


class TestSession:
    async def test_a_fault_at_watching_its_container(self, monkeypatch, caplog):
        one, provisioner, opened, attachment = await begun(monkeypatch)
        once(monkeypatch, Session, "end")
        opened.session.container.condemn("for a test")
        await until(lambda: attachment.close_code == 1011, "the client's close")
        assert faults(caplog)[0] == {"owner": "session", "task": "session-container", "session": "s-0"}
        await recovered(one, opened.session)
        assert (provisioner.removed, one.queue.stats().active) == ([], 1)
        await one.end_all("evicted")
        assert (provisioner.removed, one.queue.stats().active) == (["c-0"], 0)
        await alone()

    async def test_a_fault_at_its_diagnostics(self, monkeypatch, caplog):
        one, provisioner, opened, attachment = await begun(monkeypatch)
        session = opened.session
        printed = state(1, to=5, sent=5)
        session.on_attached(hello([printed]))
        provisioner.agents[0].hello["channels"] = [printed]
        # It failed, and this server has nothing of what it printed: that is asked for and searched.
        monkeypatch.setattr(DiagnosticsFinder, "_recall", raises_later)
        evidence = {"main": {"code": 1}}
        provisioner.agents[0].say_state({**printed, "phase": "exited", "end": 5, "evidence": evidence})
        await until(lambda: attachment.close_code == 1011, "the client's close")
        assert faults(caplog)[0] == {"owner": "session", "task": "session-diagnostics", "session": "s-0"}
        await recovered(one, session)
        await one.end_all("evicted")
        assert (provisioner.removed, one.queue.stats().active) == (["c-0"], 0)
        await alone()

    async def test_a_fault_at_giving_back_what_it_had(self, monkeypatch, caplog):
        one, provisioner, opened, attachment = await begun(monkeypatch)
        monkeypatch.setattr(provisioner, "remove", raises_later)
        with pytest.raises(Bug):
            await opened.session.end("client")
        assert (await read_to_end(attachment))[-1] == m.Closed("client")  # the client is told all the same
        assert faults(caplog)[0] == {"owner": "session's end", "task": "session-end", "session": "s-0"}
        # Whatever failed, neither slot nor table keeps it; the container is the sweep's.
        assert (one.sessions, one.queue.stats().active) == ({}, 0)
        await opened.session.container.close()
        await alone()

    async def test_a_fault_at_closing_the_old_link_is_a_failed_attempt(self, monkeypatch, caplog):
        """Regression: it ended the recovery, and the session kept its slot for ever, neither live nor
        over."""
        one, provisioner, opened, attachment = await begun(monkeypatch)
        close, failed = opened.session.container.close, []

        async def fails() -> None:
            if not failed:
                failed.append(True)
                raise Bug
            await close()

        monkeypatch.setattr(opened.session.container, "close", fails)
        await fail(monkeypatch, provisioner, opened.session)
        anew = await recovered(one, opened.session)
        assert attachment.close_code == 1011
        assert one.find(anew.id, opened.token) == (anew, "control")
        assert "recovering a session failed" in caplog.text
        await one.end_all("evicted")
        assert (provisioner.removed, one.queue.stats().active) == (["c-0"], 0)
        await alone()

    async def test_a_fault_at_its_return(self, monkeypatch, caplog):
        one, provisioner, opened, attachment = await begun(monkeypatch)
        monkeypatch.setattr(Recovery, "_adopt", raises_later)
        monkeypatch.setattr(provisioner, "remove", raises_later)
        await fail(monkeypatch, provisioner, opened.session)
        await until(lambda: {"owner": "recovery", "task": "session-return"} in faults(caplog), "the log line")
        assert attachment.close_code == 1011
        assert (one.sessions, one.queue.stats().active) == ({}, 0)
        with pytest.raises(NoSession):
            one.find(opened.session.id, opened.token)
        await alone()


class TestPools:
    async def test_a_fault_at_removing_a_warm_container(self, monkeypatch, caplog):
        _, provisioner = registry()
        create = provisioner.create
        provisioner.create = lambda language, *, priority, wait_for_preload: create(language)
        async with WarmPool(provisioner, floor=1, ceiling=1, memory_available=lambda: 1.0) as pool:
            await until(lambda: pool.waiting == 1, "a container")
            remove = provisioner.remove
            monkeypatch.setattr(provisioner, "remove", raises_later)
            provisioner.containers[0].condemn("for a test")
            assert pool.acquire("python") is None
            await until(lambda: faults(caplog), "the log line")
            assert faults(caplog)[0] == {"owner": "warm pool", "task": "warm-container-removal"}
            monkeypatch.setattr(provisioner, "remove", remove)
            pool.wake()
            await until(lambda: pool.waiting == 1, "another container, all the same")


class Broken(Job):
    """A run at which the server fails."""

    async def _work(self) -> None:
        raise Bug


class TestRuns:
    async def test_a_fault_at_a_run_is_its_callers_error(self, monkeypatch, caplog, tmp_path):
        one, provisioner = registry()
        monkeypatch.setattr("coderunner.jobs.runs.Job", Broken)
        runs = Runs(tmp_path, one, provisioner.catalog, 1 << 30)
        work = runs.begin(RunRequest(language="python", source="print(1)"), CALLER, None)
        await until(lambda: faults(caplog), "the log line")
        assert faults(caplog)[0] == {"owner": "runs", "task": "run"}
        assert work.over
        assert work.error.code == "internal"
        await runs.close()
        await alone()

    async def test_a_run_that_the_disk_does_not_take_is_refused_in_a_sentence(self, caplog, tmp_path):
        one, provisioner = registry()
        runs = Runs(tmp_path / "runs", one, provisioner.catalog, 1 << 30)
        (tmp_path / "runs").touch()  # as a full disk: nothing can be made in it
        for _ in range(2):
            with pytest.raises(SpoolFull, match=r"cannot store runs now \(Not a directory\)") as refused:
                runs.begin(RunRequest(language="python", source="print(1)"), CALLER, "k" * 22)
            assert refused.value.retry_after_ms
        assert caplog.messages == ["a run cannot be stored"] * 2
        assert "Traceback" not in caplog.text
        (tmp_path / "runs").unlink()
        assert not runs.begin(RunRequest(language="python", source="print(1)"), CALLER, "k" * 22).over
        await runs.close()
        await alone()

    @pytest.mark.parametrize("part", ["job.store", "job.Job._pump"])
    async def test_a_disk_that_gets_full_ends_the_run_and_its_session(
        self, monkeypatch, caplog, tmp_path, part
    ):
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        one, provisioner = registry()
        runs = Runs(tmp_path, one, provisioner.catalog, 1 << 30)
        monkeypatch.setattr(f"coderunner.jobs.{part}", full)
        work = runs.begin(RunRequest(language="python", source="print(1)"), CALLER, "k" * 22)
        await until(lambda: work.over, "its end")
        assert (work.error.code, work.error.message) == (
            "spool_full", "the server cannot store runs now (No space left on device)",
        )  # fmt: skip
        await until(lambda: not one.sessions, "the end of its session, whose slot others want")
        assert work.id not in caplog.text
        assert faults(caplog) == []
        await runs.close()
        await alone()
