"""Frames between server and agent: bytes in, frames out, and back in step after any break.

The stream between the two can be torn in the middle of a frame, in either direction: a server killed
while it writes, an attach that begins in mid-output.  So a frame carries two checksums, and a decoder
that does not understand what it reads looks for the next frame that checks out.

Header, 36 bytes, big-endian::

    4s magic | u8 kind | u8 stream | u16 channel | u64 generation | u64 offset | u32 length
    | u32 checksum of the payload | u32 checksum of the header before it

Checksums are CRC-32 with a seed.  A server gives each attach a random seed that programs in the
container cannot know: output that imitates a frame, found by a decoder that begins in the middle of
a real one, does not check out.  (The frame was never seen by the program, so a CRC serves as well as
a keyed hash here; the trust boundary is the container in any case.)
"""

from __future__ import annotations

import json
import struct
import zlib
from collections import namedtuple

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from typing import Any, NamedTuple

MAGIC = b"\xc5CR\x01"
HEADER = struct.Struct(">4sBBHQQII")
CHECK = struct.Struct(">I")
HEADER_SIZE = HEADER.size + CHECK.size
MAX_PAYLOAD = 65536
# A call or reply may span frames; files of one message are at most 8 MiB, base64 and JSON around them more.
MAX_MESSAGE = 16 * 1024 * 1024

# server to agent
ATTACH = 1  # json: seed, and what the server knows
BEAT = 2  # both ways
INPUT = 3  # channel, offset, bytes for the program
FLOW = 4  # channel, offset = released; payload: FLOW_BODY
CALL = 5  # message: {"id", "op", ...} and raw bytes
# agent to server
HELLO = 16  # json: what the agent holds
OUTPUT = 17  # channel, stream, offset, bytes of the program
IN_ACK = 18  # channel, offset
STATE = 19  # json: a channel's whole state, absolute
REPLY = 20  # message: {"id", ...} and raw bytes
WORKSPACE = 22  # offset = revision: files have changed
ARTIFACT = 23  # channel; json: {path, size} of a file that its program made, or {more: true}
LAST_WORDS = 24  # text: why the agent ends, by a fault of its own
REFUSED = 21  # the attach's generation is not above `offset`, the one in force

FLOW_BODY = struct.Struct(">QB")  # credit (send output below this offset), flags
CONTROLLED = 1  # a control attachment is there
EXIT_ACKED = 2  # the client has this channel's exit

MORE = 1  # in `stream` of CALL and REPLY: the message goes on in the next frame
RAW = struct.Struct(">I")  # length of the JSON in front of the raw bytes

# A tear leaves at most one frame incomplete: this many bytes of nothing close it.
PREAMBLE = bytes(MAX_PAYLOAD + HEADER_SIZE)

if TYPE_CHECKING:

    class Frame(NamedTuple):
        """One frame as it came."""

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
    """One frame as bytes.  ``payload`` is at most MAX_PAYLOAD bytes."""
    head = HEADER.pack(
        MAGIC, kind, stream, channel, generation, offset, len(payload), zlib.crc32(payload, seed)
    )
    return b"".join((head, CHECK.pack(zlib.crc32(head, seed)), payload))


def encode_message(
    kind: int, generation: int, body: dict[str, Any], raw: bytes = b"", *, seed: int = 0
) -> bytes:
    """A JSON object with raw bytes behind it, as one or more frames, in one bytes object."""
    text = json.dumps(body, separators=(",", ":")).encode()
    whole = b"".join((RAW.pack(len(text)), text, raw))
    parts = []
    for start in range(0, len(whole), MAX_PAYLOAD):
        more = MORE if start + MAX_PAYLOAD < len(whole) else 0
        parts.append(encode(kind, generation, whole[start : start + MAX_PAYLOAD], stream=more, seed=seed))
    return b"".join(parts)


def decode_message(whole: bytes | bytearray, text_limit: int = MAX_MESSAGE) -> tuple[dict[str, Any], bytes]:
    """(body, raw) of a reassembled message; ValueError for anything that is not one, or has more than
    ``text_limit`` bytes of JSON."""
    if len(whole) < RAW.size:
        raise ValueError("message too short")
    (length,) = RAW.unpack_from(whole)
    if length > len(whole) - RAW.size:
        raise ValueError("message shorter than it says")
    if length > text_limit:
        raise ValueError("message with too much JSON")
    body = json.loads(bytes(whole[RAW.size : RAW.size + length]))
    if not isinstance(body, dict):
        raise ValueError("message is not an object")
    return body, bytes(whole[RAW.size + length :])


class Decoder:
    """Bytes in, frames out.  Holds at most one frame; ``skipped`` counts bytes that were no frame's, ``torn``
    frames whose header checked out and whose payload did not."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.skipped = 0
        self.torn = 0
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> list[Frame]:
        """All frames that are complete now.  Never raises, whatever the bytes."""
        buffer = self._buffer
        buffer += data
        frames = []
        start = 0
        while True:
            at = buffer.find(MAGIC, start)
            if at < 0:
                # Keep what may be the beginning of a magic.
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
                # The frame was torn: what follows it begins somewhere inside.
                start = at + 1
                self.skipped += 1
                self.torn += 1
                continue
            frames.append(Frame(kind, stream, channel, generation, offset, payload))
            start = end
        del buffer[:start]
        return frames


class Assembler:
    """Puts the parts of a CALL or REPLY together; a new generation drops what is incomplete.

    ``limit``: bytes of a message, ``text_limit`` of the JSON in it."""

    def __init__(self, limit: int = MAX_MESSAGE, text_limit: int = MAX_MESSAGE) -> None:
        self._limit = limit
        self._text_limit = text_limit
        self._parts = bytearray()
        self._overflow = False

    def reset(self) -> None:
        """Drops what is incomplete."""
        self._parts = bytearray()
        self._overflow = False

    def add(self, frame: Frame) -> tuple[dict[str, Any], bytes] | None:
        """(body, raw) when the message is complete, else None; ValueError for one that is no message."""
        if len(self._parts) + len(frame.payload) > self._limit:
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
        """Bytes of a message that is not complete."""
        return len(self._parts)
