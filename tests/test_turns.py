"""A crowd's sockets come second, few in a turn, and all of them in the end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from coderunner.turns import FEW, FEW_PIECES, Crowd, Loop

pytestmark = pytest.mark.timed

CROWD = 40


@pytest.fixture
def loop() -> Iterator[Loop]:
    with asyncio.Runner(loop_factory=Loop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, Loop)
        yield loop


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    with contextlib.ExitStack() as stack:
        made = [socket.socketpair() for _ in range(CROWD)]
        for pair in made:
            for one in pair:
                one.setblocking(False)
                stack.enter_context(contextlib.closing(one))
        yield made


def turns(loop: Loop, most: int, until: Callable[[], bool] = lambda: False) -> int:
    """Takes so many turns at most; how many it took."""

    async def take() -> int:
        for number in range(most):
            if until():
                return number
            await asyncio.sleep(0)
        return most

    return loop.run_until_complete(take())


def test_few_of_a_crowd_are_taken_in_a_turn_and_each_gets_its_own(loop, pairs):
    taken: Counter[int] = Counter()
    for number, (here, there) in enumerate(pairs):
        loop.second(here.fileno())
        loop.add_reader(here, lambda n=number: taken.update([n]))  # it never reads: stays ready
        there.send(b"x")
    turns(loop, 3)
    assert 0 < sum(taken.values()) <= 6 * FEW
    turns(loop, 3 * CROWD)
    assert len(taken) == CROWD
    assert max(taken.values()) <= min(taken.values()) + 1


def test_who_is_first_is_heard_in_every_turn(loop, pairs):
    heard: list[str] = []
    (mine, peer), *crowd = pairs
    for here, there in crowd:
        loop.second(here.fileno())
        loop.add_reader(here, heard.append, "crowd")
        there.send(b"x")
    loop.add_reader(mine, heard.append, "first")
    peer.send(b"x")
    turns(loop, 20)
    assert heard.count("first") >= 19
    assert heard.count("crowd") <= 24 * FEW


def test_one_changes_its_place_while_it_is_listened_to(loop, pairs):
    heard: list[str] = []
    for here, there in pairs:
        loop.second(here.fileno())
        loop.add_reader(here, heard.append, "crowd")
        there.send(b"x")
    loop.add_reader(pairs[5][0], heard.append, "this")
    loop.first(pairs[5][0].fileno())
    turns(loop, 10)
    assert heard.count("this") >= 9
    loop.second(pairs[5][0].fileno())
    heard.clear()
    turns(loop, 10)
    assert heard.count("this") <= 2
    for here, _ in pairs:
        assert loop.remove_reader(here)
        assert not loop.remove_reader(here)
    heard.clear()
    turns(loop, 10)
    assert heard == []


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.read())
    await writer.drain()
    writer.close()


def test_streams_work_in_both_places(loop):
    """Also where more is written than is taken at once, and where the loop has nothing else to do."""
    data = bytes(3_000_000)

    async def work() -> None:
        server = await asyncio.start_server(_echo, "127.0.0.1", 0)
        loop.second(server.sockets[0].fileno())
        port = server.sockets[0].getsockname()[1]
        for place in (loop.second, loop.first):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            place(writer.get_extra_info("socket").fileno())
            writer.write(data)
            writer.write_eof()
            async with asyncio.timeout(20):
                assert await reader.read() == data
            loop.first(writer.get_extra_info("socket").fileno())
            writer.close()
        server.close()

    loop.run_until_complete(work())


def test_a_number_that_is_used_again_is_nobodys(loop, pairs):
    here, there = pairs[0]
    loop.second(here.fileno())
    loop.add_reader(here, lambda: None)
    loop.remove_reader(here)
    loop.first(here.fileno())
    heard: list[str] = []
    for other, peer in pairs[1:]:
        loop.second(other.fileno())
        loop.add_reader(other, lambda: None)
        peer.send(b"x")
    loop.add_reader(here, heard.append, "first")
    there.send(b"x")
    turns(loop, 10)
    assert len(heard) >= 9


def test_what_a_crowd_is_sent_is_sent_in_few_pieces_a_turn(loop):
    crowd, sent = Crowd(), list[int]()

    async def send(number: int) -> None:
        for _ in range(3):
            await crowd.turn()
            sent.append(number)

    async def work() -> list[int]:
        tasks = [asyncio.create_task(send(number)) for number in range(CROWD)]
        tasks[3].cancel()
        each, before = [], 0
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            each.append(len(sent) - before)
            before = len(sent)
        return each

    assert max(loop.run_until_complete(work())) <= 2 * FEW_PIECES
    assert Counter(sent) == {number: 3 for number in range(CROWD) if number != 3}
    waited = list(range(4, CROWD))  # the first had the turn's pieces without waiting
    once = list(dict.fromkeys(number for number in sent[FEW_PIECES:] if number >= 4))
    assert once == waited, "in the order in which they asked"


def test_who_is_no_crowd_waits_for_no_turn(loop):
    crowd = Crowd()

    async def work() -> None:
        for _ in range(5):
            for _ in range(FEW_PIECES):
                with pytest.raises(StopIteration):  # it ends without having waited
                    crowd.turn().send(None)
            await asyncio.sleep(0)

    loop.run_until_complete(work())
