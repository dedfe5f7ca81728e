"""The bounded record of a channel's latest output, addressed by absolute offset.

One offset space for standard output and standard error together, so that what was read in an order is
replayed in it.  On pipes every byte has a tag beside it that says which of the two it is: twice the
memory, but a bound that holds for any way of alternating.
"""

from __future__ import annotations

import itertools

STDOUT = 1
STDERR = 2


class Journal:
    """Bytes from ``start`` to ``end``; never more than ``limit``, the oldest fall off."""

    def __init__(self, limit: int, *, tagged: bool, start: int = 0) -> None:
        self.limit = limit
        self.start = start
        self._data = bytearray()
        self._tags = bytearray() if tagged else None

    @property
    def end(self) -> int:
        """Offset behind the last byte."""
        return self.start + len(self._data)

    @property
    def held(self) -> int:
        """Bytes of memory, tags included."""
        return len(self._data) + (0 if self._tags is None else len(self._tags))

    def append(self, stream: int, data: bytes) -> bytes:
        """Append ``data``; the bytes that fell off for it, oldest first (b"" when none)."""
        self._data += data
        if self._tags is not None:
            self._tags += bytes((stream,)) * len(data)
        return self.evict(self.end - self.limit)

    def evict(self, offset: int) -> bytes:
        """Drop what is below ``start``; the dropped bytes."""
        count = min(offset - self.start, len(self._data))
        if count <= 0:
            return b""
        dropped = bytes(self._data[:count])
        del self._data[:count]
        if self._tags is not None:
            del self._tags[:count]
        self.start += count
        return dropped

    def reset(self, offset: int) -> None:
        """Hold nothing, and go on from ``offset``."""
        self._data.clear()
        if self._tags is not None:
            self._tags.clear()
        self.start = offset

    def only(self, stream: int, offset: int, end: int) -> bytes:
        """The bytes of one stream between two offsets, as far as they are held; without tags, all bytes."""
        start, stop = (min(max(0, at - self.start), len(self._data)) for at in (offset, end))
        data = self._data[start:stop]
        if self._tags is not None:
            other = STDERR if stream == STDOUT else STDOUT
            mask = bytes.maketrans(bytes((stream, other)), b"\1\0")
            return bytes(itertools.compress(data, self._tags[start:stop].translate(mask)))
        return bytes(data)

    def read(self, offset: int, most: int) -> tuple[int, bytes]:
        """(stream, bytes) from ``offset``: one stream's bytes, at most ``most``; b"" at the end.

        IndexError below ``start`` or beyond ``end``.
        """
        if not self.start <= offset <= self.end:
            raise IndexError(f"offset {offset} is not in the journal ({self.start} to {self.end})")
        start = offset - self.start
        end = min(start + most, len(self._data))
        if start >= end:
            return STDOUT, b""
        stream = STDOUT
        if self._tags is not None:
            stream = self._tags[start]
            other = self._tags.find(STDERR if stream == STDOUT else STDOUT, start, end)
            if other >= 0:
                end = other
        return stream, bytes(self._data[start:end])
