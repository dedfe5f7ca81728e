"""What messages are made of: words, files, and the bounds of both directions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

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

SIGNALS = ("INT", "TERM", "QUIT", "HUP", "KILL", "TSTP", "CONT", "USR1", "USR2")
ROLES = ("control", "watch")
MODES = ("tty", "pipe")
STOPPED_BY = ("STOP", "TSTP", "TTIN", "TTOU", "output")
PHASES = ("compiling", "running", "exited")
NETWORKS = ("none", "group")
REASONS = (
    "exited", "signaled", "compile_failed", "oom", "wall_timeout", "cpu_timeout", "output_limit",
    "killed", "evicted", "session_closed", "engine_lost",
)  # fmt: skip
LIMITS_HIT = ("memory", "pids", "disk")
CLOSED_REASONS = ("client", "idle_timeout", "lifetime", "resume_timeout", "evicted", "engine_lost")
SEVERITIES = ("error", "warning", "info")


Signals = Annotated[str, one_of(SIGNALS)]
Roles = Annotated[str, one_of(ROLES)]
Modes = Annotated[str, one_of(MODES)]
Phases = Annotated[str, one_of(PHASES)]
MIN_CELLS, MAX_CELLS = 2, 1000
Size = Annotated[int, Meta(description="a whole number")]
"""Columns or rows that a client asks for: any number, of which the nearest possible one is taken.
A number that stands there is from MIN_CELLS to MAX_CELLS."""


class Part(Struct, frozen=True, omit_defaults=True):
    """A part of messages."""


class Message(Part, frozen=True):
    """A message: `type` on the wire is the tag of its class."""


if TYPE_CHECKING:
    FileContent = bytes
else:  # what stands on the wire under `content`; `File.__post_init__` makes bytes of it
    FileContent = str | UnsetType


class File(Part, frozen=True):
    """A file of a project: `{path, content}`, or `{path, content_base64}` where it is not UTF-8.

    `content` is bytes in any case: `content_base64` is there on the wire only.
    """

    path: str
    content: FileContent = UNSET  # type: ignore[assignment]
    content_base64: bytes | UnsetType = UNSET

    def __post_init__(self) -> None:
        if (self.content is UNSET) is (self.content_base64 is UNSET):  # type: ignore[comparison-overlap]
            raise ValueError("must have either content or content_base64")
        if isinstance(self.content, str):
            force_setattr(self, "content", self.content.encode())
        elif self.content_base64 is not UNSET:
            force_setattr(self, "content", self.content_base64)
            force_setattr(self, "content_base64", UNSET)


Files = Annotated[tuple[File, ...], at_most(MAX_FILES)]
WantedLimits = Annotated[dict[Annotated[str, Meta(max_length=256)], Positive], at_most(16)]
Offsets = Annotated[dict[Channel, Offset], at_most(4096)]
