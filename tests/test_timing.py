"""A deadline for others counts no second in which our own loop stood still, and is judged behind a read."""

from __future__ import annotations

import asyncio
import time

import pytest

from coderunner import timing

pytestmark = pytest.mark.timed


def stand_still(seconds: float) -> None:
    """Blocks the loop, as a long piece of work of ours would."""
    time.sleep(seconds)


async def settle() -> None:
    """A moment in which the loop runs."""
    await asyncio.sleep(0.15)


class TestClock:
    async def test_without_stalls_it_goes_as_the_loop_does(self):
        loop = asyncio.get_running_loop()
        began, ours = loop.time(), timing.now()
        for _ in range(100):
            await asyncio.sleep(0.005)
        assert timing.now() - ours == pytest.approx(loop.time() - began, abs=0.1)

    async def test_a_stall_is_not_counted(self):
        timing.now()
        await settle()
        began = timing.now()
        stand_still(1.0)
        assert timing.now() - began < 0.2
        await settle()
        assert timing.now() - began < 0.4
        assert timing.clock().late >= 0.8

    async def test_many_short_stalls_are_not_counted_either(self):
        timing.now()
        loop = asyncio.get_running_loop()
        real, ours = loop.time(), timing.now()
        for _ in range(10):
            stand_still(0.1)
            await asyncio.sleep(0)
        assert timing.now() - ours < 0.6 * (loop.time() - real)

    async def test_it_never_goes_back(self):
        seen = [timing.now()]
        for _ in range(20):
            stand_still(0.03)
            seen.append(timing.now())
            await asyncio.sleep(0.001)
            seen.append(timing.now())
        assert seen == sorted(seen)


class TestWithin:
    async def test_it_ends_what_takes_too_long(self):
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(TimeoutError):
            async with timing.within(0.1):
                await asyncio.Event().wait()
        assert loop.time() - began >= 0.1

    async def test_it_does_not_end_what_is_in_time(self):
        async with timing.within(5):
            await asyncio.sleep(0)
        async with timing.within(None):
            await asyncio.sleep(0)

    @pytest.mark.parametrize("seconds", [0.05, 0.2, 0.6])
    async def test_what_arrived_while_we_stood_still_counts(self, seconds):
        """An answer that lay in a socket while the loop was blocked is read before its deadline is judged."""
        answered = asyncio.Event()

        async def serve(reader, writer):
            await reader.read(1)
            writer.write(b"x")
            await writer.drain()
            answered.set()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with timing.within(seconds):
                writer.write(b"?")
                stand_still(seconds + 0.5)  # the peer's turn cannot come, nor can ours
                assert await reader.read(1) == b"x"
        finally:
            writer.close()
            server.close()

    async def test_a_loop_that_is_never_on_time_has_deadlines_all_the_same(self):
        loop = asyncio.get_running_loop()
        stop = False

        def hog():
            if not stop:
                stand_still(0.03)
                loop.call_soon(hog)

        hog()
        try:
            async with asyncio.timeout(20):
                with pytest.raises(TimeoutError):
                    async with timing.within(0.1):
                        await asyncio.Event().wait()
        finally:
            stop = True

    async def test_cancelled_it_leaves_no_timer(self):
        task = asyncio.create_task(timing.sleep(60))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
