"""What an agent says of itself and of its channels: it is as hostile as the programs beside it.

An offset that does not fit the others, or a number out of its bounds, is the agent's fault and ends its link.
What it tells of a program's end is evidence, of which what is wrong counts as not known: `Evidence`.
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

MAX_CHANNELS = flow.MAX_CHANNELS + 32  # an agent keeps so many live ones, and so many that have ended
MAX_SEALED = 16 * 1024
MAX_RESTORE = 4096

Kinds = Annotated[str, one_of(("run", "shell"))]
TerminalSize = Annotated[int, whole(1, 65535)]
Signed = Annotated[int, whole(-MAX_OFFSET, MAX_OFFSET)]


class AgentProtocolError(Exception):
    """The agent, or something in the container that speaks for it, broke the protocol between us.

    Raised for nothing else: a fault of this server's own is never taken for one of the container's."""


class ChannelState(Struct, frozen=True, kw_only=True):
    """A channel's whole state. Output: from the journal's beginning `from_` to `to`, of which `sent` went to
    this server, and `released` was acknowledged by clients."""

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
        if not self.from_ <= self.sent <= self.to or self.released > self.to:
            raise ValueError("has output offsets that do not fit each other")
        if self.run_offset is not None and self.run_offset > self.to:
            raise ValueError("has a program that begins behind its output")
        if self.end is not None and self.end != self.to:
            raise ValueError("has output that ends elsewhere than at its end")
        if not 0 <= self.input_offset - self.in_acked <= flow.INPUT_WINDOW:
            raise ValueError("has input offsets that do not fit each other")


class Hello(Struct, frozen=True):
    """The answer to an attach. `sealed`: the record that this agent keeps, None before it has a tenant."""

    version: int
    sealed: Annotated[str, Meta(max_length=MAX_SEALED)] | None = None
    channels: Annotated[tuple[ChannelState, ...], at_most(MAX_CHANNELS)] = ()

    def __post_init__(self) -> None:
        if len({state.channel for state in self.channels}) < len(self.channels):
            raise ValueError("names a channel twice")
        if sum(state.end is None for state in self.channels) > flow.MAX_CHANNELS:
            raise ValueError("has more live channels than there may be")


class ArtifactNews(Struct, frozen=True):
    """A file that a program made, its name as the program chose it. `more`: there are more than are told."""

    path: str = ""
    size: Offset = 0
    more: bool = False


class Fault(Struct, frozen=True):
    """Why the agent did not do what it was asked."""

    code: str = ""
    message: str = ""


class Reply(Struct, frozen=True):
    """Any answer."""

    error: Fault | None = None


class Prepared(Struct, frozen=True):
    """The answer to `prepare`. `preload`: why programs start plainly, where they do."""

    preload: str | None = None


class Started(Struct, frozen=True):
    """The answer to `run`: the numbers of all channels that the agent has; a state where it is no error."""

    channels: Annotated[tuple[int, ...], at_most(MAX_CHANNELS)]
    error: Fault | None = None
    state: ChannelState | None = None


class Fetched(Struct, frozen=True):
    """The answer to `fetch`: where the output begins, its stream, and escape sequences to restore."""

    from_: Offset = field(name="from")
    stream: int = 1
    restore: str | None = None


class FileFound(Struct, frozen=True):
    """One of the files of `Listed`."""

    path: str
    size: Offset
    mtime_ms: Signed
    folder: bool
    executable: bool


class Listed(Struct, frozen=True):
    """The answer to `list`. Each of `files` is read by itself: what is wrong with one spoils no other."""

    files: Annotated[tuple[Any, ...], Meta(description="a list")] = ()
    next: str | None = None


class FileRead(Struct, frozen=True):
    """The answer to `read`."""

    size: Offset
    inode: Annotated[int, whole(0, 2**63 - 1)] = 0


class FileChecked(Struct, frozen=True):
    """The answer to `check`: the CRC-32 of the bytes read before and of these."""

    crc: Annotated[int, whole(0, 2**32 - 1)]
    inode: Annotated[int, whole(0, 2**63 - 1)] = 0


class Removed(Struct, frozen=True):
    """The answer to `remove`: how many went, and whether there are more."""

    removed: Offset
    more: bool


class End(Struct, frozen=True):
    """Of a phase: how its first process ended, and what its tree used."""

    code: Annotated[int, whole(0, 255)] | None = None
    signal: Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9+-]{1,15}\Z")] | None = None
    left_behind: Annotated[int, Meta(ge=0)] | None = None
    wall_ms: Annotated[int, Meta(ge=0)] | None = None
    cpu_ms: Annotated[int, Meta(ge=0)] | None = None
    memory_peak_bytes: Annotated[int, Meta(ge=0)] | None = None


class Evidence(Struct, frozen=True):
    """Of a program's end; `check.as_far_as_right` reads it."""

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
    """Raises AgentProtocolError."""
    return _decoded(_HELLO, text, "hello")


def read_state(text: bytes) -> ChannelState:
    """Raises AgentProtocolError."""
    return _decoded(_STATE, text, "state")


def read_artifact(text: bytes) -> ArtifactNews:
    """Raises AgentProtocolError."""
    try:
        # Not by msgspec: a name that is no UTF-8 comes as lone surrogates, which it refuses.
        return read(ArtifactNews, json.loads(text), "artifact")
    except (ValueError, RecursionError) as error:
        raise AgentProtocolError(f"artifact: {error}") from None


def _decoded(decoder: msgspec.json.Decoder[check.T], text: bytes, where: str) -> check.T:
    try:
        return decoder.decode(text)
    except (ValueError, RecursionError) as error:
        raise AgentProtocolError(f"{where}: {error}") from None


def read(kind: type[check.T], reply: object, where: str) -> check.T:
    """An agent's answer as a `kind`. Raises AgentProtocolError."""
    try:
        return msgspec.convert(reply, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        raise AgentProtocolError(f"{where}: {error}") from None
