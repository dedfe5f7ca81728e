"""A room's wall: which sessions it shows to whom, only what changes, and that their users know who looks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coderunner.errors import NotAllowed
from coderunner.fleet.wall import Wall
from coderunner.identity.principal import ADMIN, TEACHER, USER, Principal
from coderunner.schema import messages as m
from coderunner.schema.rooms import Tiles
from tests.fleet.test_registry import CALLER, OPEN, registry
from tests.sessions.fakes import told
from tests.sessions.test_faults import fail, recovered


def person(name: str, *rooms: str, role: str = USER) -> Principal:
    return Principal(f"jwt:{name}", name.title(), frozenset((USER, role)), frozenset(rooms), how="jwt")


NOTHING = Tiles((), ())
TINA = person("tina", "algebra", role=TEACHER)


async def opened(one, name: str, *rooms: str):
    """A session of a principal with an attached client: (session, attachment)."""
    who = person(name, *rooms)
    caller = replace(CALLER, principal=who.subject, who=who)
    session = (await one.open(m.Open(OPEN.language, name.ljust(22, "-")), caller).done).session
    return session, session.attach(name, "control", "control", {})


def notices(attachment) -> list[str]:
    return [f"{one.code}: {one.message}" for one in told(attachment, m.Notice)]


def test_who_may_not_is_told_nothing_of_the_room():
    one, _ = registry(4)
    strangers = (
        person("anna", "algebra"),  # a student of the room
        person("theo", "botany", role=TEACHER),  # a teacher of another one
        person("ulf", role=TEACHER),
        replace(TINA, scopes=frozenset(("metrics",))),
    )
    refusals = set()
    for stranger in strangers:
        for room in ("algebra", "no-such-room"):
            with pytest.raises(NotAllowed) as refused:
                Wall(one, stranger, room)
            refusals.add(str(refused.value))
    assert len(refusals) == 1


async def test_only_the_rooms_sessions_are_shown_and_only_what_has_changed():
    one, _ = registry(4)
    anna, page = await opened(one, "anna", "algebra")
    await opened(one, "bert", "botany")
    wall = Wall(one, TINA, "algebra")
    [tile] = wall.changes().tiles
    assert (tile.session, tile.name, tile.owner, tile.state, tile.text) == (
        anna.id, "Anna", "jwt:anna", "idle", "",
    )  # fmt: skip
    assert wall.changes() == NOTHING
    anna.handle(page, m.Run(1, "pipe", (m.File("main.py", b"x"),)))
    anna.channels.on_output(1, 1, 0, b"first\r\n\x1b[31msecond\r\n")
    [tile] = wall.changes().tiles
    assert (tile.state, tile.text) == ("running", "first\nsecond")
    assert wall.changes() == NOTHING
    anna.channels.on_output(1, 1, 20, b"\x1b[0m")
    assert wall.changes() == NOTHING  # there is output, and nothing else to be seen
    anna.handle(page, m.RaiseHand(True))
    assert [tile.hand for tile in wall.changes().tiles] == [anna.hand.since]
    anna.hand.lower()
    assert [tile.hand for tile in wall.changes().tiles] == [None]
    anna.detach(page)
    assert [tile.state for tile in wall.changes().tiles] == ["away"]
    await anna.end("client")
    assert wall.changes() == Tiles((), (anna.id,))
    wall.close()
    await one.end_all("evicted")


async def test_a_raised_hand_is_seen_however_many_sessions_there_are(monkeypatch):
    monkeypatch.setattr("coderunner.fleet.wall.MAX_TILES", 2)
    one, _ = registry(4)
    people = [await opened(one, name, "algebra") for name in ("anna", "bert", "carl", "dora")]
    (anna, _), (bert, _), (carl, page), _ = people
    wall = Wall(one, TINA, "algebra")
    assert {tile.session for tile in wall.changes().tiles} == {anna.id, bert.id}
    carl.handle(page, m.RaiseHand(True))
    told_now = wall.changes()
    assert [(tile.session, tile.hand) for tile in told_now.tiles] == [(carl.id, carl.hand.since)]
    assert told_now.gone == (bert.id,)
    assert notices(page) == ["watched: watched by Tina, a teacher of algebra"]
    carl.hand.lower()
    told_now = wall.changes()
    assert [tile.session for tile in told_now.tiles] == [bert.id]
    assert told_now.gone == (carl.id,)
    wall.close()
    await one.end_all("evicted")


async def test_their_users_know_who_looks_also_after_a_fault(monkeypatch):
    monkeypatch.setattr("coderunner.fleet.recovery.PAUSE_SECONDS", 0.01)
    one, provisioner = registry(4)
    anna, page = await opened(one, "anna", "algebra")
    wall, second = Wall(one, TINA, "algebra"), Wall(one, TINA, "algebra")
    operators = Wall(one, ADMIN, "algebra")
    for each in (wall, second):
        each.changes()
    assert notices(page) == ["watched: watched by Tina, a teacher of algebra"]
    operators.changes()
    assert notices(page)[-1] == "watched: watched by Tina, a teacher of algebra; the operator"
    operators.close()
    later = anna.attach("later", "watch", "control", {})
    assert notices(later) == ["watched: watched by Tina, a teacher of algebra"]
    await fail(monkeypatch, provisioner, anna)
    anew = await recovered(one, anna)
    again = anew.attach("anna", "control", "control", {})
    for each in (wall, second):
        assert [tile.session for tile in each.changes().tiles] == [anew.id]
    assert notices(again) == ["watched: watched by Tina, a teacher of algebra"]
    second.close()
    assert len(notices(again)) == 1
    wall.close()
    assert notices(again)[-1] == "unwatched: Tina, a teacher of algebra watches no longer"
    await one.end_all("evicted")
