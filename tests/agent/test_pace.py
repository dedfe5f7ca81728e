"""When output is sent: the first at once, a flood in large frames, and nothing waits for it to sleep."""

from __future__ import annotations

import pytest

from coderunner.wire import flow, frames
from tests.agent.outside import Server


class TestPace:
    def test_the_first_goes_at_once_and_what_follows_is_gathered(self):
        pace = flow.Pace()
        pace.on_read(5, 10.0)
        assert not pace.holds_back(5, 10.0)
        pace.on_sent(0, 10.0)
        pace.on_read(5, 10.0002)
        assert pace.holds_back(5, 10.0003)
        assert pace.pauses_reading(10.0003)
        assert pace.due == pytest.approx(10.0 + flow.FLOOD_SECONDS)
        assert not pace.holds_back(5, pace.due)
        assert not pace.pauses_reading(pace.due)

    def test_a_full_frame_waits_for_nothing(self):
        pace = flow.Pace()
        pace.on_sent(0, 10.0)
        pace.on_read(flow.MIN_READ, 10.0001)
        assert not pace.pauses_reading(10.0001)
        assert pace.wait_seconds(10.0001) > 0
        assert pace.holds_back(flow.SEND_SIZE - 1, 10.0001)
        assert not pace.holds_back(flow.SEND_SIZE, 10.0001)
        pace.on_sent(100, 10.0002)
        assert pace.holds_back(100, 10.0003)

    def test_output_after_a_while_is_no_flood(self):
        pace = flow.Pace()
        pace.on_sent(0, 10.0)
        pace.on_read(5, 10.0 + 2 * flow.FLOOD_SECONDS)
        assert not pace.holds_back(5, 10.0 + 2 * flow.FLOOD_SECONDS)
        assert not pace.wait_seconds(10.0 + 2 * flow.FLOOD_SECONDS)

    def test_much_at_once_is_a_flood_however_slow_the_machine_is(self):
        pace = flow.Pace()
        pace.on_sent(0, 10.0)
        pace.on_read(flow.FLOOD_READ + 1, 11.0)
        assert pace.holds_back(flow.FLOOD_READ + 1, 11.0)
        pace.on_sent(1, 11.001)
        assert pace.holds_back(1, 11.0015)
        assert pace.wait_seconds(11.0015) > 0

    def test_an_answer_is_not_held(self):
        pace = flow.Pace()
        pace.on_sent(0, 10.0)
        pace.on_read(5, 10.0001)
        pace.on_input()
        pace.on_read(5, 10.0002)
        assert not pace.holds_back(5, 10.0002)
        assert not pace.pauses_reading(10.0002)
        assert not pace.wait_seconds(10.0002)


@pytest.mark.parametrize("mode", ["tty", "pipe"])
def test_a_flood_comes_whole_and_in_large_frames(agent, tmp_path, mode):
    server = Server(*agent, tmp_path)
    server.run(1, "sh", "-c", "head -c 900000 /dev/zero | tr '\\0' a; echo over", mode=mode)
    sizes, last = [], b""
    while not last.endswith(b"over\r\n" if mode == "tty" else b"over\n"):
        frame = server.hear(lambda one: one.kind == frames.OUTPUT)
        assert frame.offset == sum(sizes)
        sizes.append(len(frame.payload))
        last = frame.payload
        flags = frames.FLOW_BODY.pack(sum(sizes) + flow.WINDOW, frames.CONTROLLED)
        server.say(frames.FLOW, flags, channel=1, offset=sum(sizes))
    assert sum(sizes) == 900_000 + (6 if mode == "tty" else 5)
    # Full frames are 14; a frame for each read of the terminal would be 220.
    assert len(sizes) < 60


def test_the_loop_is_not_held_by_a_flood(agent, tmp_path):
    """A flood that nobody reads, and one that is: a third channel is answered all the same."""
    server = Server(*agent, tmp_path)
    server.run(1, "sh", "-c", "exec yes", mode="tty")
    server.run(2, "sh", "-c", "exec yes")
    server.run(3, "cat")
    for turn in range(20):
        server.say(frames.INPUT, b"k", channel=3, offset=turn)
        frame = server.hear(lambda one: one.kind == frames.OUTPUT and one.channel == 3)
        assert (frame.offset, frame.payload) == (turn, b"k")
