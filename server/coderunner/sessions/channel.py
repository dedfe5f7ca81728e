"""A channel as the server has it: a cache of the agent's journal, input accounting, the exit.

The agent keeps output by right; the cache here only saves a round trip, and may be lost at any time.
"""

from __future__ import annotations

from coderunner.core.lifecycle import Phase
from coderunner.errors import InputGap, InputOverflow
from coderunner.metrics import Stopwatch
from coderunner.schema.messages import ChannelView, Diagnostic, Exit, State
from coderunner.wire import flow
from coderunner.wire.journal import Journal

CACHE = flow.WINDOW


class Channel:
    """No I/O: decides what may be sent, accepted and released."""

    def __init__(self, number: int, mode: str, *, start: int = 0) -> None:
        self.number = number
        self.mode = mode
        self.cols: int | None = None
        self.rows: int | None = None
        self.cache = Journal(CACHE, tagged=mode == "pipe", start=start)
        self.oldest = 0  # what the agent's journal is known to begin with
        self.phase = "running"
        self.phase_offset = 0
        self.started = False  # the agent has confirmed it
        self.asked = False  # the agent was asked to begin it, and has not answered
        self.killing = False  # somebody waits for the agent to confirm its end
        self.end: int | None = None
        self.exit: Exit | None = None
        self.wall_ms: int | None = None  # its limit, where this server began it
        self.wall_deadline: float | None = None
        self.intent: str | None = None  # why this server asked for the end
        self.kind = "run"  # or shell
        self.stopped: str | None = None  # what makes it stand still
        self.occupied = True  # False: a shell at its prompt
        self.entry = ""  # the file that the program begins with
        self.run_offset: int | None = None  # where the program's output begins, behind its compiler's
        self.diagnostics: tuple[Diagnostic, ...] = ()
        self.looked_at: set[str] = set()  # phases whose output was searched for problems
        self.searching = 0  # searches that are not over, which the exit waits for
        self.adopted = False  # a server before this one began it
        self.unexplained_kill = False  # its main process died of a SIGKILL that nobody here sent
        self.released = 0
        self.exit_acked = False
        self.input_offset = 0  # the next byte we expect from the client
        self.in_acked = 0  # what the program's terminal or pipe took
        self.input_eof = False
        self.eof_at: int | None = None
        self.measured: Stopwatch | None = None  # stopped by the next output
        self._unacked = bytearray()

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
        """Its end, where that may be told: behind its problems."""
        return None if self.searching else self.exit

    # --- output ------------------------------------------------------------------------------------

    def take_output(self, stream: int, offset: int, data: bytes) -> bool:
        """Output from the agent; False when all of it was known."""
        known = self.cache.end - offset
        if known < 0:
            # The agent's journal ran over before it could be sent: cursors below fetch, and get a gap.
            self.cache.reset(offset)
            known = 0
        if known >= len(data):
            return False
        self.cache.append(stream, data[known:])
        return True

    def take_oldest(self, offset: int) -> None:
        """Where the agent's journal begins.  Beyond our cache, there is no output to wait for before it."""
        self.oldest = max(self.oldest, offset)
        if self.oldest > self.cache.end:
            self.cache.reset(self.oldest)

    def advance(self, phase: str, offset: int) -> State | None:
        """Moves to `phase`, which began at output `offset`; the message to send, None where nothing changed.

        A phase only moves forward: a report that came late or twice changes nothing.
        """
        if phase == self.phase:
            if self.started:
                return None
        elif not Phase(self.phase).may_become(Phase(phase)):
            return None
        self.phase, self.phase_offset, self.started = phase, offset, True
        return State(channel=self.number, phase=phase, offset=offset)

    # --- input -------------------------------------------------------------------------------------

    def accept_input(self, offset: int, data: bytes) -> bytes:
        """The part of a client's input that is new and may be sent to the agent.

        Raises InputGap when bytes are missing before it.  Raises InputOverflow, with nothing taken, when
        no byte of it fits into the window; a part that fits is taken (``overflow`` tells of the rest).
        """
        if offset > self.input_offset:
            raise InputGap(
                f"input skipped from {self.input_offset} to {offset}; send again from {self.input_offset}",
                channel=self.number,
                expected=self.input_offset,
            )
        data = data[self.input_offset - offset :]  # what was repeated after a cut is known already
        if self.eof_at is not None:
            data = data[: max(0, self.eof_at - self.input_offset)]
        taken = data[: self.in_acked + flow.INPUT_WINDOW - self.input_offset]
        self.input_offset += len(taken)
        if self.exit is None:
            self._unacked += taken
        else:
            self.in_acked = self.input_offset  # the program has ended: it counts as consumed
        return bytes(taken)

    @property
    def input_held(self) -> int:
        """Bytes of input that the program has not taken yet."""
        return len(self._unacked)

    def drop_input(self) -> bool:
        """Drops the input that an ended program has not read; whether there was any."""
        self._unacked.clear()
        dropped, self.in_acked = self.in_acked < self.input_offset, self.input_offset
        return dropped

    def overflow(self, end: int) -> InputOverflow | None:
        """The error to answer input with that ended at ``end`` and did not fit."""
        if end <= self.input_offset or self.eof_at is not None:
            return None
        return InputOverflow(
            f"more than {flow.INPUT_WINDOW} bytes wait for the program; send again from {self.input_offset}"
            " as `in_ack` moves on",
            channel=self.number,
            expected=self.input_offset,
        )

    def take_in_ack(self, offset: int) -> bool:
        """The program has read its input up to `offset`; whether that is more than was known."""
        # An agent is not trusted: input that was never sent cannot have been read.
        offset = min(offset, self.input_offset)
        if offset <= self.in_acked:
            return False
        del self._unacked[: offset - self.in_acked]
        self.in_acked = offset
        return True

    def unacked_input(self) -> tuple[int, bytes]:
        """(offset, bytes) to repeat to an agent that may have missed them."""
        return self.in_acked, bytes(self._unacked)

    def restore_input(self, taken: int, acked: int) -> None:
        """Continues the input of an agent that had another server before.

        `taken`: up to where the agent has it; `acked`: up to where the program has read it.
        """
        self.input_offset, self.in_acked = taken, acked
        # What the agent has taken and not written yet is safe with it: repeating it is not ours to do.
        self._unacked = bytearray(taken - acked)

    # --- views -------------------------------------------------------------------------------------

    def view(self) -> ChannelView:
        """The channel as `attached` tells of it."""
        return ChannelView(
            channel=self.number,
            mode=self.mode,
            phase=self.phase,
            from_=min(self.oldest, self.cache.start),
            to=self.cache.end,
            input_offset=self.input_offset,
            input_eof=self.input_eof,
            cols=self.cols,
            rows=self.rows,
        )
