"""Who may read on, and who must wait: the numbers and rules of flow control, without any I/O.

``released`` is the highest offset that the control client has acknowledged.  It is that client's alone:
the server passes it on and never invents it.  What lies between ``released`` and what was produced is
kept by right, so a client that comes back misses nothing.
"""

from __future__ import annotations

WINDOW = 256 * 1024  # how far a program may be ahead of the client that controls it
JOURNAL = 1024 * 1024  # what the agent keeps of a channel
EXITED_JOURNALS = 4 * 1024 * 1024  # what it keeps of all channels that ended
INPUT_WINDOW = 64 * 1024  # how far a client's input may be ahead of what the program's terminal took
MAX_CHANNELS = 8  # live ones
READ_SIZE = 65536
SEND_SIZE = 32768
IN_ACK_SECONDS = 0.003  # how long an acknowledgement of input waits for an echo to go with
BEAT_SECONDS = 2.0
SILENCE_SECONDS = 6.0


def readable_until(released, *, controlled, tty):
    """The offset up to which the agent reads the program; None: without bound.

    Without a control attachment a pipe waits when the journal is full (nothing is lost), and a terminal
    runs on (its oldest bytes fall off, which a gap tells).
    """
    if controlled:
        return released + WINDOW
    return None if tty else released + JOURNAL
