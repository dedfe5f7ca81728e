"""The bounded record of a channel's latest output, addressed by absolute offset.

Standard output and standard error share one sequence of offsets, so that output is replayed in the order in
which it was read.  On pipes each byte has a tag that says which of the two streams it belongs to.  That takes
twice the memory, but the bound holds however often the program alternates between the streams.
"""

from __future__ import annotations

import itertools

STDOUT = 1
STDERR = 2
MIN_RING = 4096  # bytes


class Journal:
    """The output between the offsets ``start`` and ``end``, at most ``limit`` bytes; the oldest are dropped.

    Stored in a ring buffer, so that appending to a full journal moves no other bytes.  ``tagged``: whether
    the stream of each byte is recorded.  ``start``: the offset of the first byte that will be appended.
    """

    def __init__(self, limit: int, *, tagged: bool, start: int = 0) -> None:
        self.limit = limit
        self.start = self.end = start  # `end`: the offset after the last byte
        self._base = start  # the offset of the ring's first position
        self._tagged = tagged
        self._data = bytearray()
        self._tags = bytearray()

    @property
    def held(self) -> int:
        """Bytes of memory, tags included."""
        return len(self._data) + len(self._tags)

    def would_drop(self, data: bytes) -> bytes:
        """The bytes that `append` of ``data`` drops to make room, oldest first."""
        below = self.end + len(data) - self.limit
        return self._slice(self._data, self.start, min(below, self.end)) + data[: max(0, below - self.end)]

    def append(self, stream: int, data: bytes) -> None:
        """Appends ``data``; drops the oldest bytes where there is no room."""
        if len(data) > self.limit:
            self.reset(self.end + len(data) - self.limit)
            data = data[-self.limit :]
        self.start = max(self.start, self.end + len(data) - self.limit)
        # The ring grows with the output: most programs print little, and a full one costs a megabyte.
        size = self.end - self.start + len(data)
        if size > len(self._data):
            self._grow(size)
        at = (self.end - self._base) % (len(self._data) or 1)
        first = min(len(data), len(self._data) - at)  # bytes before the ring's end; the rest wraps around
        self._data[at : at + first] = data if first == len(data) else data[:first]
        self._data[: len(data) - first] = data[first:]
        if self._tagged:
            tags = bytes((stream,)) * len(data)
            self._tags[at : at + first] = tags[:first]
            self._tags[: len(data) - first] = tags[first:]
        self.end += len(data)

    def _grow(self, size: int) -> None:
        """Replaces the ring by one of at least ``size`` bytes that begins with what is held."""
        room = min(self.limit, max(size, 2 * len(self._data), MIN_RING))
        held = self._slice(self._data, self.start, self.end)
        tags = self._slice(self._tags, self.start, self.end) if self._tagged else b""
        self._data, self._base = bytearray(room), self.start
        self._data[: len(held)] = held
        if self._tagged:
            self._tags = bytearray(room)
            self._tags[: len(tags)] = tags

    def _slice(self, ring: bytearray, offset: int, end: int) -> bytes:
        """The bytes of a ring between two offsets, both of which must be held."""
        if offset >= end:
            return b""
        at = (offset - self._base) % len(ring)
        stop = at + end - offset
        with memoryview(ring) as view:
            if stop <= len(ring):
                return bytes(view[at:stop])
            return b"".join((view[at:], view[: stop - len(ring)]))

    def reset(self, offset: int) -> None:
        """Drops everything, and continues at ``offset``."""
        self._data, self._tags = bytearray(), bytearray()
        self.start = self.end = self._base = offset

    def only(self, stream: int, offset: int, end: int) -> bytes:
        """The bytes of one stream between two offsets, as far as they are held; all bytes where there are
        no tags."""
        start, stop = (min(max(at, self.start), self.end) for at in (offset, end))
        data = self._slice(self._data, start, stop)
        if self._tagged:
            other = STDERR if stream == STDOUT else STDOUT
            # Tags become 1 (wanted) and 0 in one pass: a loop over the bytes would be a hundred times slower.
            mask = bytes.maketrans(bytes((stream, other)), b"\1\0")
            return bytes(itertools.compress(data, self._slice(self._tags, start, stop).translate(mask)))
        return data

    def _first(self, stream: int, at: int, offset: int, end: int) -> int:
        """The offset of the first byte of a stream, ``end`` where there is none before. ``at``: the position
        of ``offset`` in the ring."""
        size = len(self._tags)
        found = self._tags.find(stream, at, min(size, at + end - offset))
        if found >= 0:
            return offset + found - at
        found = self._tags.find(stream, 0, max(0, at + end - offset - size))
        return end if found < 0 else offset + size - at + found

    def read(self, offset: int, limit: int) -> tuple[int, bytes]:
        """(stream, bytes) from ``offset`` on: at most ``limit`` bytes of one stream; b"" at the end.

        Raises IndexError for an offset below ``start`` or beyond ``end``.
        """
        if not self.start <= offset <= self.end:
            raise IndexError(f"offset {offset} is not in the journal ({self.start} to {self.end})")
        end = min(offset + limit, self.end)
        if offset >= end:
            return STDOUT, b""
        stream = STDOUT
        if self._tagged:
            at = (offset - self._base) % len(self._tags)
            stream = self._tags[at]
            # In the ring itself: what begins at its end goes on at its beginning.
            end = self._first(STDERR if stream == STDOUT else STDOUT, at, offset, end)
        return stream, self._slice(self._data, offset, end)
