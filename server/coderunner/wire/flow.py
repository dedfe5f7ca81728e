"""Who may read on, and who must wait: the numbers and rules of flow control, without any I/O.

``released`` is the highest offset that the control client has acknowledged.  It is that client's alone:
the server passes it on and never invents it.  What lies between ``released`` and what was produced is
kept by right, so a client that comes back misses nothing.
"""

from __future__ import annotations

WINDOW = 256 * 1024  # how far a program may be ahead of the client that controls it, and of one far away
MAX_WINDOW = 512 * 1024  # at most
JOURNAL = 1024 * 1024  # what the agent keeps of a channel
EXITED_JOURNALS = 4 * 1024 * 1024  # what it keeps of all channels that ended
INPUT_WINDOW = 64 * 1024  # how far a client's input may be ahead of what the program's terminal took
MAX_CHANNELS = 8  # live ones
READ_SIZE = 65536
SEND_SIZE = 65536
FLOOD_SECONDS = 0.001  # how long output that follows other output waits to fill a frame
MUCH = 8192  # bytes read in one waking, of which more must come
LITTLE = 512  # bytes read in one waking; of less, it costs more than it brings
IN_ACK_SECONDS = 0.003  # how long an acknowledgement of input waits for an echo to go with
BEAT_SECONDS = 2.0
SILENCE_SECONDS = 6.0


class Pace:
    """When output is sent.  The first of it goes at once; what follows within a moment is a flood, where many
    small frames cost both ends more than they tell: it is gathered until ``due``, or until it fills a frame.
    Of a flood of little pieces nothing is read meanwhile, as each waking costs as much as it brings."""

    def __init__(self) -> None:
        self.due: float | None = None
        self.floods = False  # output came behind output that had just been sent
        self._sent = 0.0
        self._rests = False

    def came(self, count: int, now: float) -> None:
        """So many bytes were read."""
        if self.due is None:
            # Or more than was read of a terminal at once: a busy machine may take longer for a frame.
            self.floods = now < self._sent + FLOOD_SECONDS or count > MUCH
            if count and self.floods:
                self.due = max(self._sent, now - FLOOD_SECONDS / 2) + FLOOD_SECONDS
        self._rests = self.due is not None and count < LITTLE

    def rests(self, now: float) -> bool:
        """Whether reading waits for ``due``."""
        return self._rests and self.due is not None and now < self.due

    def holds(self, count: int, now: float) -> bool:
        """Whether so many bytes wait to be more."""
        return self.due is not None and now < self.due and count < SEND_SIZE

    def waits(self, now: float) -> float:
        """Seconds in which more of the same flood is waited for; 0 where there is none."""
        return FLOOD_SECONDS if self.floods and not self._rests else 0.0

    def sent(self, left: int, now: float) -> None:
        """Something was; so many bytes are left, which in a flood wait for more, too."""
        self.floods = self.floods or now < self._sent + FLOOD_SECONDS
        self._sent, self.due = now, now + FLOOD_SECONDS if left and self.floods else None

    def answers(self) -> None:
        """There was input: what comes now is waited for."""
        self._sent, self.due, self.floods = 0.0, None, False


def readable_until(released: int, credit: int, *, controlled: bool, tty: bool) -> int | None:
    """The offset up to which the agent reads the program; None: without bound.  ``credit``: up to where the
    server takes output.

    Without a control attachment a pipe waits when the journal is full (nothing is lost), and a terminal
    runs on (its oldest bytes fall off, which a gap tells).
    """
    if controlled:
        return min(max(released + WINDOW, credit), released + MAX_WINDOW)
    return None if tty else released + JOURNAL
