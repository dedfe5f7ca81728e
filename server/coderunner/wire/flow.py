"""Sizes, times and rules of flow control, without I/O.

``released`` is the highest offset that the control client has acknowledged.  The server passes it on and
never makes it up.  The agent keeps everything between ``released`` and the end of the output, so that a
client that reconnects misses nothing.
"""

from __future__ import annotations

WINDOW = 256 * 1024  # bytes that output may be ahead of the control client's acknowledgements
MAX_WINDOW = 512 * 1024  # the same for a client with a long round trip, at most
JOURNAL_BYTES = 1024 * 1024  # output that the agent keeps of each channel
MAX_EXITED_BYTES = 4 * 1024 * 1024  # output that the agent keeps of all exited channels together
INPUT_WINDOW = 64 * 1024  # bytes of input that may be on their way to a program that does not read
MAX_CHANNELS = 8  # live at one time in one session
READ_SIZE = 65536  # bytes of one read from a program
SEND_SIZE = 65536  # bytes of output in one frame
FLOOD_SECONDS = 0.001  # how long output that follows other output is gathered to fill a frame
FLOOD_READ = 8192  # a wake-up that reads more than this many bytes is taken for a part of a flood
MIN_READ = 512  # after a wake-up that read less, reading pauses: a wake-up costs more than so few bytes
IN_ACK_SECONDS = 0.003  # an acknowledgement of input waits this long for the echo, to share its write
BEAT_SECONDS = 2.0  # between two heartbeats of the server
SILENCE_SECONDS = 6.0  # without a frame, the agent takes its server for gone


class Pace:
    """Decides when output of one channel is sent.

    The first output is sent at once.  Output that follows within FLOOD_SECONDS is a flood: many small frames
    would cost both ends more than their content is worth, so it is gathered until ``due`` (seconds of the
    caller's clock, None when nothing is held back) or until it fills a frame.  While a flood consists of very
    small reads, reading pauses as well.  All times are seconds of one monotonic clock.
    """

    def __init__(self) -> None:
        self.due: float | None = None
        self.floods = False  # output followed output that had just been sent
        self._sent = 0.0  # when output was sent last
        self._paused = False  # reading waits for `due`

    def on_read(self, count: int, now: float) -> None:
        """``count`` bytes were read from the program."""
        if self.due is None:
            # The size counts beside the time: a busy machine may need longer than FLOOD_SECONDS for a frame.
            self.floods = now < self._sent + FLOOD_SECONDS or count > FLOOD_READ
            if count and self.floods:
                self.due = max(self._sent, now - FLOOD_SECONDS / 2) + FLOOD_SECONDS
        self._paused = self.due is not None and count < MIN_READ

    def pauses_reading(self, now: float) -> bool:
        """Whether the program is not to be read before ``due``."""
        return self._paused and self.due is not None and now < self.due

    def holds_back(self, count: int, now: float) -> bool:
        """Whether ``count`` unsent bytes are to wait for more output."""
        return self.due is not None and now < self.due and count < SEND_SIZE

    def wait_seconds(self, now: float) -> float:
        """Seconds for which more of the same flood is worth waiting for; 0 outside of a flood."""
        return FLOOD_SECONDS if self.floods and not self._paused else 0.0

    def on_sent(self, left: int, now: float) -> None:
        """Output was sent, and ``left`` bytes were not; in a flood those wait for more as well."""
        self.floods = self.floods or now < self._sent + FLOOD_SECONDS
        self._sent, self.due = now, now + FLOOD_SECONDS if left and self.floods else None

    def on_input(self) -> None:
        """The program was sent input: the next output is probably its echo, and is not held back."""
        self._sent, self.due, self.floods = 0.0, None, False


def readable_until(released: int, credit: int, *, controlled: bool, tty: bool) -> int | None:
    """The offset up to which the agent reads the program's output; None means without a bound.

    ``released``: acknowledged by the control client.  ``credit``: the server accepts output below it.
    ``controlled``: whether a control client is attached.  Without one, a pipe waits when the journal is full
    (nothing is lost), and a terminal runs on (its oldest bytes are dropped, which a `gap` reports).
    """
    if controlled:
        return min(max(released + WINDOW, credit), released + MAX_WINDOW)
    return None if tty else released + JOURNAL_BYTES
