"""Waits for the end of programs that the agent was told to kill."""

from __future__ import annotations

from collections.abc import Collection

from coderunner import timing
from coderunner.sessions.channel import Channel
from coderunner.sessions.container import Container

KILL_SECONDS = 1.0  # an agent that confirms no kill in this time loses its container


async def confirmed(channel: Channel, container: Container) -> None:
    """Returns when the program has ended, or the container is condemned because its agent does not end it.

    While the stream to the agent is being mended nobody is judged: then the command is repeated.
    """
    while channel.live:
        link = container.link
        if link.closed.done():
            await container.changed.wait()
            continue
        try:
            async with timing.within(KILL_SECONDS + 1.0):
                while channel.live:
                    await container.changed.wait()
        except TimeoutError:
            if not link.closed.done():
                container.condemn("did not end a program in time")
                return


async def all_ended(channels: Collection[Channel], container: Container) -> None:
    """Returns when all of them have ended, at the latest after KILL_SECONDS."""
    try:
        async with timing.within(KILL_SECONDS):
            while any(channel.live for channel in channels):
                await container.changed.wait()
    except TimeoutError:
        pass
