"""A run's spool: what was told is there, what a kill cut off is not, whatever stands in the file."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderunner.errors import BadMessage
from coderunner.jobs import spool
from coderunner.jobs.spool import Spool

FRAMES = ["{}", b"", b"\0" * 70, '{"type":"ü"}', b"x" * (spool.READ_BYTES + 5), "last"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spool"


def written(path, frames=FRAMES) -> list[spool.Record]:
    one = Spool(path)
    for frame in frames:
        one.append(frame)
    records = list(one.records())
    one.close()
    return records


def test_the_next_server_reads_what_this_one_wrote(path):
    records = written(path)
    assert [record.frame for record in records] == FRAMES
    again = Spool(path)
    assert list(again.records()) == records
    assert again.size == path.stat().st_size == records[-1].end
    assert again.cost >= sum(len(frame) for frame in FRAMES) + len(FRAMES) * spool.RECORD_COST
    again.append("more")
    assert list(again.records(records[-1].end)) == [(again.size, "more")]
    again.close()


def test_an_id_is_where_the_rest_begins(path):
    records = written(path)
    one = Spool(path)
    for index, record in enumerate(records):
        one.check(record.end)
        assert list(one.records(record.end)) == records[index + 1 :]
    for wrong in (1, 3, records[-1].end + 1, 10**12):
        with pytest.raises(BadMessage, match="Last-Event-ID"):
            one.check(wrong)
    one.close()


@given(st.data())
def test_what_a_kill_cut_off_is_gone_and_the_rest_is_whole(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("cut") / "spool"
    records = written(path, ["{}", b"abc", '{"a":1}'])
    cut = data.draw(st.integers(0, records[-1].end))
    os.truncate(path, cut)
    one = Spool(path)
    whole = [record for record in records if record.end <= cut]
    assert list(one.records()) == whole
    assert one.size == path.stat().st_size == (whole[-1].end if whole else 0)
    one.append("next")
    assert [record.frame for record in one.records()] == [*(record.frame for record in whole), "next"]
    one.close()


@given(st.binary(max_size=200))
def test_a_file_of_anything_is_read_as_far_as_it_is_records(tmp_path_factory, rubbish):
    path = tmp_path_factory.mktemp("rubbish") / "spool"
    records = written(path, ["{}", b"abc"])
    with path.open("ab") as file:
        file.write(rubbish)
    one = Spool(path)
    assert list(one.records())[:2] == records
    assert one.size == path.stat().st_size
    one.close()


@pytest.mark.parametrize("taken", [0, 3, None])
def test_of_a_record_that_a_full_disk_broke_off_nothing_stays(path, monkeypatch, taken):
    """``taken``: bytes that the disk takes; None: it says that it is full."""
    one = Spool(path)
    one.append("kept")
    write = os.write

    def full(file: int, data: bytes) -> int:
        if taken is None:
            raise OSError(errno.ENOSPC, "full")
        return write(file, data[:taken])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match=r"full|part"):
            one.append(b"lost")
    assert path.stat().st_size == one.size
    one.append("after")
    assert [record.frame for record in one.records()] == ["kept", "after"]
    one.close()


def test_one_that_is_closed_is_read_as_empty_whoever_has_its_number_now(path, tmp_path):
    written(path)
    one = Spool(path)
    reading = one.records()
    next(reading)
    one.close()
    with (tmp_path / "another").open("w+b") as another:
        another.write(b"\0\0\0\1\2x" * 10)
        another.flush()
        assert list(one.records()) == []
    assert one.closed
    one.close()
