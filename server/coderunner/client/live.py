"""A program on a server, followed through lost connections and restarts of the server."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import NamedTuple

import aiohttp

from coderunner.client.peer import Channel, Peer, Unexpected, random_id
from coderunner.client.refused import Refused as Refused
from coderunner.client.visit import Visit
from coderunner.schema import messages as m
from coderunner.wire.flow import INPUT_WINDOW

CHANNEL = 1
PIECE = 16 * 1024  # bytes of a frame of input
# Longer than a restart of the server takes.
RECONNECT_SECONDS = 120.0  # seconds for which a server that was there is looked for
ADMITTED_SECONDS = 3600.0  # the longest that a place in a queue is waited for; the server's own bound is less
ANSWER_SECONDS = 30.0  # for the answer to `attach`
# Otherwise a server that accepts and drops each connection would be tried for ever.
STEADY = 5.0  # seconds after which a connection counts as one that holds
HEARTBEAT = 15.0  # seconds of silence after which a connection is examined


class Place(NamedTuple):
    """Where a session is: its id, and its token."""

    session: str
    token: str


class Live:
    """One program or shell in a session of its own, or in the session at `place`, where it runs already.

    `start`: makes the message that begins it, on the channel CHANNEL. `bring`: is awaited with the place of
    the session before that, perhaps more than once. `role`: `watch` to look on only.
    `begun`: is called with the place of a session that was opened. `told`: is called with a sentence for
    the user while the program cannot be reached, and with "" when it can again. `noticed`: is
    called with the server's notices.
    """

    def __init__(
        self,
        visit: Visit,
        language: str,
        start: Callable[[], m.Run | m.Shell],
        told: Callable[[str], None] = lambda _: None,
        *,
        place: Place | None = None,
        role: str | None = None,
        begun: Callable[[Place], None] = lambda _: None,
        noticed: Callable[[str], None] = lambda _: None,
        bring: Callable[[Place], Awaitable[None]] | None = None,
    ) -> None:
        self.exit: m.Exit | None = None
        self.over = False  # the server has no such session any more
        self._visit, self._language, self._start, self._told = visit, language, start, told
        self._noticed, self._bring = noticed, bring
        self._client, self._nonce = random_id(), random_id()
        self.place, self._known, self._role, self._begun = place, place is not None, role, begun
        self._since = 0.0  # when the program could be spoken to, on the loop's clock
        self._there = False  # whether the server has answered once
        self._channel = Channel()
        self._peer: Peer | None = None  # only while the program can be spoken to
        self._queue: asyncio.Queue[tuple[int, int, bytes] | None] = asyncio.Queue()
        self._typed = bytearray()  # input that the server has not confirmed
        self._base = self._sent = 0  # offsets of its first byte, and of the next byte to send
        self._size: m.Resize | None = None
        self._ends: int | None = None  # offset where the input ends, if it does
        self._room = asyncio.Event()
        self._sending = asyncio.Lock()

    @property
    def reached(self) -> bool:
        """Whether the program could be spoken to, at any time."""
        return self._since > 0

    @property
    def reachable(self) -> bool:
        """Whether the program has begun, and the server is there."""
        return self._peer is not None and self._peer.close_code is None

    # --- output ------------------------------------------------------------------------------------------

    async def output(self) -> AsyncGenerator[tuple[int, bytes], None]:
        """Yields (stream, bytes) until the program has ended; then `exit` is set. Raises Refused.

        What was yielded is confirmed to the server when the next is asked for."""
        following = asyncio.create_task(self._follow(), name="live-follow")
        # Wakes the reader at the end, also if following has failed.
        following.add_done_callback(lambda _: self._queue.put_nowait(None))
        try:
            while (item := await self._queue.get()) is not None:
                end, stream, data = item
                yield stream, data
                # Only now: what a user has not seen is sent again after a lost connection. It also bounds the
                # queue: the server sends no more than its window.
                await self._send(m.Ack(CHANNEL, end))
            following.result()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    # --- input -------------------------------------------------------------------------------------------

    async def type(self, data: bytes) -> None:
        """Sends at most PIECE bytes of input; waits while the server has no room for more."""
        # What is kept for sending again is bounded by the window, too.
        while len(self._typed) + len(data) > INPUT_WINDOW:
            self._room.clear()
            await self._room.wait()
        self._typed += data
        await self._pump()

    async def end_input(self) -> None:
        """Closes standard input behind what was typed. In the mode `pipe` only."""
        self._ends = self._base + len(self._typed)
        await self._pump()

    async def resize(self, cols: int, rows: int) -> None:
        """Sets the terminal's size; while the server is away, for when it is back."""
        self._size = m.Resize(CHANNEL, cols, rows)
        await self._send(self._size)

    async def signal(self, name: str) -> None:
        """Sends a signal to the program, as `INT`; none while the server is away."""
        await self._send(m.Signal(CHANNEL, name))

    async def _pump(self) -> None:
        """Sends what of the input was not sent on this connection."""
        async with self._sending:
            while self._peer is not None and self._sent < self._base + len(self._typed):
                begin = self._sent - self._base
                piece = bytes(self._typed[begin : begin + PIECE])
                self._sent += len(piece)
                with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                    await self._peer.input(CHANNEL, piece, offset=self._sent - len(piece))
            if self._ends is not None and self._sent == self._ends:
                await self._send(m.Eof(CHANNEL, self._ends))

    async def _send(self, message: m.ClientMessage) -> None:
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            if self._peer is not None:
                await self._peer.send(message)

    # --- the connection ----------------------------------------------------------------------------------

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        due, pause = loop.time() + RECONNECT_SECONDS, 0.1
        while not await self._attempt():
            # It was connected, so RECONNECT_SECONDS starts again; but not if each connection is lost at once.
            if self._peer is not None and loop.time() - self._since > STEADY:
                due, pause = loop.time() + RECONNECT_SECONDS, 0.1
            self._peer = None
            if loop.time() > due:
                raise Refused(f"the server at {self._visit.place} cannot be reached any more", retryable=True)
            self._told("the connection is lost; connecting again")
            # Random, so that the clients of a server that restarts do not come back at the same moment.
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, 5.0)

    async def _attempt(self) -> bool:
        """One connection; True when the program has ended, False to try again. Raises Refused."""
        path = "ws" if self.place is None else f"ws/{self.place.session}"
        try:
            peer = await self._visit.connected(path, client=self._client, heartbeat=HEARTBEAT)
        except aiohttp.WSServerHandshakeError as error:
            # A proxy answers with 502 to 504 while the server restarts; 429 is a limit of rate.
            later = error.status >= 500 or error.status == 429
            if not (later and self._there):
                told = f"{self._visit.place} refuses: {error.status} {error.message}"
                raise Refused(told, retryable=later) from None
            return False
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if not self._there:
                raise Refused(f"no server answers at {self._visit.place}: {error}", retryable=True) from None
            return False
        self._there = True
        peer.acks = peer.keep = False
        peer.channels[CHANNEL] = self._channel
        peer.on_output = lambda frame: self._queue.put_nowait(
            (frame.offset + len(frame.payload), frame.stream, frame.payload)
        )
        try:
            return await self._converse(peer)
        except Unexpected:
            self._look_for_end(peer)
            return False
        except (ConnectionError, aiohttp.ClientError):
            return False
        finally:
            await peer.disconnect()

    async def _converse(self, peer: Peer) -> bool:
        if self.place is None:
            # The nonce makes it safe to repeat: the server returns the session that it has opened for it.
            await peer.send(m.Open(self._language, self._client, nonce=self._nonce))
            await peer.wait(lambda: self._admitted(peer), ADMITTED_SECONDS, "session")
            known = None
        else:
            cursors = {CHANNEL: self._channel.end} if self._channel.end else {}
            session, token = self.place
            await peer.send(m.Attach(session, token, self._client, role=self._role, cursors=cursors))
            attached = await peer.wait(lambda: self._attached(peer), ANSWER_SECONDS, "answer to attach")
            if not isinstance(attached, m.Attached):
                return False  # not yet: the container has not answered a new server
            known = next((one for one in attached.channels if one.channel == CHANNEL), None)
        if known is None and self._known:
            raise Refused("nothing runs in this session that this command could show")
        if known is None:
            if self._bring is not None and self.place is not None:
                await self._bring(self.place)
            await peer.send(self._start())
            self._sent = self._base
        else:
            self._confirmed(known.input_offset)
            # The server says what it has; everything behind it is sent again.
            self._sent = known.input_offset
        self._peer = peer
        self._since = asyncio.get_running_loop().time()
        self._told("")
        if self._size is not None:
            await self._send(self._size)
        await self._pump()
        await peer.wait(lambda: self._over(peer), float("inf"), "end")
        return True

    def _admitted(self, peer: Peer) -> bool:
        if peer.opened is not None:
            self.place = Place(peer.opened.session, peer.opened.token)
            self._begun(self.place)
        for one in peer.messages:
            if isinstance(one, m.ErrorMessage):
                raise Refused(one.message, retryable=one.retryable)
            if isinstance(one, m.Queued):
                self._told(f"waiting for a place: number {one.position}")
        peer.messages.clear()
        return self.place is not None

    def _attached(self, peer: Peer) -> m.Attached | m.ErrorMessage | None:
        for one in peer.messages:
            # A retryable error: the server has restarted, and has not found the container yet.
            if isinstance(one, m.ErrorMessage) and not one.retryable:
                self.over = one.code == "no_session"
                raise Refused(f"the session is over: {one.message}")
            if isinstance(one, m.Attached | m.ErrorMessage):
                return one
        return None

    def _over(self, peer: Peer) -> bool:
        """Looks at what came; whether the program has ended. Raises Refused where it did not begin."""
        self._confirmed(self._channel.in_ack)
        if self._channel.refused is not None:
            raise Refused(self._channel.refused.message)
        self._look_for_end(peer)
        peer.messages.clear()
        self.exit = self._channel.exit
        return self.exit is not None

    def _look_for_end(self, peer: Peer) -> None:
        """Raises Refused if the server has said why it ends the session."""
        for one in peer.messages:
            if isinstance(one, m.Notice):
                self._noticed(one.message if one.code != "operator" else f"the operator: {one.message}")
            if isinstance(one, m.Closed):
                raise Refused(f"the session was ended: {one.reason}")

    def _confirmed(self, offset: int) -> None:
        if offset > self._base:
            del self._typed[: offset - self._base]
            self._base = offset
            self._room.set()
