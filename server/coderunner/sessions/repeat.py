"""Repeats to an agent what a broken stream may have lost."""

from __future__ import annotations

from coderunner.schema import calls
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
        link.cast(calls.Eof(channel=number, offset=channel.eof_at))
    cols, rows = channel.cols, channel.rows
    if cols is not None and rows is not None and (cols, rows) != (state.cols, state.rows):
        link.cast(calls.Resize(channel=number, cols=cols, rows=rows))
    if channel.intent is not None and channel.live:
        link.cast(calls.Kill(channel=number, intent=channel.intent))
