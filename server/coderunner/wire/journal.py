"""The bounded record of a channel's latest output, addressed by absolute offset.

One offset space for standard output and standard error together, so that what was read in an order is
replayed in it.  On pipes every byte has a tag beside it that says which of the two it is: twice the
memory, but a bound that holds for any way of alternating.
"""

from __future__ import annotations

import itertools

STDOUT = 1
STDERR = 2
LEAST = 4096  # bytes of the smallest ring


class Journal:
    """Bytes from ``start`` to ``end``; never more than ``limit``, the oldest fall off.

    A ring: what comes in a flood takes the place of what falls off, and nothing is moved for it.
    """

    def __init__(self, limit: int, *, tagged: bool, start: int = 0) -> None:
        self.limit = limit
        self.start = self.end = start  # `end`: the offset behind the last byte
        self._base = start  # the offset that stands at the beginning of the ring
        self._tagged = tagged
        self._data = bytearray()
        self._tags = bytearray()

    @property
    def held(self) -> int:
        """Bytes of memory, tags included."""
        return len(self._data) + len(self._tags)

    def append(self, stream: int, data: bytes) -> bytes:
        """Append ``data``; the bytes that fell off for it, oldest first (b"" when none)."""
        if len(data) > self.limit:
            dropped = self.evict(self.end) + data[: -self.limit]
            self.reset(self.end + len(data) - self.limit)
            self.append(stream, data[-self.limit :])
            return dropped
        dropped = self.evict(self.end + len(data) - self.limit)
        size = self.end - self.start + len(data)
        if size > len(self._data):
            self._grow(size)
        at = (self.end - self._base) % (len(self._data) or 1)
        first = min(len(data), len(self._data) - at)
        self._data[at : at + first] = data if first == len(data) else data[:first]
        self._data[: len(data) - first] = data[first:]
        if self._tagged:
            tags = bytes((stream,)) * len(data)
            self._tags[at : at + first] = tags[:first]
            self._tags[: len(data) - first] = tags[first:]
        self.end += len(data)
        return dropped

    def _grow(self, size: int) -> None:
        """To a ring of ``size`` or more, with what is held at its beginning."""
        room = min(self.limit, max(size, 2 * len(self._data), LEAST))
        held = self._slice(self._data, self.start, self.end)
        tags = self._slice(self._tags, self.start, self.end) if self._tagged else b""
        self._data, self._base = bytearray(room), self.start
        self._data[: len(held)] = held
        if self._tagged:
            self._tags = bytearray(room)
            self._tags[: len(tags)] = tags

    def _slice(self, ring: bytearray, offset: int, end: int) -> bytes:
        """The bytes between two offsets that are held."""
        if offset >= end:
            return b""
        at = (offset - self._base) % len(ring)
        stop = at + end - offset
        with memoryview(ring) as view:
            if stop <= len(ring):
                return bytes(view[at:stop])
            return b"".join((view[at:], view[: stop - len(ring)]))

    def evict(self, offset: int) -> bytes:
        """Drop what is below ``offset``; the dropped bytes."""
        offset = min(offset, self.end)
        if offset <= self.start:
            return b""
        dropped = self._slice(self._data, self.start, offset)
        self.start = offset
        return dropped

    def reset(self, offset: int) -> None:
        """Hold nothing, and go on from ``offset``."""
        self._data, self._tags = bytearray(), bytearray()
        self.start = self.end = self._base = offset

    def only(self, stream: int, offset: int, end: int) -> bytes:
        """The bytes of one stream between two offsets, as far as they are held; without tags, all bytes."""
        start, stop = (min(max(at, self.start), self.end) for at in (offset, end))
        data = self._slice(self._data, start, stop)
        if self._tagged:
            other = STDERR if stream == STDOUT else STDOUT
            mask = bytes.maketrans(bytes((stream, other)), b"\1\0")
            return bytes(itertools.compress(data, self._slice(self._tags, start, stop).translate(mask)))
        return data

    def read(self, offset: int, most: int) -> tuple[int, bytes]:
        """(stream, bytes) from ``offset``: one stream's bytes, at most ``most``; b"" at the end.

        IndexError below ``start`` or beyond ``end``.
        """
        if not self.start <= offset <= self.end:
            raise IndexError(f"offset {offset} is not in the journal ({self.start} to {self.end})")
        end = min(offset + most, self.end)
        if offset >= end:
            return STDOUT, b""
        stream = STDOUT
        if self._tagged:
            tags = self._slice(self._tags, offset, end)
            stream = tags[0]
            other = tags.find(STDERR if stream == STDOUT else STDOUT)
            if other >= 0:
                end = offset + other
        return stream, self._slice(self._data, offset, end)
