from __future__ import annotations

import contextlib
import json
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderunner.core import codec
from coderunner.errors import BadFrame, BadJson, BadMessage, FrameTooLarge, ProtocolError, UnknownType
from coderunner.schema import messages as m
from coderunner.schema.answers import FileMoved
from coderunner.schema.types import MAX_FILES

VECTORS = Path(__file__).parent.parent / "vectors"
MAX_OFFSET = 2**53 - 1


def vectors(*kinds: str) -> list[Any]:
    every = [v for file in sorted(VECTORS.glob("*.json")) for v in json.loads(file.read_text())]
    return [pytest.param(v, id=f"{v['kind']}: {v['name']}") for v in every if v["kind"] in kinds]


def frame(vector: dict[str, Any]) -> str | bytes:
    return bytes.fromhex(vector["hex"]) if "hex" in vector else vector["text"]


DECODE = {
    "input": codec.decode_input,
    "output": codec.decode_output,
    "client_text": codec.decode_client_text,
    "server_text": codec.decode_server_text,
}


class TestVectors:
    @pytest.mark.parametrize("vector", vectors("input", "output"))
    def test_binary(self, vector):
        if "error" in vector:
            with pytest.raises(ProtocolError) as caught:
                DECODE[vector["kind"]](frame(vector))
            assert caught.value.code == vector["error"]
            return
        got = DECODE[vector["kind"]](frame(vector))
        shown = {field.name: getattr(got, field.name) for field in fields(got)}
        shown["payload_hex"] = shown.pop("payload").hex()
        assert shown == vector["value"]
        if vector["kind"] == "input":
            assert codec.encode_input(got.channel, got.offset, got.payload) == frame(vector)
        else:
            assert codec.encode_output(got.channel, got.stream, got.offset, got.payload) == frame(vector)

    @pytest.mark.parametrize("vector", vectors("client_text", "server_text"))
    def test_text(self, vector):
        if "error" in vector:
            with pytest.raises(ProtocolError) as caught:
                DECODE[vector["kind"]](frame(vector))
            assert caught.value.code == vector["error"]
            return
        got = DECODE[vector["kind"]](frame(vector))
        encode = codec.encode_client if vector["kind"] == "client_text" else codec.encode_server
        assert json.loads(encode(got)) == vector["value"]
        if not vector.get("decode_only"):
            assert encode(got) == vector["text"]

    @pytest.mark.parametrize("vector", vectors("client_text", "server_text"))
    def test_bytes_decode_like_text(self, vector):
        if "text" in vector and "value" in vector:
            decode = DECODE[vector["kind"]]
            assert decode(vector["text"].encode()) == decode(vector["text"])

    def test_every_type_has_a_vector(self):
        seen = {v.values[0]["value"]["type"] for v in vectors("client_text", "server_text")
                if "value" in v.values[0]}  # fmt: skip
        assert seen == set(codec.CLIENT_TYPES) | set(codec.SERVER_TYPES)

    def test_every_reason_signal_and_ending_has_a_vector(self):
        values = [v.values[0].get("value", {}) for v in vectors("client_text", "server_text")]
        assert {v["reason"] for v in values if v.get("type") == "exit"} == set(m.REASONS)
        assert {v["reason"] for v in values if v.get("type") == "closed"} == set(m.CLOSED_REASONS)
        assert {v["name"] for v in values if v.get("type") == "signal"} == set(m.SIGNALS)


def test_the_types_are_those_of_the_unions():
    assert {kind for kind in codec.TYPES if codec.TYPES[kind] in codec.CLIENT_TYPES} == set(
        get_args(m.ClientMessage)
    )
    assert set(codec.TYPES) == set(get_args(m.ClientMessage)) | set(get_args(m.ServerMessage))


# --- round trips --------------------------------------------------------------------------------------

words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
offsets = st.integers(0, MAX_OFFSET)
channels = st.integers(0, 65535)
sizes = st.integers(2, 1000)
randoms = st.text("abcXYZ019_-", min_size=22, max_size=64)
ids = st.text("abcXYZ019_.-", min_size=1, max_size=30)
hosts = st.from_regex(r"\A[a-z][a-z0-9-]{0,61}[a-z0-9]\Z")
files = st.builds(m.File, words, st.binary(max_size=40) | words.map(str.encode))
limits = st.dictionaries(words, st.integers(1, MAX_OFFSET), max_size=4)
maybe = st.none()
moments = st.integers(0, MAX_OFFSET) | st.floats(0, 1e15)

clients = st.one_of(
    st.builds(
        m.Open, words.filter(bool), randoms, maybe | randoms, st.lists(files, max_size=3).map(tuple), limits,
        st.sampled_from(m.NETWORKS), maybe | ids, maybe | ids, maybe | hosts, st.booleans(),
    ),
    st.builds(m.Attach, ids, ids, randoms, maybe | st.sampled_from(m.ROLES),
              st.dictionaries(channels, offsets, max_size=4)),
    st.builds(
        m.Run, channels, st.sampled_from(m.MODES), st.lists(files, max_size=3).map(tuple), maybe | words,
        st.lists(words, max_size=3).map(tuple), st.dictionaries(st.sampled_from(["A", "_b1"]), words),
        maybe | sizes, maybe | sizes, limits,
    ),
    st.builds(m.Shell, channels, sizes, sizes), st.builds(m.Resize, channels, sizes, sizes),
    st.builds(m.Signal, channels, st.sampled_from(m.SIGNALS)), st.builds(m.Eof, channels, offsets),
    st.builds(m.Kill, channels), st.builds(m.Ack, channels, offsets, st.booleans()),
    st.builds(m.Ping, moments), st.sampled_from([m.Take(), m.Extend(), m.Close()]),
)  # fmt: skip


@given(clients)
def test_client_messages_survive_the_wire(message):
    assert codec.decode_client_text(codec.encode_client(message)) == message


counts = st.integers(0, MAX_OFFSET)
expiries = st.builds(m.Expiry, maybe | counts, counts)
views = st.builds(m.ChannelView, channels, st.sampled_from(m.MODES), st.sampled_from(m.PHASES), offsets,
                  offsets, offsets, st.booleans(), maybe | sizes, maybe | sizes)  # fmt: skip
usages = st.builds(m.Usage, maybe | counts, maybe | counts, maybe | counts, maybe | counts)
servers = st.one_of(
    st.builds(m.Queued, counts, counts, maybe | counts, counts),
    st.builds(m.Opened, ids, ids, words, st.booleans(), expiries, st.builds(m.Isolation, words, words),
              st.dictionaries(words, moments, max_size=3), maybe | ids, maybe | ids, maybe | hosts),
    st.builds(m.Attached, ids, st.sampled_from(m.ROLES), st.lists(views, max_size=3).map(tuple), expiries),
    st.builds(m.Role, st.sampled_from(m.ROLES), st.dictionaries(channels, offsets, max_size=4)),
    st.builds(m.Gap, channels, offsets, offsets, maybe | st.text("\x1b[?1049h")),
    st.builds(m.Exit, channels, maybe | st.integers(0, 255), maybe | words, st.sampled_from(m.REASONS),
              st.lists(st.sampled_from(m.LIMITS_HIT), unique=True).map(tuple), counts, usages, offsets,
              st.booleans()),
    st.builds(m.ErrorMessage, words, words, st.booleans(), maybe | channels, maybe | counts, maybe | offsets),
)  # fmt: skip


@given(servers)
def test_server_messages_survive_the_wire(message):
    assert codec.decode_server_text(codec.encode_server(message)) == message


@given(channels, st.integers(0, 2**50), st.binary(max_size=100))
def test_frames_survive_the_wire(channel, offset, payload):
    got = codec.decode_input(codec.encode_input(channel, offset, payload))
    assert (got.channel, got.offset, got.payload) == (channel, offset, payload)
    for stream in (codec.STDOUT, codec.STDERR):
        out = codec.decode_output(codec.encode_output(channel, stream, offset, payload))
        assert (out.channel, out.stream, out.offset, out.payload) == (channel, stream, offset, payload)


# --- hostile input ------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("a\0b"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
field_names = sorted({f.encode_name for kind in codec.TYPES for f in msgspec.structs.fields(kind)})


@given(st.text() | st.binary())
def test_arbitrary_text_never_raises_another_error(text):
    for decode in (codec.decode_client_text, codec.decode_server_text):
        with contextlib.suppress(BadJson, BadMessage, UnknownType):
            decode(text)  # chance may well find a message


@given(st.sampled_from(sorted(codec.TYPES.values())),
       st.dictionaries(st.sampled_from(field_names), json_values, max_size=6))  # fmt: skip
def test_arbitrary_fields_never_raise_another_error(name, values):
    text = json.dumps({**values, "type": name})
    for decode in (codec.decode_client_text, codec.decode_server_text):
        try:
            message = decode(text)
        except (BadJson, BadMessage, UnknownType):
            continue
        assert type(message) in codec.TYPES


@given(clients, st.sampled_from(field_names), json_values)
def test_one_spoilt_field_never_raises_another_error(message, name, value):
    document = json.loads(codec.encode_client(message))
    document[name] = value
    try:
        codec.decode_client_text(json.dumps(document))
    except (BadJson, BadMessage):
        return


@given(st.binary(max_size=40))
def test_arbitrary_bytes_never_raise_another_error(data):
    for decode in (codec.decode_input, codec.decode_output):
        try:
            decode(data)
        except BadFrame:
            continue


@pytest.mark.parametrize("kind", [m.Run, m.Attach, m.Shell, m.Ack, m.Ping, m.Signal])
def test_each_required_field_is_missed(kind):
    whole = {"channel": 1, "mode": "tty", "session": "s", "token": "t", "client": "c" * 22, "cols": 80,
             "rows": 24, "offset": 0, "t": 1, "name": "INT"}  # fmt: skip
    required = [f.encode_name for f in msgspec.structs.fields(kind) if f.required]
    document = {name: whole[name] for name in required} | {"type": codec.TYPES[kind]}
    assert isinstance(codec.decode_client_text(json.dumps(document)), kind)
    for name in required:
        less = {key: value for key, value in document.items() if key != name}
        with pytest.raises(BadMessage, match=f"{name} is missing"):
            codec.decode_client_text(json.dumps(less))


# --- bounds -------------------------------------------------------------------------------------------


def test_payload_bound():
    whole = codec.encode_input(1, 0, bytes(codec.MAX_PAYLOAD))
    assert len(codec.decode_input(whole).payload) == codec.MAX_PAYLOAD
    with pytest.raises(FrameTooLarge):
        codec.decode_input(whole + b"x")
    with pytest.raises(FrameTooLarge):
        codec.decode_output(codec.encode_output(1, 1, 0, bytes(codec.MAX_PAYLOAD + 1)))


def test_text_bound_counts_bytes():
    head = '{"type":"take","x":"'
    fits = head + "a" * (codec.MAX_TEXT - len(head) - 2) + '"}'
    assert codec.decode_client_text(fits) == m.Take()
    with pytest.raises(FrameTooLarge):
        codec.decode_client_text(fits + " ")
    with pytest.raises(FrameTooLarge):
        codec.decode_client_text((head + "ä" * (codec.MAX_TEXT // 2) + '"}').encode())


def test_a_flood_of_files_is_refused_before_they_are_made():
    files = [{"path": "a", "content": ""}] * (MAX_FILES + 1)
    with pytest.raises(BadMessage, match="at most 4096"):
        codec.decode_client_text(json.dumps({"type": "run", "channel": 1, "mode": "tty", "files": files}))


def test_a_lone_surrogate_from_outside_does_not_break_the_encoder():
    error = m.ErrorMessage("engine_timeout", "said \ud800", True)
    told = msgspec.structs.replace(error, message="said ?")
    assert codec.decode_server_text(codec.encode_server(error)) == told


def test_an_error_becomes_a_message():
    error = BadMessage("no", channel=3, expected=7, retry_after_ms=9)
    assert m.ErrorMessage.of(error) == m.ErrorMessage("bad_message", "no", False, 3, 9, 7)


def test_an_answer_with_a_broken_character_goes_out_all_the_same():
    assert codec.encode_answer(FileMoved("x\udc80")) == b'{"path":"x?"}'


def test_a_client_sends_no_other_text_than_it_was_given():
    with pytest.raises(ValueError, match="surrogates"):
        codec.encode_client(m.Run(1, "pipe", entry="main.py", args=("\udcff",)))


def test_names_that_are_not_utf_8_reach_the_client_also_in_tuples():
    told = json.loads(
        codec.encode_server(m.Exit(1, 0, None, "exited", ("\udcff",), 0, m.Usage(None, None, None, 0), 0))
    )
    assert told["limits_hit"] == ["?"]
