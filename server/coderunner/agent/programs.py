"""The channels of a session: the live ones, those that ended, and those of which only the number is known."""

from __future__ import annotations

import os
import time

from coderunner.wire import flow, frames

from . import cpu, tree
from .channel import EXITED, Channel

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from typing import Any

    from .link import Link
    from .preload import Preload

FULL = 4000  # bytes of one reading, of fewer there is no more: a terminal gives at most 4 KiB at a time
MAX_ENDED = 32  # ended channels that are kept, however little they hold


class CallError(Exception):
    """``code`` is a wire code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def _with_orphans(used: float, spare: list[int]) -> Callable[[], float]:
    """Looks at the orphans only where that is asked for."""
    return lambda: used + cpu.of_orphans(spare)


class Programs:
    """All channels of the session; of those that are gone, their numbers."""

    def __init__(self) -> None:
        self.channels: dict[int, Channel] = {}
        self._unseen = cpu.Unseen()
        # Their numbers stay used, also for a server that knows nothing of them.
        self._forgotten: set[int] = set()
        self._turn = 0

    def live(self) -> list[Channel]:
        """Channels whose output is not at its end yet."""
        return [channel for channel in self.channels.values() if channel.end is None]

    def runs(self, ended: int | None = None) -> list[int]:
        """Numbers of the programs (no shells) that run, in the order of their start; ``ended`` counts."""
        return [
            number for number, channel in self.channels.items()
            if channel.spec.get("kind") == "run" and (channel.phase != EXITED or number == ended)
        ]  # fmt: skip

    def of(self, body: dict[str, Any]) -> Channel:
        """The channel that a call names. Raises CallError."""
        channel = self.channels.get(body["channel"])
        if channel is None:
            raise CallError("no_channel", f"there is no channel {body['channel']}")
        return channel

    def owner(self, descriptor: int) -> Channel | None:
        """The channel that has this descriptor, None where there is none (any more)."""
        for channel in self.channels.values():
            if descriptor in (channel.out, channel.err, channel.inp, channel.report):
                return channel
        return None

    # --- begin and end -----------------------------------------------------------------------------

    def check(self, number: int) -> None:
        """Raises CallError where no channel of this number can begin now."""
        if number in self._forgotten:
            raise CallError("channel_used", f"channel {number} was used and is gone; take another number")
        if len(self.live()) >= flow.MAX_CHANNELS:
            raise CallError("channel_limit", f"{flow.MAX_CHANNELS} channels are running already")

    def begin(self, body: dict[str, Any], source: int, preload: Preload | None) -> Channel:
        """Starts a program as the call says. Raises OSError."""
        number = body["channel"]
        self._count_unseen()  # what is not this one's
        channel = Channel(number, body["spec"], time.monotonic(), source, preload, self._count_unseen)
        channel.controlled = bool(body.get("controlled"))
        channel.credit = flow.WINDOW
        self.channels[number] = channel
        return channel

    def _count_unseen(self) -> None:
        self._unseen.share([channel for channel in self.channels.values() if channel.phase != EXITED])

    def make_room(self, forget: Callable[[int], None]) -> None:
        """Ended channels hold a bounded amount; what the client has in full goes first.  ``forget`` is
        called with the number of each that went.  Raises CallError where too much has to stay."""
        ended = [channel for channel in self.channels.values() if channel.end is not None]
        held = sum(channel.journal.end - channel.journal.start for channel in ended)
        for channel in list(ended):  # in the order in which they began
            if held <= flow.EXITED_JOURNALS - flow.JOURNAL and len(ended) < MAX_ENDED:
                return
            if channel.exit_acked and channel.end is not None and channel.released >= channel.end:
                held -= channel.journal.end - channel.journal.start
                ended.remove(channel)
                self._forgotten.add(channel.number)
                del self.channels[channel.number]
                forget(channel.number)
        if held > flow.EXITED_JOURNALS - flow.JOURNAL or len(ended) >= MAX_ENDED:
            raise CallError("channels_busy", "ended channels wait for their output to be read; read it first")

    def reaped(self, pid: int, used: float, companions: list[int | None]) -> None:
        """``used``: seconds of CPU time, with what it waited for.  ``companions``: pids of our children
        that are nobody's program."""
        for channel in self.channels.values():
            if channel.supervisor == pid:
                others = [one.supervisor for one in self.live() if one is not channel]
                spare = [one for one in (*others, *companions) if one is not None]
                channel.supervisor_died(_with_orphans(used, spare))
                if channel.evidence.get("supervisor_lost"):
                    tree.kill(os.getpid(), spare=spare)

    # --- output ------------------------------------------------------------------------------------

    def read_output(self, channel: Channel, descriptor: int) -> None:
        """Reads what the program has printed, a frame at most."""
        before = channel.journal.end
        enough = flow.SEND_SIZE - FULL  # one more piece would be more than a frame
        while channel.read_output(descriptor) >= FULL and channel.journal.end - channel.sent < enough:
            pass
        channel.pace.came(channel.journal.end - before, time.monotonic())

    def floods(self, now: float, watched: Container[int]) -> tuple[float, bool]:
        """Seconds for which nothing is to be done but to read more of a flood, and whether to send of it.

        0 where there is more to do.  ``watched``: the descriptors of output that are waited for."""
        wait, ripe = 0.0, False
        for channel in self.channels.values():
            if channel.end is not None:
                continue
            if channel.changed or not channel.room() or channel.out not in watched:
                return 0.0, False
            wait = max(wait, channel.pace.waits(now))
            ripe = ripe or not channel.pace.holds(channel.journal.end - channel.sent, now)
        return wait, ripe

    def fill(self, link: Link) -> None:
        """Says what is due of each channel: its state, one piece of output, acknowledged input."""
        numbers = sorted(self.channels)
        now = time.monotonic()
        # Round robin between channels: one that floods does not starve another's echo.
        for step in range(len(numbers)):
            channel = self.channels[numbers[(self._turn + step) % len(numbers)]]
            piece = channel.next_output(now)
            if channel.changed:
                channel.changed = False
                link.say_json(frames.STATE, channel.state())
            if piece:
                stream, offset, data = piece
                link.say(frames.OUTPUT, data, channel=channel.number, stream=stream, offset=offset)
            # An acknowledgement of input goes with the echo, where one comes at once.
            if channel.in_ack_due is not None and (piece or now >= channel.in_ack_due):
                channel.in_ack_due = None
                link.say(frames.IN_ACK, channel=channel.number, offset=channel.in_acked)
        self._turn += 1

    def tick(self, now: float, *, told: bool) -> list[float]:
        """Moments at which to look again; ``told``: the server can be told what is due then."""
        moments = [when for channel in self.live() if (when := channel.tick(now)) is not None]
        if told:
            moments += [one.in_ack_due for one in self.channels.values() if one.in_ack_due is not None]
            moments += [one.pace.due for one in self.channels.values() if one.pace.due is not None]
        return moments

    # --- the server --------------------------------------------------------------------------------

    def take_input(self, channel: Channel, frame: frames.Frame) -> None:
        """An INPUT frame."""
        channel.pace.answers()
        channel.accept_input(frame.offset, frame.payload)

    @staticmethod
    def take_flow(channel: Channel, frame: frames.Frame) -> None:
        """A FLOW frame: how far the clients are, and how much may be sent."""
        credit, flags = frames.FLOW_BODY.unpack(frame.payload)
        channel.credit = credit
        channel.lead_told = False
        channel.controlled = bool(flags & frames.CONTROLLED)
        channel.exit_acked = bool(flags & frames.EXIT_ACKED)
        channel.released = max(channel.released, min(frame.offset, channel.journal.end))

    def attached(self, have: dict[str, int]) -> None:
        """The server says anew who is there, goes on from what it has, and fetches what is older."""
        for channel in self.channels.values():
            offset = have.get(str(channel.number), channel.journal.end)
            channel.sent = max(channel.journal.start, min(offset, channel.journal.end))
            channel.controlled = False
            channel.credit = 0
            channel.lead_told = True  # by the HELLO that follows
            channel.changed = False
            channel.in_ack_due = None

    def detached(self) -> None:
        """Nobody controls anything while no server is there."""
        for channel in self.channels.values():
            channel.controlled = False
