"""The operator's tickets: whose they are, and how long they are good."""

from __future__ import annotations

import pytest

from coderunner.fleet.watches import RETURN_SECONDS, SECONDS, Watches
from coderunner.identity.principal import ADMIN, Principal

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
