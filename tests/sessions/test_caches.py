"""The caches of a session's output stay within their bound, and the right one is dropped first.

Each counts with its memory, which is MIN_RING bytes for little output.
"""

from __future__ import annotations

import pytest

from coderunner.sessions import caches
from coderunner.sessions.caches import Caches
from coderunner.sessions.channel import Channel
from coderunner.sessions.endings import lost
from coderunner.wire.journal import MIN_RING


class Held:
    """Channels whose output is counted, and how much more was requested each time."""

    def __init__(self) -> None:
        self.channels: dict[int, Channel] = {}
        self.grew: list[int] = []
        self.caches = Caches(self.channels, self.grew.append)

    def prints(self, number: int, size: int, *, ended: bool = False) -> Channel:
        channel = self.channels.setdefault(number, Channel(number, "tty"))
        channel.take_output(1, channel.cache.end, bytes(size))
        if ended:
            channel.exit = lost(channel)
        self.caches.changed(channel)
        return channel


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    monkeypatch.setattr(caches, "CACHE_BYTES", 3 * MIN_RING)
    return Held()


def test_what_is_held_is_counted_once(held: Held) -> None:
    one = held.prints(1, 300)
    held.prints(2, 20)
    held.caches.changed(one)  # nothing new
    assert held.caches.total == 2 * MIN_RING
    assert held.grew == [MIN_RING, MIN_RING]


def test_beyond_the_bound_the_oldest_of_the_ended_go_first(held: Held) -> None:
    live = held.prints(1, 300)
    first, second = held.prints(2, 300, ended=True), held.prints(3, 300, ended=True)
    held.prints(4, 300)
    assert [one.cache.held for one in (live, first, second)] == [MIN_RING, 0, MIN_RING]
    assert (first.cache.start, first.cache.end) == (300, 300)  # which the agent still has
    assert held.caches.total == 3 * MIN_RING


def test_where_none_has_ended_live_ones_go_too(held: Held) -> None:
    for number in range(1, 6):
        held.prints(number, 300)
        assert held.caches.total <= 3 * MIN_RING
    assert held.channels[5].cache.held == MIN_RING


def test_a_channel_that_is_forgotten_counts_no_more(held: Held) -> None:
    held.prints(1, 300)
    held.prints(2, 20)
    del held.channels[1]
    held.caches.forget(1)
    held.caches.forget(1)
    assert held.caches.total == MIN_RING


def test_all_can_be_dropped(held: Held) -> None:
    for number in range(1, 4):
        held.prints(number, 300)
    held.caches.empty()
    assert held.caches.total == 0
    assert all(one.cache.held == 0 for one in held.channels.values())
