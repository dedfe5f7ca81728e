"""A channel as the server knows it: a cache of the agent's journal, the accounting of input, the exit.

The agent's journal is what counts; the cache only saves a round trip, and may be lost at any time.
"""

from __future__ import annotations

from coderunner import tracing
from coderunner.core.lifecycle import Phase
from coderunner.errors import InputGap, InputOverflow
from coderunner.metrics import Stopwatch
from coderunner.schema.messages import ChannelView, Diagnostic, Exit, State
from coderunner.schema.reports import ChannelState
from coderunner.wire import flow
from coderunner.wire.journal import Journal

# Not more: 64 sessions of 8 channels would otherwise hold hundreds of megabytes.
CACHE_BYTES = flow.WINDOW  # of output, until a client with a larger window attaches


class Channel:
    """The state of one channel, without I/O.

    ``number``: of the channel.  ``mode``: `tty` or `pipe`.  ``start``: the offset at which the cache begins.
    """

    def __init__(self, number: int, mode: str, *, start: int = 0) -> None:
        self.number = number
        self.mode = mode
        self.cols: int | None = None
        self.rows: int | None = None
        self.cache = Journal(CACHE_BYTES, tagged=mode == "pipe", start=start)
        self.oldest = 0  # the offset at which the agent's journal begins, as far as is known
        self.counted = start  # offset up to which its output was counted as used
        self.phase = "running"
        self.phase_offset = 0
        self.started = False  # the agent has confirmed its start
        self.asked = False  # the agent was asked to start it, and has not answered
        self.killing = False  # a task waits for the agent to confirm its end
        self.end: int | None = None  # the offset at which its output ends
        self.exit: Exit | None = None
        self.wall_ms: int | None = None  # its wall limit, if this server started it
        self.wall_deadline: float | None = None  # when this server ends it, seconds of `timing.now`
        self.intent: str | None = None  # why this server asked for its end
        self.kind = "run"  # or shell
        self.stopped: str | None = None  # the signal that stopped it, or `output`; None while it runs
        self.occupied = True  # False for a shell in which nothing runs
        self.entry = ""  # the file that is executed
        self.run_offset: int | None = None  # where the program's output begins, after the compiler's
        self.diagnostics: tuple[Diagnostic, ...] = ()
        self.looked_at: set[str] = set()  # phases whose output was searched for diagnostics
        self.searching = 0  # searches in progress, for which the exit message waits
        self.adopted = False  # it was started by a previous server
        self.thrashed = False  # memory was short while it ran; known with its end
        self.unexplained_kill = False  # its main process ended by a SIGKILL that was not sent by us
        self.released = 0  # offset that the control client has acknowledged
        self.exit_acked = False  # the control client has the exit message
        self.input_offset = 0  # of the next byte that is expected from the client
        self.in_acked = 0  # offset up to which the program's terminal or pipe has taken input
        self.input_eof = False
        self.eof_at: int | None = None  # the offset at which the client has ended the input
        self.traced = tracing.Span()
        self.measured: Stopwatch | None = None  # a measurement that ends with the next output
        self._unacked = bytearray()  # input from `in_acked` on, to be repeated after a break

    @classmethod
    def adopt(cls, state: ChannelState, entry: str) -> Channel:
        """A channel that a previous server has started. ``state``: the agent's.  ``entry``: its file."""
        # The cache begins where the agent stopped sending; earlier output is fetched when a client asks for
        # it.
        channel = cls(state.channel, state.mode, start=state.sent)
        channel.restore_input(state.input_offset, state.in_acked)
        channel.released = state.released
        channel.counted = state.sent  # the server before has counted what came until then
        channel.adopted, channel.kind, channel.entry = True, state.kind, entry
        channel.cols, channel.rows = state.cols, state.rows
        return channel

    @property
    def live(self) -> bool:
        """Whether its program runs, as far as is known."""
        return self.exit is None and self.phase != "exited"

    @property
    def active(self) -> bool:
        """Whether it keeps its session from being idle."""
        return self.live and (self.kind != "shell" or self.occupied)

    @property
    def told_end(self) -> Exit | None:
        """The exit message, once it may be sent: after the diagnostics."""
        return None if self.searching else self.exit

    # --- output ------------------------------------------------------------------------------------

    def take_output(self, stream: int, offset: int, data: bytes) -> bool:
        """Adds output from the agent to the cache; False when all of it was known."""
        known = self.cache.end - offset
        if known < 0:
            # The agent has dropped output before it could be sent: cursors below get a `gap`.
            # The new output begins further on, so what is cached is no longer connected to it.
            self.cache.reset(offset)
            known = 0
        if known >= len(data):
            return False
        self.cache.append(stream, data[known:])
        return True

    def take_oldest(self, offset: int) -> None:
        """The agent's journal begins at ``offset``.

        Output between the cache's end and it will never come."""
        self.oldest = max(self.oldest, offset)
        if self.oldest > self.cache.end:
            self.cache.reset(self.oldest)

    def advance(self, phase: str, offset: int) -> State | None:
        """Moves to `phase`, which began at output `offset`; returns the message to send, None without a
        change.

        A phase only moves forward: a report that came late or twice changes nothing.
        """
        if phase == self.phase:
            # A repeated report of the first phase confirms the start, and clients are told once.
            if self.started:
                return None
        elif not Phase(self.phase).may_become(Phase(phase)):
            return None
        self.phase, self.phase_offset, self.started = phase, offset, True
        return State(channel=self.number, phase=phase, offset=offset)

    # --- input -------------------------------------------------------------------------------------

    def accept_input(self, offset: int, data: bytes) -> bytes:
        """Accepts a client's input; returns the part that is new, fits into the window, and is to be sent on.

        ``overflow`` gives the error for a part that does not fit.  Raises InputGap when bytes are missing
        before it.
        """
        if offset > self.input_offset:
            raise InputGap(
                f"input skipped from {self.input_offset} to {offset}; send again from {self.input_offset}",
                channel=self.number,
                expected=self.input_offset,
            )
        # Bytes before `input_offset` were accepted already.
        data = data[self.input_offset - offset :]  # a client repeats input after a break
        if self.eof_at is not None:
            data = data[: max(0, self.eof_at - self.input_offset)]
        # Counted from what the program has read: the window is the bound of what is kept here and in the
        # agent.
        taken = data[: self.in_acked + flow.INPUT_WINDOW - self.input_offset]
        self.input_offset += len(taken)
        if self.exit is None:
            # Kept until the program has read it, as the stream to the agent may break at any time.
            self._unacked += taken
        else:
            self.in_acked = self.input_offset  # the program has ended: the input counts as read
        return bytes(taken)

    @property
    def input_held(self) -> int:
        """Bytes of input that are kept because the program has not taken them yet."""
        return len(self._unacked)

    def drop_input(self) -> bool:
        """Drops the input that an ended program has not read; returns whether there was any."""
        self._unacked.clear()
        dropped, self.in_acked = self.in_acked < self.input_offset, self.input_offset
        return dropped

    def overflow(self, end: int) -> InputOverflow | None:
        """The error for input up to offset ``end`` that was not accepted completely; None if it was."""
        # After the end of the input, more input is ignored and no error: a client may send it before it
        # knows.
        if end <= self.input_offset or self.eof_at is not None:
            return None
        return InputOverflow(
            f"more than {flow.INPUT_WINDOW} bytes wait for the program; send again from {self.input_offset}"
            " as `in_ack` moves on",
            channel=self.number,
            expected=self.input_offset,
        )

    def take_in_ack(self, offset: int) -> bool:
        """The program has taken its input up to `offset`; returns whether that is new."""
        # The agent is not trusted: input that was not sent cannot have been read.
        offset = min(offset, self.input_offset)
        if offset <= self.in_acked:
            return False
        del self._unacked[: offset - self.in_acked]
        self.in_acked = offset
        return True

    def unacked_input(self) -> tuple[int, bytes]:
        """(offset, bytes) of input that is repeated to an agent that may have missed it."""
        return self.in_acked, bytes(self._unacked)

    def restore_input(self, taken: int, acked: int) -> None:
        """Continues the input of a channel of a previous server.

        `taken`: offset up to which the agent has it; `acked`: up to which the program has read it.
        """
        self.input_offset, self.in_acked = taken, acked
        # Only a placeholder: the agent has these bytes, and will not ask for them.
        self._unacked = bytearray(taken - acked)

    # --- views -------------------------------------------------------------------------------------

    def view(self) -> ChannelView:
        """The channel as it is described in the message `attached`."""
        return ChannelView(
            channel=self.number,
            mode=self.mode,
            phase=self.phase,
            # Output below is neither in the cache nor in the agent: a client begins here.
            from_=min(self.oldest, self.cache.start),
            to=self.cache.end,
            input_offset=self.input_offset,
            input_eof=self.input_eof,
            cols=self.cols,
            rows=self.rows,
        )
