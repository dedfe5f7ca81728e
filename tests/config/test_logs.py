from __future__ import annotations

import io
import json
import logging
import os
import sys
import threading
import warnings

import pytest

from coderunner.logs import fields, is_journal, setup, take_all

log = logging.getLogger("coderunner.test")


@pytest.fixture
def logged():
    """`logged(format, call)` answers what the call has written."""
    root, own = logging.getLogger(), logging.getLogger("coderunner")
    before = (list(root.handlers), root.level, own.level)

    def run(format, call, level="info") -> str:
        stream = io.StringIO()
        setup(level, format, stream)
        call()
        return stream.getvalue()

    yield run
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    own.setLevel(before[2])


def test_text(logged):
    line = logged("text", lambda: log.info("Worker %d initialized", 1, extra=fields(size=4, name="a b")))
    assert line.endswith("INFO    coderunner.test  Worker 1 initialized  size=4 name=a b\n")


def test_the_output_of_what_failed_has_lines_of_its_own(logged):
    def call() -> None:
        log.error("failed", extra=fields(why="x", output=["Get:1", "E: \x1b[2Jno"]))

    text = logged("text", call)
    assert text.splitlines()[0].endswith("failed  why=x")
    assert text.splitlines()[1:] == ["    | Get:1", "    | E: \\x1b[2Jno"]
    assert json.loads(logged("json", call))["output"] == ["Get:1", "E: \x1b[2Jno"]


def test_json(logged):
    line = logged("json", lambda: log.warning("Slow", extra=fields(ms=5.5, ids=[1, 2])))
    document = json.loads(line)
    assert document.pop("ts").endswith("Z")
    assert document == {
        "level": "warning", "logger": "coderunner.test", "msg": "Slow", "ms": 5.5, "ids": [1, 2],
    }  # fmt: skip


def test_a_field_cannot_replace_what_every_line_has(logged):
    document = json.loads(logged("json", lambda: log.info("real", extra=fields(level="x", msg="forged"))))
    assert (document["level"], document["msg"]) == ("info", "real")


@pytest.mark.parametrize("format", ["text", "json"])
@pytest.mark.parametrize("name", ["token", "group_token", "ADMIN_KEY", "Authorization", "password"])
def test_secrets_are_masked(logged, format, name):
    line = logged(format, lambda: log.info("x", extra=fields(**{name: "hunter2"})))
    assert "hunter2" not in line
    assert "***" in line


@pytest.mark.parametrize("format", ["text", "json"])
def test_words_from_outside_make_no_line_and_no_escape(logged, format):
    hostile = "a\n2099 ERROR forged \x1b[2J\u2028\x9b"
    line = logged(format, lambda: log.info("said %s", hostile, extra=fields(path=hostile)))
    assert line.count("\n") == 1
    assert "\x1b" not in line
    assert len(line.splitlines()) == 1, "also where a reader takes U+2028 for the end of a line"
    assert "\x9b" not in line, "CSI in one character"
    if format == "json":
        assert json.loads(line)["path"] == hostile, "the text itself is kept"


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_traceback_is_kept(logged, format):
    def fail():
        try:
            raise ValueError("boom")
        except ValueError:
            log.exception("Failed")

    line = logged(format, fail)
    assert "ValueError: boom" in line
    if format == "json":
        assert "Traceback" in json.loads(line)["exc"]


@pytest.mark.parametrize("value", ["\ud800", 2**70, b"\xff", object(), {1: "\udfff"}, float("nan")])
@pytest.mark.parametrize("format", ["text", "json"])
def test_no_value_breaks_logging(logged, format, value):
    line = logged(format, lambda: log.info("x %s", value, extra=fields(value=value)))
    line.encode("utf-8")
    assert "coderunner.test" in line
    if format == "json":
        assert json.loads(line)["logger"].strip("'") == "coderunner.test"


def test_levels(logged):
    def both():
        log.debug("ours")
        logging.getLogger("aiohttp").info("theirs")

    assert logged("text", both) == ""
    line = logged("text", both, level="debug")
    assert "ours" in line
    assert "theirs" not in line


def test_a_second_setup_replaces_the_first(logged):
    first = io.StringIO()
    setup("info", "text", first)
    assert "once" in logged("text", lambda: log.info("once"))
    assert first.getvalue() == ""


@pytest.fixture
def hooks():
    """What `take_all` replaces is put back, also what another test has left."""
    logging.captureWarnings(capture=False)
    before = (threading.excepthook, sys.unraisablehook)
    yield
    threading.excepthook, sys.unraisablehook = before
    logging.captureWarnings(capture=False)


class Fails:
    def __del__(self) -> None:
        raise ValueError("removed")


def in_a_thread() -> None:
    thread = threading.Thread(target=lambda: 1 / 0, name="worker")
    thread.start()
    thread.join()


def in_removing() -> None:
    Fails()


def a_warning() -> None:
    warnings.warn("an old way", UserWarning, stacklevel=1)


@pytest.mark.filterwarnings("always")
@pytest.mark.parametrize(
    ("call", "says"),
    [(in_a_thread, "ZeroDivisionError"), (in_removing, "ValueError: removed"), (a_warning, "an old way")],
)
def test_what_python_itself_would_print_is_a_line(logged, hooks, call, says):
    take_all()
    [line] = logged("json", call).splitlines()
    assert says in json.dumps(json.loads(line))


class TestJournal:
    """Under systemd, standard error is a stream to the journal, which JOURNAL_STREAM names."""

    @pytest.fixture
    def journal(self, tmp_path):
        """`journal(format, call)` answers what the call has written, if the stream is the journal's."""
        root, own = logging.getLogger(), logging.getLogger("coderunner")
        before = (list(root.handlers), root.level, own.level)

        def run(format, call, *, theirs=True) -> str:
            with (tmp_path / "stream").open("w+") as stream:
                found = os.fstat(stream.fileno())
                place = f"{found.st_dev}:{found.st_ino if theirs else found.st_ino + 1}"
                setup("debug", format, stream, journal_stream=place)
                call()
                stream.seek(0)
                return stream.read()

        yield run
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        own.setLevel(before[2])

    @pytest.mark.parametrize("format", ["text", "json"])
    @pytest.mark.parametrize(
        ("level", "number"), [("debug", 7), ("info", 6), ("warning", 4), ("error", 3), ("critical", 2)]
    )
    def test_each_line_has_its_priority(self, journal, format, level, number):
        line = journal(format, lambda: getattr(log, level)("said", extra=fields(path="<0>x")))
        assert line.startswith(f"<{number}>")
        assert line.count("\n") == 1
        if format == "json":
            assert json.loads(line[3:])["level"] == level

    def test_a_traceback_has_it_on_each_line(self, journal):
        def fail():
            try:
                raise ValueError("one\n<7>two")
            except ValueError:
                log.exception("Failed")

        lines = journal("text", fail).splitlines()
        assert len(lines) > 3
        assert all(line.startswith("<3>") for line in lines)

    @pytest.mark.parametrize("format", ["text", "json"])
    def test_another_stream_has_none(self, journal, format):
        assert "<6>" not in journal(format, lambda: log.info("said"), theirs=False)

    def test_a_stream_that_is_no_file(self):
        assert not is_journal(io.StringIO(), "1:2")
