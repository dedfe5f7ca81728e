"""The channels of a session: live ones, ended ones, and the numbers of those that were removed."""

from __future__ import annotations

import os
import time

from coderunner.wire import flow, frames

from . import cpu, tree
from .channel import Channel
from .limited import EXITED

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from coderunner.wire import typed

    from .link import Link
    from .preload import Preload

FULL_READ = 4000  # bytes; a shorter read took all there was, as a terminal gives at most 4 KiB at a time
MAX_ENDED = 32  # ended channels that are kept, however little output they hold


class CallError(Exception):
    """A call that is refused.  ``code``: of the protocol's error codes; the text says what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def _with_orphans(used: float, exclude: list[int]) -> Callable[[], float]:
    """A function that reads the orphans' CPU time from /proc, which is only done when it is called."""
    return lambda: used + cpu.orphan_seconds(exclude)


class Programs:
    """``channels``: by number, in the order in which they began; ended ones until they are removed."""

    def __init__(self) -> None:
        self.channels: dict[int, Channel] = {}
        self._unseen = cpu.Unseen()
        # Numbers of removed channels stay used, also for a server that attaches later.
        self._forgotten: set[int] = set()

    def live(self) -> list[Channel]:
        """Channels whose output has not been read to its end yet."""
        return [channel for channel in self.channels.values() if channel.end is None]

    def runs(self, ended: int | None = None) -> list[int]:
        """Numbers of the running programs (not shells), in the order of their start; ``ended`` counts as
        running."""
        return [
            number for number, channel in self.channels.items()
            if channel.spec.get("kind") == "run" and (channel.phase != EXITED or number == ended)
        ]  # fmt: skip

    def named(self, body: typed.Repaint) -> Channel:
        """The channel that any call with a ``channel`` names. Raises CallError."""
        channel = self.channels.get(body["channel"])
        if channel is None:
            raise CallError("no_channel", f"there is no channel {body['channel']}")
        return channel

    def with_descriptor(self, descriptor: int) -> Channel | None:
        """The channel that has ``descriptor`` open; None when no channel has."""
        for channel in self.channels.values():
            if descriptor in (channel.out, channel.err, channel.inp, channel.report):
                return channel
        return None

    # --- begin and end -----------------------------------------------------------------------------

    def check(self, number: int) -> None:
        """Raises CallError when no channel of this number can begin now."""
        if number in self._forgotten:
            raise CallError("channel_used", f"channel {number} was used and is gone; take another number")
        if len(self.live()) >= flow.MAX_CHANNELS:
            raise CallError("channel_limit", f"{flow.MAX_CHANNELS} channels are running already")

    def begin(self, body: typed.Run, source: int, preload: Preload | None) -> Channel:
        """Starts a program as the call ``body`` says.

        ``source``: descriptor of the file for its standard input, or -1.  Raises OSError."""
        number = body["channel"]
        if body["spec"].get("main"):
            from . import patterns  # noqa: F401  before the fork, so that it is imported once at most
        self._count_unseen()  # CPU time that was used until now belongs to the other channels
        channel = Channel(number, body["spec"], time.monotonic(), source, preload, self._count_unseen)
        channel.controlled = bool(body.get("controlled"))
        # The first window needs no frame of the server, so the first output is not delayed by a round trip.
        channel.credit = flow.WINDOW
        self.channels[number] = channel
        return channel

    def _count_unseen(self) -> None:
        self._unseen.distribute([channel for channel in self.channels.values() if channel.phase != EXITED])

    def make_room(self, forget: Callable[[int], None]) -> None:
        """Removes ended channels until there is room for another program's output.

        Only those go whose output and exit the client has acknowledged.  ``forget(number)`` is called for
        each.  Raises CallError when too much output is left that nobody has acknowledged."""
        ended = [channel for channel in self.channels.values() if channel.end is not None]
        held = sum(channel.journal.end - channel.journal.start for channel in ended)
        for channel in list(ended):  # in the order in which they began
            if held <= flow.MAX_EXITED_BYTES - flow.JOURNAL_BYTES and len(ended) < MAX_ENDED:
                return
            if channel.exit_acked and channel.end is not None and channel.released >= channel.end:
                held -= channel.journal.end - channel.journal.start
                ended.remove(channel)
                self._forgotten.add(channel.number)
                del self.channels[channel.number]
                forget(channel.number)
        if held > flow.MAX_EXITED_BYTES - flow.JOURNAL_BYTES or len(ended) >= MAX_ENDED:
            raise CallError("channels_busy", "ended channels wait for their output to be read; read it first")

    def reaped(self, pid: int, used: float, companions: list[int | None]) -> None:
        """A child of this process has ended; if it was a supervisor, its channel is told.

        ``used``: seconds of CPU time, with that of its own children.  ``companions``: process ids of the
        service and the preload, which outlive every program."""
        for channel in self.channels.values():
            if channel.supervisor == pid:
                others = [one.supervisor for one in self.live() if one is not channel]
                exclude = [one for one in (*others, *companions) if one is not None]
                channel.supervisor_died(_with_orphans(used, exclude))
                if channel.evidence.get("supervisor_lost"):
                    # Its programs are orphans of PID 1 now, and nobody else can end them.
                    tree.kill(os.getpid(), exclude=exclude)

    # --- output ------------------------------------------------------------------------------------

    def read_output(self, channel: Channel, descriptor: int) -> None:
        """Reads from one descriptor of a program: as much as fits into a frame."""
        before = channel.journal.end
        enough = flow.SEND_SIZE - FULL_READ  # one more read could exceed a frame
        while channel.read_output(descriptor) >= FULL_READ and channel.journal.end - channel.sent < enough:
            pass
        channel.pace.on_read(channel.journal.end - before, time.monotonic())

    def floods(self, now: float, watched: Container[int]) -> tuple[float, bool]:
        """(seconds, whether to send): how long only more of a flood is to be waited for; 0 when there is
        other work.

        ``watched``: the descriptors of output that are polled."""
        wait, ripe = 0.0, False
        for channel in self.channels.values():
            if channel.end is not None:
                continue
            # Something other than output is due, which a full turn of the loop handles.
            if channel.changed or not channel.room() or channel.out not in watched:
                return 0.0, False
            wait = max(wait, channel.pace.wait_seconds(now))
            ripe = ripe or not channel.pace.holds_back(channel.journal.end - channel.sent, now)
        return wait, ripe

    def fill(self, link: Link) -> None:
        """Adds what is due of each channel to the stream: its state, one piece of output, acknowledged
        input."""
        now = time.monotonic()
        # What has little to send comes first: one that prints a flood does not delay another one's echo.
        for channel in sorted(self.channels.values(), key=lambda one: one.journal.end - one.sent):
            # First, as it may notice a gap, which the state then reports.
            piece = channel.next_output(now)
            if channel.changed:
                channel.changed = False
                link.send_json(frames.STATE, channel.state())
            if piece:
                stream, offset, data = piece
                link.send(frames.OUTPUT, data, channel=channel.number, stream=stream, offset=offset)
            # An acknowledgement of input is sent together with the echo, if the echo comes at once.
            if channel.in_ack_due is not None and (piece or now >= channel.in_ack_due):
                channel.in_ack_due = None
                link.send(frames.IN_ACK, channel=channel.number, offset=channel.in_acked)

    def tick(self, now: float, *, told: bool) -> list[float]:
        """Enforces limits in time; returns the moments at which it has to be called again.

        ``told``: whether the stream to the server is writable, so that frames can be due."""
        moments = [when for channel in self.live() if (when := channel.tick(now)) is not None]
        if told:
            moments += [one.in_ack_due for one in self.channels.values() if one.in_ack_due is not None]
            moments += [one.pace.due for one in self.channels.values() if one.pace.due is not None]
        return moments

    # --- the server --------------------------------------------------------------------------------

    def on_input(self, channel: Channel, frame: frames.Frame) -> None:
        """An INPUT frame: bytes for the program."""
        channel.pace.on_input()
        channel.accept_input(frame.offset, frame.payload)

    @staticmethod
    def on_flow(channel: Channel, frame: frames.Frame) -> None:
        """A FLOW frame: what the clients have acknowledged, and how much output may be sent."""
        credit, flags = frames.FLOW_BODY.unpack(frame.payload)
        channel.credit = credit
        channel.gap_reported = False
        channel.controlled = bool(flags & frames.CONTROLLED)
        channel.exit_acked = bool(flags & frames.EXIT_ACKED)
        # Never lowered, and never beyond the output: the bound on the journal depends on it.
        channel.released = max(channel.released, min(frame.offset, channel.journal.end))

    def attached(self, have: dict[str, int]) -> None:
        """A server has attached.  ``have``: by channel, the offset up to which it has the output.

        It sends anew who is in control and how much may be sent; older output it fetches by calls."""
        for channel in self.channels.values():
            offset = have.get(str(channel.number), channel.journal.end)
            channel.sent = max(channel.journal.start, min(offset, channel.journal.end))
            channel.controlled = False
            channel.credit = 0
            channel.gap_reported = True  # by the HELLO that follows
            channel.changed = False
            channel.in_ack_due = None

    def detached(self) -> None:
        """The server is gone, and with it every control client."""
        for channel in self.channels.values():
            channel.controlled = False
