"""What all sessions together may make the server hold: who holds most pays, and nobody else."""

from __future__ import annotations

import configparser
import contextlib

import pytest

from coderunner.errors import FilesBusy
from coderunner.fleet.budget import BUDGET
from coderunner.fleet.registry import Registry
from coderunner.schema import messages as m
from coderunner.schema.settings import SETTINGS
from coderunner.sessions.attachment import Attachment
from coderunner.sessions.holdings import CACHE_BYTES
from coderunner.sessions.session import Session
from coderunner.wire import flow
from tests.fleet.test_registry import CALLER, registry
from tests.harness import ROOT
from tests.sessions.fakes import hello, state, told, until

MIB = 1024 * 1024
CHANNELS = 4  # live ones; four more may be begun


class Tenant:
    """A session with a client that controls it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.client: Attachment = session.attach("c" * 22, "control", "control", {})
        session.on_attached(hello([state(number) for number in range(CHANNELS)]))
        self.at = dict.fromkeys(range(CHANNELS), 0)

    def prints(self, size: int) -> None:
        """Output, of which the server keeps a copy."""
        for number in self.at:
            self.session.on_output(number, 1, self.at[number], bytes(size // CHANNELS))
            self.at[number] += size // CHANNELS

    def sends(self, size: int, channel: int) -> None:
        """Files that are under way: the agent has not answered yet.  Raises FilesBusy."""
        files = tuple(m.File(f"{number}.py", bytes(60_000)) for number in range(size // 60_000))
        self.session.handle(self.client, m.Run(channel, "pipe", files=files, entry="0.py"))

    @property
    def held(self) -> int:
        return self.session.container.holdings.held

    def told(self) -> list[str]:
        return [one.message for one in told(self.client, m.Notice)]


@contextlib.asynccontextmanager
async def tenants(count: int, limit: int):
    one, _ = registry(slots=count)
    one.budget.limit = limit
    found = []
    for number in range(count):
        opened = await one.open(m.Open("python", f"{number:022}", nonce=f"{number:022}"), CALLER).done
        found.append(Tenant(opened.session))
    one.budget.look()  # as every half second: at what grows without asking
    try:
        yield one, found
    finally:
        await one.end_all("evicted")


def assert_lives(one: Registry, tenant: Tenant) -> None:
    assert not tenant.session.over
    assert tenant.client.close_code is None
    assert tenant.told() == []
    assert one.sessions[tenant.session.id] is tenant.session


async def test_caches_of_whoever_has_most_go_first_and_nobody_is_ended():
    async with tenants(4, MIB * 3 // 2) as (one, (greedy, *others)):
        for other in others:
            other.prints(MIB // 8)
        before = [other.session.container.holdings.cached for other in others]
        assert min(before) >= MIB // 8
        had = 0
        for _ in range(16):
            greedy.prints(MIB // 8)
            assert one.budget.held <= MIB * 3 // 2
            had = max(had, greedy.session.container.holdings.cached)
        assert had > max(before)
        assert [other.session.container.holdings.cached for other in others] == before
        for tenant in (greedy, *others):
            assert_lives(one, tenant)


async def test_who_holds_most_is_refused_and_others_get_what_they_ask_for():
    async with tenants(3, 3 * MIB) as (one, (greedy, *others)):
        refused = 0
        for number in range(100, 104):
            try:
                greedy.sends(900_000, number)
            except FilesBusy:
                refused += 1
        assert 0 < refused < 4
        assert one.budget.held <= 3 * MIB
        assert not greedy.session.over
        others[0].sends(840_000, 100)  # it needs room: who holds most is ended for it, and told why
        assert greedy.session.over
        assert "more than any other session" in greedy.told()[0]
        await until(lambda: greedy.session.id not in one.sessions, "its end")
        for other in others:
            assert_lives(one, other)
        assert one.budget.held <= 3 * MIB


async def test_what_grows_without_asking_is_looked_at():
    """Messages for clients that read nothing, below the bound of each session."""
    async with tenants(3, 3 * MIB) as (one, (greedy, *others)):
        for number in range(20):
            greedy.session.attach(f"w{number:021}", "watch", "control", {})
        for _ in range(150):
            greedy.session.channels.attachments.broadcast(m.Notice("x", "y" * 300))
            while greedy.client.at_hand() is not None:
                pass
        assert greedy.held > 3 * MIB
        one.budget.look()
        assert greedy.session.over
        for other in others:
            assert_lives(one, other)


async def test_room_is_counted_anew_when_somebody_goes():
    async with tenants(2, 3 * MIB) as (_, (first, second)):
        with pytest.raises(FilesBusy):
            for number in range(100, 104):
                first.sends(900_000, number)
        await first.session.end("client")
        second.sends(900_000, 100)
        assert not second.session.over


def test_the_unit_gives_the_server_what_the_bounds_add_up_to():
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(ROOT / "deploy/coderunner.service")
    most = unit["Service"]["MemoryMax"]
    assert most.endswith("G")
    setting = next(one for one in SETTINGS if one.name == "BUFFER_MEMORY")
    assert setting.parse(setting.default) == BUDGET
    assert float(most[:-1]) * 1024 * MIB >= BUDGET * 3 / 2 + 400 * MIB
    assert CACHE_BYTES * 50 < BUDGET


def test_windows_of_one_session_fit():
    assert CHANNELS * flow.WINDOW < CACHE_BYTES
