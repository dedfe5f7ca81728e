"""Wall limits of a session's programs, enforced by this server where their agent does not."""

from __future__ import annotations

from collections.abc import Callable, Collection

from coderunner.sessions.channel import Channel


def overdue(channels: Collection[Channel], now: float) -> bool:
    """Whether a program has outlived its wall limit. ``now``: seconds, of `timing.now`."""
    return any(one.wall_deadline is not None and now >= one.wall_deadline for one in channels)


def hold(channels: Collection[Channel], now: float, condemn: Callable[[str], None]) -> float | None:
    """Seconds until the next one is due; None when one is overdue.

    Then its agent is not to be trusted with the end: ``condemn`` is called with the reason.
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
