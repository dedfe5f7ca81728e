"""Models of what agents report. An agent shares its container with hostile programs, so nothing is trusted.

An inconsistent offset or a number out of bounds raises AgentProtocolError, which ends the link to the agent.
Only the evidence of a program's end is read leniently: what is invalid in it counts as unknown (`Evidence`).
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from coderunner.schema import check
from coderunner.schema.messages import STOPPED_BY, Modes, Phases
from coderunner.schema.types import MAX_OFFSET, Channel, Offset, Positive, at_most, one_of, whole
from coderunner.wire import flow

MAX_CHANNELS = flow.MAX_CHANNELS + 32  # an agent keeps up to flow.MAX_CHANNELS live ones and 32 ended ones
MAX_SEALED = 16 * 1024  # characters of a sealed record
MAX_RESTORE = 4096  # characters of the escape sequences that restore a terminal's modes

# Of a channel.
Kinds = Annotated[str, one_of(("run", "shell"))]
TerminalSize = Annotated[int, whole(1, 65535)]
Signed = Annotated[int, whole(-MAX_OFFSET, MAX_OFFSET)]


class AgentProtocolError(Exception):
    """The agent, or a program in the container that imitates it, violated the agent protocol.

    Never raised for faults of this server: it ends the link,
    and a fault of ours must not be blamed on a tenant."""


class ChannelState(Struct, frozen=True, kw_only=True):
    """A channel's complete state.

    Output offsets: the journal holds `from_` to `to`; everything below `sent` was sent to this server,
    everything below `released` was acknowledged by clients. `run_offset`: where the program's output begins
    behind the compiler's. Input offsets: below `in_acked` it reached the program, below `input_offset` the
    agent. `end`: the output's last offset once the program has ended, with `evidence`.
    """

    channel: Channel
    mode: Modes
    kind: Kinds
    occupied: bool
    phase: Phases
    phase_offset: Offset
    run_offset: Offset | None = None
    from_: Offset = field(name="from")
    to: Offset
    sent: Offset
    released: Offset
    in_acked: Offset
    input_offset: Offset
    input_eof: bool
    cols: TerminalSize
    rows: TerminalSize
    wall_ms: Positive
    stopped: Annotated[str, one_of(STOPPED_BY)] | None = None
    end: Offset | None = None
    evidence: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        # Everything that the server computes with these offsets relies on their order.
        if not self.from_ <= self.sent <= self.to or self.released > self.to:
            raise ValueError("has output offsets that do not fit each other")
        if self.run_offset is not None and self.run_offset > self.to:
            raise ValueError("has a program that begins behind its output")
        if self.end is not None and self.end != self.to:
            raise ValueError("has output that ends elsewhere than at its end")
        if not 0 <= self.input_offset - self.in_acked <= flow.INPUT_WINDOW:
            raise ValueError("has input offsets that do not fit each other")


class Hello(Struct, frozen=True):
    """The answer to an attach. `sealed`: the session's sealed record,
    None while the container is in the warm pool."""

    version: int
    sealed: Annotated[str, Meta(max_length=MAX_SEALED)] | None = None
    channels: Annotated[tuple[ChannelState, ...], at_most(MAX_CHANNELS)] = ()

    def __post_init__(self) -> None:
        # A hostile agent must not make the server keep more channels than a session can have.
        if len({state.channel for state in self.channels}) < len(self.channels):
            raise ValueError("names a channel twice")
        if sum(state.end is None for state in self.channels) > flow.MAX_CHANNELS:
            raise ValueError("has more live channels than there may be")


class ArtifactNews(Struct, frozen=True):
    """A file that a program made. `path`: unchecked, as the program named it. `more`: there are further
    files that are not reported."""

    path: str = ""
    size: Offset = 0
    more: bool = False


class Fault(Struct, frozen=True):
    """Why a call failed in the agent."""

    code: str = ""
    message: str = ""


class Reply(Struct, frozen=True):
    """What the answers to all calls have in common."""

    error: Fault | None = None


class Prepared(Struct, frozen=True):
    """The answer to `prepare`. `preload`: why the preload is not available, None if it is."""

    preload: str | None = None


class Started(Struct, frozen=True):
    """The answer to `run`. `channels`: numbers of all channels that the agent has. `state`: the new
    channel's, None if there is an `error`."""

    channels: Annotated[tuple[int, ...], at_most(MAX_CHANNELS)]
    error: Fault | None = None
    state: ChannelState | None = None


class Fetched(Struct, frozen=True):
    """The answer to `fetch`. `from_`: offset of the output. `stream`: 1 or 2. `restore`: escape sequences
    that set the terminal's modes as they were at that offset."""

    from_: Offset = field(name="from")
    stream: int = 1
    restore: str | None = None


class FileFound(Struct, frozen=True):
    """An entry of `Listed`. `mtime_ms`: milliseconds since 1970; a program may set it to any value."""

    path: str
    size: Offset
    mtime_ms: Signed
    folder: bool
    executable: bool


class Listed(Struct, frozen=True):
    """The answer to `list`. `files` is not typed here: each is read by itself as `FileFound`, so that an
    invalid one does not hide the others. `next`: where the next page begins."""

    files: Annotated[tuple[Any, ...], Meta(description="a list")] = ()
    next: str | None = None


class FileRead(Struct, frozen=True):
    """The answer to `read`."""

    size: Offset
    inode: Annotated[int, whole(0, 2**63 - 1)] = 0  # another inode means that the file was replaced meanwhile


class FileChecked(Struct, frozen=True):
    """The answer to `check`. `crc`: CRC-32 of all bytes read so far, including these."""

    crc: Annotated[int, whole(0, 2**32 - 1)]
    inode: Annotated[int, whole(0, 2**63 - 1)] = 0


class Removed(Struct, frozen=True):
    """The answer to `remove`. `removed`: number of files and folders.
    `more`: the call has to be repeated for the rest."""

    removed: Offset
    more: bool


class End(Struct, frozen=True):
    """A phase's end: how its first process ended, and what its process tree used."""

    code: Annotated[int, whole(0, 255)] | None = None
    # The names of signal(7) without SIG; those of real-time signals have a + or -.
    signal: Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9+-]{1,15}\Z")] | None = None
    left_behind: Annotated[int, Meta(ge=0)] | None = None
    wall_ms: Annotated[int, Meta(ge=0)] | None = None
    cpu_ms: Annotated[int, Meta(ge=0)] | None = None
    memory_peak_bytes: Annotated[int, Meta(ge=0)] | None = None


class Evidence(Struct, frozen=True):
    """The evidence of a program's end (`core.lifecycle.Evidence`). Read by `check.as_far_as_right`."""

    compile: End | None = None
    main: End | None = None
    intent: str | None = None
    oom_kills: Annotated[int, Meta(ge=0)] = 0
    fork_refusals: Annotated[int, Meta(ge=0)] = 0
    disk_full: bool = False
    thrashed: bool = False
    supervisor_lost: bool = False


_HELLO = msgspec.json.Decoder(Hello)
_STATE = msgspec.json.Decoder(ChannelState)


def read_hello(text: bytes) -> Hello:
    """Parses the answer to an attach. Raises AgentProtocolError."""
    return _decoded(_HELLO, text, "hello")


def read_state(text: bytes) -> ChannelState:
    """Parses a channel's state. Raises AgentProtocolError."""
    return _decoded(_STATE, text, "state")


def read_artifact(text: bytes) -> ArtifactNews:
    """Parses the report of a file that a program made. Raises AgentProtocolError."""
    try:
        # With `json`: a name that is not UTF-8 arrives as lone surrogates, which msgspec refuses.
        return read(ArtifactNews, json.loads(text), "artifact")
    except (ValueError, RecursionError) as error:
        raise AgentProtocolError(f"artifact: {error}") from None


def _decoded(decoder: msgspec.json.Decoder[check.T], text: bytes, where: str) -> check.T:
    """Parses a report. `where`: its name, for the message. Raises AgentProtocolError."""
    try:
        return decoder.decode(text)
    except (ValueError, RecursionError) as error:
        raise AgentProtocolError(f"{where}: {error}") from None


def read(kind: type[check.T], reply: object, where: str) -> check.T:
    """Reads an agent's answer as a `kind`. `where`: the call, for the message. Raises AgentProtocolError."""
    try:
        return msgspec.convert(reply, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        raise AgentProtocolError(f"{where}: {error}") from None
