"""Waits for the end of programs that the agent was told to kill."""

from __future__ import annotations

from collections.abc import Collection

from coderunner import timing
from coderunner.sessions.channel import Channel
from coderunner.sessions.container import Container

# Most programs end within milliseconds of SIGKILL.
KILL_SECONDS = 1.0  # in which an agent must have killed a program
GRACE_SECONDS = 4.0  # later than that, a container is condemned whose agent has not confirmed a kill: what is
# killed needs time of a processor to end, and a machine with much to do gives little of it


async def confirmed(channel: Channel, container: Container) -> None:
    """Waits until the program has ended; condemns the container if its agent does not confirm that in time.

    Without a stream to the agent no time counts: the command is repeated over the next one.
    """
    while channel.live:
        link = container.link
        if link.closed.done():
            # The new link's agent says what has ended, and `Channels` repeats the kill.
            await container.changed.wait()
            continue
        try:
            async with timing.within(KILL_SECONDS + GRACE_SECONDS):
                while channel.live:
                    await container.changed.wait()
        except TimeoutError:
            # With the old stream the command may have been lost; with the same one it was ignored.
            if not link.closed.done():
                container.condemn("did not end a program in time")
                return


async def all_ended(channels: Collection[Channel], container: Container) -> None:
    """Waits until all programs have ended, KILL_SECONDS at most."""
    try:
        async with timing.within(KILL_SECONDS):
            while any(channel.live for channel in channels):
                await container.changed.wait()
    except TimeoutError:
        pass
