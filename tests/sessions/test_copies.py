"""How often output is copied on its way through the server, from the agent's socket to the client's.

Counted by the memory that is allocated: each allocation of at least half a frame is a copy of one."""

from __future__ import annotations

import asyncio
import sys
import tracemalloc
from types import FrameType
from typing import Any

import pytest

from coderunner.core import codec
from coderunner.core.framing import framed
from coderunner.schema import messages as m
from coderunner.wire import flow, frames
from tests.sessions.fakes import Agent, Engine, Stream, World, state, until

FRAMES = 16  # counted: a megabyte
# In the decoder's buffer, its payload, what is read of the cache, the message, the WebSocket frame; and on
# pipes the tags that say which stream each byte is of. (The cache is a ring, which is not allocated again.)
COPIES = {"tty": 5, "pipe": 6}


class Direct(Stream):
    """As a stream over a socket: bytes are taken as they arrive."""

    take: Any = None

    def deliver(self, take: Any) -> bool:
        self.take = take
        return True

    def give(self, data: bytes) -> None:
        if self.take is None:
            super().give(data)
        else:
            self.take(memoryview(data))


class DirectEngine(Engine):
    async def attach(self, container: str) -> Stream:
        one = self.agents[container]
        one.stream = Direct(one)
        return one.stream


class Allocated:
    """Bytes of allocations of at least half a frame within the block, looked for at each call and return."""

    def __init__(self) -> None:
        self.bytes = 0
        self._last = 0

    def __enter__(self) -> Allocated:
        tracemalloc.start(1)
        sys.setprofile(self._look)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        tracemalloc.stop()

    def _look(self, frame: FrameType, event: str, argument: object) -> None:
        now = tracemalloc.get_traced_memory()[0]
        if now - self._last >= flow.SEND_SIZE // 2:
            self.bytes += now - self._last
        self._last = now


class Socket:
    """The client's socket: takes what there is at once, as the bytes of WebSocket frames."""

    resting = False

    def __init__(self, attachment: Any) -> None:
        self._attachment = attachment
        self.received = 0

    def ready(self) -> bool:
        return True

    def send_at_hand(self, most: int | None = None) -> None:
        while (message := self._attachment.at_hand(most)) is not None:
            self.received += len(framed([message]))


@pytest.mark.parametrize("mode", COPIES)
async def test_a_megabyte_is_copied_a_few_times(mode):
    one = Agent()
    one.answers["run"] = {"state": state(mode=mode)}
    world = World(one)
    world.engine = DirectEngine(one)
    await world.begin()
    attachment = world.control()
    world.run(attachment, mode=mode)
    await until(lambda: one.ops("run"), "the run")
    socket, offset, copies = Socket(attachment), 0, 0
    for number in range(2 * FRAMES):  # in the first half buffers grow to their sizes
        data = bytes([number]) * flow.SEND_SIZE
        encoded = one.frame(frames.OUTPUT, data, channel=1, stream=1, offset=offset)
        with Allocated() as allocated:
            one.give(encoded)
            socket.send_at_hand()
        offset += len(data)
        world.session.handle(attachment, m.Ack(1, offset))
        copies += allocated.bytes if number >= FRAMES else 0
        await asyncio.sleep(0)
    assert socket.received > 2 * FRAMES * (flow.SEND_SIZE + codec.HEADER_SIZE)
    assert copies / (FRAMES * flow.SEND_SIZE) <= COPIES[mode] + 0.1
    await world.close()
