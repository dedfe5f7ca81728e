"""The journal against the simplest model of it: all bytes ever, and a bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderunner.wire import flow
from coderunner.wire.journal import STDERR, STDOUT, Journal

pieces = st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=40)), max_size=30)


@given(pieces, st.integers(1, 100), st.integers(1, 50))
def test_what_is_kept_is_the_end_of_all_in_order(many, limit, most):
    journal = Journal(limit, tagged=True)
    whole, tags, fallen = b"", b"", b""
    for stream, data in many:
        fallen += journal.would_drop(data)
        journal.append(stream, data)
        whole += data
        tags += bytes((stream,)) * len(data)
        assert journal.end == len(whole)
        assert journal.end - journal.start <= limit
        assert journal.start == max(0, len(whole) - limit)
    assert fallen == whole[: journal.start]
    at, seen = journal.start, b""
    while at < journal.end:
        stream, data = journal.read(at, most)
        assert 0 < len(data) <= most
        assert set(tags[at : at + len(data)]) == {stream}
        seen += data
        at += len(data)
    assert seen == whole[journal.start :]
    assert journal.read(journal.end, most)[1] == b""


@given(st.binary(max_size=50), st.integers(-5, 60))
def test_outside_of_it_is_an_index_error(data, offset):
    journal = Journal(20, tagged=False)
    journal.append(STDOUT, data)
    if journal.start <= offset <= journal.end:
        journal.read(offset, 10)
    else:
        with pytest.raises(IndexError):
            journal.read(offset, 10)


def test_a_reset_goes_on_elsewhere():
    journal = Journal(20, tagged=True)
    journal.append(STDERR, b"abc")
    journal.reset(1000)
    journal.append(STDOUT, b"x")
    assert (journal.start, journal.end) == (1000, 1001)
    assert journal.read(1000, 5) == (STDOUT, b"x")


@given(st.integers(0, 2**40), st.integers(0, 2**20), st.booleans(), st.booleans())
def test_who_may_read_on(released, more, controlled, tty):
    until = flow.readable_until(released, released + more, controlled=controlled, tty=tty)
    if controlled:
        assert until == released + min(max(256 * 1024, more), 512 * 1024)
    elif tty:
        assert until is None
    else:
        assert until == released + 1024 * 1024
    # What a program may be ahead is always kept: nothing below it has to fall off the journal.
    assert until is None or until - released <= flow.JOURNAL_BYTES
