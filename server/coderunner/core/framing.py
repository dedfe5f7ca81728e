"""Where the messages of a WebSocket begin and end, in bytes that come in pieces, whatever they say.

What a library assembles, it holds until the last byte is there; how much that is and since when, it does not
tell. This counts along (RFC 6455, 5.2).
"""

from __future__ import annotations

_CONTINUATION, _TEXT, _BINARY = 0, 1, 2
_MAX_HEAD = 14


class Framing:
    """`text` and `binary`: the most bytes that a message of the kind may have.

    `partial`: bytes held of a message that is not complete. `unfinished`: the peer owes the rest of one.
    `complete`: the sizes of what has become complete; who takes a message takes one of them.
    """

    def __init__(self, text: int, binary: int) -> None:
        self.text = text
        self.binary = binary
        self.partial = 0
        self.messages = 0  # how many have become complete
        self.too_large = False
        self._head = b""
        self._left = 0  # of the present frame's payload
        self._size = 0  # of the present frame's payload
        self._control = False
        self._final = True
        self._message: int | None = None  # the kind of the message under way
        self.complete: list[int] = []

    @property
    def unfinished(self) -> bool:
        """Whether the peer owes the rest of a message."""
        return bool(self._head) or self._left > 0 or self._message is not None

    def feed(self, data: bytes) -> bool:
        """False as soon as a message is larger than it may be: none of its bytes is to be kept."""
        at, end = 0, len(data)
        while at < end:
            if not self._left:
                head = self._head + data[at : at + _MAX_HEAD - len(self._head)]
                length = self._begin(head)
                if length < 0:
                    self.too_large = True
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
        """The length of a frame's head; 0 where there is more to come, -1 where the message is too large."""
        if len(head) < 2:
            return 0
        first, second = head[0], head[1]
        size, length = second & 127, 2
        if size >= 126:
            length += 2 if size == 126 else 8
        if second & 128:
            length += 4
        if len(head) < length:
            return 0
        if size >= 126:
            size = int.from_bytes(head[2:4] if size == 126 else head[2:10], "big")
        kind = first & 15
        self._control = kind >= 8
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
