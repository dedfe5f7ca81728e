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
The docstring of a leaf is its meaning in the table of `docs/protocol.md`, which `table` makes.
"""

from __future__ import annotations

# The table has the classes in the order in which these modules are loaded.
# isort: off
from coderunner.errors.base import CodeRunnerError
from coderunner.errors.clients import (
    AccessError,
    AckAhead,
    AlreadyRunning,
    BadArchive,
    BadFrame,
    BadJson,
    BadLimit,
    BadMedia,
    BadMessage,
    BadMethod,
    BadPath,
    BodyTooLarge,
    ChannelLimit,
    ChannelUsed,
    ChannelsBusy,
    FileExists,
    FileTooLarge,
    FilesBusy,
    FrameTooLarge,
    IdentityUnavailable,
    InputGap,
    InputOverflow,
    KeyReused,
    MemberTaken,
    NoAddress,
    NoChannel,
    NoFile,
    NoFirstMessage,
    NoGroup,
    NoRun,
    NoSession,
    NotAllowed,
    NotControl,
    ProtocolError,
    QuotaExceeded,
    RateLimited,
    RequestError,
    Superseded,
    TooManyAttachments,
    TooManyFiles,
    TooManySessions,
    TooSlow,
    Unauthenticated,
    UnexpectedMessage,
    UnknownLanguage,
    UnknownType,
    Unsupported,
    WorkspaceFull,
    WrongHost,
)
from coderunner.errors.capacity import (
    AddressesTaken,
    AgentLost,
    CapacityError,
    ContainerGone,
    DatabaseUnavailable,
    Draining,
    EngineError,
    EngineTimeout,
    EngineUnavailable,
    FilesFailed,
    GroupFull,
    ImageMissing,
    LanguageFailed,
    LanguageNotReady,
    NameConflict,
    NetworkBusy,
    NetworkFailed,
    NetworkGone,
    QueueFull,
    QueueTimeout,
    SpoolFull,
    StartFailed,
    TooManyGroups,
)
from coderunner.errors.server import (
    CannotStart,
    ConfigError,
    InternalError,
    UnsupportedEngine,
)
# isort: on

__all__ = [
    "AccessError", "AckAhead", "AddressesTaken", "AgentLost", "AlreadyRunning", "BadArchive", "BadFrame",
    "BadJson", "BadLimit", "BadMedia", "BadMessage", "BadMethod", "BadPath", "BodyTooLarge", "CannotStart",
    "CapacityError", "ChannelLimit", "ChannelUsed", "ChannelsBusy", "CodeRunnerError", "ConfigError",
    "ContainerGone", "DatabaseUnavailable", "Draining", "EngineError", "EngineTimeout",
    "EngineUnavailable", "FileExists", "FileTooLarge", "FilesBusy", "FilesFailed", "FrameTooLarge",
    "GroupFull", "IdentityUnavailable", "ImageMissing", "InputGap", "InputOverflow", "InternalError",
    "KeyReused", "LanguageFailed", "LanguageNotReady", "MemberTaken", "NameConflict", "NetworkBusy",
    "NetworkFailed", "NetworkGone", "NoAddress", "NoChannel", "NoFile", "NoFirstMessage", "NoGroup",
    "NoRun", "NoSession", "NotAllowed", "NotControl", "ProtocolError", "QueueFull", "QueueTimeout",
    "QuotaExceeded", "RateLimited", "RequestError", "SpoolFull", "StartFailed", "Superseded",
    "TooManyAttachments", "TooManyFiles", "TooManyGroups", "TooManySessions", "TooSlow",
    "Unauthenticated", "UnexpectedMessage", "UnknownLanguage", "UnknownType", "Unsupported",
    "UnsupportedEngine", "WorkspaceFull", "WrongHost",
]  # fmt: skip
