"""`coderunner.v1` on the wire: bytes and texts in, values out, and back. No other errors than the declared.

Text frames are JSON objects with a `type`. Binary frames have a header of 12 bytes, big-endian:

    u8 kind (1 output, 2 input) | u8 stream | u16 channel | u64 offset | payload of at most 64 KiB
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Generator, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from typing import Any, cast

import orjson

from coderunner.core import messages as m
from coderunner.core import shapes as s
from coderunner.core.shapes import MAX_OFFSET
from coderunner.errors import BadFrame, BadJson, BadMessage, FrameTooLarge, UnknownType

MAX_PAYLOAD = 64 * 1024
MAX_TEXT = 4 * 1024 * 1024
MAX_FIRST_TEXT = 64 * 1024
"""Of all texts that come before there is a session."""
SMALL_TEXT = 64 * 1024
"""What is read at once; a longer one in steps, with others between."""
MAX_VALUES = 16 * 1024
"""Values outside of texts, that is `,`, `[` and `{`: a message of 4,096 files has 12,288 of them. Each costs
the reader as much as some hundred bytes of text."""
MAX_FILES = 4096

STDOUT = 1
STDERR = 2

_BLOCK = 256 * 1024

_HEADER = struct.Struct(">BBHQ")
HEADER_SIZE = _HEADER.size
_KIND_OUTPUT = 1
_KIND_INPUT = 2

# --- shapes -------------------------------------------------------------------------------------------

_channel = s.integer(0, 65535)
_offset = s.integer(0, MAX_OFFSET)
_size = s.clamped(2, 1000)
_cell = s.integer(2, 1000)
_count = s.integer(0, MAX_OFFSET)
_word = s.text(256)
_id = s.matching(r"[A-Za-z0-9_.-]{1,128}", "an id")
_secret = s.matching(r"[A-Za-z0-9_.=-]{1,512}", "a token")
_random = s.matching(r"[A-Za-z0-9_-]{22,64}", "128 random bits as 22 to 64 of A-Z a-z 0-9 _ -")
_host_name = s.matching(
    r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", "a host name: a letter, then up to 62 of a-z 0-9 -, the last no -"
)
_files = s.many(s.file, MAX_FILES)
_wishes = s.mapping(_word, s.integer(1, MAX_OFFSET), 16)
_env = s.mapping(
    s.matching(r"[A-Za-z_][A-Za-z0-9_]{0,127}", "a name of letters, digits and _"), s.text(32768), 256
)
_offsets = s.mapping(s.channel_key, _offset, 4096)
_numbers = s.mapping(_word, s.number, 64)
_line = s.text(65536, nul=True)

_expiry_fields = {"idle_ms": s.nullable(_count), "total_ms": _count}
_expiry = s.nested(m.Expiry, _expiry_fields)

_CLIENT = {
    "open": s.nested(m.Open, {
        "language": s.text(64, min_length=1), "client": _random, "nonce": s.nullable(_random),
        "files": _files, "limits": _wishes, "network": s.choice(m.NETWORKS), "group": s.nullable(_id),
        "group_token": s.nullable(_secret), "member": s.nullable(_host_name), "record": s.boolean,
    }),
    "attach": s.nested(m.Attach, {
        "session": _id, "token": _secret, "client": _random, "role": s.nullable(s.choice(m.ROLES)),
        "cursors": _offsets,
    }),
    "take": s.nested(m.Take, {}),
    "run": s.nested(m.Run, {
        "channel": _channel, "mode": s.choice(m.MODES), "files": _files, "entry": s.nullable(s.text(1024)),
        "args": s.many(s.text(65536), 1024), "env": _env, "cols": s.nullable(_size),
        "rows": s.nullable(_size), "limits": _wishes, "stdin": s.nullable(s.text(1024, min_length=1)),
    }),
    "shell": s.nested(m.Shell, {"channel": _channel, "cols": _size, "rows": _size}),
    "resize": s.nested(m.Resize, {"channel": _channel, "cols": _size, "rows": _size}),
    "signal": s.nested(m.Signal, {"channel": _channel, "name": s.choice(m.SIGNALS)}),
    "eof": s.nested(m.Eof, {"channel": _channel, "offset": _offset}),
    "kill": s.nested(m.Kill, {"channel": _channel}),
    "ack": s.nested(m.Ack, {"channel": _channel, "offset": _offset, "exit": s.boolean}),
    "extend": s.nested(m.Extend, {}),
    "close": s.nested(m.Close, {}),
    "ping": s.nested(m.Ping, {"t": s.number}),
}  # fmt: skip

_SERVER = {
    "hello": s.nested(m.Hello, {
        "protocol": _word, "server": _word, "environment": _word, "limits": s.mapping(_word, _count, 64),
        "features": s.many(_word, 64), "keepalive_s": _count,
    }),
    "queued": s.nested(m.Queued, {
        "position": _count, "ahead": _count, "eta_ms": s.nullable(_count), "deadline_ms": _count,
    }),
    "opened": s.nested(m.Opened, {
        "session": _id, "token": _secret, "language": _word, "warm": s.boolean, "expires": _expiry,
        "isolation": s.nested(m.Isolation, {"runtime": _word, "network": _word}), "timings_ms": _numbers,
        "group": s.nullable(_id), "group_token": s.nullable(_secret), "member": s.nullable(_word),
    }),
    "attached": s.nested(m.Attached, {
        "session": _id, "role": s.choice(m.ROLES), "channels": s.many(s.nested(m.ChannelView, {
            "channel": _channel, "mode": s.choice(m.MODES), "phase": s.choice(m.PHASES), "from": _offset,
            "to": _offset, "input_offset": _offset, "input_eof": s.boolean, "cols": s.nullable(_cell),
            "rows": s.nullable(_cell),
        }), 65536), "expires": _expiry,
    }),
    "role": s.nested(m.Role, {"role": s.choice(m.ROLES), "input_offsets": _offsets}),
    "state": s.nested(m.State, {"channel": _channel, "phase": s.choice(m.PHASES), "offset": _offset}),
    "stopped": s.nested(m.Stopped, {"channel": _channel, "by": s.nullable(s.choice(m.STOPPED_BY))}),
    "in_ack": s.nested(m.InAck, {"channel": _channel, "offset": _offset}),
    "gap": s.nested(m.Gap, {
        "channel": _channel, "from": _offset, "to": _offset, "restore": s.nullable(_line),
    }),
    "resized": s.nested(m.Resized, {"channel": _channel, "cols": _cell, "rows": _cell}),
    "diagnostics": s.nested(m.Diagnostics, {
        "channel": _channel, "items": s.many(s.nested(m.Diagnostic, {
            "path": s.text(1024), "line": _count, "column": _count, "severity": s.choice(m.SEVERITIES),
            "message": _line,
        }), 10_000),
    }),
    "artifact": s.nested(m.Artifact, {
        "channel": _channel, "path": s.text(1024), "mime": _word, "size": _count, "url": s.text(4096),
    }),
    "workspace": s.nested(m.Workspace, {"revision": _count}),
    "exit": s.nested(m.Exit, {
        "channel": _channel, "code": s.nullable(s.integer(0, 255)), "signal": s.nullable(_word),
        "reason": s.choice(m.REASONS), "limits_hit": s.many(s.choice(m.LIMITS_HIT), 8),
        "left_behind": _count, "usage": s.nested(m.Usage, dict.fromkeys(
            ("wall_ms", "cpu_ms", "memory_peak_bytes", "output_bytes"), s.nullable(_count))),
        "offset": _offset, "shared": s.boolean,
    }),
    "expires": s.nested(m.Expires, _expiry_fields),
    "notice": s.nested(m.Notice, {"code": _word, "message": _line}),
    "closed": s.nested(m.Closed, {"reason": s.choice(m.CLOSED_REASONS)}),
    "error": s.nested(m.ErrorMessage, {
        "code": _word, "message": _line, "retryable": s.boolean, "channel": s.nullable(_channel),
        "retry_after_ms": s.nullable(_count), "expected": s.nullable(_offset),
    }),
    "pong": s.nested(m.Pong, {"t": s.number}),
}  # fmt: skip

TYPES: dict[type, str] = {
    m.Open: "open", m.Attach: "attach", m.Take: "take", m.Run: "run", m.Shell: "shell",
    m.Resize: "resize", m.Signal: "signal", m.Eof: "eof", m.Kill: "kill", m.Ack: "ack",
    m.Extend: "extend", m.Close: "close", m.Ping: "ping",
    m.Hello: "hello", m.Queued: "queued", m.Opened: "opened", m.Attached: "attached", m.Role: "role",
    m.State: "state", m.Stopped: "stopped", m.InAck: "in_ack", m.Gap: "gap", m.Resized: "resized",
    m.Diagnostics: "diagnostics", m.Artifact: "artifact", m.Workspace: "workspace",
    m.Exit: "exit", m.Expires: "expires",
    m.Notice: "notice", m.Closed: "closed", m.ErrorMessage: "error", m.Pong: "pong",
}  # fmt: skip

CLIENT_TYPES = frozenset(_CLIENT)
SERVER_TYPES = frozenset(_SERVER)


# --- text frames --------------------------------------------------------------------------------------


def decode_client_text(text: str | bytes) -> m.ClientMessage:
    """Raises BadJson, BadMessage, UnknownType or FrameTooLarge."""
    steps = decode_client_steps(text)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return cast(m.ClientMessage, done.value)


def decode_client_steps(text: str | bytes) -> Generator[None, None, m.ClientMessage]:
    """As `decode_client_text`, with a pause after every few milliseconds of work."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(data) > MAX_TEXT:
        raise FrameTooLarge(f"a text frame may have at most {MAX_TEXT} bytes")
    if data.count(b"[") + data.count(b"{") + data.count(b",") > MAX_VALUES:
        yield from _check_values(data)
    if len(data) > SMALL_TEXT:
        yield
    return cast(m.ClientMessage, _decode(data, _CLIENT))


def _check_values(data: bytes) -> Iterator[None]:
    """Raises BadMessage where there are more values than a message can have: read they would take seconds."""
    at, inside, values = 0, False, 0
    while at < len(data):
        block = data[at : at + _BLOCK]
        if (len(block) - len(block.rstrip(b"\\"))) % 2:
            block = data[at : at + _BLOCK + 1]  # with what its last backslash escapes
        parts = block.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"', 2 * MAX_VALUES)
        outside = b"".join(parts[inside::2])
        values += outside.count(b",") + outside.count(b"[") + outside.count(b"{")
        if values > MAX_VALUES or len(parts) > 2 * MAX_VALUES:
            raise BadMessage(f"a text frame may have at most {MAX_VALUES} values")
        inside ^= len(parts) % 2 == 0
        at += len(block)
        yield


def decode_server_text(text: str | bytes) -> m.ServerMessage:
    """For clients and tests. Raises as `decode_client_text`."""
    return cast(m.ServerMessage, _decode(text, _SERVER))


def _decode(text: str | bytes, shapes: dict[str, s.Reader]) -> Any:
    if len(text) > MAX_TEXT:
        raise FrameTooLarge(f"a text frame may have at most {MAX_TEXT} bytes")
    try:
        document = orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        raise BadJson("a text frame must be a JSON object in UTF-8") from None
    if not isinstance(document, dict):
        raise BadJson("a text frame must be a JSON object in UTF-8")
    name = document.get("type")
    if not isinstance(name, str):
        raise BadMessage("type is missing")
    reader = shapes.get(name)
    if reader is None:
        raise UnknownType(f"the type {name[:64]!a} is not known")
    return reader(document, name)


def encode_client(message: m.ClientMessage) -> str:
    return _encode(message)


def encode_server(message: m.ServerMessage) -> str:
    return _encode(message)


def _encode(message: Any) -> str:
    document = {"type": TYPES[type(message)], **_plain(message)}
    try:
        return orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        # A lone surrogate, in words that came from outside: the message goes out, the character as "?".
        return orjson.dumps(_encodable(document), option=orjson.OPT_NON_STR_KEYS).decode()


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    if isinstance(value, dict):
        return {_encodable(name): _encodable(item) for name, item in value.items()}
    return value


@cache
def _fields_of(kind: Any) -> tuple[Field[Any], ...]:
    return fields(kind)


def _plain(value: Any) -> Any:
    """A value as JSON knows it: fields at their default left out, bytes as text or base64."""
    if isinstance(value, m.File):
        try:
            return {"path": value.path, "content": value.content.decode()}
        except UnicodeDecodeError:
            encoded = binascii.b2a_base64(value.content, newline=False).decode()
            return {"path": value.path, "content_base64": encoded}
    if is_dataclass(value):
        document = {}
        kind: Any = type(value)
        for field in _fields_of(kind):
            item = getattr(value, field.name)
            if not _is_default(field, item):
                document[field.name.rstrip("_")] = _plain(item)
        return document
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value


def _is_default(field: Field[Any], value: Any) -> bool:
    if field.default_factory is not MISSING:
        return bool(value == field.default_factory())
    return bool(field.default is not MISSING and value == field.default)


# --- binary frames ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InputFrame:
    """Bytes for a program; `offset` is where the first of them stands in the channel's input."""

    channel: int
    offset: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class OutputFrame:
    """Bytes of a program; `stream` is STDOUT (all of a tty) or STDERR, `offset` counts across both."""

    channel: int
    stream: int
    offset: int
    payload: bytes


def decode_input(data: bytes) -> InputFrame:
    """Raises BadFrame, or FrameTooLarge where the payload is above MAX_PAYLOAD."""
    _, channel, offset, payload = _open_frame(data, _KIND_INPUT, (0,))
    return InputFrame(channel, offset, payload)


def decode_output(data: bytes) -> OutputFrame:
    """For clients and tests. Raises as `decode_input`."""
    stream, channel, offset, payload = _open_frame(data, _KIND_OUTPUT, (STDOUT, STDERR))
    return OutputFrame(channel, stream, offset, payload)


def _open_frame(data: bytes, kind: int, streams: tuple[int, ...]) -> tuple[int, int, int, bytes]:
    if len(data) < HEADER_SIZE:
        raise BadFrame(f"a binary frame has a header of {HEADER_SIZE} bytes; this one has {len(data)} in all")
    if len(data) > HEADER_SIZE + MAX_PAYLOAD:
        raise FrameTooLarge(f"a binary frame carries at most {MAX_PAYLOAD} bytes")
    got, stream, channel, offset = _HEADER.unpack_from(data)
    if got != kind:
        raise BadFrame(f"the kind of this frame must be {kind}, not {got}")
    if stream not in streams:
        raise BadFrame(f"the stream of this frame must be {' or '.join(map(str, streams))}, not {stream}")
    if offset > MAX_OFFSET - (len(data) - HEADER_SIZE):
        raise BadFrame(f"an offset is at most {MAX_OFFSET}")
    return stream, channel, offset, bytes(data[HEADER_SIZE:])


def encode_input(channel: int, offset: int, payload: bytes) -> bytes:
    return _HEADER.pack(_KIND_INPUT, 0, channel, offset) + payload


def encode_output(channel: int, stream: int, offset: int, payload: bytes) -> bytes:
    return _HEADER.pack(_KIND_OUTPUT, stream, channel, offset) + payload
