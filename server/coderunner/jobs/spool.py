"""What came of a run, in a file: its output and its messages, one record behind the other.

A record is written before anybody is told of it, by one `write`, and stays when this process is killed: the
kernel has it. What a kill cut off in the middle was told to nobody, and is cut off when the file is read
again. There is no `fsync`: a machine that loses its memory loses the containers, too."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from coderunner.errors import BadMessage

_HEADER = struct.Struct(">IB")
# 0 is none of them: a hole that a crash left reads as zeros.
TEXT, BINARY = 1, 2
READ_BYTES = 64 * 1024
MAX_RECORD = 1024 * 1024
RECORD_COST = 64


class Record(NamedTuple):
    """`frame`: text is a message of the protocol, bytes are a frame of output. `end`: its id, where the next
    begins."""

    end: int
    frame: str | bytes


class Spool:
    """One file. `size`: of all that is in it, in bytes; `cost` counts each record as RECORD_COST more, for
    the time that it takes to read. Its owner closes it."""

    def __init__(self, path: Path) -> None:
        """Opens or makes it; what stands behind the last whole record is cut off. Raises OSError."""
        # O_APPEND: a write always goes to the end, also while another descriptor reads.
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.size = self.cost = 0
        for record in self.records():
            self.size = record.end
            self.cost += RECORD_COST + len(record.frame)
        os.ftruncate(self._file, self.size)

    def append(self, frame: str | bytes) -> None:
        """Writes a record. Raises OSError; the file is as before then."""
        data = frame.encode() if isinstance(frame, str) else frame
        record = _HEADER.pack(len(data), TEXT if isinstance(frame, str) else BINARY) + data
        try:
            written = os.write(self._file, record)
            # write() may take a part when the disk is nearly full (write(2)).
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
            # pread: readers share the descriptor, whose own position they must not move.
            piece = os.pread(self._file, READ_BYTES, at + len(buffer))
            buffer += piece
            start = 0  # of the next record; what is behind is cut off once, as records may be tiny
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
        """Raises BadMessage where no record begins at `begin`, as far as that shows."""
        if begin != self.size and (begin > self.size or next(self.records(begin), None) is None):
            raise BadMessage("Last-Event-ID must be the id of an event of this stream")

    @property
    def closed(self) -> bool:
        """Whether nothing of it can be read any more."""
        return self._file < 0

    def close(self) -> None:
        """Closes the file. Readers find no further records."""
        file, self._file = self._file, -1  # the descriptor's number will belong to another file
        if file >= 0:
            os.close(file)
