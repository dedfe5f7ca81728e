"""The output caches of a session's channels, under one bound. The agent still has what they drop."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from coderunner.sessions.channel import Channel
from coderunner.sessions.holdings import CACHE_BYTES


class Caches:
    """``total``: bytes of all caches.

    ``channels``: by number.  ``grew(bytes)``: called when a cache has grown."""

    def __init__(self, channels: Mapping[int, Channel], grew: Callable[[int], None]) -> None:
        self.total = 0
        self._grew = grew
        self._channels = channels
        self._sizes: dict[int, int] = {}

    def changed(self, channel: Channel) -> None:
        """The size of a channel's cache has changed: counts it, and drops others if they exceed the bound."""
        before = self.total
        # Only growth is reported: a smaller cache frees memory, and needs no permission.
        self._count(channel)
        if self.total > before:
            self._grew(self.total - before)
        if self.total > CACHE_BYTES:
            self.spare(self.total - CACHE_BYTES)

    def forget(self, number: int) -> None:
        """The channel was removed."""
        self.total -= self._sizes.pop(number, 0)

    def spare(self, size: int) -> None:
        """Drops ``size`` bytes or more: caches of ended channels first, and of those the oldest."""
        # Channels that run come last: their output is what clients are about to read.
        for channel in sorted(self._channels.values(), key=lambda one: one.exit is None):
            if size <= 0:
                return
            size -= self._sizes.get(channel.number, 0)
            # From its end, so that offsets stay continuous.
            channel.cache.reset(channel.cache.end)
            self._count(channel)

    def empty(self) -> None:
        """Drops all caches."""
        self.spare(self.total)

    def _count(self, channel: Channel) -> None:
        size = channel.cache.held
        self.total += size - self._sizes.get(channel.number, 0)
        self._sizes[channel.number] = size
