"""WebSocket frames (RFC 6455, 5.2): makes those of the server, and tracks the boundaries of a client's.

aiohttp buffers a message until it is complete, and does not tell how much it holds or since when. `Framing`
reads the same bytes, so that the server can bound the memory and the time of incomplete messages.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

_CONTINUATION, _TEXT, _BINARY, _CLOSE = 0, 1, 2, 8
_FINAL = 0x80  # in the first byte: the message is not continued in another frame
_MAX_HEAD = 14  # 2 bytes, 8 of an extended length, 4 of a mask


def framed(messages: Sequence[str | bytes]) -> bytes:
    """The messages as frames of a server, which are neither fragmented nor masked, in one bytes object."""
    parts: list[bytes] = []
    for one in messages:
        data = one.encode() if isinstance(one, str) else one
        kind, size = _FINAL | (_TEXT if isinstance(one, str) else _BINARY), len(data)
        # The length has 7 bits; 126 and 127 stand for one of 16 or 64 bits that follows.
        if size < 126:
            parts += (struct.pack(">BB", kind, size), data)
        elif size < 1 << 16:
            parts += (struct.pack(">BBH", kind, 126, size), data)
        else:
            parts += (struct.pack(">BBQ", kind, 127, size), data)
    return b"".join(parts)


def close_frame(code: int) -> bytes:
    """A close frame with this code."""
    return struct.pack(">BBH", _FINAL | _CLOSE, 2, code)


class Framing:
    """The parser's state for one connection.

    `text`, `binary`: the most payload bytes of a message of the kind. `partial`: payload bytes received of an
    incomplete message. `complete`: sizes in bytes of messages and control frames that are complete; whoever
    takes a message from the library removes one entry. `messages`: how many became complete in all.
    """

    def __init__(self, text: int, binary: int) -> None:
        self.text = text
        self.binary = binary
        self.partial = 0
        self.messages = 0
        self._head = b""  # the bytes of a frame's header that is not complete
        self._left = 0  # bytes of the present frame's payload that are still to come
        self._size = 0  # bytes of the present frame's payload in all
        self._control = False
        self._final = True
        self._message: int | None = None  # the kind of the incomplete message; continuation frames have none
        self.complete: list[int] = []

    @property
    def unfinished(self) -> bool:
        """Whether a message or a frame has begun and is not complete."""
        return bool(self._head) or self._left > 0 or self._message is not None

    def feed(self, data: bytes) -> bool:
        """Parses the next bytes. Returns False if a message exceeds its bound: the caller then drops all.

        The announced length is checked, so an oversized message is refused before its payload arrives.
        """
        at, end = 0, len(data)
        while at < end:
            if not self._left:
                head = self._head + data[at : at + _MAX_HEAD - len(self._head)]
                length = self._begin(head)
                if length < 0:
                    return False
                if not length:
                    self._head = head
                    return True
                at += length - len(self._head)
                self._head = b""
            step = min(self._left, end - at)
            self._left -= step
            at += step
            if not self._control:
                self.partial += step
            if not self._left:
                self._end()
        return True

    def _begin(self, head: bytes) -> int:
        """Parses a frame's header. Returns its length, 0 if incomplete, -1 if the message is too large."""
        if len(head) < 2:
            return 0
        first, second = head[0], head[1]
        size, length = second & 127, 2  # 126 and 127 mean that the length follows in 2 or 8 bytes
        if size >= 126:
            length += 2 if size == 126 else 8
        if second & 128:  # a mask follows
            length += 4
        if len(head) < length:
            return 0
        if size >= 126:
            size = int.from_bytes(head[2:4] if size == 126 else head[2:10], "big")
        kind = first & 15
        self._control = kind >= 8  # may stand between the fragments of a message, and does not count for it
        self._final = bool(first & 128)
        if not self._control:
            if kind != _CONTINUATION or self._message is None:
                self._message = kind
            if self.partial + size > (self.binary if self._message == _BINARY else self.text):
                return -1
        self._left = self._size = size
        return length

    def _end(self) -> None:
        if self._control:
            self.complete.append(self._size)
        elif self._final:
            self.complete.append(self.partial)
            self.partial = 0
            self._message = None
        else:
            return
        self.messages += 1
