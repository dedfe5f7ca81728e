"""The way into a session, and out of all of them: who owns what, when sockets and servers go."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from coderunner import declarations
from coderunner.core.admission import Admission
from coderunner.errors import Draining, StartFailed
from coderunner.fleet.catalog import READY, LanguageCatalog, Readiness
from coderunner.fleet.provision import Identity
from coderunner.fleet.queue import AdmissionQueue
from coderunner.fleet.registry import Caller, Registry
from coderunner.fleet.sweep import adopt_all
from coderunner.fleet.uids import Uids
from coderunner.schema import messages as m
from coderunner.schema.limits import Limits
from coderunner.sessions.container import Container
from coderunner.sessions.deadlines import ResumeTimeouts
from coderunner.sessions.session import Rules
from coderunner.sessions.specs import ProjectRules
from coderunner.tasks import Tasks
from tests.sessions.fakes import CLIENT, Agent, Engine, until

NONCE = "n" * 22
OPEN = m.Open("python", CLIENT, nonce=NONCE)
CALLER = Caller("127.0.0.1")


IDENTITY = Identity("i", "o", "coderunner", None, lifetime_ms=1000, create_seconds=5)


class Provisioner:
    """Containers of the fake engine.  ``agents`` are theirs, ``removed`` the ones that were given back."""

    def __init__(self, declared: declarations.Declarations) -> None:
        self.catalog = LanguageCatalog(declared.languages, declared.rules.defaults)
        self.catalog.set_state("python", Readiness(READY, "", "image"))
        self.engine = Engine()
        self.agents: list[Agent] = []
        self.containers: list[Container] = []
        self.answers_seal = True
        self.removed: list[str] = []
        self.arriving: dict[str, str] = {}
        self.known: set[str] = set()
        self.identity = IDENTITY
        self.uids = Uids(1, 8)
        self.sockets = None
        self._numbers = itertools.count()

    async def create(self, language: str) -> Container:
        number = next(self._numbers)
        one = Agent()
        if not self.answers_seal:
            del one.answers["seal"]
        self.agents.append(one)
        self.engine.agents[f"c-{number}"] = one
        container = Container(self.engine, f"c-{number}", session=f"s-{number}", language=language, uid=1)
        await container.connect(start=True)
        self.containers.append(container)
        return container

    def can_change(self, language: str) -> bool:
        return True

    def memory(self, language: str, limits: Limits) -> int:
        return limits.container_bytes

    async def remove(self, container: Container) -> None:
        await container.close()
        self.removed.append(container.id)


class NoWarmth:
    def acquire(self, language: str) -> None:
        return None


def registry(slots: int = 1) -> tuple[Registry, Provisioner]:
    declared = declarations.load(only=["python"])
    provisioner = Provisioner(declared)
    rules = Rules(declared.rules, ProjectRules(16, 65536), ResumeTimeouts(60, 900))
    queue = AdmissionQueue(Admission(slots, 8))
    return Registry(provisioner, NoWarmth(), queue, rules, key=b"k", queue_timeout=60), provisioner


async def adopted(
    one: Registry, provisioner: Provisioner, key: bytes, container: str, session: str
) -> str | None:
    """As a server adopts the only container that it finds when it begins: None, or the reason why not."""
    labels = {"session": session, "language": "python", "uid": "1", "owner": IDENTITY.owner}
    provisioner.engine.listed = [
        SimpleNamespace(
            id=container, name=container, running=True, paused=False, status="running", created=0.0,
            labels={f"coderunner.{name}": value for name, value in labels.items()},
        )
    ]  # fmt: skip
    async with Tasks("server") as tasks:
        adoption = await adopt_all(provisioner.engine, one, provisioner, key, tasks)
        if adoption.late:
            why = await adoption.late[0][1]
        else:
            why = adoption.refused[0][1] if adoption.refused else None
    assert provisioner.arriving == {}
    return why


class TestPlace:
    async def test_a_socket_that_is_found_dead_late_takes_nothing_from_its_successor(self, monkeypatch):
        """The client comes back before the server notices that its old connection broke."""
        monkeypatch.setattr("coderunner.fleet.opening.HOLD_SECONDS", 0.01)
        one, _ = registry()
        first = one.open(m.Open("python", "x" * 22), CALLER)
        await first.done
        old, new = [], []
        opening = one.open(OPEN, CALLER)
        old_socket, new_socket = old.append, new.append
        opening.claim(old_socket)
        await until(lambda: old, "the place in the queue")
        assert one.open(OPEN, CALLER) is opening
        opening.claim(new_socket)
        opening.abandon(old_socket, hold=True)
        later = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.03, later.set_result, None)
        await later
        assert not opening.done.done()
        await first.done.result().session.end("client")
        assert (await opening.done).session.id == "s-1"
        await one.end_all("evicted")

    async def test_a_place_that_nobody_comes_back_for_is_given_up(self, monkeypatch):
        monkeypatch.setattr("coderunner.fleet.opening.HOLD_SECONDS", 0.01)
        one, _ = registry()
        first = one.open(m.Open("python", "x" * 22), CALLER)
        await first.done
        told = []
        opening = one.open(OPEN, CALLER)
        opening.claim(told.append)
        opening.abandon(told.append, hold=True)
        await until(lambda: opening.done.cancelled(), "the place given up")
        assert one.queue.stats().queued == 0
        await one.end_all("evicted")

    async def test_a_session_whose_token_nobody_got_ends(self, monkeypatch):
        monkeypatch.setattr("coderunner.fleet.opening.HOLD_SECONDS", 0.01)
        one, provisioner = registry()
        told = []
        opening = one.open(OPEN, CALLER)
        opening.claim(told.append)
        await opening.done
        opening.abandon(told.append, hold=True)
        await until(lambda: provisioner.removed == ["c-0"], "the container removed")
        assert one.queue.stats().active == 0

    async def test_an_open_that_is_repeated_while_its_container_is_silent_gives_one_session(self):
        """The server before had opened it; its container answers the next server only now."""
        before, _ = registry()
        old = (await before.open(OPEN, CALLER).done).session
        await before.suspend()
        after, _ = registry(slots=2)
        new = (await after.open(OPEN, CALLER).done).session
        with pytest.raises(StartFailed, match="repeated"):  # so the container is removed
            after.adopt(old.container, old.record)
        assert list(after.sessions.values()) == [new]
        assert after.queue.stats().active == 1
        another = replace(old.record, nonce="o" * 22)
        assert after.adopt(old.container, another).id in after.sessions
        await after.end_all("evicted")


class TestStopping:
    @pytest.mark.parametrize("how", ["suspend", "end_all"])
    async def test_an_opening_on_its_way_leaves_no_container(self, how):
        one, provisioner = registry()
        provisioner.answers_seal = False
        opening = one.open(OPEN, CALLER)
        await until(lambda: provisioner.agents and provisioner.agents[0].ops("seal"), "the sealing")
        await (one.suspend() if how == "suspend" else one.end_all("evicted"))
        with contextlib.suppress(asyncio.CancelledError):
            await opening.done
        assert opening.done.cancelled()
        assert provisioner.removed == ["c-0"]
        assert one.sessions == {}
        assert one.queue.stats().active == 0

    async def test_who_comes_back_too_early_is_not_told_that_the_session_is_over(self):
        one, provisioner = registry()
        opened = await one.open(OPEN, CALLER).done
        await one.suspend()
        with pytest.raises(Draining):
            one.find(opened.session.id, opened.token)
        assert provisioner.removed == []
