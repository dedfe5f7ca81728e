"""Output in bulk waits while people type, and only then."""

from __future__ import annotations

import pytest

from coderunner.core import bulk
from coderunner.core.bulk import Bulk

PIECE = 64 * 1024
RATE = 2 * bulk.BYTES_PER_PROCESSOR


def sent(
    pacer: Bulk, seconds: float, writers: int, *, keys: bool, size: int = PIECE, of_one: int = 0
) -> list[int]:
    """Bytes that each of the writers sends in so many seconds, if sending itself takes no time.

    ``of_one``: how many of the writers are of the first one's session."""
    free, total, now = [0.0] * writers, [0] * writers, 0.0
    while now < seconds:
        if keys:
            pacer.input("typist", 1, now)
        for number, due in enumerate(free):
            if due <= now:
                free[number] = now + pacer.rest(str(max(0, number - of_one)), size, now)
                total[number] += size
        now += 0.001
    return total


def test_while_somebody_types_all_programs_together_print_no_more_than_the_rate() -> None:
    total = sent(Bulk(2), 10, 5, keys=True)
    assert sum(total) == pytest.approx(10 * RATE, rel=0.02)
    assert max(total) - min(total) <= PIECE, "one program has printed more than another"


def test_a_session_that_many_watch_has_no_more_of_the_rate_than_another() -> None:
    """A hundred who watch had a hundred shares of it: a program beside them printed next to nothing."""
    *watched, other = sent(Bulk(2), 20, 102, keys=True, of_one=100)
    assert other > 0.4 * 20 * RATE
    assert min(watched) > 0.9 * 20 / bulk.MOST_SECONDS * PIECE, "nobody waits without end"


def test_what_one_session_does_not_use_is_the_others() -> None:
    pacer, total, free = Bulk(2), [0, 0], [0.0, 0.0]
    for step in range(10_000):
        now = step / 1000
        pacer.input("typist", 1, now)
        for number in (0, 1):
            # The second one prints a piece now and then.
            if free[number] <= now and (number == 0 or step % 200 == 0):
                free[number] = now + pacer.rest(str(number), PIECE, now)
                total[number] += PIECE
    assert total[1] == 50 * PIECE
    assert total[0] > 0.8 * 10 * RATE - total[1]


def test_nobody_waits_where_nobody_types() -> None:
    pacer = Bulk(2)
    assert {pacer.rest("flood", PIECE, now / 1000) for now in range(100)} == {0.0}


@pytest.mark.parametrize("size", [1, 80, bulk.MIN_BULK_BYTES - 1])
def test_an_echo_and_a_small_screen_never_wait(size: int) -> None:
    pacer = Bulk(2)
    pacer.input("typist", 1, 0.0)
    for _ in range(100):
        pacer.rest("flood", PIECE, 0.0)
    assert pacer.rest("flood", size, 0.0) == 0.0


def test_what_is_pasted_is_no_typing() -> None:
    pacer = Bulk(2)
    pacer.input("typist", bulk.MAX_KEY_BYTES + 1, 0.0)
    assert [pacer.rest("flood", PIECE, 0.0) for _ in range(3)] == [0.0] * 3


def test_output_is_as_fast_as_before_when_nobody_types_any_more() -> None:
    pacer = Bulk(2)
    pacer.input("typist", 1, 0.0)
    assert [pacer.rest("flood", PIECE, 0.0) for _ in range(3)][-1] > 0
    later = 2 * bulk.QUIET_SECONDS
    assert [pacer.rest("flood", PIECE, later) for _ in range(3)] == [0.0] * 3


def test_a_large_machine_allows_more_but_not_without_end() -> None:
    def rate(processors: int) -> float:
        return sum(sent(Bulk(processors), 2, 4, keys=True))

    assert rate(4) > 1.9 * rate(2)
    assert rate(64) == rate(bulk.MAX_PROCESSORS)


def test_who_types_a_command_waits_for_what_it_prints_and_others_do_not() -> None:
    pacer = Bulk(2)
    pacer.input("one", 1, 0.0)
    assert [pacer.rest("one", PIECE, 0.0) for _ in range(3)] == [0.0] * 3
    assert [pacer.rest("two", PIECE, 0.0) for _ in range(3)][-1] > 0
    pacer.input("two", 1, 0.0)
    for _ in range(3):
        pacer.input("one", 1, 0.0)
    assert pacer.rest("one", PIECE, 0.0) > 0, "another one types, too"
