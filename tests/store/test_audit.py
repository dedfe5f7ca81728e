"""What becomes of an event before it is written."""

from __future__ import annotations

import json

import pytest

from coderunner import audit
from coderunner.core.folding import MAX_KEYS, Folding
from coderunner.errors import CodeRunnerError
from coderunner.store.command import _cell, moment


class Log:
    """An audit log whose rows and clock are at hand."""

    def __init__(self, **options: bool) -> None:
        self.rows: list[dict] = []
        self.now = 1000.0
        self.audit = audit.Audit(
            lambda _, row: self.rows.append(dict(row)), "test", clock=lambda: self.now, **options
        )

    def details(self) -> list[dict]:
        return [json.loads(row["details"]) for row in self.rows]


@pytest.mark.parametrize(
    "name", ["a\nb", "a\r\n{}", "\x1b[2J", "a\x00", "\u202egnp.exe", "\ud800", "a\u2028b"]
)
def test_no_name_forges_a_line(name):
    log = Log()
    log.audit.note("refused", {"code": "no_session", "path": name, name: name}, principal=name, session=name)
    [row] = log.rows
    whole = json.dumps(row, ensure_ascii=False)
    assert all(one.isprintable() for one in whole)
    assert "\\" in row["principal"]
    assert len(json.dumps(row).splitlines()) == 1


def test_long_texts_are_cut():
    log = Log()
    log.audit.note(
        "opened", {"text": "x" * 10**6, "other": "y" * 10**6}, principal="p" * 10**6, session="s" * 1000
    )
    [row] = log.rows
    assert len(row["principal"]) == 256
    assert len(row["session"]) == 64
    assert len(row["details"]) < 20_000


def test_what_a_caller_repeats_is_counted_and_told_once():
    log = Log()
    for number in range(1000):
        log.audit.note("refused", {"code": "no_session", "number": number}, address="192.0.2.1")
    log.audit.note("refused", {"code": "no_session"}, address="192.0.2.2")  # another's is written
    assert len(log.rows) == 11


async def test_the_number_of_what_was_only_counted():
    log = Log()
    for _ in range(1000):
        log.audit.note("refused", {"code": "no_session"}, address="192.0.2.1")
    await log.audit.tell_counted()
    assert len(log.rows) == 10
    log.now += 61
    await log.audit.tell_counted()
    await log.audit.tell_counted()
    assert log.details()[10:] == [{"count": 990, "of": "refused", "by": "192.0.2.1", "code": "no_session"}]


async def test_what_users_repeat_hides_nothing_of_a_teacher():
    log = Log()
    for number in range(1000):  # sockets that attach to one session, and to many
        log.audit.note("watched", {}, session="s-0")
        log.audit.note("watched", {}, session=f"s-{number}")
    log.rows.clear()
    log.audit.note("watched", {"room": "algebra"}, session="s-0", principal="jwt:tina")
    assert [row["principal"] for row in log.rows] == ["jwt:tina"]
    for _ in range(100):  # nor does one teacher hide another, or what it does itself in another session
        log.audit.note("watched", {"room": "algebra"}, session="s-0", principal="jwt:tina")
    log.rows.clear()
    log.audit.note("watched", {"room": "algebra"}, session="s-0", principal="jwt:theo")
    log.audit.note("watched", {"room": "algebra"}, session="s-1", principal="jwt:tina")
    assert len(log.rows) == 2
    log.rows.clear()
    await log.audit.tell_counted(all=True)
    [row] = [row for row in log.rows if json.loads(row["details"])["by"] == "jwt:tina"]
    assert (row["session"], json.loads(row["details"])["count"]) == ("s-0", 101 - audit.EACH["watched"])


async def test_many_addresses_together():
    log = Log()
    for number in range(5000):
        log.audit.note("refused", {"code": "no_session"}, address=f"2001:db8:{number:x}::/64")
    await log.audit.tell_counted(all=True)
    assert len([row for row in log.rows if row["event"] == "refused"]) == audit.TOGETHER
    counted = [one for one in log.details() if one.get("of") == "refused"]
    assert sum(one["count"] for one in counted) == 5000 - audit.TOGETHER
    assert len(counted) <= MAX_KEYS + 1


def test_a_window_begins_anew():
    fold = Folding(2, 100)
    assert [fold.tell("a", 0.0) for _ in range(3)] == [True, True, False]
    assert list(fold.over(60.0)) == [("a", 1)]
    assert fold.tell("a", 60.0)


def test_a_program_is_known_by_names_and_contents():
    one = audit.program([("main.py", b"print(1)"), ("b.py", b"")])
    assert one == audit.program([("b.py", b""), ("main.py", b"print(1)")])
    assert one["files"] == 2
    assert one["bytes"] == 8
    assert one["sha256"] != audit.program([("main.py", b"print(1)"), ("c.py", b"")])["sha256"]
    assert one["sha256"] != audit.program([("main.py", b""), ("b.py", b"print(1)")])["sha256"]
    assert audit.program([]) == {}
    assert "text" not in one


def test_a_long_text_of_wide_characters_leaves_the_rest_of_its_event():
    log = Log(programs=True)
    for text in ("漢" * 10**5, "\x01" * 10**5):
        log.audit.note("opened", {"text": text, "sha256": "0", "files": 1})
        one = log.details()[-1]
        assert (one["sha256"], one["files"]) == ("0", 1)
        assert len(one["text"]) > 1000
        assert len(log.rows[-1]["details"].encode()) <= audit.MAX_DETAILS


def test_its_text_only_where_the_settings_ask():
    try:
        audit.use(Log(programs=True).audit)
        assert audit.program([("main.py", b"print(1)\n\xff" + b"x" * 10**6)])["text"].startswith(
            "print(1)\n\ufffdxx"
        )
    finally:
        audit.use(None)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_no_cell_is_a_formula(text):
    assert _cell(text) == f"'{text}"


def test_moments():
    assert moment("") is None
    assert moment("1970-01-02") == 86400
    assert moment("1970-01-01T01:00:00+01:00") == 0
    with pytest.raises(CodeRunnerError, match="is not a date"):
        moment("yesterday")
