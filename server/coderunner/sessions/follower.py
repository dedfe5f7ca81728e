"""A follower: the attachment of a client that asks again and again instead of holding a socket.

It takes what its attachment gives, numbers it as events, and keeps them until the client has confirmed them.
An event's id is its number and the client's position in every channel. So a client may ask twice for the
same events; and a server that knows nothing of the follower (it was restarted, or the follower has ended)
continues from the id alone, as `attach` does from cursors.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from coderunner.core import codec
from coderunner.core.codec import STDERR
from coderunner.errors import CodeRunnerError
from coderunner.schema import messages as m
from coderunner.schema.types import MAX_OFFSET
from coderunner.sessions.attachment import Attachment
from coderunner.sessions.session import Session

MAX_HELD = 1024 * 1024  # bytes of events that are kept until they are confirmed; then no more are taken
EVENT_COST = 256  # bytes of memory of each event, beside its text
PIECE = 16 * 1024  # bytes of output in an event
MAX_ID = 1900  # characters of the positions in an id
_ID = re.compile(r"([A-Za-z0-9_-]{1,32})[.]([0-9]{1,15})[.]([0-9:,x-]{0,1900})")
_ENTRY = re.compile(r"([0-9]{1,5}):([0-9]{1,16})|([0-9]{1,5})(?:-([0-9]{1,5}))?x")


@dataclass(slots=True)
class Mark:
    """What an event's id says: the follower's name, the event's number there, and the client's positions.

    `offsets`: by channel, below which the client has the output. `ended`: channels of which it has
    everything, their `exit` as well.
    """

    follower: str
    number: int
    offsets: dict[int, int] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)

    @classmethod
    def read(cls, text: str) -> Mark | None:
        """Reads an event's id; None for an invalid text."""
        found = _ID.fullmatch(text)
        if found is None:
            return None
        mark = cls(found[1], int(found[2]))
        # An id names each channel once. Ranges that overlap would cost a stranger nothing, and us much time.
        counted = 0
        for part in found[3].split(",") if found[3] else ():
            entry = _ENTRY.fullmatch(part)
            if entry is None or not mark._enter(entry):
                return None
            counted += 1 if entry[3] is None else int(entry[4] or entry[3]) - int(entry[3]) + 1
            if counted != len(mark.offsets) + len(mark.ended):
                return None
        return mark

    def _enter(self, entry: re.Match[str]) -> bool:
        if entry[1] is not None:
            self.offsets[int(entry[1])] = int(entry[2])
            return int(entry[1]) < 65536 and int(entry[2]) <= MAX_OFFSET
        first, last = int(entry[3]), int(entry[4] or entry[3])
        if not first <= last < 65536:
            return False
        self.ended.update(range(first, last + 1))
        return True

    def __str__(self) -> str:
        parts = [f"{number}:{offset}" for number, offset in self.offsets.items() if number not in self.ended]
        parts += [f"{first}-{last}x" if last > first else f"{first}x" for first, last in _ranges(self.ended)]
        while len(text := ",".join(parts)) > MAX_ID:  # some thousand channels with scattered numbers
            parts.pop()
        return f"{self.follower}.{self.number}.{text}"


def _ranges(numbers: set[int]) -> Iterator[tuple[int, int]]:
    """The numbers as ranges, the last number included."""
    first = last = -1
    for number in sorted(numbers):
        if number != last + 1 or first < 0:
            if first >= 0:
                yield first, last
            first = number
        last = number
    if first >= 0:
        yield first, last


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it is sent: `kind` is the message's type, `data` its JSON; `id` is the text of a Mark."""

    number: int
    id: str
    kind: str
    data: bytes

    @property
    def cost(self) -> int:
        """Bytes of memory."""
        return EVENT_COST + len(self.id) + len(self.data)


class Follower:
    """Events of one client of a session. `work` must run until it returns; then nothing more is added.

    `mark`: where the client is, None for the beginning. `role`: as in `Session.attach`, which raises.
    """

    def __init__(self, session: Session, client: str, role: str, mark: Mark | None) -> None:
        self.session = session
        self.over = False  # nothing is added any more
        self._name = secrets.token_urlsafe(9)
        self._at = Mark(self._name, 0)
        self._events: deque[Event] = deque()
        self._first = 1  # the number of the first event that is kept
        self._told: dict[int, int] = {}  # by channel, the offset that was acknowledged
        self._news, self._room = asyncio.Event(), asyncio.Event()
        cursors: dict[int, int] = {}
        if mark is not None:
            known = session.channels
            self._at.offsets = {one: at for one, at in mark.offsets.items() if one in known}
            self._at.ended = {one for one in mark.ended if one in known}
            cursors = self._at.offsets | dict.fromkeys(self._at.ended, MAX_OFFSET)
        self.attachment: Attachment = session.attach(client, role, "control", cursors)
        for number in self._at.ended:
            self.attachment.cursor(session.channels[number]).exit_sent = True
        self._acknowledge(self._at)

    @property
    def held(self) -> int:
        """Bytes of the events that are kept."""
        return self.attachment.held

    @property
    def closed(self) -> bool:
        """Whether the session has ended, and not only this attachment."""
        return self.attachment.close_code == 1000

    @property
    def ending(self) -> bool:
        """Whether the session ends, or has: its programs are being killed, and the rest is told."""
        return self.session.over and self.attachment.close_code in (None, 1000)

    # --- what the client has -----------------------------------------------------------------------------

    def continues(self, mark: Mark | None) -> bool:
        """Whether the events behind `mark` are here. None: those from the beginning."""
        if mark is None:
            return self._first == 1
        return mark.follower == self._name and self._first - 1 <= mark.number <= self._at.number

    def confirm(self, mark: Mark | None) -> int:
        """The client has all events up to `mark`, for which `continues` is true: they are dropped. Returns
        the mark's number."""
        number, last = mark.number if mark is not None else 0, None
        while self._events and self._events[0].number <= number:
            last = self._events.popleft()
            self.attachment.held -= last.cost
            self._first = last.number + 1
        # What is confirmed is what was sent here, and not what the client says that it was.
        sent = Mark.read(last.id) if last is not None else None
        if sent is not None:
            self._acknowledge(sent)
            self._room.set()
        return number

    def _acknowledge(self, mark: Mark) -> None:
        for number, offset in list(mark.offsets.items()):
            if number in self.session.channels and self._told.get(number, -1) < offset:
                self._told[number] = offset
                self._ack(number, offset, ended=False)
        for number in mark.ended:
            channel = self.session.channels.all.get(number)
            if channel is not None and self._told.get(number) != MAX_OFFSET:
                self._told[number] = MAX_OFFSET
                self._ack(number, self.attachment.cursor(channel).sent, ended=True)

    def _ack(self, number: int, offset: int, *, ended: bool) -> None:
        with contextlib.suppress(CodeRunnerError):  # the channel is forgotten, the session over
            self.session.handle(self.attachment, m.Ack(number, offset, exit=ended))

    # --- what the client is sent -------------------------------------------------------------------------

    def after(self, number: int) -> list[Event]:
        """The events with higher numbers that are kept."""
        return [one for one in self._events if one.number > number]

    async def news(self) -> None:
        """Waits for another event, or for the end."""
        if not self.over:
            await self._news.wait()

    async def work(self) -> None:
        """Takes what the attachment gives, until it has ended."""
        try:
            while (frame := await self.attachment.next()) is not None:
                if isinstance(frame, bytes):
                    self._output(codec.decode_output(frame))
                else:
                    self._message(frame)
                while self.held > MAX_HELD and self.attachment.close_code is None:
                    self._room.clear()
                    # Woken also where the attachment is cut off: a look each second costs nothing.
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(1.0):
                            await self._room.wait()
        finally:
            self.over = True
            self._tell()

    def _output(self, frame: codec.OutputFrame) -> None:
        for begin in range(0, len(frame.payload), PIECE):
            part, at = frame.payload[begin : begin + PIECE], frame.offset + begin
            self._at.offsets[frame.channel] = at + len(part)
            stream = "stderr" if frame.stream == STDERR else "stdout"
            told = {"type": "output", "channel": frame.channel, "stream": stream, "offset": at, **_text(part)}
            self._add("output", msgspec.json.encode(told))

    def _message(self, text: str) -> None:
        message = codec.decode_server_text(text)
        if isinstance(message, m.Gap):
            self._at.offsets[message.channel] = message.to
        elif isinstance(message, m.Exit):
            self._at.offsets.pop(message.channel, None)
            self._at.ended.add(message.channel)
        self._add(codec.TYPES[type(message)], text.encode())

    def _add(self, kind: str, data: bytes) -> None:
        known = self.session.channels
        if not self.session.over and len(self._at.ended) > len(known):
            self._at.ended = {one for one in self._at.ended if one in known}
        self._at.number += 1
        event = Event(self._at.number, str(self._at), kind, data)
        self._events.append(event)
        self.attachment.held += event.cost
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


def _text(data: bytes) -> Mapping[str, Any]:
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"text_base64": data}
