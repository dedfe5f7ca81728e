"""Repeats to an agent what a broken stream may have lost."""

from __future__ import annotations

from coderunner.schema.reports import ChannelState
from coderunner.sessions.channel import Channel
from coderunner.sessions.link import AgentLink


def repeat(channel: Channel, state: ChannelState, link: AgentLink) -> None:
    """Sends input again, and commands whose effect `state`, the agent's own, does not show."""
    number = channel.number
    at, data = channel.unacked_input()
    # Not below what is kept here, whatever the agent says.
    taken = max(at, state.input_offset)
    if taken < channel.input_offset:
        link.send_input(number, taken, data[taken - at :])
    if channel.eof_at is not None and not channel.input_eof:
        link.cast("eof", channel=number, offset=channel.eof_at)
    if (channel.cols, channel.rows) != (state.cols, state.rows):
        link.cast("resize", channel=number, cols=channel.cols, rows=channel.rows)
    if channel.intent is not None and channel.live:
        link.cast("kill", channel=number, intent=channel.intent)
