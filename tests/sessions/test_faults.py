"""Failures of this server's own tasks: each is logged with its owner and ends only that owner. A session ends
only if it happens repeatedly."""

from __future__ import annotations

import asyncio
import json
import logging
import os

import pytest

from coderunner import timing
from coderunner.errors import EngineTimeout, InternalError
from coderunner.fleet.recovery import Recovery
from coderunner.fleet.registry import Registry
from coderunner.schema import calls
from coderunner.schema import messages as m
from coderunner.sessions.channels import Channels
from coderunner.sessions.container import Container
from coderunner.sessions.link import AgentLink
from coderunner.sessions.session import Session
from coderunner.sessions.timekeeper import TimeKeeper
from coderunner.wire import frames
from tests.fleet.test_registry import CALLER, OPEN, adopted, registry
from tests.sessions.fakes import CLIENT, Agent, Engine, World, hello, read_to_end, state, turns, until


class Bug(LookupError):
    """A bug of this server, made by a test."""


def raises(*_: object, **__: object) -> None:
    raise Bug


def once(monkeypatch: pytest.MonkeyPatch, kind: object, name: str) -> None:
    """Makes the first call fail; later ones are unchanged."""
    real, failed = getattr(kind, name), []

    def fails(*given: object, **named: object) -> object:
        if not failed:
            failed.append(True)
            raise Bug
        return real(*given, **named)

    monkeypatch.setattr(kind, name, fails)


async def raises_later(*_: object, **__: object) -> None:
    await asyncio.sleep(0)
    raise Bug


def output(one: Agent) -> None:
    one.say(frames.OUTPUT, b"x", channel=1, stream=1)


def told_state(one: Agent) -> None:
    one.say_state(state(1, to=1, sent=1))


# Where it fails -> what makes it run.
LISTENER = [
    (Channels, "on_output", output),
    (Channels, "on_state", told_state),
    (Channels, "on_in_ack", lambda one: one.say(frames.IN_ACK, channel=1, offset=0)),
    (Session, "on_workspace", lambda one: one.say(frames.WORKSPACE, offset=5)),
    (
        Session,
        "on_artifact",
        lambda one: one.say(frames.ARTIFACT, json.dumps({"path": "a.png", "size": 1}).encode(), channel=1),
    ),
]


async def begun(monkeypatch: pytest.MonkeyPatch):
    """(registry, provisioner, its opened session, an attachment)"""
    monkeypatch.setattr("coderunner.fleet.recovery.PAUSE_SECONDS", 0.01)
    one, provisioner = registry()
    opened = await one.open(OPEN, CALLER).done
    attachment = opened.session.attach(CLIENT, "control", "control", {})
    return one, provisioner, opened, attachment


def faults(caplog: pytest.LogCaptureFixture) -> list[dict]:
    return [
        record.fields for record in caplog.records
        if record.levelno >= logging.ERROR and hasattr(record, "fields") and "owner" in record.fields
    ]  # fmt: skip


async def fail(monkeypatch: pytest.MonkeyPatch, provisioner, session: Session) -> None:
    """Makes the server fail at a message of the session's agent; returns when the session has been
    dropped."""
    once(monkeypatch, Session, "on_workspace")
    provisioner.agents[0].say(frames.WORKSPACE, offset=session.revision + 1)
    await until(lambda: session.over, "the fault")


async def recovered(one, old: Session) -> Session:
    await until(lambda: one.sessions.get(old.id) not in (None, old), "the session, adopted anew")
    return one.sessions[old.id]


class TestASessionSurvives:
    @pytest.mark.parametrize(("kind", "name", "act"), LISTENER, ids=lambda x: getattr(x, "__name__", str(x)))
    async def test_a_fault_at_what_the_agent_tells(self, monkeypatch, caplog, kind, name, act):
        one, provisioner, opened, attachment = await begun(monkeypatch)
        agent = provisioner.agents[0]
        opened.session.on_attached(hello([state(1)]))
        agent.hello["channels"] = [state(1, to=1)]
        once(monkeypatch, kind, name)
        act(agent)
        await until(lambda: attachment.close_code is not None, "the client's close")
        assert attachment.close_code == 1011
        anew = await recovered(one, opened.session)
        assert faults(caplog)[0]["owner"] == "agent link"
        # The container, its token and its slot are as they were.
        assert provisioner.removed == []
        assert one.queue.stats().active == 1
        assert one.find(anew.id, opened.token) == (anew, "control")
        assert 1 in anew.channels
        again = anew.attach(CLIENT, "control", "control", {})
        output(agent)
        await until(lambda: anew.channels[1].cache.end == 2 or anew.channels[1].cache.end == 1, "output")
        assert again.close_code is None
        await one.end_all("evicted")
        assert provisioner.removed == ["c-0"]
        assert one.queue.stats().active == 0

    @pytest.mark.parametrize("error", [Bug, EngineTimeout], ids=lambda error: error.__name__)
    async def test_what_a_listener_raises_is_never_taken_for_the_streams_end(
        self, monkeypatch, caplog, error
    ):
        def fails(*_: object) -> None:
            raise error("of a listener")

        world = await World(Agent()).begin()
        world.session.on_attached(hello([state(1)]))
        monkeypatch.setattr(Channels, "on_output", fails)
        output(world.agent)
        await until(lambda: faults(caplog), "the log line")
        assert faults(caplog)[0] == {"owner": "agent link", "task": "agent-read"}
        await until(lambda: world.faults == 1, "the session, told that it is our fault")
        assert world.ended == []

    @pytest.mark.parametrize("name", ["_write", "_beat"])
    async def test_a_fault_of_the_link(self, monkeypatch, caplog, name):
        monkeypatch.setattr("coderunner.wire.flow.BEAT_SECONDS", 0.01)
        one, provisioner, opened, _ = await begun(monkeypatch)
        link = opened.session.container.link
        if name == "_beat":
            once(monkeypatch, AgentLink, "_frame")
            await until(lambda: link.closed.done(), "the link's end")
        else:
            with monkeypatch.context() as patched:
                patched.setattr(provisioner.agents[0].stream, "write", raises_later)
                link.cast(calls.Folder(path="x" * 70_000))
                await until(lambda: link.closed.done(), "the link's end")
        await recovered(one, opened.session)
        assert faults(caplog)[0]["owner"] == "agent link"
        assert provisioner.removed == []
        await one.end_all("evicted")

    async def test_a_fault_while_mending(self, monkeypatch, caplog):
        """Regression: it ended the keeper silently, and the session was neither reachable nor lost."""
        one, provisioner, opened, attachment = await begun(monkeypatch)
        once(monkeypatch, Session, "have")
        provisioner.agents[0].stream.cut()
        await until(lambda: attachment.close_code is not None, "the client's close")
        await recovered(one, opened.session)
        assert faults(caplog)[0] == {"owner": "container", "task": "container-link", "session": "s-0"}
        assert provisioner.removed == []
        await one.end_all("evicted")

    @pytest.mark.parametrize("name", ["_due", "_warn"])
    async def test_a_fault_at_its_deadlines(self, monkeypatch, caplog, name):
        """Regression: it left a session without any deadline."""
        one, _, opened, attachment = await begun(monkeypatch)
        once(monkeypatch, TimeKeeper, name)
        if name == "_warn":
            monkeypatch.setattr("coderunner.sessions.deadlines.WARNING_SECONDS", 10**9)
        opened.session.attach("w" * 22, "watch", "control", {})  # with which it looks at its deadlines
        await until(lambda: attachment.close_code == 1011, "the client's close")
        anew = await recovered(one, opened.session)
        assert faults(caplog)[0]["owner"] == "session"
        assert faults(caplog)[0]["task"] == "session-time"
        now = timing.now
        monkeypatch.setattr(timing, "now", lambda: now() + 10**9)
        anew.attach("w" * 22, "watch", "control", {})
        await until(lambda: not one.sessions, "its deadline, in force again")

    @pytest.mark.parametrize("what", ["run", "kill"])
    async def test_a_fault_at_what_a_client_asked(self, monkeypatch, caplog, what):
        one, provisioner, opened, attachment = await begun(monkeypatch)
        opened.session.on_attached(hello([state(2)]))
        agent = provisioner.agents[0]
        agent.hello["channels"] = [state(2)]
        agent.answers["run"] = lambda body: {"state": state(body["channel"])}
        if what == "run":
            once(monkeypatch, Channels, "_keep_only")
            opened.session.handle(attachment, m.Run(1, "pipe", entry="main.py"))
        else:
            once(monkeypatch, type(opened.session.container.changed), "wait")
            opened.session.handle(attachment, m.Kill(2))
        await until(lambda: attachment.close_code == 1011, "the client's close")
        await recovered(one, opened.session)
        assert faults(caplog)[0]["owner"] == "session"
        await one.end_all("evicted")

    async def test_while_it_is_recovered_its_clients_are_told_to_come_again(self, monkeypatch):
        one, provisioner, opened, _ = await begun(monkeypatch)
        provisioner.engine.away = True
        attach = asyncio.Event()
        real = provisioner.engine.attach

        async def slowly(container: str):
            await attach.wait()
            return await real(container)

        monkeypatch.setattr(provisioner.engine, "attach", slowly)
        provisioner.engine.away = False
        await fail(monkeypatch, provisioner, opened.session)
        for ask in (lambda: one.find(opened.session.id, opened.token), lambda: one.open(OPEN, CALLER)):
            with pytest.raises(InternalError) as told:
                ask()
            assert told.value.retryable
            assert told.value.retry_after_ms
        attach.set()
        anew = await recovered(one, opened.session)
        # The nonce of its opening means the session that there is now.
        again = await one.open(OPEN, CALLER).done
        assert again.session is anew
        await one.end_all("evicted")

    async def test_a_recovery_leaves_nothing_behind(self, monkeypatch):
        one, provisioner, opened, _ = await begun(monkeypatch)
        await turns()
        tasks, files = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
        await fail(monkeypatch, provisioner, opened.session)
        anew = await recovered(one, opened.session)
        await until(lambda: len(asyncio.all_tasks()) == tasks, "as many tasks as before")
        assert len(os.listdir("/proc/self/fd")) == files
        assert anew.container.holdings is not opened.session.container.holdings
        await one.end_all("evicted")
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()}, "no task left")


class TestItsEnd:
    async def test_three_faults_in_a_minute_end_it_with_its_reason(self, monkeypatch, caplog):
        one, provisioner, opened, _ = await begun(monkeypatch)
        session = opened.session
        for _ in range(2):
            await fail(monkeypatch, provisioner, session)
            session = await recovered(one, session)
        attachment = session.attach(CLIENT, "control", "control", {})
        await fail(monkeypatch, provisioner, session)
        await until(lambda: provisioner.removed == ["c-0"], "the container removed")
        assert (await read_to_end(attachment))[-1] == m.Closed("engine_lost")
        assert one.queue.stats().active == 0
        assert one.sessions == {}
        assert "too many faults of this server" in caplog.text

    async def test_a_recovery_that_fails_again_and_again_ends_it(self, monkeypatch, caplog):
        one, provisioner, opened, _ = await begun(monkeypatch)
        monkeypatch.setattr(Recovery, "_adopt", raises_later)
        await fail(monkeypatch, provisioner, opened.session)
        await until(lambda: provisioner.removed == ["c-0"], "the container removed")
        assert caplog.text.count("recovering a session failed") == 2
        assert one.queue.stats().active == 0

    async def test_a_container_that_is_gone_meanwhile_is_lost(self, monkeypatch):
        one, provisioner, opened, _ = await begun(monkeypatch)
        provisioner.agents[0].hello = "nonsense"
        await fail(monkeypatch, provisioner, opened.session)
        await until(lambda: provisioner.removed == ["c-0"], "the container removed")
        assert one.queue.stats().active == 0

    @pytest.mark.parametrize("how", ["suspend", "end_all"])
    async def test_a_server_that_stops_in_a_recovery(self, monkeypatch, how):
        one, provisioner, opened, _ = await begun(monkeypatch)
        asked = asyncio.Event()

        async def never(_: str) -> None:
            asked.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(provisioner.engine, "attach", never)
        await fail(monkeypatch, provisioner, opened.session)
        await asked.wait()
        await (one.suspend() if how == "suspend" else one.end_all("evicted"))
        assert provisioner.removed == ([] if how == "suspend" else ["c-0"])
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()}, "no task left")

    async def test_a_fault_at_the_end_gives_everything_back(self, monkeypatch, caplog):
        one, provisioner, opened, _ = await begun(monkeypatch)
        monkeypatch.setattr(Channels, "lose", raises)
        await opened.session.end("client")
        assert provisioner.removed == ["c-0"]
        assert one.queue.stats().active == 0
        assert "ending a session" in caplog.text


class TestAdoption:
    """When the server begins."""

    async def adopted(self, monkeypatch, fails: object) -> tuple:
        monkeypatch.setattr("coderunner.fleet.sweep.FAULT_PAUSE_SECONDS", 0.01)
        one, provisioner, opened, _ = await begun(monkeypatch)
        await one.suspend()
        after, _ = registry()
        fails(monkeypatch, type(after), "_register")
        return after, provisioner, opened, await adopted(after, provisioner, b"k", "c-0", "s-0")

    async def test_a_fault_while_adopting_ends_nothing(self, monkeypatch, caplog):
        after, provisioner, opened, why = await self.adopted(monkeypatch, once)
        assert why is None
        assert "a fault of this server" in caplog.text
        assert after.find("s-0", opened.token)[1] == "control"
        assert after.queue.stats().active == 1
        assert provisioner.known == {"c-0"}
        await after.end_all("evicted")

    async def test_again_and_again_it_says_so_and_gives_all_back(self, monkeypatch):
        after, provisioner, _, why = await self.adopted(
            monkeypatch, lambda patch, kind, name: patch.setattr(kind, name, raises)
        )
        assert why == "this server failed 3 times to adopt it"
        assert after.queue.stats().active == 0
        assert provisioner.known == set()
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()}, "no task left")


class TestOthers:
    async def test_an_opening_that_fails_gives_everything_back(self, monkeypatch, caplog):
        monkeypatch.setattr(Registry, "_register", raises)
        one, provisioner = registry()
        with pytest.raises(Bug):
            await one.open(OPEN, CALLER).done
        assert faults(caplog)[0] == {"owner": "registry", "task": "opening"}
        assert provisioner.removed == ["c-0"]
        assert one.queue.stats().active == 0

    async def test_the_agents_fault_is_never_ours_nor_ours_the_agents(self, caplog):
        world = await World(Agent()).begin()
        world.session.on_attached(hello([state(1)]))
        world.agent.say_state({**state(1), "phase": "asleep"})
        await until(lambda: world.ended == ["engine_lost"], "the session's end")
        assert world.faults == 0
        assert faults(caplog) == []

    async def test_a_fault_in_the_greeting_is_no_silence(self, monkeypatch):
        monkeypatch.setattr("coderunner.schema.reports.read_hello", raises)
        container = Container(Engine(Agent()), "container-0", session="s", language="python", uid=1)
        with pytest.raises(RuntimeError, match="a fault of this server"):
            await container.connect(start=True)
        await container.close()
