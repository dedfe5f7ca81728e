"""Output from the agent's journal, for clients that are behind the server's cache."""

from __future__ import annotations

from dataclasses import dataclass

from coderunner.errors import AgentLost
from coderunner.schema import calls, reports
from coderunner.schema.reports import MAX_RESTORE, AgentProtocolError
from coderunner.sessions.container import Container
from coderunner.wire.journal import STDERR, STDOUT


@dataclass(frozen=True, slots=True)
class Fetched:
    """Output from the agent's journal.

    ``begin``: the offset of ``data``; above the one that was asked for when output is lost.  ``restore``:
    escape sequences that set a terminal to the modes in force there; None when nothing is lost."""

    begin: int
    stream: int
    data: bytes
    restore: str | None


async def recall(container: Container, channel: int, offset: int, limit: int) -> Fetched:
    """At most ``limit`` bytes of a channel's output, from ``offset`` on.  Raises NoChannel, AgentLost."""
    # Not repeated here: the attachment asks again when there is a new link.
    reply, data = await container.link.call(calls.Fetch(channel=channel, offset=offset, limit=limit))
    try:
        fetched = reports.read(reports.Fetched, reply, "the answer to 'fetch'")
    except AgentProtocolError as error:
        container.condemn(f"the agent broke its protocol: {error}")
        raise AgentLost(str(error)) from None
    # Cut and clamped, as the agent is not trusted: the frame must fit what was asked for.
    restore = fetched.restore and fetched.restore[:MAX_RESTORE]
    stream = STDERR if fetched.stream == STDERR else STDOUT
    return Fetched(max(offset, fetched.from_), stream, data[:limit], restore)
