"""What goes into a program: taken from the server once, written as the program takes it, and acknowledged."""

from __future__ import annotations

import os
import time

from coderunner.wire import flow


class Input:
    """The half of a channel that is its input.  The other half has ``inp`` and ``out`` (descriptors, the same
    one for a terminal, or -1), ``tty`` and ``changed``."""

    inp: int
    out: int
    tty: bool
    changed: bool

    def __init__(self) -> None:
        self.input_offset = 0  # accepted from the server
        self.in_acked = 0  # written to the program
        self.eof_at: int | None = None
        self.input_closed = False
        self.in_ack_due: float | None = None  # the moment at which to acknowledge input at the latest
        self._input = bytearray()

    def accept_input(self, offset: int, data: bytes) -> None:
        """Take input that begins at ``offset``; what we have already is trimmed, what would leave a
        hole is refused (the server sends from ``input_offset`` again)."""
        skip = self.input_offset - offset
        if skip < 0 or skip >= len(data) or (self.eof_at is not None and offset >= self.eof_at):
            return
        data = data[skip : skip + flow.INPUT_WINDOW - len(self._input)]
        self._input += data
        self.input_offset += len(data)
        self.write_input()

    def accept_eof(self, offset: int) -> None:
        """The input ends at ``offset``; on a pipe it is closed once it is written up to there."""
        self.eof_at = offset
        self.write_input()

    def wants_input(self) -> bool:
        """Whether to wait until the program takes more."""
        return bool(self._input) and self.inp >= 0

    def write_input(self) -> None:
        """Writes what the program takes now, without waiting."""
        while self._input and self.inp >= 0:
            try:
                # Small pieces: a terminal takes what fits, and says how much that was.
                count = os.write(self.inp, self._input[:4096])
            except BlockingIOError:
                break
            except OSError:  # nobody reads any more
                count = len(self._input)
            del self._input[:count]
            self.in_acked += count
            self._owe_in_ack()
        if self.inp < 0 and self._input:
            self.in_acked += len(self._input)
            self._input.clear()
            self._owe_in_ack()
        if self.eof_at is not None and not self._input and self.in_acked >= self.eof_at and not self.tty:
            self._close_input()

    def _owe_in_ack(self) -> None:
        if self.in_ack_due is None:
            self.in_ack_due = time.monotonic() + flow.IN_ACK_SECONDS

    def _close_input(self) -> None:
        self.input_closed = True
        if self.inp >= 0 and self.inp != self.out:
            os.close(self.inp)
            self.changed = True
        self.inp = -1
