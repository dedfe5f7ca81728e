"""The agent's end of the streams to the server: which server is in force, what it says, what is told to it.

A server reaches the agent over its standard streams, which the engine holds, or over a socket to which the
agent connects.  The agent obeys the highest generation that ever attached, and answers it where it
attached.  No end of a stream says that a server is gone: on standard input there is none to rely on (the
engine holds the other end open), and behind a socket that ends comes the next server, or the same one again.
A server that is silent for long counts as gone.
"""

from __future__ import annotations

import contextlib
import errno
import json
import time

from coderunner.wire import flow, frames

from .stream import IN, OUT, Stream, connect

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

DEAF_SECONDS = 1.0
LATE_SECONDS = 0.1
CONNECT_SECONDS = 0.2  # between two attempts to connect, while no server is heard on a stream
SPARE_CONNECT_SECONDS = 1.0  # while one is heard on the standard streams
MAX_LAST_WORDS = 4096


class Link:
    """``hello()`` is what a server that attaches is told first; ``detached`` is called when it is gone.
    ``folder``: where the server's socket is, None where there is none."""

    def __init__(
        self, hello: Callable[[], dict[str, Any]], detached: Callable[[], None], folder: str | None = None
    ) -> None:
        self.generation = 0
        self.attached = False
        self.standard = Stream(IN, OUT)
        self.socket: Stream | None = None
        self._folder = folder
        self._connect_due = 0.0
        self._current: Stream | None = None  # on which the server in force attached, while it is whole
        self._hello = hello
        self._hello_due = False
        self._detached = detached
        self._seed = 0
        self._assembler = frames.Assembler()
        self._replies: list[bytes] = []
        self._heard = time.monotonic()
        self._beat_due = False
        self._deaf_until: float | None = None  # an end of file is for ever ready to be read: look again later

    # --- from the server ---------------------------------------------------------------------------

    def streams(self) -> list[Stream]:
        """All that there are now."""
        return [self.standard] if self.socket is None else [self.standard, self.socket]

    def of(self, descriptor: int) -> Stream | None:
        """The stream that is read from this descriptor."""
        return next((stream for stream in self.streams() if stream.inp == descriptor), None)

    def read(self, stream: Stream) -> list[frames.Frame]:
        """The frames that have come on it, of whichever server."""
        found = stream.read()
        if found is not None:
            return found
        if stream.is_socket:
            self._drop_socket()
        else:
            # Only the engine's own end brings this; the server's death does not (StdinOnce is false).
            if self._current is stream:
                self.detach()
            self._deaf_until = time.monotonic() + DEAF_SECONDS
        return []

    def _drop_socket(self) -> None:
        """It ended.  What its server allowed still holds: another, or the same, comes back in a moment."""
        if self.socket is None:
            return
        self.socket.close()
        if self._current is self.socket:
            self._current = None
        self.socket = None
        self._connect_due = 0.0

    def hears(self, now: float) -> bool:
        """Whether there may be something to read on standard input."""
        if self._deaf_until is not None and now >= self._deaf_until:
            self._deaf_until = None
        return self._deaf_until is None

    def accepts(self, frame: frames.Frame) -> bool:
        """Whether it is of the server in force, not of one that was replaced, or that we gave up."""
        if frame.generation != self.generation or not self.attached:
            return False
        self._heard = time.monotonic()
        if frame.kind == frames.BEAT:
            self._beat_due = True
        return True

    def message(self, frame: frames.Frame) -> tuple[dict[str, Any], bytes] | None:
        """(body, raw) when a call is complete, else None."""
        try:
            return self._assembler.add(frame)
        except ValueError:
            return None

    def attach(self, frame: frames.Frame, stream: Stream) -> dict[str, Any] | None:
        """Its greeting, or None: the generation is not above the one in force."""
        greeting: dict[str, Any] = json.loads(frame.payload)
        if frame.generation <= self.generation:
            # The clock of a restarted server may have gone back: say which generation to exceed.
            stream.pending += frames.encode(
                frames.REFUSED, frame.generation, offset=self.generation, seed=greeting["seed"]
            )
            return None
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
        """The server is gone: nothing is written to it any more."""
        self.attached = False
        self._replies.clear()
        if self._current is not None:
            self._current.pending.clear()
            self._current = None
        self._drop_socket()
        self._detached()

    def late(self, seconds: float) -> None:
        """We were so much later than we meant to be: stopped, or without a processor.  The server was not
        silent in that time; what it said waits to be read."""
        if seconds > LATE_SECONDS:
            self._heard = min(time.monotonic(), self._heard + seconds)

    def tick(self, now: float) -> list[float]:
        """Moments at which to look again."""
        if self.attached and now - self._heard > flow.SILENCE_SECONDS:
            self.detach()
        moments = [self._heard + flow.SILENCE_SECONDS + 0.05] if self.attached else []
        if self._deaf_until is not None:
            moments.append(self._deaf_until)
        if self._folder is not None and self.socket is None:
            moments.append(self._connect(self._folder, now))
        return moments

    def _connect(self, folder: str, now: float) -> float:
        """Tries where it is time; the moment of the next attempt."""
        if now >= self._connect_due:
            self.socket = connect(folder)
            served = self.attached and self._current is not None
            self._connect_due = now + (SPARE_CONNECT_SECONDS if served else CONNECT_SECONDS)
        return self._connect_due

    # --- to the server -----------------------------------------------------------------------------

    def say(self, kind: int, payload: bytes = b"", **fields: int) -> None:
        """Appends a frame to what is pending; ``fields`` are those of ``frames.encode``."""
        if self._current is not None:
            self._current.pending += frames.encode(kind, self.generation, payload, seed=self._seed, **fields)

    def say_json(self, kind: int, value: Any, **fields: int) -> None:
        """As ``say``, with JSON as its payload."""
        self.say(kind, json.dumps(value, separators=(",", ":")).encode(), **fields)

    def reply(self, number: Any, reply: dict[str, Any], data: bytes = b"") -> None:
        """Answers the call ``number`` with JSON and the bytes behind it."""
        self._replies.append(
            frames.encode_message(
                frames.REPLY, self.generation, {**reply, "id": number}, data, seed=self._seed
            )
        )

    @property
    def takes(self) -> bool:
        """Whether the server in force can be told more now."""
        return self._current is not None and not self._current.pending

    def write(self, fill: Callable[[], None]) -> None:
        """Fill and write until nothing is left or the stream takes no more."""
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
                raise
            else:
                stream.pending.clear()
                if stream is self._current:
                    self.detach()
            return False

    def _fill(self, stream: Stream) -> None:
        if self._hello_due:
            self._hello_due = False
            self.say_json(frames.HELLO, self._hello())
        while self._replies:
            stream.pending += self._replies.pop(0)
        if self._beat_due:
            self._beat_due = False
            self.say(frames.BEAT)
            if stream.is_socket and not self.standard.pending:
                # Another server of this name, which listens before it touches anything, hears of this one.
                self.standard.pending += frames.encode(frames.BEAT, self.generation, seed=self._seed)

    def last_words(self, error: BaseException) -> None:
        """Why we end, to a server on a socket; one on the standard streams reads it on standard error."""
        import traceback  # which costs memory, and is needed once at most

        text = "".join(traceback.format_exception(type(error), error, error.__traceback__)).encode()
        if self._current is not None and self._current.is_socket:
            self.say(frames.LAST_WORDS, text[-MAX_LAST_WORDS:])
            with contextlib.suppress(OSError):
                self._current.write()
