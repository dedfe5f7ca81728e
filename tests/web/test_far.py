"""A distant client: its line is filled, and after a Ctrl-C only what was under way still arrives.

Bytes are counted instead of times, so that the load of the machine does not matter. The distance is so large
that even a busy machine has enough output for the line.
"""

from __future__ import annotations

import pytest

from coderunner.schema import messages as m
from coderunner.wire import flow
from tests.distance import distance
from tests.harness import session

AWAY = 0.6  # seconds, there and back
COUNT = 4_000_000
FLOOD = f"import os\nos.execvp('bash', ['bash', '-c', \"head -c {COUNT} /dev/zero | tr '\\\\0' a\"])"
ENDLESS = "import os\nos.execvp('yes', ['yes'])"

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]


@pytest.mark.parametrize("mode", ["tty", "pipe"])
async def test_its_line_is_full(server, mode):
    async with distance(server.url, AWAY) as far, session(far.url) as client:
        client.keep = False
        await client.run(1, FLOOD, mode=mode)
        await client.ended(1, 60)
        assert client.channel(1).end == COUNT
        # At 150 ms this would be 3 MB a second; a window that does not follow the round trip has half of it.
        assert far.most > 0.85 * flow.MAX_WINDOW, far.most


async def test_an_interrupt_leaves_no_more_than_was_on_its_way(server):
    async with distance(server.url, AWAY) as far, session(far.url) as client:
        client.keep = False
        channel = client.channel(1)
        await client.run(1, ENDLESS, mode="tty")
        await client.wait(lambda: channel.end > COUNT, 60, "a flood")
        before = channel.end
        await client.send(m.Signal(1, "INT"))
        await client.ended(1, 60)
        # What is on its way when it is sent, and as much again until it arrives there.
        assert channel.end - before < 2 * flow.MAX_WINDOW + 64 * 1024, channel.end - before
