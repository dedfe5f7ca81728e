"""The raised hand: who may raise and lower it, and who is notified."""

from __future__ import annotations

import pytest

from coderunner.errors import NotControl, Unsupported
from coderunner.identity.guest import Guest, teacher
from coderunner.schema import messages as m
from tests.fleet.test_registry import registry
from tests.fleet.test_wall import TINA, opened
from tests.sessions.fakes import told


def hands(attachment) -> list[bool]:
    return [one.up for one in told(attachment, m.Hand)]


async def test_the_owner_raises_it_and_a_teacher_lowers_it_too():
    one, _ = registry(4)
    session, page = await opened(one, "anna", "algebra")
    other = session.attach("other", "watch", "control", {})
    tina = session.attach("tina", "watch", "control", {}, guest=teacher(session.id, TINA, "algebra"))
    assert hands(other) == [False]  # with `attached`: there is a hand to raise
    session.handle(other, m.RaiseHand(True))
    session.handle(page, m.RaiseHand(True))
    assert hands(other) == [False, True]
    assert hands(tina)[-1] is True
    assert session.hand.since is not None
    later = session.attach("later", "watch", "control", {})
    assert hands(later) == [True]
    session.handle(tina, m.RaiseHand(False))
    assert hands(page)[-1] is False
    assert session.hand.since is None
    session.handle(page, m.RaiseHand(True))
    session.hand.lower()
    assert hands(page)[-1] is False
    await one.end_all("evicted")


async def test_nobody_else_does_and_nobody_in_a_session_without_a_room():
    one, _ = registry(4)
    session, _page = await opened(one, "anna", "algebra")
    tina = session.attach("tina", "watch", "control", {}, guest=teacher(session.id, TINA, "algebra"))
    bob = session.attach("bob", "watch", "control", {}, guest=Guest("b", session.id, "Bob", "control", ""))
    operator = session.attach("olga", "watch", "watch", {}, operator=True)
    for stranger, up in ((tina, True), (bob, True), (bob, False), (operator, True), (operator, False)):
        with pytest.raises(NotControl):
            session.handle(stranger, m.RaiseHand(up))
    assert session.hand.since is None
    without, page = await opened(one, "bert")
    with pytest.raises(Unsupported):
        without.handle(page, m.RaiseHand(True))
    assert hands(page) == []
    await one.end_all("evicted")
