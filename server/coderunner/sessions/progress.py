"""The clients' progress in each channel's output, as the agent has to know it for its flow control."""

from __future__ import annotations

from coderunner.sessions.attachments import Attachments
from coderunner.sessions.channel import Channel
from coderunner.sessions.container import Container
from coderunner.sessions.pace import Paces, Standing


class Progress:
    """Reports to the agent what clients have acknowledged, and how much output it may send.

    ``container``: with the link to the agent.  ``attachments``: of the session."""

    def __init__(self, container: Container, attachments: Attachments) -> None:
        self._container = container
        self._attachments = attachments
        self._paces = Paces(self._send)

    def report(self, channel: Channel) -> None:
        """Sends the clients' progress in this channel to the agent, at once or with the next update."""
        control = self._attachments.control
        if control is not None:
            # The cursor with which a client attaches counts as an acknowledgement.
            channel.released = max(channel.released, control.cursor(channel).acked)
        standing = Standing(
            released=channel.released,
            furthest=max(channel.released, self._attachments.furthest(channel)),
            controlled=control is not None,
            exit_acked=channel.exit_acked,
            window=self._attachments.window(channel),
        )
        self._paces[channel.number].update(standing)

    def again(self, number: int) -> None:
        """The agent may have missed reports about this channel: the next one is sent at once."""
        self._paces[number].again()

    def forget(self, number: int) -> None:
        """The channel was removed."""
        self._paces.forget(number)

    def close(self) -> None:
        """Cancels delayed reports."""
        self._paces.close()

    def _send(self, number: int, standing: Standing) -> None:
        self._container.link.send_flow(
            number,
            released=standing.released,
            # The client that is furthest decides: the server's cache serves those behind it.
            credit=standing.furthest + standing.window,
            controlled=standing.controlled,
            exit_acked=standing.exit_acked,
        )
