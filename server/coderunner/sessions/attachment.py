"""An attachment: one client's connection to a session, as cursors into its channels' output.

There is no queue of output for a client.  ``next`` makes the next frame from the cursors' positions when the
client can take one, so a client that reads slowly delays only itself.  Messages are queued (`outbox`).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from coderunner import metrics, timing
from coderunner.core import codec
from coderunner.errors import AckAhead, AgentLost, CodeRunnerError, EngineError
from coderunner.identity.guest import Guest
from coderunner.schema.messages import Gap, ServerMessage
from coderunner.sessions.channel import Channel
from coderunner.sessions.outbox import Outbox
from coderunner.sessions.recall import Fetched
from coderunner.sessions.window import Window
from coderunner.wire import flow

FETCH_SIZE = 60_000  # bytes that are fetched from the agent at once
FIRST_FRAME = 1024  # bytes of a client's first frame of output; each next one may be larger
FLUSH_SECONDS = 2.0  # in which an ending attachment is sent the rest of the output
LITTLE = 2048  # bytes of output and messages that `flush` sends itself; less than `core.bulk` ever delays
LOOK_SECONDS = 1.0  # between two looks whether an agent can be reached, to fetch output
_INTERNAL_ERROR = 1011  # WebSocket close code, after which clients attach again


@dataclass(slots=True)
class Cursor:
    """A client's position in one channel's output.

    ``sent``: offset up to which output was sent.  ``acked``: up to which the client has consumed it.
    ``window``: how far the first may be ahead of the second.
    """

    sent: int
    acked: int
    exit_sent: bool = False
    window: Window = field(default_factory=Window)

    def room(self) -> int:
        """Bytes that may be sent before the client acknowledges more."""
        return self.acked + self.window.size - self.sent

    def advance(self, count: int) -> None:
        """``count`` more bytes were sent."""
        self.sent += count
        self.window.sent(self.sent, self.acked, asyncio.get_running_loop().time())


class OutputSource(Protocol):
    """What an attachment reads from: the channels of a session."""

    @property
    def reachable(self) -> bool:
        """Whether there is a connection to the agent now."""

    @property
    def collecting(self) -> bool:
        """Whether reports of the agent are being handled, after which `Attachment.flush` is called."""

    def __contains__(self, number: object) -> bool: ...
    def values(self) -> Collection[Channel]:
        """All channels, in the order in which they began."""

    async def fetch(self, channel: Channel, offset: int, limit: int) -> Fetched:
        """Output that is not in the cache any more, at most ``limit`` bytes.

        Raises NoChannel, AgentLost, EngineError.
        """

    def release(self, channel: Channel) -> None:
        """A client's cursor has moved: the agent may have to be told."""

    def repaint(self, channel: Channel) -> None:
        """A client has missed a part of a terminal's output: the program is to paint its screen anew."""


class Sender(Protocol):
    """A client's socket, as far as `flush` needs it."""

    def ready(self) -> bool:
        """Whether frames can be sent now, without waiting for anything."""

    @property
    def resting(self) -> bool:
        """Whether output in bulk has to wait, as others type (`core.bulk`)."""

    def send_at_hand(self, most: int | None = None) -> None:
        """Sends all that `Attachment.at_hand` gives; a failure is its own."""


class Attachment:
    """One client's view of a session: a queue of messages, and a cursor into each channel's output.

    ``source``: the channels that it reads from.  ``client``: the client's id.  ``role``: `control` or
    `watch`. ``cursors``: by channel, the offset below which the client has the output.  ``close_code``: of
    the WebSocket, None while the attachment lasts.
    """

    def __init__(self, source: OutputSource, client: str, role: str, cursors: Mapping[int, int]) -> None:
        self._source = source
        self.client = client
        self.role = role
        self.granted = role  # the greatest role that its token allows
        self.operator = False  # whether it is the operator's, who watches
        # Whose it is, for the audit log; without an address the session's own.
        self.principal: str | None = None
        self.address: str | None = None
        self.guest: Guest | None = None  # whose token it is; None for the owner
        self.close_code: int | None = None
        self._cursors: dict[int, Cursor] = {}
        # Numbers without a channel are dropped: a client could name 65,536 of them.
        self._given = {number: at for number, at in cursors.items() if number in source}
        self._outbox = Outbox()
        self.held = 0  # bytes of what was taken and is kept by its owner until the client confirms it
        self._wake = asyncio.Event()
        self.sender: Sender | None = None  # the client's socket, while it is served
        self._idle = False  # `next` waits, with nothing to send
        self._fetching = False  # `next` waits for the agent
        self._due = False  # there is something for `flush`
        self._turn = 0  # the channel that is looked at first, or the next one after it
        self._sent = 0  # bytes of output, for the size of the first frames
        self._flush_until: float | None = None
        self._stalled = False  # output waits for an agent that cannot be reached
        self._last: ServerMessage | None = None  # sent after all output, when the session has ended

    @property
    def waiting(self) -> int:
        """Bytes of memory that the queued messages take."""
        return self._outbox.bytes

    @property
    def owner(self) -> bool:
        """Whether it is of the session's owner, and not of a guest or of the server's operator."""
        return self.guest is None and not self.operator

    @property
    def overseer(self) -> str | None:
        """Which teacher or operator watches, in words for the session's users; None for others."""
        if self.operator:
            return "the operator"
        if self.guest is not None and self.guest.room is not None:
            return f"{self.guest.name}, a teacher of {self.guest.room}"
        return None

    # --- from the session ----------------------------------------------------------------------------

    def post(self, message: ServerMessage) -> None:
        """Queues a message.  A client that reads none is ended with 1011; its next attach tells it
        everything."""
        # After the end nothing is queued, so that the queue can be sent to its end.
        if self.close_code is not None:
            return
        self._outbox.add(message)
        if self._outbox.full:
            self.end(_INTERNAL_ERROR, flush=False)
        self.wake()

    def cut(self) -> None:
        """Ends it with 1011 and drops its messages, as the session uses too much memory."""
        self._outbox.clear()
        self.end(_INTERNAL_ERROR, flush=False)

    def forget(self, number: int) -> None:
        """A channel was removed; its number is not used again."""
        self._cursors.pop(number, None)
        self._given.pop(number, None)

    def wake(self) -> None:
        """Has `next` look again, as there may be something to send; or `flush`, if that is called soon."""
        if self._source.collecting:
            self._due = True
        else:
            self._wake.set()
            self._send_beside(0)

    def flush(self) -> None:
        """Sends what there is in this very call, if it is little and `next` waits; else wakes `next`.

        So a key's echo does not wait for the turn of the task that waits in `next`, nor for the end of a rest
        after the flood of another program in its session."""
        if not self._due:
            return
        self._due = False
        sender = self.sender
        if sender is not None and self._idle and self._is_little() and sender.ready():
            sender.send_at_hand()
            return
        self._wake.set()
        self._send_beside(LITTLE)

    def _send_beside(self, most: int) -> None:
        """Sends messages, and output of channels that have at most ``most`` bytes, while the client's writer
        waits for the end of a rest, or `next` for the agent: neither has taken anything then."""
        sender = self.sender
        if sender is None or not (sender.resting or self._fetching):
            return
        if self.waiting <= LITTLE and sender.ready():
            sender.send_at_hand(most)

    def end(self, code: int, *, flush: bool = True, last: ServerMessage | None = None) -> None:
        """Ends the attachment with a WebSocket close ``code``, after the queued messages.

        ``flush``: output is sent first, for FLUSH_SECONDS at most.  ``last``: a message after all output,
        when the session has ended.
        """
        if self.close_code is None:
            self.close_code = code
            self._last = last
            seconds = FLUSH_SECONDS if flush else 0.0
            self._flush_until = timing.now() + seconds
        self._wake.set()

    # --- from the client -------------------------------------------------------------------------------

    def ack(self, channel: Channel, offset: int) -> None:
        """The client has consumed output up to ``offset``.  Raises AckAhead for more than was sent."""
        cursor = self.cursor(channel)
        # Otherwise a client could open the window as far as it likes, and fill the server's memory.
        if offset > cursor.sent:
            raise AckAhead(
                f"acked {offset}, but only {cursor.sent} was sent",
                channel=channel.number,
                expected=cursor.sent,
            )
        if offset > cursor.acked:
            cursor.acked = offset
            if cursor.window.acked(offset, asyncio.get_running_loop().time()):
                # A client far away needs more output in flight than the cache holds by default.
                channel.cache.limit = max(channel.cache.limit, cursor.window.size)
            self._wake.set()

    def cursor(self, channel: Channel) -> Cursor:
        """The client's cursor in a channel; at offset 0 when the client has named none."""
        found = self._cursors.get(channel.number)
        if found is None:
            # An offset beyond the output would never be reached: a client may name any number.
            start = min(self._given.pop(channel.number, 0), max(channel.cache.end, channel.end or 0))
            found = self._cursors[channel.number] = Cursor(start, start)
        return found

    # --- to the client -----------------------------------------------------------------------------------

    async def next(self) -> str | bytes | None:
        """Waits for the next frame for the client; None when the attachment has ended."""
        while True:
            self._wake.clear()  # before looking, so that an event during it is not lost
            # Messages go before output: a `state` or an error must not wait behind megabytes.
            if self._outbox:
                return self._next_message()
            if self._left() > 0:
                frame = await self._next_output()
                if frame is not None:
                    return frame
            if self.close_code is not None and not self._outbox:
                left = self._left()
                # The last message says that nothing follows, so it waits for all output, within the flush
                # time.
                if self._last is None or left <= 0 or self._took_all():
                    last, self._last = self._last, None
                    return codec.encode_server(last) if last is not None else None
                await self._pause(min(left, LOOK_SECONDS))  # the agent may be lost meanwhile
            elif self._stalled:
                await self._pause(LOOK_SECONDS)
            elif not self._wake.is_set():
                self._idle = True
                try:
                    await self._wake.wait()
                finally:
                    self._idle = False

    def at_hand(self, most: int | None = None) -> str | bytes | None:
        """As `next`, without waiting for anything; None when what comes next cannot be sent at once.

        ``most``: leaves out channels that have more bytes than that to send."""
        if self._outbox:
            return self._next_message()
        if self._left() > 0:
            for channel, cursor in self._turns():
                if self._behind(channel, cursor):
                    # The fetch from the agent needs an await: it is left to `next`, which must find its turn.
                    if most is None:
                        return None
                    continue
                if most is None or channel.cache.end - cursor.sent <= most:
                    frame = self._cached(channel, cursor)
                    if frame is not None:
                        # What is little is sent beside the turns, and must not move them: it would choose who
                        # floods.
                        if most is None:
                            self._turn = channel.number + 1
                        return frame
        return None

    def _is_little(self) -> bool:
        """Whether `at_hand` gives all that there is to send, and that is at most LITTLE bytes."""
        size = self.waiting
        for channel in self._source.values():
            cursor = self.cursor(channel)
            if cursor.sent < channel.cache.start:
                return False
            size += channel.cache.end - cursor.sent
        return size <= LITTLE and self.close_code is None

    def _next_message(self) -> str:
        # Encoded only now: many messages are replaced by later ones before they are sent.
        return codec.encode_server(self._outbox.take())

    def _left(self) -> float:
        """Seconds in which output may still be sent; infinite while the attachment lasts."""
        if self._flush_until is None:
            return math.inf
        return self._flush_until - timing.now()

    def _took_all(self) -> bool:
        """Whether the end of every program was sent, after which there is no output."""
        return all(self.cursor(channel).exit_sent for channel in self._source.values())

    async def _pause(self, seconds: float | None) -> None:
        if seconds is None:
            await self._wake.wait()
            return
        with contextlib.suppress(TimeoutError):
            async with timing.within(seconds):
                await self._wake.wait()

    async def _next_output(self) -> str | bytes | None:
        """The next frame of output; None when nothing can be sent."""
        self._stalled = False
        for channel, cursor in self._turns():
            if self._behind(channel, cursor):
                frame = await self._fetch(channel, cursor)  # waits for the agent, within a deadline
            else:
                frame = self._cached(channel, cursor)
            if frame is not None:
                self._turn = channel.number + 1
                return frame
        return None

    def _turns(self) -> list[tuple[Channel, Cursor]]:
        """The channels that the client does not have to their end, with its cursors, first those after the
        one that had its turn last: one that prints much does not delay the others."""
        pairs = [(channel, self.cursor(channel)) for channel in self._source.values()]
        # Nothing follows a program's end, and a session may have many that have ended.
        turns = [pair for pair in pairs if not pair[1].exit_sent]
        turns.sort(key=lambda pair: (pair[0].number < self._turn, pair[0].number))
        return turns

    @staticmethod
    def _behind(channel: Channel, cursor: Cursor) -> bool:
        """Whether the output that comes next has been dropped from the cache."""
        return cursor.sent < channel.cache.start and cursor.room() > 0

    def _cached(self, channel: Channel, cursor: Cursor) -> str | bytes | None:
        """A frame of output from the cache, a `gap`, or the channel's end; None when none can be sent."""
        upto = min(channel.cache.end, cursor.acked + cursor.window.size)
        # The end is only sent after the output before it: clients close the terminal at the exit.
        if cursor.sent < upto:
            # The first frames are small: over a connection that breaks after a few kilobytes, some still
            # arrive.
            limit = min(flow.SEND_SIZE, FIRST_FRAME + self._sent)
            stream, data = channel.cache.read(cursor.sent, min(limit, upto - cursor.sent))
            frame = codec.encode_output(channel.number, stream, cursor.sent, data)
            cursor.advance(len(data))
            self._sent += len(data)
            return frame
        # The condition is on the client's cursor and not on the cache: this client may be behind all others.
        end = channel.told_end
        if end and cursor.sent < end.offset and self._lost(channel, cursor):
            return self._gap(channel, cursor, end.offset, None)
        if end and not cursor.exit_sent and cursor.sent >= end.offset:
            cursor.exit_sent = True
            return codec.encode_server(end)
        return None

    def _lost(self, channel: Channel, cursor: Cursor) -> bool:
        """Whether the agent was lost with the output behind the cache's end, as the session has ended."""
        return self._last is not None and cursor.sent >= channel.cache.end and not self._source.reachable

    async def _fetch(self, channel: Channel, cursor: Cursor) -> str | bytes | None:
        """A frame of output that the cache has dropped, from the agent; a `gap` when the agent has dropped
        it, too."""
        at = cursor.sent
        if not self._source.reachable:
            return self._unreachable(channel, cursor)
        limit = min(FETCH_SIZE, cursor.room(), FIRST_FRAME + self._sent)
        self._fetching = True
        try:
            found = await self._source.fetch(channel, at, limit)
        except (AgentLost, EngineError):
            return self._unreachable(channel, cursor)
        except CodeRunnerError:  # no such channel, or an agent of before that cannot answer: it is lost
            return self._gap(channel, cursor, channel.cache.start, None)
        finally:
            self._fetching = False
        if found.begin > at:
            # The agent's journal begins later: what is before it is lost for all clients.
            channel.oldest = max(channel.oldest, found.begin)
            self._source.repaint(channel)
            return self._gap(channel, cursor, found.begin, found.restore)
        # The agent has nothing there although it should: a gap is better than asking again for ever.
        if not found.data:
            return self._gap(channel, cursor, channel.cache.start, None)
        cursor.advance(len(found.data))
        self._sent += len(found.data)
        return codec.encode_output(channel.number, found.stream, at, found.data)

    def _unreachable(self, channel: Channel, cursor: Cursor) -> str | None:
        """A `gap` when the session has ended, else None: the agent keeps the output until it can be
        reached."""
        if self._last is not None:
            return self._gap(channel, cursor, channel.cache.start, None)
        self._stalled = True
        return None

    def _gap(self, channel: Channel, cursor: Cursor, to: int, restore: str | None) -> str:
        metrics.gaps.inc()
        metrics.gap_bytes.inc(to - cursor.sent)
        gap = Gap(channel=channel.number, from_=cursor.sent, to=to, restore=restore)
        cursor.sent = to
        # Lost output can never be acknowledged, so it must not fill the window.
        # Also for the window's measurement, which goes by acknowledgements.
        cursor.acked = max(cursor.acked, to)
        self._source.release(channel)
        return codec.encode_server(gap)
