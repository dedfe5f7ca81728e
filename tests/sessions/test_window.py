"""The window depends on a client's round-trip time, and not on its bandwidth."""

from __future__ import annotations

import pytest

from coderunner.sessions.window import Window
from coderunner.wire import flow

FRAME = 32 * 1024


def flood(window: Window, *, trip: float, rate: float, seconds: float = 5.0) -> None:
    """Unlimited output to a client with the round-trip time `trip` on a line with the bandwidth `rate`."""
    now, sent, acked, line = 0.0, 0, 0, 0.0
    arrivals: list[tuple[float, int]] = []
    while now < seconds:
        while sent + FRAME <= acked + window.size:
            sent += FRAME
            window.sent(sent, acked, now)
            line = max(line, now) + FRAME / rate  # the line is busy until then
            arrivals.append((line + trip, sent))
        now, acked = arrivals.pop(0)
        window.acked(acked, now)


@pytest.mark.parametrize(
    ("trip", "rate", "size"),
    [
        (0.0002, 100e6, flow.WINDOW),  # on this machine
        (0.02, 100e6, flow.MAX_WINDOW),  # far away on a fast line
        (0.15, 10e6, flow.MAX_WINDOW),
        (0.15, 0.5e6, flow.WINDOW),  # far away, where a larger one would only be a queue
        (0.01, 0.2e6, flow.WINDOW),
    ],
)
def test_it_is_what_fills_the_line(trip, rate, size):
    window = Window()
    flood(window, trip=trip, rate=rate)
    assert window.size == size


def test_few_bytes_make_none_larger_however_late_they_are_acknowledged():
    window = Window()
    for offset in range(1, 1000):
        window.sent(offset, offset - 1, float(offset))
        assert not window.acked(offset, offset + 0.5)
    assert window.size == flow.WINDOW


def test_what_is_kept_of_a_client_that_acknowledges_nothing_is_bounded():
    window = Window()
    for offset in range(0, 100 * flow.MAX_WINDOW, FRAME):
        window.sent(offset, 0, 0.0)
    assert len(window.marks) <= 9
