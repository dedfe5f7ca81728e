"""Types that the messages of both directions share: enumerations, files, sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import force_setattr

from coderunner.schema.types import (
    MAX_FILES,
    Channel,
    Offset,
    Positive,
    at_most,
    one_of,
)

PROTOCOL = "coderunner.v1"

# Signals that a client may send.
SIGNALS = ("INT", "TERM", "QUIT", "HUP", "KILL", "TSTP", "CONT", "USR1", "USR2")
ROLES = ("control", "watch")
MODES = ("tty", "pipe")
# Why a program is stopped: four signals, or output that its terminal holds back (Ctrl-S).
STOPPED_BY = ("STOP", "TSTP", "TTIN", "TTOU", "output")
PHASES = ("compiling", "running", "exited")
NETWORKS = ("none", "group")
# Of `exit`; docs/protocol.md and `core.lifecycle` have what each means.
REASONS = (
    "exited", "signaled", "compile_failed", "oom", "wall_timeout", "cpu_timeout", "output_limit",
    "killed", "evicted", "session_closed", "engine_lost",
)  # fmt: skip
LIMITS_HIT = ("memory", "pids", "disk")
# Of `closed`.
CLOSED_REASONS = ("client", "idle_timeout", "lifetime", "resume_timeout", "evicted", "engine_lost")
SEVERITIES = ("error", "warning", "info")


Signals = Annotated[str, one_of(SIGNALS)]
Roles = Annotated[str, one_of(ROLES)]
Modes = Annotated[str, one_of(MODES)]
Phases = Annotated[str, one_of(PHASES)]
MIN_CELLS, MAX_CELLS = 2, 1000  # bounded, as programs allocate a screen of this size
Size = Annotated[int, Meta(description="a whole number")]
"""Columns or rows that a client requests: any integer,
which the message's `__post_init__` clamps to MIN_CELLS to MAX_CELLS."""


class Part(Struct, frozen=True, omit_defaults=True):
    """Base of the parts of messages."""


class Message(Part, frozen=True):
    """Base of the messages. The `type` in JSON is the tag of the class."""


if TYPE_CHECKING:
    FileContent = bytes
else:  # the type of `content` in JSON, which msgspec reads; `File.__post_init__` converts it to bytes
    FileContent = str | UnsetType


class File(Part, frozen=True):
    """A file of a project: in JSON `{path, content}`, or `{path, content_base64}` if it is not UTF-8.

    After reading, `content` is always set, as bytes, and `content_base64` is unset.
    """

    RULES: ClassVar[dict[str, Any]] = {"oneOf": [{"required": ["content"]}, {"required": ["content_base64"]}]}

    path: str
    content: FileContent = UNSET  # type: ignore[assignment]
    content_base64: bytes | UnsetType = UNSET

    def __post_init__(self) -> None:
        if (self.content is UNSET) is (self.content_base64 is UNSET):  # type: ignore[comparison-overlap]
            raise ValueError("must have either content or content_base64")
        if isinstance(self.content, str):
            # msgspec's way to set a field of a frozen struct while it is being made.
            force_setattr(self, "content", self.content.encode())
        elif self.content_base64 is not UNSET:
            force_setattr(self, "content", self.content_base64)
            force_setattr(self, "content_base64", UNSET)


# Bounds that msgspec checks before anything is done with the values.
Files = Annotated[tuple[File, ...], at_most(MAX_FILES)]
WantedLimits = Annotated[dict[Annotated[str, Meta(max_length=256)], Positive], at_most(16)]
Offsets = Annotated[dict[Channel, Offset], at_most(4096)]
