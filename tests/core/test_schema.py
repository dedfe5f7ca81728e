"""What is read by the models: nothing is built that they do not name; each problem is named, at its path."""

from __future__ import annotations

import contextlib
import json
import tracemalloc
from typing import Annotated

import msgspec
import pytest

from coderunner.core.codec import decode_client_text, decode_server_text
from coderunner.errors import BadMessage
from coderunner.schema import check
from coderunner.schema import messages as m
from coderunner.schema.rest import MakeFolder, MoveFile
from coderunner.schema.types import at_most, one_of, text, whole


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    size: Annotated[int, whole(1, 9)]
    names: Annotated[tuple[Annotated[str, text(3)], ...], at_most(2)] = ()

    def __post_init__(self) -> None:
        if self.size == len(self.names):
            raise ValueError("must not have as many names as its size")


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    kind: Annotated[str, one_of(("red", "blue"))]
    inner: Inner
    table: dict[str, int] = {}
    on: bool | None = None


def wrong(**document: object) -> list[str]:
    return [one.sentence("file") for one in check.problems(Outer, document)]


def test_all_problems_are_named_at_once_each_with_its_path():
    inner = {"size": 0, "names": ["a", 3], "sizes": 1}
    assert wrong(kind="green", inner=inner, table={"a": "x"}, on=1) == [
        "file.kind must be one of red, blue",
        "file.inner.size must be a whole number from 1 to 9",
        "file.inner.names[1] must be a text of 0 to 3 characters without NUL",
        "file.inner.sizes is not known; did you mean size?",
        "file.table.a must be a whole number",
        "file.on must be true or false",
    ]


def test_what_is_missing_or_too_much_is_named():
    assert wrong(kind="red") == ["file.inner is missing"]
    assert wrong(kind="red", inner=[]) == ["file.inner must be an object"]
    assert wrong(kind="red", inner={"size": 1, "names": ["a", "b", "c"]}) == [
        "file.inner.names must be a list of at most 2"
    ]
    assert wrong(kind="red", inner={"size": 9}, colour=1) == [
        "file.colour is not known; known are inner, kind, on, table"
    ]


def test_fields_that_do_not_fit_each_other_are_told_in_the_models_own_words():
    assert wrong(kind="red", inner={"size": 1, "names": ["a"]}) == [
        "file.inner must not have as many names as its size"
    ]


def test_what_is_right_has_no_problem():
    assert wrong(kind="red", inner={"size": 9, "names": ["a"]}, table={"x": 1}, on=None) == []


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"type": "run", "mode": "tty"}, "run.channel is missing"),
        ({"type": "ack", "channel": 1.0, "offset": 1}, "ack.channel must be a whole number from 0 to"),
        ({"type": "ack", "channel": 10**30, "offset": 1}, "ack.channel must be a whole number from 0 to"),
        ({"type": "run", "channel": 1, "mode": "pty"}, "run.mode must be one of tty, pipe"),
        ({"type": "run", "channel": 1, "mode": "tty", "args": ["a", "b\0"]}, r"run.args\[1\] must not hold"),
        ({"type": "run", "channel": 1, "mode": "tty", "args": ["a", 3]}, r"run.args\[1\] must be a text"),
        ({"type": "run", "channel": 1, "mode": "tty", "env": {"A": "\0"}}, "run.env.A must not hold a NUL"),
        ({"type": "run", "channel": 1, "mode": "tty", "env": {"A": 1}}, "run.env.A must be a text"),
        ({"type": "run", "channel": 1, "mode": "tty", "env": {"A-": ""}}, "run.env has the name 'A-'"),
        ({"type": "run", "channel": 1, "mode": "tty", "files": [{"path": "a"}]},
         r"run.files\[0\] must have either content or content_base64"),
        ({"type": "run", "channel": 1, "mode": "tty", "files": [{"path": "a", "content_base64": "A"}]},
         r"run.files\[0\].content_base64 must be base64"),
    ],
)  # fmt: skip
def test_a_bad_message_is_told_where_and_what(document, words):
    with pytest.raises(BadMessage, match=words):
        decode_client_text(json.dumps(document))


def peak_of(text: bytes) -> int:
    tracemalloc.start()
    try:
        with contextlib.suppress(BadMessage):
            decode_server_text(text)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("channel", ["1", '"x"'])
def test_what_no_model_names_is_not_built(channel):
    """Neither in a message that is taken, nor in one that is refused."""
    head = b'{"type":"in_ack","offset":1,"channel":' + channel.encode()
    junk = b',"more":[' + b'[{"a":[1,2,3]},{"b":{}}],' * 2000 + b"1]}"
    peak_of(head + b"}")  # what is made once
    assert peak_of(head + junk) < len(junk)  # 14 times as much where it is built


def test_a_file_is_bytes_whichever_way_it_came():
    run = '{"type":"run","channel":1,"mode":"tty","files":[{"path":"a",%s}]}'
    as_text = decode_client_text(run % '"content":"é"')
    as_base64 = decode_client_text(run % '"content_base64":"w6k="')
    assert as_text == as_base64
    assert as_text.files == (m.File("a", "é".encode()),)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"path": "a"}', None),
        (b'{"path": "a", "more": [1]}', None),
        (b"{}", "path is missing"),
        (b'{"path": 5}', "path must be a text: where it is to be moved"),
        (b"[]", ""),
        (b"", ""),
        (b"\xff", ""),
        (b"[" * 5000, ""),
    ],
)
def test_bodies_of_requests(body, words):
    if words is None:
        assert check.read_json(MoveFile, body) == MoveFile("a")
        return
    with pytest.raises(ValueError, match=f"^{words}$") as caught:
        check.read_json(MoveFile, body)
    assert isinstance(caught.value, check.NotJson) is (not words)


def test_a_body_that_asks_for_nothing_is_told_what_it_may():
    with pytest.raises(ValueError, match=r'^the body must say what to make: \{"folder": true\}$'):
        check.read_json(MakeFolder, b'{"folder": false}')


def test_of_a_long_list_each_wrong_one_is_named_and_of_many_problems_the_first():
    class Two(msgspec.Struct):
        parts: tuple[MakeFolder, ...]

    parts: list[object] = [{"folder": True}] * 200
    parts[130], parts[199] = {"folder": 5}, 7
    with pytest.raises(ValueError, match=r"^parts\[130\]\.folder .*; parts\[199\] must be an object$"):
        check.read_json(Two, json.dumps({"parts": parts}).encode())
    with pytest.raises(ValueError, match=r"; parts\[19\] must be an object; and more than these 20$"):
        check.read_json(Two, json.dumps({"parts": [7] * 200}).encode())
