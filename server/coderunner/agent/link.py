"""The agent's side of its connection to the server.

A server reaches the agent over its standard streams, which the engine holds, or over a socket to which the
agent connects.  The agent obeys the server with the highest generation that ever attached, and answers on the
stream on which that one attached.  The end of a stream does not mean that the server is gone: the engine
keeps standard input open, and after a socket's end the next server comes, or the same one again.  A server
counts as gone after ``flow.SILENCE_SECONDS`` without a frame.
"""

from __future__ import annotations

import errno
import time

from coderunner.wire import compact, flow, frames

from .lean import suppress
from .stream import IN, OUT, Stream, connect

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from coderunner.wire import typed

STDIN_RETRY_SECONDS = 1.0  # after an end of file on standard input, until it is read again
MIN_DELAY_SECONDS = 0.1  # a wake-up that is later than this was delayed by the machine
# Between two attempts to connect, while no server is attached: at first, as the next server often listens
# after a tenth of a second; at most within RESTART_SECONDS, the time of a usual restart; and at most later.
# Doubled in between: many agents must not slow down the start that they wait for. 50 of them take 8 % of a
# processor when they try every 80 ms, and 3 % when every 200 ms.
FIRST_CONNECT_SECONDS, RESTART_CONNECT_SECONDS, CONNECT_SECONDS = 0.02, 0.08, 0.2
RESTART_SECONDS = 2.0
ATTACHED_CONNECT_SECONDS = 1.0  # the same while a server is attached over the standard streams
# Bytes of a traceback. Its end is sent, which says what failed.
MAX_FATAL_ERROR = 4096


class Link:
    """The streams to servers, and which server is in force.

    ``hello()``: gives the greeting for a server that attaches.  ``detached``: called when the server is gone.
    ``folder``: of the server's socket, None when there is none.  ``generation``: of the server in force; 0
    before the first.  ``attached``: whether it counts as present."""

    def __init__(
        self, hello: Callable[[], typed.Hello], detached: Callable[[], None], folder: str | None = None
    ) -> None:
        self.generation = 0
        self.attached = False
        self.standard = Stream(IN, OUT)
        self.socket: Stream | None = None
        self._folder = folder
        self._connect_due = 0.0
        self._connect_pause = FIRST_CONNECT_SECONDS
        self._dropped = time.monotonic()  # when the last socket ended
        self._current: Stream | None = None  # on which the server in force attached, while that stream works
        self._hello = hello
        self._hello_due = False
        self._detached = detached
        self._seed = 0
        self._assembler = frames.Assembler()
        self._replies: list[bytes] = []
        self._heard = time.monotonic()
        self._beat_due = False
        # A descriptor at its end of file is always ready to be read: until then it is not polled.
        self._stdin_retry_at: float | None = None

    # --- from the server ---------------------------------------------------------------------------

    def streams(self) -> list[Stream]:
        """The streams that exist now: standard input and output, and the socket if there is one."""
        return [self.standard] if self.socket is None else [self.standard, self.socket]

    def stream_of(self, descriptor: int) -> Stream | None:
        """The stream that is read from ``descriptor``; None for any other descriptor."""
        return next((stream for stream in self.streams() if stream.inp == descriptor), None)

    def read(self, stream: Stream) -> list[frames.Frame]:
        """The frames that have arrived on ``stream``, of any server.  Handles the stream's end."""
        found = stream.read()
        if found is not None:
            return found
        if stream.is_socket:
            self._drop_socket()
        else:
            # Only the end of the engine closes standard input; the end of a server does not (StdinOnce is
            # false in the container's settings).
            if self._current is stream:
                self.detach()
            self._stdin_retry_at = time.monotonic() + STDIN_RETRY_SECONDS
        return []

    def _drop_socket(self) -> None:
        """Closes the socket.

        The server's credit stays in force: it, or its successor, connects again soon."""
        if self.socket is None:
            return
        self.socket.close()
        if self._current is self.socket:
            self._current = None
        self.socket = None
        self._connect_due = 0.0
        self._connect_pause = FIRST_CONNECT_SECONDS
        self._dropped = time.monotonic()

    def reads_stdin(self, now: float) -> bool:
        """Whether standard input is to be polled."""
        if self._stdin_retry_at is not None and now >= self._stdin_retry_at:
            self._stdin_retry_at = None
        return self._stdin_retry_at is None

    def accepts(self, frame: frames.Frame) -> bool:
        """Whether ``frame`` comes from the server in force; one that was replaced or given up is ignored.

        An accepted frame also counts as a sign of life."""
        if frame.generation != self.generation or not self.attached:
            return False
        self._heard = time.monotonic()
        if frame.kind == frames.BEAT:
            self._beat_due = True
        return True

    def message(self, frame: frames.Frame) -> tuple[dict[str, Any], bytes] | None:
        """(body, raw) when ``frame`` completes a call, else None; a malformed call is dropped."""
        try:
            return self._assembler.add(frame)
        # The checksums were right, so the server is at fault; PID 1 must survive that.
        except ValueError:
            return None

    def attach(self, frame: frames.Frame, stream: Stream) -> dict[str, Any] | None:
        """Accepts a server on ``stream``; returns its greeting.

        None when its generation is not above the one in force: then it is told so.  Raises ValueError or
        KeyError for a frame that no server sends."""
        greeting: dict[str, Any] = compact.loads(frame.payload)
        if frame.generation <= self.generation:
            # Generations are times, and the clock of a restarted server may have been set back: the reply
            # names the generation to exceed.
            stream.pending += frames.encode(
                frames.REFUSED, frame.generation, offset=self.generation, seed=greeting["seed"]
            )
            return None
        # What is pending was encoded for the server before, with its seed: no other can read it.
        if self._current is not None:
            self._current.pending.clear()
        self.generation = frame.generation
        self._seed = greeting["seed"]
        self._current = stream
        self._assembler.reset()
        stream.pending.clear()
        self._replies.clear()
        self.attached = self._hello_due = True
        self._heard = time.monotonic()
        return greeting

    def detach(self) -> None:
        """The server is gone: drops everything that waits to be written to it."""
        self.attached = False
        self._replies.clear()
        if self._current is not None:
            self._current.pending.clear()
            self._current = None
        self._drop_socket()
        self._detached()

    def on_delay(self, seconds: float) -> None:
        """This process woke up ``seconds`` too late: the container was paused, or had no processor.

        That time does not count as silence of the server: its frames wait to be read."""
        if seconds > MIN_DELAY_SECONDS:
            self._heard = min(time.monotonic(), self._heard + seconds)

    def tick(self, now: float) -> list[float]:
        """Detaches a silent server, and connects the socket where that is due.

        Returns the moments at which it has to be called again."""
        if self.attached and now - self._heard > flow.SILENCE_SECONDS:
            self.detach()
        # A little later than the bound, so that the comparison above holds when the loop wakes up.
        moments = [self._heard + flow.SILENCE_SECONDS + 0.05] if self.attached else []
        if self._stdin_retry_at is not None:
            moments.append(self._stdin_retry_at)
        if self._folder is not None and self.socket is None:
            moments.append(self._connect(self._folder, now))
        return moments

    def _connect(self, folder: str, now: float) -> float:
        """Connects to the socket if an attempt is due; returns the moment of the next attempt."""
        if now >= self._connect_due:
            self.socket = connect(folder)
            served = self.attached and self._current is not None
            self._connect_due = now + (ATTACHED_CONNECT_SECONDS if served else self._connect_pause)
            recent = now < self._dropped + RESTART_SECONDS
            most = RESTART_CONNECT_SECONDS if recent else CONNECT_SECONDS
            self._connect_pause = min(2 * self._connect_pause, most)
        return self._connect_due

    # --- to the server -----------------------------------------------------------------------------

    def send(self, kind: int, payload: bytes = b"", **fields: int) -> None:
        """Appends a frame to the pending bytes.

        ``fields``: as in ``frames.encode``.  Nothing without a server."""
        if self._current is not None:
            self._current.pending += frames.encode(kind, self.generation, payload, seed=self._seed, **fields)

    def send_json(self, kind: int, value: Any, **fields: int) -> None:
        """As ``send``, with ``value`` as JSON."""
        self.send(kind, compact.dumps(value), **fields)

    def reply(self, number: Any, reply: Mapping[str, object], data: bytes = b"") -> None:
        """Queues the answer to the call ``number``: JSON, followed by the bytes ``data``."""
        self._replies.append(
            frames.encode_message(
                frames.REPLY, self.generation, {**reply, "id": number}, data, seed=self._seed
            )
        )

    @property
    def writable(self) -> bool:
        """Whether there is a server in force, and its stream has taken everything so far."""
        return self._current is not None and not self._current.pending

    def write(self, fill: Callable[[], None]) -> None:
        """Writes until nothing is left or the stream takes no more.

        ``fill``: called to add frames that are due."""
        # Also the stream that is not in force: a refusal or a heartbeat may be pending there.
        for stream in self.streams():
            if stream.pending and not self._flush(stream) and stream is self._current:
                return
        while self._current is not None:
            stream = self._current
            self._fill(stream)
            fill()
            if not stream.pending or not self._flush(stream):
                return

    def _flush(self, stream: Stream) -> bool:
        try:
            return stream.write()
        except OSError as error:
            if stream.is_socket:
                self._drop_socket()
            elif error.errno != errno.EPIPE:
                raise  # not a closed pipe: a fault of ours, which ends PID 1 and is reported
            else:
                stream.pending.clear()
                if stream is self._current:
                    self.detach()
            return False

    def _fill(self, stream: Stream) -> None:
        # Before everything else: what follows refers to the state that the greeting gives.
        if self._hello_due:
            self._hello_due = False
            self.send_json(frames.HELLO, self._hello())
        while self._replies:
            stream.pending += self._replies.pop(0)
        if self._beat_due:
            self._beat_due = False
            self.send(frames.BEAT)
            if stream.is_socket and not self.standard.pending:
                # Also on standard output: another server of the same name listens there before it touches
                # the container, and learns that it has a server.
                self.standard.pending += frames.encode(frames.BEAT, self.generation, seed=self._seed)

    def send_fatal_error(self, error: BaseException) -> None:
        """Sends the traceback of ``error``, which ends this process, to a server that is attached by socket.

        One on the standard streams reads it from standard error."""
        import traceback  # only here: it costs memory, and is needed once at most

        text = "".join(traceback.format_exception(type(error), error, error.__traceback__)).encode()
        if self._current is not None and self._current.is_socket:
            self.send(frames.FATAL_ERROR, text[-MAX_FATAL_ERROR:])
            with suppress(OSError):
                self._current.write()
