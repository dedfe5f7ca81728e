"""Every error that CodeRunner raises on purpose: one tree, each leaf with a stable code on the wire.

    CodeRunnerError
    ├── ProtocolError     the client's bytes or the order of its messages
    ├── RequestError      a well-formed request for something that cannot be had
    ├── AccessError       who may, and how often
    ├── CapacityError     not now: no slot, no place, no language yet
    ├── EngineError       the container engine or a container failed
    ├── ConfigError       the settings are wrong (never sent to a client)
    ├── CannotStart       the server cannot start at this moment (never sent to a client)
    └── InternalError     a fault of ours

`close` is the WebSocket close code that follows the error; None means that the connection lives on.
The docstring of a leaf is its meaning in the table of `docs/protocol.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar


class CodeRunnerError(Exception):
    """The root. `message` is for people; `code` is for programs and never changes its meaning."""

    code: ClassVar[str]
    retryable: ClassVar[bool] = False
    close: ClassVar[int | None] = None

    def __init__(
        self,
        message: str = "",
        *,
        channel: int | None = None,
        retry_after_ms: int | None = None,
        expected: int | None = None,
    ) -> None:
        self.message = message or meaning(type(self))
        self.channel = channel
        self.retry_after_ms = retry_after_ms
        self.expected = expected
        super().__init__(self.message)


# --- the client's bytes -------------------------------------------------------------------------------


class ProtocolError(CodeRunnerError):
    """The client broke a rule of the protocol."""


class BadJson(ProtocolError):
    """A text frame is not one JSON object."""

    code = "bad_json"


class BadFrame(ProtocolError):
    """A binary frame has a wrong header or length."""

    code = "bad_frame"


class BadMessage(ProtocolError):
    """A message lacks a field, or a field has a wrong type or value."""

    code = "bad_message"


class UnknownType(ProtocolError):
    """The `type` of a message is not known here."""

    code = "unknown_type"


class FrameTooLarge(ProtocolError):
    """A frame is larger than `hello.limits` allows."""

    code = "frame_too_large"
    close = 1009


class TooSlow(ProtocolError):
    """A message had begun, and its end did not come in time."""

    code = "too_slow"
    close = 1011
    retryable = True


class NoFirstMessage(ProtocolError):
    """Neither `open` nor `attach` came in time."""

    code = "no_first_message"
    close = 4408


class UnexpectedMessage(ProtocolError):
    """The message is not allowed in this state of the connection."""

    code = "unexpected_message"


class InputGap(ProtocolError):
    """Input skipped bytes; send again from `expected`."""

    code = "input_gap"
    retryable = True


class InputOverflow(ProtocolError):
    """Input went beyond the window; what exceeded it was dropped; send again from `expected`."""

    code = "input_overflow"
    retryable = True


class AckAhead(ProtocolError):
    """An `ack` lies above what was sent; it was ignored."""

    code = "ack_ahead"


class NotControl(ProtocolError):
    """Only the `control` attachment may do this."""

    code = "not_control"


class NoChannel(ProtocolError):
    """The session has no such channel."""

    code = "no_channel"


class ChannelUsed(ProtocolError):
    """The channel has ended and its record is gone; choose a number that this session has not used."""

    code = "channel_used"


class ChannelLimit(ProtocolError):
    """The session has as many live channels as it may have."""

    code = "channel_limit"
    retryable = True


class ChannelsBusy(ProtocolError):
    """Ended channels hold all the room for kept output; acknowledge their `exit` first."""

    code = "channels_busy"
    retryable = True


class Unsupported(ProtocolError):
    """The protocol knows this, but this server does not offer it."""

    code = "unsupported"


# --- what was asked for -------------------------------------------------------------------------------


class RequestError(CodeRunnerError):
    """A well-formed request for something that cannot be had."""


class UnknownLanguage(RequestError):
    """The server has no language of this name."""

    code = "unknown_language"


class BadPath(RequestError):
    """A file's path is not a plain relative path, or it collides with another."""

    code = "bad_path"


class FileTooLarge(RequestError):
    """A file is larger than the server takes."""

    code = "file_too_large"


class TooManyFiles(RequestError):
    """There are more files than the server takes."""

    code = "too_many_files"


class MemberTaken(RequestError):
    """The group has a member of this name, or the name means something else in every container."""

    code = "member_taken"


class NoFile(RequestError):
    """There is no file or folder of this path in the workspace."""

    code = "no_file"


class FileExists(RequestError):
    """There is something of this name already; nothing was replaced."""

    code = "file_exists"


class WorkspaceFull(RequestError):
    """The workspace has no room left, in bytes or in files; delete something first."""

    code = "workspace_full"


class BadArchive(RequestError):
    """An archive cannot be read, or unpacks to more than the server takes; nothing of it was written."""

    code = "bad_archive"


class FilesBusy(RequestError):
    """The session has as many requests for its files under way as it may have."""

    code = "files_busy"
    retryable = True


class BadLimit(RequestError):
    """An entry of `limits` is unknown here, not positive, below its floor or above its ceiling."""

    code = "bad_limit"


# --- who may ------------------------------------------------------------------------------------------


class AccessError(CodeRunnerError):
    """Who may do this, and how often."""


class Unauthenticated(AccessError):
    """A credential is needed, and none or a wrong one was given."""

    code = "unauthenticated"
    close = 4401


class NotAllowed(AccessError):
    """This caller may not do this."""

    code = "not_allowed"
    close = 4403


class NoSession(AccessError):
    """No such session: it never was, is over, or is another's. All are answered alike."""

    code = "no_session"
    close = 4404


class NoGroup(AccessError):
    """No such group: it never was, is over, or the token is another's. All are answered alike."""

    code = "no_group"
    close = 4404


class Superseded(AccessError):
    """The same client attached again; this connection is the old one."""

    code = "superseded"
    close = 4409


class RateLimited(AccessError):
    """Too many requests from this address."""

    code = "rate_limited"
    retryable = True
    close = 4429


class TooManySessions(AccessError):
    """This address or principal has as many sessions, live and waiting, as it may have."""

    code = "too_many_sessions"
    retryable = True
    close = 4429


class TooManyAttachments(AccessError):
    """The session has as many attachments as it may have."""

    code = "too_many_attachments"
    retryable = True
    close = 4429


# --- not now ------------------------------------------------------------------------------------------


class CapacityError(CodeRunnerError):
    """Not now: there is no room, or not yet."""

    retryable = True
    close = 4503


class QueueFull(CapacityError):
    """All slots are taken, and so are all places in the queue."""

    code = "queue_full"


class QueueTimeout(CapacityError):
    """No slot became free before the deadline."""

    code = "queue_timeout"


class Draining(CapacityError):
    """The server is about to stop and takes no new sessions."""

    code = "draining"


class GroupFull(CapacityError):
    """The group has as many members as it may have."""

    code = "group_full"


class TooManyGroups(CapacityError):
    """There are as many groups as there may be, or no addresses are left for another."""

    code = "too_many_groups"


class LanguageNotReady(CapacityError):
    """The language's image is still being built."""

    code = "language_not_ready"


class LanguageFailed(CapacityError):
    """The language's image could not be built."""

    code = "language_failed"
    retryable = False


# --- the engine ---------------------------------------------------------------------------------------


class EngineError(CodeRunnerError):
    """The container engine or a container failed. The message holds the engine's own words."""


class EngineUnavailable(EngineError):
    """The container engine does not answer."""

    code = "engine_unavailable"
    retryable = True
    close = 4503


class EngineTimeout(EngineError):
    """The container engine did not finish in time."""

    code = "engine_timeout"
    retryable = True
    close = 4503


class ImageMissing(EngineError):
    """The language's image is not there."""

    code = "image_missing"
    retryable = True
    close = 4503


class ContainerGone(EngineError):
    """The container does not exist any more."""

    code = "container_gone"


class NameConflict(EngineError):
    """A container of this name exists already."""

    code = "name_conflict"
    retryable = True


class StartFailed(EngineError):
    """The container could not be started."""

    code = "start_failed"
    retryable = True
    close = 4503


class AgentLost(EngineError):
    """The agent in the container does not answer; the session is over."""

    code = "agent_lost"
    close = 1011


class NetworkFailed(EngineError):
    """The group's network could not be made or joined."""

    code = "network_failed"
    retryable = True
    close = 4503


class NetworkGone(NetworkFailed):
    """The network does not exist any more."""


class NetworkBusy(NetworkFailed):
    """The network has members, and cannot be removed."""


class AddressesTaken(NetworkFailed):
    """Another network of the engine has such addresses."""


class FilesFailed(EngineError):
    """The files could not be written to or read from the workspace."""

    code = "files_failed"


# --- ourselves ----------------------------------------------------------------------------------------


class ConfigError(CodeRunnerError):
    """The settings are wrong. `problems` lists all of them, each with what to write."""

    code = "config_error"

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("the settings have problems:\n" + "\n".join(f"  - {text}" for text in self.problems))


class CannotStart(CodeRunnerError):
    """Its port, its lock or its folder cannot be had at this moment; trying again may help."""

    code = "cannot_start"
    retryable = True


class UnsupportedEngine(CannotStart):
    """The container engine is of a kind on which sessions cannot have what they are promised."""

    code = "unsupported_engine"
    retryable = False


class InternalError(CodeRunnerError):
    """A fault of the server; it was logged."""

    code = "internal"
    retryable = True
    close = 1011


# --- the table ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table of error codes."""

    code: str
    close: int | None
    retryable: bool
    meaning: str


def meaning(kind: type[CodeRunnerError]) -> str:
    """The first paragraph of the class's docstring on one line."""
    return " ".join((kind.__doc__ or "").split("\n\n")[0].split())


def leaves() -> Iterator[type[CodeRunnerError]]:
    """All classes that have a code of their own, in the order of this file."""

    def walk(kind: type[CodeRunnerError]) -> Iterator[type[CodeRunnerError]]:
        if "code" in vars(kind):
            yield kind
        for child in kind.__subclasses__():
            yield from walk(child)

    return walk(CodeRunnerError)


def table() -> list[Row]:
    """The codes that may reach a client (so without `config_error` and `cannot_start`)."""
    return [
        Row(kind.code, kind.close, kind.retryable, meaning(kind))
        for kind in leaves()
        if not issubclass(kind, ConfigError | CannotStart)
    ]


def table_text() -> str:
    """The table as Markdown, as it stands in `docs/protocol.md`."""
    lines = ["| code | close | retryable | meaning |", "| --- | --- | --- | --- |"]
    lines += [
        f"| `{row.code}` | {row.close or ''} | {'yes' if row.retryable else ''} | {row.meaning} |"
        for row in table()
    ]
    return "\n".join(lines) + "\n"
