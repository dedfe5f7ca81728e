"""Guests whose token ends: the session is then as after the loss of a socket."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from coderunner.errors import BadMessage, Superseded, TooManyAttachments
from coderunner.identity.guest import Guest, teacher
from coderunner.identity.principal import TEACHER, Principal
from coderunner.schema import messages as m
from coderunner.sessions import attachments
from coderunner.sessions.deadlines import Deadlines
from coderunner.sessions.outbox import MAX_MESSAGES
from tests.sessions.fakes import told, until
from tests.sessions.test_faults import begun

TINA = Principal("jwt:tina", "Tina", frozenset((TEACHER,)), frozenset(("algebra",)), how="jwt")


def guest(serial: str, **fields) -> Guest:
    return Guest(serial, "s-0", "Bob", "control", "", **fields)


async def test_the_last_one_who_is_sent_away_leaves_a_session_without_clients(monkeypatch):
    one, _, opened, owner = await begun(monkeypatch)
    session = opened.session
    alone: list[float] = []  # when the resume time-out began
    monkeypatch.setattr(Deadlines, "detach", lambda _, now: alone.append(now))
    bob = session.attach("bob", "watch", "control", {}, guest=guest("b", expires=time.time() + 0.05))
    session.detach(owner)
    assert alone == []
    await until(lambda: bob.close_code is not None, "the token's end")
    assert bob.close_code == 4403
    assert len(alone) == 1
    session.detach(bob)  # its socket ends afterwards, and changes nothing any more
    assert len(alone) == 1
    await one.end_all("evicted")


async def test_who_was_replaced_in_a_full_session_is_not_given_the_control(monkeypatch):
    monkeypatch.setattr(attachments, "MAX_ATTACHMENTS", 2)
    one, _, opened, _owner = await begun(monkeypatch)
    session = opened.session
    bob = session.attach("bob", "watch", "control", {}, guest=guest("b"))
    session.handle(bob, m.Take())
    (who,) = [person.who for person in session.company.people() if person.asks]
    session.attach("another-page", "control", "control", {})  # takes the place of who watches
    assert bob.close_code is not None
    with pytest.raises(BadMessage):
        session.handle(next(iter(session.channels.attachments)), m.Answer(who, True))
    await one.end_all("evicted")


async def test_a_full_session_neither_keeps_a_teacher_out_nor_pushes_one_out(monkeypatch):
    monkeypatch.setattr(attachments, "MAX_ATTACHMENTS", 3)
    one, _, opened, owner = await begun(monkeypatch)
    session = opened.session
    crowd = [session.attach(f"page-{number}", "watch", "control", {}) for number in range(2)]
    tina = session.attach("tina", "watch", "control", {}, guest=guest("", room="algebra"))
    assert [page.close_code for page in crowd] == [4429, None]
    with pytest.raises(TooManyAttachments):
        session.attach("one-more", "watch", "control", {})
    again = session.attach("the-owner", "control", "control", {})  # in place of who is no teacher
    assert (crowd[1].close_code, tina.close_code, owner.close_code) == (4429, None, None)
    olga = session.attach("olga", "watch", "watch", {}, operator=True)
    assert (owner.close_code, tina.close_code, again.close_code, olga.close_code) == (4429, None, None, None)
    session.attach("elsewhere", "control", "control", {})  # the owner always gets in
    assert (tina.close_code, again.close_code, olga.close_code) == (4429, None, None)
    await one.end_all("evicted")


async def test_however_often_others_change_what_is_so_a_client_is_told_how_it_is(monkeypatch):
    """A client that reads nothing for a moment was cut off with 1011, and each was sent all that had been."""
    one, _, opened, owner = await begun(monkeypatch)
    session = opened.session
    pages = [session.attach(f"page-{number}", "watch", "control", {}) for number in range(3)]
    session.attach("bob", "watch", "watch", {}, guest=guest("b"))
    for number in range(2 * MAX_MESSAGES):
        session.handle(pages[number % 2], m.Take())
    assert (owner.close_code, pages[2].close_code) == (None, None)
    (people,) = told(pages[2], m.People)
    roles = {person.who: person.role for person in people.people}
    assert list(roles.values()).count("control") == 1
    assert len(roles) == 5
    await one.end_all("evicted")


async def test_a_teachers_word_is_seen(monkeypatch):
    one, _, opened, owner = await begun(monkeypatch)
    session = opened.session
    tina = session.attach("tina", "watch", "control", {}, guest=teacher(session.id, TINA, "algebra"))
    for word in ("", " \n", "\u200b", "\u2066\u2069", "\x1b"):
        with pytest.raises(BadMessage):
            session.handle(tina, m.Take(word))
    session.handle(tina, m.Take(" look:\n\u202eline\x1b[2J 3"))
    [said] = [one.message for one in told(owner, m.Notice) if one.code == "taken_over"]
    assert said == "Tina, a teacher of algebra, has taken over: look: line[2J 3"
    await one.end_all("evicted")


async def test_a_teacher_who_comes_again_is_the_same_and_another_of_its_name_is_not(monkeypatch):
    one, _, opened, _ = await begun(monkeypatch)
    session = opened.session
    first, second, other = (
        session.attach("page", "watch", "control", {}, guest=teacher(session.id, who, "algebra"))
        for who in (TINA, replace(TINA, until=time.time() + 60), replace(TINA, subject="jwt:theo"))
    )
    assert first.close_code == Superseded.close
    assert (second.close_code, other.close_code) == (None, None)
    await one.end_all("evicted")


async def test_the_operator_ends_no_attachment_of_the_same_client(monkeypatch):
    one, _, opened, owner = await begun(monkeypatch)
    opened.session.attach(owner.client, "watch", "watch", {}, operator=True)
    assert owner.close_code is None
    await one.end_all("evicted")
