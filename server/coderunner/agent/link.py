"""The agent's end of the stream to the server: which server is in force, what it says, what is told to it.

The agent obeys the highest generation that ever attached.  There is no end of file to rely on (the stream's
other end is held open by the engine): a server that is silent for long counts as gone.
"""

from __future__ import annotations

import errno
import json
import os
import time

from coderunner.wire import flow, frames

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

IN, OUT = 0, 1
READ_SIZE = 65536
DEAF_SECONDS = 1.0
LATE_SECONDS = 0.1


class Link:
    """``hello()`` is what a server that attaches is told first; ``detached`` is called when it is gone.
    ``out`` holds what standard output has not taken: the frames of one turn, never more."""

    def __init__(self, hello: Callable[[], dict[str, Any]], detached: Callable[[], None]) -> None:
        self.generation = 0
        self.attached = False
        self.out = bytearray()
        self._hello = hello
        self._hello_due = False
        self._detached = detached
        self._seed = 0
        self._decoder = frames.Decoder()
        self._assembler = frames.Assembler()
        self._replies: list[bytes] = []
        self._heard = time.monotonic()
        self._beat_due = False
        self._deaf_until: float | None = None  # an end of file is for ever ready to be read: look again later

    # --- from the server ---------------------------------------------------------------------------

    def read(self) -> list[frames.Frame]:
        """The frames that have come, of whichever server."""
        try:
            data = os.read(IN, READ_SIZE)
        except BlockingIOError:
            return []
        if not data:
            # Only the engine's own end brings this; the server's death does not (StdinOnce is false).
            self.detach()
            self._deaf_until = time.monotonic() + DEAF_SECONDS
            return []
        return self._decoder.feed(data)

    def hears(self, now: float) -> bool:
        """Whether there may be something to read."""
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

    def attach(self, frame: frames.Frame) -> dict[str, Any] | None:
        """Its greeting, or None: the generation is not above the one in force."""
        greeting: dict[str, Any] = json.loads(frame.payload)
        if frame.generation <= self.generation:
            # The clock of a restarted server may have gone back: say which generation to exceed.
            self.out += frames.encode(
                frames.REFUSED, frame.generation, offset=self.generation, seed=greeting["seed"]
            )
            return None
        self.generation = frame.generation
        self._seed = greeting["seed"]
        self._assembler.reset()
        self.out.clear()
        self._replies.clear()
        self.attached = self._hello_due = True
        self._heard = time.monotonic()
        return greeting

    def detach(self) -> None:
        """The server is gone: nothing is written to it any more."""
        self.attached = False
        self.out.clear()
        self._replies.clear()
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
        return moments if self._deaf_until is None else [*moments, self._deaf_until]

    # --- to the server -----------------------------------------------------------------------------

    def say(self, kind: int, payload: bytes = b"", **fields: int) -> None:
        """Appends a frame to ``out``; ``fields`` are those of ``frames.encode``."""
        self.out += frames.encode(kind, self.generation, payload, seed=self._seed, **fields)

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

    def write(self, fill: Callable[[], None]) -> None:
        """Fill and write until nothing is left or standard output takes no more."""
        while self.attached or self.out:
            if not self.out:
                self._fill()
                fill()
                if not self.out:
                    return
            try:
                count = os.write(OUT, self.out)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.EPIPE:
                    raise
                self.detach()
                return
            del self.out[:count]

    def _fill(self) -> None:
        if self._hello_due:
            self._hello_due = False
            self.say_json(frames.HELLO, self._hello())
        while self._replies:
            self.out += self._replies.pop(0)
        if self._beat_due:
            self._beat_due = False
            self.say(frames.BEAT)
