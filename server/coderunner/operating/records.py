"""The newest records of the log, kept in memory for the operator."""

from __future__ import annotations

import logging
import sys
from collections import deque

from coderunner.logs import as_json, parts_of
from coderunner.schema.admin import LEVELS, Log, LogRecord

MAX_BYTES = 2 * 1024 * 1024  # of all records together
MAX_RECORD = 8 * 1024  # characters of a record's message, and of its fields
OVERHEAD = 400  # bytes of memory for a record, beside its texts


class Records(logging.Handler):
    """A logging handler that keeps the newest records. `most`: bytes of all together. Secrets are masked, as
    in the log itself."""

    def __init__(self, most: int = MAX_BYTES) -> None:
        super().__init__()
        self._most = most
        self._kept: deque[tuple[LogRecord, int]] = deque()
        self._bytes = 0
        self._last = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a record, and drops the oldest ones beyond `most` bytes. `logging` calls it with the
        handler's lock held."""
        try:
            head, values = parts_of(record)
            told = as_json(values)[:MAX_RECORD] if values else ""
            self._last += 1
            kept = LogRecord(
                self._last, head["ts"], head["level"], head["logger"], head["msg"][:MAX_RECORD], told
            )
        except Exception:  # as every handler has to
            self.handleError(record)
            return
        size = OVERHEAD + sys.getsizeof(kept.msg) + sys.getsizeof(kept.fields)
        self._kept.append((kept, size))
        self._bytes += size
        while self._bytes > self._most:
            self._bytes -= self._kept.popleft()[1]

    def find(self, level: str, text: str, after: int, limit: int) -> Log:
        """The newest records that match, in their order. The arguments are those of `LogQuery`."""
        least, text = LEVELS.index(level), text.casefold()
        found: list[LogRecord] = []
        # Only for the copy: records are logged by several threads, which must not wait for the search.
        self.acquire()
        try:
            last, kept = self._last, [one for one, _ in self._kept]
        finally:
            self.release()
        for one in reversed(kept):
            if one.number <= after or len(found) >= limit:
                break
            if one.level in LEVELS and LEVELS.index(one.level) < least:
                continue
            if text in f"{one.logger} {one.msg} {one.fields}".casefold():
                found.append(one)
        return Log(tuple(reversed(found)), last, kept[0].number - 1 if kept else last)
