"""The wall limits of a session's programs, for agents that do not enforce them."""

from __future__ import annotations

from collections.abc import Callable, Collection

from coderunner.sessions.channel import Channel


def overdue(channels: Collection[Channel], now: float) -> bool:
    """Whether a program is past its wall limit.  ``now``: seconds, of `timing.now`."""
    return any(one.wall_deadline is not None and now >= one.wall_deadline for one in channels)


def hold(channels: Collection[Channel], now: float, condemn: Callable[[str], None]) -> float | None:
    """Seconds until the next wall limit; None when a program is past its limit.

    Then its agent does not work, and ``condemn(reason)`` is called.
    """
    wait = float("inf")
    for channel in channels:
        if channel.wall_deadline is None:
            continue
        if now >= channel.wall_deadline:
            channel.intent = channel.intent or "wall_timeout"
            condemn("held a program beyond its wall limit")
            return None
        wait = min(wait, channel.wall_deadline - now)
    return wait
