"""Frames that no WebSocket library would send."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable

from coderunner.attack.case import Case, Group
from coderunner.attack.raw import BINARY, CLOSE, CONTINUATION, PING, TEXT, Raw, frame
from coderunner.attack.stage import Stage

GROUP = Group("frames")
PROTOCOL_ERROR = ("closed with 1002",)
PING_TEXT = b'{"type":"ping","t":7}'


def _deflated() -> bytes:
    """A compressed message (permessage-deflate) of 64 KB that unpacks to 64 MiB of zeros."""
    # Negative: a plain deflate stream, as permessage-deflate has it.
    bomb = zlib.compressobj(wbits=-15)
    # RFC 7692, section 7.2.1: without the last four bytes of an empty block.
    return (bomb.compress(bytes(64 << 20)) + bomb.flush(zlib.Z_SYNC_FLUSH))[:-4]


# Functions make the bytes, so that importing this module does not build megabytes.
# name, what it attacks, the bytes, what must come
_FRAMES: tuple[tuple[str, str, Callable[[], bytes], tuple[str, ...]], ...] = (
    ("frame-huge", "memory, by the claim of a gigabyte", lambda: frame(TEXT, b"x" * 64, length=1 << 30),
     ("closed with 1009",)),
    # The highest bit of a length must be 0 (RFC 6455, section 5.2).
    ("frame-of-2-to-the-63", "the arithmetic of lengths",
     lambda: frame(BINARY, b"x" * 64, length=(1 << 63) - 1),
     ("closed with 1009", "closed with 1002")),
    ("frame-over-the-limit", "the limit of a text", lambda: frame(TEXT, b"x" * 64, length=(8 << 20) + 1),
     ("closed with 1009",)),
    ("payload-over-the-limit", "the limit of input in one frame",
     lambda: frame(BINARY, b"\x02\x00" + bytes(10) + b"x" * 65537), ("closed with 1009",)),
    ("fragments-over-the-limit", "the limit of a text, in fragments",
     lambda: frame(TEXT, b"x" * (5 << 20), fin=False) + frame(CONTINUATION, b"x" * (5 << 20), fin=False),
     ("closed with 1009", "closed with 1006")),  # a peer that still writes may miss the code
    ("deflate-bomb", "memory, by compression that was not agreed on", lambda: frame(TEXT, _deflated(), rsv=4),
     PROTOCOL_ERROR),
    ("reserved-bits", "bits without a meaning", lambda: frame(TEXT, PING_TEXT, rsv=2), PROTOCOL_ERROR),
    ("reserved-opcode", "a frame of an unknown kind", lambda: frame(3, b"x"), PROTOCOL_ERROR),
    ("reserved-control-opcode", "a control frame of an unknown kind", lambda: frame(11, b"x"),
     PROTOCOL_ERROR),
    # Control frames have at most 125 bytes and are not fragmented (RFC 6455, section 5.5).
    ("ping-too-long", "a control frame of 126 bytes", lambda: frame(PING, b"x" * 126), PROTOCOL_ERROR),
    ("ping-fragmented", "a control frame in fragments", lambda: frame(PING, b"x", fin=False), PROTOCOL_ERROR),
    ("continuation-of-nothing", "the order of fragments", lambda: frame(CONTINUATION, b"x"), PROTOCOL_ERROR),
    ("message-in-a-message", "the order of fragments",
     lambda: frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"), PROTOCOL_ERROR),
    ("invalid-utf8", "the decoder of texts", lambda: frame(TEXT, b'{"type":"\xff\xfe"}'),
     ("closed with 1007",)),
    ("close-code-invalid", "the end of a connection, with a code that is none",
     lambda: frame(CLOSE, (999).to_bytes(2, "big")), PROTOCOL_ERROR),
    ("close-of-one-byte", "the end of a connection, with half a code", lambda: frame(CLOSE, b"x"),
     PROTOCOL_ERROR),
    ("close-reason-invalid", "the end of a connection, with a reason that is no text",
     lambda: frame(CLOSE, b"\x03\xe8\xff\xfe"), ("closed with 1007", "closed with 1002")),
)  # fmt: skip


def _add(name: str, attacks: str, data: Callable[[], bytes], expected: tuple[str, ...]) -> Case:
    async def script(stage: Stage) -> str:
        async with stage.raw() as one:
            await one.send(data())
            return f"closed with {await one.close_code()}"

    return Case(name, GROUP.name, attacks, expected, script)


GROUP.cases += [_add(*row) for row in _FRAMES]


async def _pong(one: Raw) -> str:
    """Sends a ping of the protocol, and waits for its answer. Raises Unexpected."""
    await one.send(frame(TEXT, PING_TEXT))
    await one.until(b'"pong"', 20)
    return "pong"


@GROUP.case("byte-by-byte", "nothing: a message of one-byte fragments, a ping between any two", "pong")
async def _fragments(stage: Stage) -> str:
    async with stage.raw() as one:
        data = b"".join(
            frame(TEXT if at == 0 else CONTINUATION, PING_TEXT[at : at + 1], fin=at == len(PING_TEXT) - 1)
            + frame(PING, b"x")
            for at in range(len(PING_TEXT))
        )
        await one.send(data)
        await one.until(b'"pong"')
        return "pong"


@GROUP.case(
    "empty-fragments", "the server's time, by 200,000 fragments of nothing",
    "pong", "closed with 4429", "closed with 1009", "closed with 1002", "closed with 1006",
)  # fmt: skip
async def _empty(stage: Stage) -> str:
    async with stage.raw() as one:
        piece = frame(CONTINUATION, b"", fin=False) * 1000
        await one.send(frame(TEXT, b"", fin=False))
        for _ in range(200):
            await one.send(piece)
        await one.send(frame(CONTINUATION, PING_TEXT))
        return await _pong_or_close(one)


@GROUP.case("pings", "the server's time, by 200,000 pings", "closed with 4429", "closed with 1006")
async def _pings(stage: Stage) -> str:
    async with stage.raw() as one:
        piece = frame(PING, b"") * 1000
        for _ in range(200):
            await one.send(piece)
        await one.send(frame(TEXT, PING_TEXT))
        return await _pong_or_close(one)


@GROUP.case(
    "messages",
    "the server's time, by 200,000 messages",
    "closed with 4429",
    "closed with 1006",
    "closed with 1011",
)
async def _messages(stage: Stage) -> str:
    async with stage.raw() as one:
        piece = frame(TEXT, b'{"type":"ping","t":1}') * 1000
        for _ in range(200):
            await one.send(piece)
        await one.send(frame(TEXT, b'{"type":"ping","t":77}'))
        return await _pong_or_close(one, b"77")


@GROUP.case(
    "long-messages",
    "the server's time, by 40 messages of 7 MB and many names",
    "closed with 4429",
    "closed with 1006",
)
async def _long(stage: Stage) -> str:
    text = b"{" + b",".join(b'"k%d":0' % number for number in range(550_000)) + b"}"
    async with stage.raw() as one:
        piece = frame(TEXT, text)
        for _ in range(40):
            await one.send(piece)
        await one.send(frame(TEXT, PING_TEXT))
        return await _pong_or_close(one)


async def _pong_or_close(one: Raw, mark: bytes = b'"pong"') -> str:
    """Waits for a payload with `mark`. Returns `pong`, or with which code the server closed the
    connection."""
    try:
        async with asyncio.timeout(30):
            while True:
                opcode, payload = await one.receive()
                if mark in payload:
                    return "pong"
                if opcode == CLOSE:
                    return f"closed with {int.from_bytes(payload[:2], 'big')}"
    except (asyncio.IncompleteReadError, ConnectionError):
        return "closed with 1006"


@GROUP.case(
    "unmasked", "caches on the way, by a frame without a mask; no browser sends one",
    "pong", "closed with 1002",
)  # fmt: skip
async def _unmasked(stage: Stage) -> str:
    async with stage.raw() as one:
        await one.send(frame(TEXT, PING_TEXT, mask=False))
        return await _pong_or_close(one)


@GROUP.case("half-a-frame", "nothing: a frame that never ends, then the connection breaks", "pong")
async def _half(stage: Stage) -> str:
    async with stage.raw() as one:
        await one.send(frame(TEXT, PING_TEXT)[:-5])
    async with stage.raw() as two:
        return await _pong(two)


@GROUP.case("close-and-talk-on", "the end of a connection, by messages behind its close", "closed with 1000")
async def _after_close(stage: Stage) -> str:
    async with stage.raw() as one:
        await one.send(frame(CLOSE, (1000).to_bytes(2, "big")) + frame(TEXT, PING_TEXT) * 100)
        return f"closed with {await one.close_code()}"
