"""The last records of the log: bounded, filtered, without secrets."""

from __future__ import annotations

import logging

from coderunner.logs import fields
from coderunner.operating.records import MAX_RECORD, OVERHEAD, Records


def made(most: int = 100_000) -> tuple[Records, logging.Logger]:
    records = Records(most)
    log = logging.Logger("coderunner.test", logging.DEBUG)
    log.addHandler(records)
    return records, log


def test_the_newest_that_fit_come_in_their_order():
    records, log = made()
    for number in range(5):
        log.info("line %d", number, extra=fields(session="one" if number % 2 else "two"))
    log.warning("Trouble")
    assert [one.msg for one in records.find("debug", "", 0, 3).records] == ["line 3", "line 4", "Trouble"]
    assert [one.msg for one in records.find("warning", "", 0, 10).records] == ["Trouble"]
    assert [one.msg for one in records.find("debug", "TWO", 0, 10).records] == ["line 0", "line 2", "line 4"]
    assert [one.msg for one in records.find("debug", "trouble", 0, 10).records] == ["Trouble"]
    found = records.find("debug", "", 4, 10)
    assert [one.number for one in found.records] == [5, 6]
    assert (found.last, found.dropped) == (6, 0)


def test_memory_is_bounded_by_bytes():
    records, log = made(most=50 * OVERHEAD)
    for number in range(1000):
        log.info("%d", number)
    found = records.find("debug", "", 0, 1000)
    assert 10 < len(found.records) < 50
    assert found.dropped == 1000 - len(found.records)
    log.info("x" * 1_000_000, extra=fields(more="y" * 1_000_000))
    (last,) = records.find("debug", "xxx", 0, 10).records or [None]
    assert last is None or len(last.msg) + len(last.fields) <= 2 * MAX_RECORD


def test_secrets_are_masked_and_a_broken_record_breaks_nothing(capsys):
    records, log = made()
    log.info("opened", extra=fields(token="hidden-word", session="one"))
    log.info("%d", "no number")
    log.error("failed", exc_info=ValueError("why"))
    told = records.find("debug", "", 0, 10).records
    assert "hidden-word" not in repr(told)
    assert '"token":"***"' in told[0].fields
    assert "ValueError: why" in told[-1].fields
    capsys.readouterr()  # what the logging library says of the broken one
