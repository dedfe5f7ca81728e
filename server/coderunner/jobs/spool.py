"""The output and the messages of a run in a file, as a sequence of records.

A record is written by one `write` before readers see it, and survives a kill of this process, as the kernel
has it. A record that a kill left incomplete was seen by no reader, and is removed when the file is opened
again. There is no `fsync`: if the machine crashes, its containers are lost, too.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from coderunner.errors import BadMessage

_HEADER = struct.Struct(">IB")
# Not 0, as a hole that a crash has left reads as zeros.
TEXT, BINARY = 1, 2
READ_BYTES = 64 * 1024
MAX_RECORD = 1024 * 1024
RECORD_COST = 64  # bytes that a record counts as in addition to its content


class Record(NamedTuple):
    """`frame`: text is a message of the protocol, bytes are a frame of output. `end`: its id, where the next
    begins."""

    end: int
    frame: str | bytes


class Spool:
    """A file of records. `size`: in bytes. `cost`: bytes, with RECORD_COST more for each record, as many
    small records take longer to read. The owner calls `close`."""

    def __init__(self, path: Path) -> None:
        """Opens or creates the file, and removes an incomplete last record. Raises OSError."""
        # O_APPEND: a write always goes to the end, also while another descriptor reads.
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.size = self.cost = 0
        for record in self.records():
            self.size = record.end
            self.cost += RECORD_COST + len(record.frame)
        os.ftruncate(self._file, self.size)

    def append(self, frame: str | bytes) -> None:
        """Writes a record. Raises OSError, and leaves the file unchanged then."""
        data = frame.encode() if isinstance(frame, str) else frame
        record = _HEADER.pack(len(data), TEXT if isinstance(frame, str) else BINARY) + data
        try:
            written = os.write(self._file, record)
            # write() may write only a part if the disk is nearly full (write(2)).
            if written < len(record):
                raise OSError("the file system took a part of a record")
        except OSError:
            os.ftruncate(self._file, self.size)
            raise
        self.size += written
        self.cost += RECORD_COST + written

    def records(self, begin: int = 0) -> Iterator[Record]:
        """The complete records from the id `begin` on."""
        at, buffer = begin, b""
        while not self.closed:
            # pread, as readers share the descriptor and its position.
            piece = os.pread(self._file, READ_BYTES, at + len(buffer))
            buffer += piece
            start = 0  # of the next record; the buffer is cut once per piece, as records may be tiny
            while len(buffer) - start >= _HEADER.size:
                size, kind = _HEADER.unpack_from(buffer, start)
                if size > MAX_RECORD or kind not in (TEXT, BINARY):
                    return
                stop = start + _HEADER.size + size
                if len(buffer) < stop:
                    break
                data = buffer[start + _HEADER.size : stop]
                at, start = at + stop - start, stop
                try:
                    yield Record(at, data.decode() if kind == TEXT else data)
                except UnicodeDecodeError:
                    return  # `begin` is in the middle of a record
            buffer = buffer[start:]
            if not piece:
                return

    def check(self, begin: int) -> None:
        """Raises BadMessage if no record begins at `begin`. May accept a position in the middle of a
        record."""
        if begin != self.size and (begin > self.size or next(self.records(begin), None) is None):
            raise BadMessage("Last-Event-ID must be the id of an event of this stream")

    @property
    def closed(self) -> bool:
        """Whether `close` was called, after which nothing can be read."""
        return self._file < 0

    def close(self) -> None:
        """Closes the file. Readers find no further records."""
        file, self._file = self._file, -1  # the descriptor's number will belong to another file
        if file >= 0:
            os.close(file)
