"""Messages that wait for one client, within a bound.

A message that only reports the latest state of something replaces an earlier one, so that the queue of a slow
client does not grow with reports of progress.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Hashable

from coderunner.schema.messages import (
    Artifact,
    Attached,
    Diagnostics,
    ErrorMessage,
    Hand,
    InAck,
    Notice,
    People,
    Quotas,
    Resized,
    Role,
    ServerMessage,
    Stopped,
    Workspace,
)

MAX_MESSAGES = 1024  # that wait for one client
MAX_MESSAGE_BYTES = 512 * 1024  # of memory, for all messages that wait for one client
MESSAGE_COST = 384  # bytes of memory of each, beside its text


class Outbox:
    """The messages, in the order in which they are sent. ``bytes``: of memory that they take."""

    def __init__(self) -> None:
        self.bytes = 0
        self._messages: OrderedDict[Hashable, ServerMessage] = OrderedDict()
        self._numbers = itertools.count()

    def __bool__(self) -> bool:
        return bool(self._messages)

    @property
    def full(self) -> bool:
        """Whether there are more than may wait."""
        return len(self._messages) > MAX_MESSAGES or self.bytes > MAX_MESSAGE_BYTES

    def add(self, message: ServerMessage) -> None:
        """Adds a message, or puts it in the place of an earlier one: the new state is sent as early."""
        key = self._key(message)
        if key in self._messages:
            self.bytes -= _cost(self._messages[key])
        self._messages[key] = message
        self.bytes += _cost(message)

    def _key(self, message: ServerMessage) -> Hashable:
        if isinstance(message, Diagnostics | InAck | Resized | Stopped):
            return type(message), message.channel
        if isinstance(message, Artifact):
            return Artifact, message.channel, message.path
        if isinstance(message, Workspace | People | Hand | Quotas):
            # Also of hands, control and programs: other clients decide how often these change.
            return type(message)
        return next(self._numbers)  # of its own: such a message replaces nothing

    def take(self) -> ServerMessage:
        """Removes the first message. Raises KeyError if there is none."""
        message = self._messages.popitem(last=False)[1]
        self.bytes -= _cost(message)
        return message

    def clear(self) -> None:
        """Removes all."""
        self._messages.clear()
        self.bytes = 0


def _cost(message: ServerMessage) -> int:
    """An upper bound of a queued message's memory in bytes, without objects that are also held elsewhere."""
    if isinstance(message, ErrorMessage | Notice):
        return MESSAGE_COST + 4 * len(message.message)
    if isinstance(message, Attached):
        return MESSAGE_COST + MESSAGE_COST * len(message.channels)
    if isinstance(message, Role):
        return MESSAGE_COST + MESSAGE_COST // 4 * len(message.input_offsets)
    return MESSAGE_COST
