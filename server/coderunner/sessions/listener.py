"""The reports of an agent, as calls of whoever listens to it.

Every byte of a report is untrusted: what is out of range is refused here, before anything is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from coderunner.schema import reports
from coderunner.schema.reports import AgentProtocolError, ArtifactNews, ChannelState
from coderunner.schema.types import MAX_OFFSET
from coderunner.wire import frames


class Listener(Protocol):
    """Receives an agent's reports.  Its methods are called while the stream is read, and must not block.

    May raise AgentProtocolError for a report that contradicts earlier ones.
    """

    def begin_reports(self) -> None:
        """Called before the reports of one read, which may be many."""

    def end_reports(self) -> None:
        """Called after them, also if one has raised."""

    def on_output(self, channel: int, stream: int, offset: int, data: bytes) -> None:
        """``offset``: of the first byte of ``data``. ``stream``: 1 standard output, 2 standard error."""

    def on_in_ack(self, channel: int, offset: int) -> None:
        """The program has taken its input up to ``offset``."""

    def on_state(self, state: ChannelState) -> None:
        """A channel's whole state."""

    def on_workspace(self, revision: int) -> None:
        """Files have changed; each change has a higher revision."""

    def on_artifact(self, channel: int, news: ArtifactNews) -> None:
        """A program has made a file that people may want to see."""


Told = Callable[[Listener], None]


def _output(frame: frames.Frame) -> Told:
    # The sum must stay in range as well: the end of this output is the next offset.
    if frame.offset > MAX_OFFSET - len(frame.payload):
        raise AgentProtocolError("output offset out of range")
    return lambda listener: listener.on_output(frame.channel, frame.stream, frame.offset, frame.payload)


def _in_ack(frame: frames.Frame) -> Told:
    return lambda listener: listener.on_in_ack(frame.channel, frame.offset)


def _workspace(frame: frames.Frame) -> Told:
    if frame.offset > MAX_OFFSET:
        raise AgentProtocolError("revision out of range")
    return lambda listener: listener.on_workspace(frame.offset)


# Decoded before the call is made: a malformed report raises here, and not in the listener.
def _artifact(frame: frames.Frame) -> Told:
    news = reports.read_artifact(frame.payload)
    return lambda listener: listener.on_artifact(frame.channel, news)


def _state(frame: frames.Frame) -> Told:
    state = reports.read_state(frame.payload)
    return lambda listener: listener.on_state(state)


DECODERS: dict[int, Callable[[frames.Frame], Told]] = {
    frames.OUTPUT: _output,
    frames.IN_ACK: _in_ack,
    frames.WORKSPACE: _workspace,
    frames.ARTIFACT: _artifact,
    frames.STATE: _state,
}
"""By a frame's kind: its report, as a call.  Each raises AgentProtocolError."""
