"""What is stored of runs and batches is read again by the next server, and says what a client would send."""

from __future__ import annotations

import json

import msgspec
import pytest

from coderunner.jobs.about import (
    CASE_BYTES,
    CHANNEL,
    About,
    AboutBatch,
    checking,
    messages,
    stored,
    submission,
    typed,
)
from coderunner.schema import messages as m
from coderunner.schema.api import RunRequest
from coderunner.schema.batches import BatchRequest, Case, Checker

COMMON = {
    "id": "i", "nonce": "n", "key": "k", "digest": "d", "principal": None, "address": "a", "version": "1",
    "room": 7, "created": 5.0,
}  # fmt: skip
LIMITS = {"wall_ms": 9, "output_bytes": 8, "memory_bytes": 7}


def run(**changes: object) -> About:
    wanted = {"language": "x", "source": "é\ud800", "entry": "main.x", "args": ("p",), "limits": LIMITS}
    return About(**COMMON, compiles=True, request=RunRequest(**{**wanted, **changes}))


def batch() -> AboutBatch:
    request = BatchRequest(
        language="x", files=(m.File("a", b"\xff"),), entry="a", args=("p",), limits=LIMITS,
        cases=(Case(stdin="1", expected="2"), Case()),
        checker=Checker(kind="program", language="y", source="s", entry="c.y"),
    )  # fmt: skip
    return AboutBatch(**COMMON, count=2, request=request)


@pytest.mark.parametrize("about", [run(source=None, files=(m.File("a", b"\xff\0"),)), batch()])
def test_it_is_read_as_it_was_stored(about):
    assert msgspec.json.decode(stored(about), type=type(about)) == about


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        (
            About,
            {"compiles": False, "session": "s", "token": "t", "request": {"language": "x", "source": "p"}},
        ),
        (AboutBatch, {"count": 1, "request": {"language": "x", "source": "p", "cases": [{"stdin": "1"}]}}),
    ],
)
def test_what_a_server_before_stored_is_read(kind, own):
    """These documents are of the first server that had them; they change with no name in the code."""
    read = msgspec.json.decode(json.dumps({**COMMON, **own}), type=kind)
    assert (read.id, read.room, read.language, read.request.source) == ("i", 7, "x", "p")


def test_a_run_brings_its_source_as_the_entry_and_limits_go_where_they_count():
    opening, message = messages(run())
    assert (opening.language, opening.client, opening.nonce, opening.files) == ("x", "i", "n", ())
    assert [(file.path, file.content) for file in message.files] == [("main.x", b"\xc3\xa9\xed\xa0\x80")]
    assert (message.channel, message.mode, message.args) == (CHANNEL, "pipe", ("p",))
    assert (opening.limits, message.limits) == (
        {"memory_bytes": 7},
        {"wall_ms": 9, "output_bytes": 8},
    )


def test_a_batch_brings_its_files_once_for_all_cases():
    opening, message = submission(batch())
    assert [(file.path, file.content) for file in opening.files] == [("a", b"\xff")]
    assert (message.files, message.args, message.limits["wall_ms"]) == ((), ("p",), 9)
    assert opening.limits == {"memory_bytes": 7}
    judge, of_judge = checking(batch())
    assert (judge.language, judge.limits, of_judge.args) == ("y", {}, ())
    assert of_judge.limits == {"wall_ms": 30_000}  # docs/graders.md
    assert [file.path for file in judge.files] == [of_judge.entry] == ["c.y"]
    assert len({opening.nonce, judge.nonce, submission(batch())[0].nonce}) == 3, "each opening has its own"


def test_each_byte_that_it_is_given_counts_as_memory():
    few, many = run(), run(stdin="x" * 10_000)
    assert 10_000 <= many.held - few.held < 10_100
    assert run(args=("p", "x" * 10_000)).held - few.held > 10_000
    assert batch().held > 2 * CASE_BYTES


@pytest.mark.parametrize(
    ("mode", "stdin", "told"),
    [
        ("pipe", "a", b"a"), ("pipe", "", b""),
        ("tty", "", b"\4"), ("tty", "a\n", b"a\n\4"), ("tty", "a", b"a\4\4"),
    ],
)  # fmt: skip
def test_a_terminals_input_ends_as_a_person_ends_it(mode, stdin, told):
    assert typed(run(mode=mode, stdin=stdin).request) == told
