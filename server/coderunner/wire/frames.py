"""Frames between server and agent, and decoders that find the next good frame after any break.

The stream can break in the middle of a frame, in either direction: the server is killed while it writes, or
an attach begins in the middle of a frame.  Therefore a frame has two checksums, and a decoder that reads
something else searches for the next frame whose checksums are right.

Header, 36 bytes, big-endian::

    4s magic | u8 kind | u8 stream | u16 channel | u64 generation | u64 offset | u32 length
    | u32 checksum of the payload | u32 checksum of the header before it

Checksums are CRC-32 with a seed.  A server gives each attach a random seed that programs in the
container do not know, so program output that imitates a frame has wrong checksums when a decoder begins in
the middle of a real one.  (A program never sees a frame, so a CRC is as good as a keyed hash here; the trust
boundary is the container in any case.)
"""

from __future__ import annotations

import struct
import zlib

from coderunner.wire import compact
from coderunner.wire.tuples import namedtuple

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from typing import Any, NamedTuple

MAGIC = b"\xc5CR\x01"
HEADER = struct.Struct(">4sBBHQQII")
CHECK = struct.Struct(">I")
HEADER_SIZE = HEADER.size + CHECK.size
MAX_PAYLOAD = 65536  # bytes; larger messages span several frames
# Bytes of a call or reply. The files of one message have at most 8 MiB; base64 and JSON add to that.
MAX_MESSAGE = 16 * 1024 * 1024

# Kinds of frames, server to agent.
ATTACH = 1  # JSON: {"seed", "have": {channel: offset}}
BEAT = 2  # both ways
INPUT = 3  # channel, offset, bytes for the program
FLOW = 4  # channel, offset = released; payload: FLOW_BODY
CALL = 5  # message: {"id", "op", ...} and raw bytes
# Kinds of frames, agent to server.
HELLO = 16  # JSON: version, sealed record, state of each channel
OUTPUT = 17  # channel, stream, offset, bytes of the program
IN_ACK = 18  # channel, offset
STATE = 19  # JSON: a channel's complete state
REPLY = 20  # message: {"id", ...} and raw bytes
WORKSPACE = 22  # files have changed; offset = the new revision
ARTIFACT = 23  # channel; JSON: {path, size} of a file that its program made, or {more: true}
FATAL_ERROR = 24  # text: the traceback of a fault that ends the agent
REFUSED = 21  # the attach's generation is not above `offset`, the one in force

FLOW_BODY = struct.Struct(">QB")  # credit (send output below this offset), flags
CONTROLLED = 1  # a control attachment is there
EXIT_ACKED = 2  # the client has this channel's exit

MORE = 1  # in `stream` of CALL and REPLY: the message goes on in the next frame
RAW = struct.Struct(">I")  # length of the JSON in front of the raw bytes

# Sent before a new attach: a broken write leaves at most one frame incomplete, and this many zero bytes
# complete it.
PREAMBLE = bytes(MAX_PAYLOAD + HEADER_SIZE)

if TYPE_CHECKING:

    class Frame(NamedTuple):
        """One decoded frame; its fields are those of the header, and the payload."""

        kind: int
        stream: int
        channel: int
        generation: int
        offset: int
        payload: bytes
else:
    Frame = namedtuple("Frame", "kind stream channel generation offset payload")


def encode(
    kind: int,
    generation: int,
    payload: bytes = b"",
    *,
    channel: int = 0,
    offset: int = 0,
    stream: int = 0,
    seed: int = 0,
) -> bytes:
    """One frame as bytes.  ``payload`` has at most MAX_PAYLOAD bytes.  ``seed``: of the checksums."""
    head = HEADER.pack(
        MAGIC, kind, stream, channel, generation, offset, len(payload), zlib.crc32(payload, seed)
    )
    return b"".join((head, CHECK.pack(zlib.crc32(head, seed)), payload))


def encode_message(
    kind: int, generation: int, body: dict[str, Any], raw: bytes = b"", *, seed: int = 0
) -> bytes:
    """A message (a JSON object followed by raw bytes) as one or more frames, in one bytes object."""
    text = compact.dumps(body)
    whole = b"".join((RAW.pack(len(text)), text, raw))
    parts = []
    for start in range(0, len(whole), MAX_PAYLOAD):
        more = MORE if start + MAX_PAYLOAD < len(whole) else 0
        parts.append(encode(kind, generation, whole[start : start + MAX_PAYLOAD], stream=more, seed=seed))
    return b"".join(parts)


def decode_message(whole: bytes | bytearray, text_limit: int = MAX_MESSAGE) -> tuple[dict[str, Any], bytes]:
    """(body, raw) of a reassembled message.

    Raises ValueError for anything else, and for more than ``text_limit`` bytes of JSON."""
    if len(whole) < RAW.size:
        raise ValueError("message too short")
    (length,) = RAW.unpack_from(whole)
    if length > len(whole) - RAW.size:
        raise ValueError("message shorter than it says")
    if length > text_limit:
        raise ValueError("message with too much JSON")
    body = compact.loads(bytes(whole[RAW.size : RAW.size + length]))
    if not isinstance(body, dict):
        raise ValueError("message is not an object")
    return body, bytes(whole[RAW.size + length :])


class Decoder:
    """Decodes a stream of bytes into frames, and keeps at most one incomplete frame.

    ``seed``: of the checksums.  ``skipped``: bytes that belonged to no frame.  ``torn``: frames with a right
    checksum of the header and a wrong one of the payload."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.skipped = 0
        self.torn = 0
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> list[Frame]:
        """The frames that ``data`` completes.  Never raises, whatever the bytes are."""
        buffer = self._buffer
        buffer += data
        frames = []
        start = 0
        while True:
            at = buffer.find(MAGIC, start)
            if at < 0:
                # The last bytes may be the beginning of a magic number: they are kept.
                keep = max(start, len(buffer) - len(MAGIC) + 1)
                self.skipped += keep - start
                start = keep
                break
            self.skipped += at - start
            start = at
            if len(buffer) - at < HEADER_SIZE:
                break
            _, kind, stream, channel, generation, offset, length, check = HEADER.unpack_from(buffer, at)
            (head_check,) = CHECK.unpack_from(buffer, at + HEADER.size)
            head = bytes(buffer[at : at + HEADER.size])
            # Nothing is believed before its checksum: a length from elsewhere would have us wait for ever.
            if length > MAX_PAYLOAD or zlib.crc32(head, self.seed) != head_check:
                start = at + 1
                self.skipped += 1
                continue
            end = at + HEADER_SIZE + length
            if len(buffer) < end:
                break
            with memoryview(buffer) as view:
                payload = bytes(view[at + HEADER_SIZE : end])
            if zlib.crc32(payload, self.seed) != check:
                # The frame is incomplete: the next one begins somewhere inside these bytes.
                start = at + 1
                self.skipped += 1
                self.torn += 1
                continue
            frames.append(Frame(kind, stream, channel, generation, offset, payload))
            start = end
        del buffer[:start]
        return frames


class Assembler:
    """Reassembles the parts of a CALL or REPLY.

    ``limit``: bytes of a message.  ``text_limit``: bytes of the JSON in it."""

    def __init__(self, limit: int = MAX_MESSAGE, text_limit: int = MAX_MESSAGE) -> None:
        self._limit = limit
        self._text_limit = text_limit
        self._parts = bytearray()
        self._overflow = False

    def reset(self) -> None:
        """Drops an incomplete message, as a new generation requires."""
        self._parts = bytearray()
        self._overflow = False

    def add(self, frame: Frame) -> tuple[dict[str, Any], bytes] | None:
        """(body, raw) when ``frame`` completes a message, else None.

        Raises ValueError as `decode_message`."""
        if len(self._parts) + len(frame.payload) > self._limit:
            # The rest of the message is still read, but not kept: the next message begins behind it.
            self._overflow = True
            self._parts = bytearray()
        if not self._overflow:
            self._parts += frame.payload
        if frame.stream & MORE:
            return None
        whole, overflow = self._parts, self._overflow
        self.reset()
        if overflow:
            raise ValueError("message over the limit")
        return decode_message(whole, self._text_limit)

    @property
    def held(self) -> int:
        """Bytes held of an incomplete message."""
        return len(self._parts)
