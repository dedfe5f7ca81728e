"""Encodes and decodes the frames of the protocol `coderunner.v1`.

Decoding raises only the errors that each function declares, whatever the input is. Text frames are JSON
objects with a `type`. Binary frames have a header of 12 bytes, big-endian:

    u8 kind (1 output, 2 input) | u8 stream | u16 channel | u64 offset | payload of at most 64 KiB
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, cast, get_args

import msgspec
import orjson

from coderunner.errors import BadFrame, BadJson, BadMessage, FrameTooLarge, ProtocolError, UnknownType
from coderunner.schema import messages as m
from coderunner.schema.check import Problem, problems_in_json
from coderunner.schema.types import MAX_OFFSET

MAX_PAYLOAD = 64 * 1024
MAX_TEXT = 2 * 1024 * 1024
"""Bytes of one text frame. Decoding that many blocks the event loop for at most three milliseconds."""
MAX_FIRST_TEXT = 64 * 1024
"""Bytes of all text frames together that a connection may send before it has a session."""
SMALL_TEXT = 64 * 1024
"""Bytes that are decoded in one step. Longer texts are decoded in several, so that other tasks can run."""
MAX_VALUES = 16 * 1024
"""JSON values of one text frame, counted as `,`, `[` and `{` outside of strings. The largest legitimate
message has 4,096 files and 12,288 of them.
One value costs the decoder as much as some hundred bytes of text."""

STDOUT = 1
STDERR = 2
# The numbers are part of the protocol.

_BLOCK = 256 * 1024  # bytes of which the values are counted in one step

_HEADER = struct.Struct(">BBHQ")
HEADER_SIZE = _HEADER.size
_KIND_OUTPUT = 1
_KIND_INPUT = 2

_CLIENT_MESSAGES: Any = msgspec.json.Decoder(m.ClientMessage)
_SERVER_MESSAGES: Any = msgspec.json.Decoder(m.ServerMessage)


def _by_tag(messages: Any) -> dict[str, type[m.Message]]:
    return {str(kind.__struct_config__.tag): kind for kind in get_args(messages)}


CLIENT_TYPES = _by_tag(m.ClientMessage)
"""The classes of all messages of the client, by their `type` on the wire."""
SERVER_TYPES = _by_tag(m.ServerMessage)
TYPES = {kind: name for name, kind in (CLIENT_TYPES | SERVER_TYPES).items()}


class _Tag(msgspec.Struct):
    type: str


class _Channel(msgspec.Struct):
    channel: Annotated[int, msgspec.Meta(ge=0, le=65535)] | None = None


# --- text frames --------------------------------------------------------------------------------------


def decode_client_text(text: str | bytes) -> m.ClientMessage:
    """Decodes a client's text frame. Raises BadJson, BadMessage, UnknownType or FrameTooLarge."""
    steps = decode_client_steps(text)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return cast(m.ClientMessage, done.value)


def decode_client_steps(text: str | bytes) -> Generator[None, None, m.ClientMessage]:
    """As `decode_client_text`, as a generator that yields after every few milliseconds of work.

    The message is the generator's return value.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(data) > MAX_TEXT:
        raise FrameTooLarge(f"a text frame may have at most {MAX_TEXT} bytes")
    # A text of at most MAX_VALUES bytes cannot hold more values; most messages have a few dozen bytes.
    if len(data) > MAX_VALUES and data.count(b"[") + data.count(b"{") + data.count(b",") > MAX_VALUES:
        yield from check_values(data)
    try:
        yield from _pause(data)
        return cast(m.ClientMessage, _CLIENT_MESSAGES.decode(data))
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        pass
    raise (yield from _error(data, CLIENT_TYPES))


def _pause(data: bytes) -> Iterator[None]:
    """Yields once if the text is long: each decoding of it is a step of its own."""
    if len(data) > SMALL_TEXT:
        yield


def check_values(data: bytes, maximum: int = MAX_VALUES) -> Iterator[None]:
    """Counts the JSON values of a text without parsing it; yields after every few milliseconds.

    Raises BadMessage if there are more than `maximum`. This comes before parsing, as msgspec builds a list
    before it checks its length: millions of values would take seconds.
    """
    at, inside, values = 0, False, 0
    while at < len(data):
        block = data[at : at + _BLOCK]
        if (len(block) - len(block.rstrip(b"\\"))) % 2:
            block = data[at : at + _BLOCK + 1]  # an odd backslash at the end escapes the next byte
        # Without escapes, each quote begins or ends a string: every second part is outside of strings.
        # The split is bounded, or many short strings would make as many objects.
        parts = block.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"', 2 * maximum)
        outside = b"".join(parts[inside::2])
        values += outside.count(b",") + outside.count(b"[") + outside.count(b"{")
        if values > maximum or len(parts) > 2 * maximum:
            raise BadMessage(f"there may be at most {maximum} values in a message or body")
        inside ^= len(parts) % 2 == 0
        at += len(block)
        yield


def decode_server_text(text: str | bytes) -> m.ServerMessage:
    """Decodes a server's text frame, for clients and tests. Raises as `decode_client_text`."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(data) > MAX_TEXT:
        raise FrameTooLarge(f"a text frame may have at most {MAX_TEXT} bytes")
    return cast(m.ServerMessage, _decode(data, _SERVER_MESSAGES, SERVER_TYPES))


def _decode(data: bytes, messages: msgspec.json.Decoder[Any], kinds: Mapping[str, type[m.Message]]) -> Any:
    try:
        return messages.decode(data)
    except (ValueError, RecursionError):
        pass
    steps = _error(data, kinds)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            raise done.value from None


def _error(data: bytes, kinds: Mapping[str, type[m.Message]]) -> Generator[None, None, ProtocolError]:
    """The error that explains why a text was refused. Only called then, as it decodes the text up to three
    times more. A generator with the error as return value."""
    no_json = BadJson("a text frame must be a JSON object in UTF-8")
    try:
        yield from _pause(data)
        name = msgspec.json.decode(data, type=_Tag).type
    except msgspec.ValidationError:
        # Either not an object, or an object whose `type` is missing or no string.
        return BadMessage("type is missing") if data.lstrip()[:1] == b"{" else no_json
    except (ValueError, RecursionError):
        return no_json
    if name not in kinds:
        return UnknownType(f"the type {name[:64]!a} is not known")
    try:
        yield from _pause(data)
        wrong = next(problems_in_json(kinds[name], data), Problem((), "names a field twice"))
    except (ValueError, RecursionError):
        return no_json
    # Only a `run` or `shell` makes a channel, which then does not start; other errors have no channel.
    if kinds[name] not in (m.Run, m.Shell):
        return BadMessage(wrong.sentence(name))
    try:
        yield from _pause(data)
        channel = msgspec.json.decode(data, type=_Channel).channel
    except (ValueError, RecursionError):
        channel = None  # the channel itself is invalid: the error belongs to the connection
    return BadMessage(wrong.sentence(name), channel=channel)


def encode_client(message: m.ClientMessage) -> str:
    """Encodes a client's message. Files are written as text if they are UTF-8, otherwise as base64. Raises
    ValueError for a text that UTF-8 cannot express, such as an argument or a name of other bytes."""
    document = msgspec.to_builtins(message, str_keys=True)
    if isinstance(message, m.Open) and message.network == m.NETWORKS[0]:
        # msgspec omits a default by identity, so an equal string from elsewhere would stay in.
        document.pop("network", None)
    if isinstance(message, m.Open | m.Run) and message.files:
        document["files"] = [_file(file) for file in message.files]
    try:
        return orjson.dumps(document).decode()
    except TypeError as error:  # orjson's word for it; sent with other characters, it would be another text
        raise ValueError(str(error)) from None


def encode_server(message: m.ServerMessage) -> str:
    """Encodes a server's message. Lone surrogates, which UTF-8 cannot express, become "?"."""
    return _dumped(msgspec.to_builtins(message, str_keys=True)).decode()


def encode_answer(document: msgspec.Struct) -> bytes:
    """Encodes a model of `schema.answers` as JSON. Lone surrogates become "?"."""
    return _dumped(msgspec.to_builtins(document, str_keys=True))


def _file(file: m.File) -> dict[str, str]:
    try:
        return {"path": file.path, "content": file.content.decode()}
    except UnicodeDecodeError:
        encoded = binascii.b2a_base64(file.content, newline=False).decode()
        return {"path": file.path, "content_base64": encoded}


def _dumped(document: Any) -> bytes:
    try:
        return orjson.dumps(document)
    except TypeError:
        # orjson refuses lone surrogates. They occur in names that a program chose (bytes that are no UTF-8);
        # the message must reach the client all the same.
        return orjson.dumps(_encodable(document))


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list | tuple):
        return [_encodable(item) for item in value]
    if isinstance(value, dict):
        return {_encodable(name): _encodable(item) for name, item in value.items()}
    return value


# --- binary frames ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InputFrame:
    """Bytes for a program. `offset`: position of the first byte in the channel's whole input."""

    channel: int
    offset: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class OutputFrame:
    """Bytes from a program. `stream`: STDOUT or STDERR; a tty has only STDOUT. `offset`: position of the
    first byte in the channel's whole output, counted across both streams."""

    channel: int
    stream: int
    offset: int
    payload: bytes


def decode_input(data: bytes) -> InputFrame:
    """Decodes a client's binary frame. Raises BadFrame, and FrameTooLarge above MAX_PAYLOAD."""
    _, channel, offset, payload = _open_frame(data, _KIND_INPUT, (0,))
    return InputFrame(channel, offset, payload)


def decode_output(data: bytes) -> OutputFrame:
    """Decodes a server's binary frame, for clients and tests. Raises as `decode_input`."""
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
    # JavaScript clients count in doubles: the offset after the last byte must be exact as well.
    if offset > MAX_OFFSET - (len(data) - HEADER_SIZE):
        raise BadFrame(f"an offset is at most {MAX_OFFSET}")
    return stream, channel, offset, bytes(data[HEADER_SIZE:])


def encode_input(channel: int, offset: int, payload: bytes) -> bytes:
    """Encodes a client's binary frame. `offset`: of the payload's first byte in the channel's input."""
    return _HEADER.pack(_KIND_INPUT, 0, channel, offset) + payload


def encode_output(channel: int, stream: int, offset: int, payload: bytes) -> bytes:
    """Encodes a server's binary frame. `stream`: STDOUT or STDERR. `offset`: of the payload's first byte in
    the channel's output."""
    return _HEADER.pack(_KIND_OUTPUT, stream, channel, offset) + payload
