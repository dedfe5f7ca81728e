"""A program's input: accepted from the server, written as the program reads it, and acknowledged."""

from __future__ import annotations

import os
import time

from coderunner.wire import flow


class Input:
    """The input side of a channel.

    ``inp``, ``out``: descriptors of the program's input and output, the same one for a terminal, or -1.
    ``tty``: whether it is a terminal.  ``changed``: set when the server is to be sent the state."""

    inp: int
    out: int
    tty: bool
    changed: bool

    def __init__(self) -> None:
        self.input_offset = 0  # offset up to which input was accepted from the server
        self.in_acked = 0  # offset up to which input was written to the program
        self.eof_at: int | None = None
        self.input_closed = False
        self.in_ack_due: float | None = None  # when an acknowledgement has to be sent at the latest
        self._input = bytearray()  # accepted and not yet written; at most INPUT_WINDOW

    def accept_input(self, offset: int, data: bytes) -> None:
        """Accepts input that begins at ``offset``.  Known bytes are skipped.

        Input that would leave a hole is ignored: the server sends again from ``input_offset``."""
        skip = self.input_offset - offset
        if skip < 0 or skip >= len(data) or (self.eof_at is not None and offset >= self.eof_at):
            return
        data = data[skip : skip + flow.INPUT_WINDOW - len(self._input)]
        self._input += data
        self.input_offset += len(data)
        self.write_input()

    def accept_eof(self, offset: int) -> None:
        """The input ends at ``offset``: a pipe is closed once everything before is written."""
        self.eof_at = offset
        self.write_input()

    def wants_input(self) -> bool:
        """Whether the input descriptor is to be polled for writing."""
        return bool(self._input) and self.inp >= 0

    def write_input(self) -> None:
        """Writes what the program takes now, without blocking."""
        while self._input and self.inp >= 0:
            try:
                # In small pieces: a terminal takes what fits into its buffer of 4 KiB.
                count = os.write(self.inp, self._input[:4096])
            except BlockingIOError:
                break
            except OSError:  # nobody reads it any more: it counts as written
                count = len(self._input)
            del self._input[:count]
            self.in_acked += count
            self._owe_in_ack()
        if self.inp < 0 and self._input:
            # Closed: the rest counts as written, or the client would wait for its acknowledgement for ever.
            self.in_acked += len(self._input)
            self._input.clear()
            self._owe_in_ack()
        # A terminal stays open: the end of its input is a character (Ctrl-D).
        if self.eof_at is not None and not self._input and self.in_acked >= self.eof_at and not self.tty:
            self._close_input()

    def _owe_in_ack(self) -> None:
        if self.in_ack_due is None:
            self.in_ack_due = time.monotonic() + flow.IN_ACK_SECONDS

    def _close_input(self) -> None:
        self.input_closed = True
        # A terminal's input descriptor is its output, too, which is still read.
        if self.inp >= 0 and self.inp != self.out:
            os.close(self.inp)
            self.changed = True
        self.inp = -1
