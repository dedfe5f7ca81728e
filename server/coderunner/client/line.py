"""A session on a server, kept over lost connections and restarts of the server."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import aiohttp

from coderunner.client.channel import ProgramChannel
from coderunner.client.patience import LOST, STARTING_SECONDS, Away, Patience
from coderunner.client.peer import Peer, Unexpected, random_id
from coderunner.client.refused import NOT_READY, Refused
from coderunner.client.visit import Visit
from coderunner.core import codec
from coderunner.core.codec import OutputFrame
from coderunner.schema import messages as m

ADMITTED_SECONDS = 3600.0  # the longest that a place in a queue is waited for; the server's own bound is less
ANSWER_SECONDS = 30.0  # for the answer to `attach`
# Otherwise a server that accepts and drops each connection would be tried endlessly.
STEADY = 5.0  # seconds after which a connection counts as one that holds
MARK = "X-Request-ID"  # a header of all answers of the server
TOO_MUCH = "what was to be sent is more than the server takes in a message"
HEARTBEAT = 15.0  # seconds of silence after which a connection is examined


class Place(NamedTuple):
    """The id of a session, and a token for it."""

    session: str
    token: str


class Line:
    """The connection to a session of one's own, or to the one at `place`, whose programs run already.

    `fields`: others of the message `open`. `bring`: is awaited with the place of the session before a
    program begins, perhaps more than once. `role`: `watch` to look on only. `begun`: is called with the
    place of a session that was opened. `told`: is called with a sentence for the user while the session
    cannot be reached, and with "" when it can again. `noticed`: is called with the server's notices.
    `stopped`: is called when a program was stopped by a signal, as by Ctrl-Z in its terminal.
    """

    def __init__(
        self,
        visit: Visit,
        language: str,
        told: Callable[[str], None] = lambda _: None,
        *,
        fields: dict[str, Any] | None = None,
        place: Place | None = None,
        role: str | None = None,
        begun: Callable[[Place], None] = lambda _: None,
        noticed: Callable[[str], None] = lambda _: None,
        stopped: Callable[[], None] = lambda: None,
        bring: Callable[[Place], Awaitable[None]] | None = None,
    ) -> None:
        self.channels: dict[int, ProgramChannel] = {}
        self.place = place
        self.opened: m.Opened | None = None
        self.over = False  # the server has no such session any more
        self.failed: Refused | None = None  # why it is not followed any more
        self.since = 0.0  # when the session could be spoken to, on the loop's clock
        self._visit, self._language, self._fields, self._told = visit, language, fields or {}, told
        self._known, self._role, self._begun = place is not None, role, begun
        self._noticed, self._stopped, self._bring = noticed, stopped, bring
        self._client, self._nonce = random_id(), random_id()
        self._not_yet = f"no server answers at {visit.place} yet"
        self._why = LOST
        self._error: Exception = ConnectionError("the connection ended")  # of the last attempt
        self._starting_until: float | None = None  # a server that has just started
        self._peer: Peer | None = None  # only while the session can be spoken to
        self._starting = asyncio.Lock()
        # Programs whose end was confirmed, with the offset of it: the server may not have heard that yet.
        self._done: dict[int, int] = {}
        self._most = codec.MAX_TEXT  # bytes of a message, until the server has told its own bound

    @property
    def peer(self) -> Peer | None:
        """The connection; None while the session cannot be spoken to."""
        return self._peer if self._peer is not None and self._peer.close_code is None else None

    async def begin(self, channel: ProgramChannel) -> None:
        """Starts a program, at once or when the session can be reached again. Raises Refused."""
        async with self._starting:
            if self.failed is not None:
                raise self.failed.again()
            # Before it is sent: the server ends the connection with which more comes, of all programs.
            self._checked(channel.start(), self._most)
            self.channels[channel.number] = channel
            if self._peer is not None:
                with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                    await self._start(self._peer, channel)

    async def finish(self, channel: ProgramChannel) -> None:
        """Confirms the end of a program whose output was consumed, so that the server forgets it."""
        if self.channels.pop(channel.number, None) is not None:
            self._done[channel.number] = channel.received.end
            await channel.confirm_exit()

    async def send(self, message: m.ClientMessage) -> None:
        """Sends a message of the session; drops it while the server is away."""
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            if self._peer is not None:
                await self._peer.send(message)

    async def follow(self, over: Callable[[], bool]) -> None:
        """Keeps the session connected until `over()` is true, which is checked whenever something has
        arrived. After that, or after an error, no program of it can be followed any more. Raises Refused."""
        why = Refused("the session is over")
        try:
            await self._keep_connected(over)
        except Refused as error:
            why = error
            raise
        finally:
            self.failed = why
            for channel in self.channels.values():
                channel.fail(why.again())

    async def _keep_connected(self, over: Callable[[], bool]) -> None:
        """Connects repeatedly until `over()` is true. Raises Refused when `Patience` ends."""
        loop, patience, pause = asyncio.get_running_loop(), Patience(self._visit), 0.1
        while not await self._attempt(over):
            # It was connected, so the patience starts again; but not if each connection is lost at once.
            if self._peer is not None and loop.time() - self.since > STEADY:
                patience.restart()
                pause = 0.1
            self._peer = None
            left = patience.left(self._error)
            self._told(self._why)
            # Random, so that the clients of a server that restarts do not come back at the same moment.
            await asyncio.sleep(min(pause * random.uniform(0.5, 1.0), left))
            pause = min(pause * 2, 5.0)

    # --- a connection ------------------------------------------------------------------------------------

    async def _attempt(self, over: Callable[[], bool]) -> bool:
        """Uses one connection until it ends. Returns True when `over()` is true, False to try again. Raises
        Refused."""
        path, self._why = "ws" if self.place is None else f"ws/{self.place.session}", LOST
        self._error = ConnectionError("the connection ended")
        try:
            peer = await self._visit.connected(path, client=self._client, heartbeat=HEARTBEAT)
        except aiohttp.WSServerHandshakeError as error:
            # What a proxy answers may be anything; of the server's own answers 429 is a limit of rate.
            if MARK in (error.headers or {}) and error.status < 500 and error.status != 429:
                told = f"{self._visit.place} refuses: {error.status} {error.message}"
                raise Refused(told) from None
            self._error = Away(self._visit.place, error.status)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._error = error
        else:
            return await self._used(peer, over)
        self._why = LOST if self._visit.reached else self._not_yet
        return False

    async def _used(self, peer: Peer, over: Callable[[], bool]) -> bool:
        """Uses a connection until it ends. Returns and raises as `_attempt`."""
        # The channels do both: they acknowledge only what their callers have consumed.
        peer.acks = peer.keep = False
        peer.on_output, peer.on_gap = self._on_output, self._on_gap
        try:
            return await self._use(peer, over)
        except Unexpected:
            self._check_end(peer)
            # Too large (RFC 6455, section 7.4.1): it would be again. A proxy's bound may be lower.
            if peer.close_code == 1009 and not self._dropped():
                raise Refused(TOO_MUCH) from None
            return False
        except (ConnectionError, TimeoutError, aiohttp.ClientError) as error:
            self._error = error
            return False
        finally:
            for channel in self.channels.values():
                channel.left()
            await peer.disconnect()

    async def _use(self, peer: Peer, over: Callable[[], bool]) -> bool:
        """Opens the session or attaches to it, starts or continues its programs, and serves them until
        `over()` is true. Returns False to try again. Raises Refused, Unexpected and errors of the
        connection."""
        views: dict[int, m.ChannelView] = {}
        if self.place is None:
            # The nonce makes it safe to repeat: the server returns the session that it has opened for it.
            wanted = m.Open(self._language, self._client, nonce=self._nonce, **self._fields)
            self._checked(wanted, codec.MAX_FIRST_TEXT)
            await peer.send(wanted)
            await peer.wait(lambda: self._admitted(peer), ADMITTED_SECONDS, "session")
        else:
            for number, known in self.channels.items():
                peer.channels[number] = known.received
            for number, end in self._done.items():
                peer.channel(number).start = end
            session, token = self.place
            # A channel without a cursor is replayed from the beginning of its journal (docs/protocol.md).
            ends = {number: one.end for number, one in peer.channels.items() if one.end}
            await peer.send(m.Attach(session, token, self._client, role=self._role, cursors=ends))
            attached = await peer.wait(lambda: self._attached(peer), ANSWER_SECONDS, "answer to attach")
            if not isinstance(attached, m.Attached):
                return False  # not yet: the container has not answered a new server
            views = {one.channel: one for one in attached.channels}
            self._done = {number: end for number, end in self._done.items() if number in views}
            # Once more, as the first confirmation may have been lost with its connection.
            for number, end in self._done.items():
                await peer.send(m.Ack(number, end, exit=True))
        if self._known and not views.keys() & self.channels.keys():
            raise Refused("nothing runs in this session that this command could show")
        if peer.hello is not None:  # it comes first
            self._most = peer.hello.limits.get("text_bytes", self._most)
        async with self._starting:
            for channel in list(self.channels.values()):
                view = views.get(channel.number)
                if view is not None:
                    await channel.reached(peer, view)
                elif not channel.over:
                    await self._start(peer, channel)
            self._peer = peer
        self.since = asyncio.get_running_loop().time()
        self._told("")
        await peer.wait(lambda: self._looked(peer, over), float("inf"), "end")
        return True

    async def _start(self, peer: Peer, channel: ProgramChannel) -> None:
        """Uploads what the program needs, and sends the message that starts it; one that is too large fails
        its channel alone. Raises errors of the connection."""
        message = channel.start()
        try:
            self._checked(message, self._most)
        except Refused as error:
            channel.fail(error)
            return
        if self._bring is not None and self.place is not None:
            await self._bring(self.place)
        peer.channels[channel.number] = channel.received
        await peer.send(message)
        await channel.reached(peer, None)

    def _checked(self, message: m.ClientMessage, most: int) -> None:
        """Raises Refused for a message that is longer than `most` bytes, or that cannot be sent at all."""
        try:
            size = len(codec.encode_client(message).encode())
        except ValueError as error:
            raise Refused(f"it cannot be sent: {error}") from None
        if size > most:
            raise Refused(f"{TOO_MUCH}: {size} bytes, of at most {most}")

    def _dropped(self) -> bool:
        """Fails the programs that were begun and of which the server has said nothing, after it has refused a
        message as too large. Returns whether there was one."""
        unheard = [one for one in self.channels.values() if not (one.over or one.heard)]
        for channel in unheard:
            channel.fail(Refused(TOO_MUCH))
        return bool(unheard)

    def _on_output(self, frame: OutputFrame) -> None:
        """Passes output on to its channel; that of a finished program is dropped."""
        channel = self.channels.get(frame.channel)
        if channel is not None:
            channel.take(frame.stream, frame.payload, frame.offset + len(frame.payload))

    def _on_gap(self, gap: m.Gap) -> None:
        """Notes lost output of a channel."""
        channel = self.channels.get(gap.channel)
        if channel is not None:
            channel.skip(gap)

    def _admitted(self, peer: Peer) -> bool:
        """Whether the session is open. Raises Refused for a refusal, and Unexpected for one of a server that
        is about to stop or is starting."""
        if peer.opened is not None:
            self.opened = peer.opened
            self.place = Place(peer.opened.session, peer.opened.token)
            self._begun(self.place)
        for one in peer.messages:
            if isinstance(one, m.ErrorMessage):
                if one.code == "draining" or (one.code == NOT_READY and self._may_be_starting()):
                    self._why = one.message
                    raise Unexpected(one.message)
                raise Refused(one.message, retryable=one.retryable)
            if isinstance(one, m.Queued):
                self._told(f"waiting for a place: number {one.position}")
        peer.messages.clear()
        return self.place is not None

    def _may_be_starting(self) -> bool:
        """Whether the server may have just started, and not have found its languages yet: for
        STARTING_SECONDS from the first such refusal on."""
        now = asyncio.get_running_loop().time()
        if self._starting_until is None:
            self._starting_until = now + STARTING_SECONDS
        return now < self._starting_until

    def _attached(self, peer: Peer) -> m.Attached | m.ErrorMessage | None:
        """The answer to `attach`: `attached`, or a retryable error; None before it. Raises Refused for
        another error."""
        for one in peer.messages:
            # A retryable error: the server has restarted, and has not found the container yet.
            if isinstance(one, m.ErrorMessage) and not one.retryable:
                self.over = one.code == "no_session"
                raise Refused(f"the session is over: {one.message}")
            if isinstance(one, m.Attached | m.ErrorMessage):
                return one
        return None

    def _looked(self, peer: Peer, over: Callable[[], bool]) -> bool:
        """Applies what has arrived, and returns `over()`. Raises Refused if the session was ended."""
        for channel in list(self.channels.values()):
            channel.look()
        self._check_end(peer)
        peer.messages.clear()
        return over()

    def _check_end(self, peer: Peer) -> None:
        """Reports notices and stopped programs to the caller. Raises Refused if the server has said why it
        ends the session."""
        for one in peer.messages:
            if isinstance(one, m.Notice):
                self._noticed(one.message if one.code != "operator" else f"the operator: {one.message}")
            if isinstance(one, m.Stopped) and one.by in ("STOP", "TSTP"):
                self._stopped()
            if isinstance(one, m.Closed):
                self.over = True
                raise Refused(f"the session was ended: {one.reason}")
