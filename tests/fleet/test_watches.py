"""The operator's tickets: whose they are, how long they are good, and for what."""

from __future__ import annotations

import pytest

from coderunner.errors import NoSession, NotAllowed
from coderunner.fleet.watches import RETURN_SECONDS, SECONDS, Watches
from coderunner.identity.principal import ADMIN, Principal
from tests.sessions.test_faults import begun

OLGA = Principal("key:0123456789ab", "Olga", frozenset(("operator",)), how="api_key")


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("coderunner.fleet.watches.timing.now", lambda: now[0])
    return now


def test_a_ticket_is_good_as_long_as_its_operators_credential(clock):
    watches = Watches()
    hers, the_keys = watches.make("s-0", OLGA), watches.make("s-0", ADMIN)
    assert watches.whose("s-0", hers) == OLGA
    assert watches.whose("s-1", hers) is None
    watches.use("s-0", hers)
    watches.use("s-0", the_keys)
    clock[0] += SECONDS + 1
    assert watches.whose("s-0", hers) == OLGA, "she may come back"
    watches.drop(lambda who: who == OLGA)
    assert not watches.allows("s-0", hers)
    assert watches.whose("s-0", the_keys) == ADMIN
    clock[0] += RETURN_SECONDS
    assert not watches.allows("s-0", the_keys)


async def test_a_ticket_is_for_watching_alone(monkeypatch):
    one, _, opened, _ = await begun(monkeypatch)
    session = opened.session
    ticket = one.watches.make(session.id, OLGA)
    assert one.find(session.id, ticket) == (session, "watch")
    with pytest.raises(NotAllowed):
        one.owned(session.id, ticket)
    with pytest.raises(NoSession):
        one.owned(session.id, "x" * len(ticket))
    assert one.owned(session.id, opened.token) is session
    await one.end_all("evicted")
