"""What a session and a program may use: the limits, and those of them that a client may wish for."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta, Struct

from coderunner.schema.types import MAX_OFFSET

Whole = Annotated[int, Meta(ge=1, le=MAX_OFFSET, description="a positive whole number")]
Processors = Annotated[float, Meta(gt=0, le=1024, description="a positive number")]


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Times in milliseconds, sizes in bytes. All are positive: nothing is unlimited."""

    unknown_words: ClassVar[str] = "is no limit"

    wall_ms: Whole
    cpu_ms: Whole
    output_bytes: Whole
    memory_bytes: Whole
    cpus: Processors
    pids: Whole
    nofile: Whole
    file_bytes: Whole
    workspace_bytes: Whole
    inodes: Whole
    tmp_bytes: Whole
    idle_ms: Whole
    lifetime_ms: Whole


WISHES = ("wall_ms", "cpu_ms", "output_bytes", "idle_ms", "lifetime_ms", "memory_bytes", "pids")
"""The limits that a client may wish for."""


def _some(name: str, names: Collection[str], unknown_words: str) -> type[Struct]:
    """A model of some of the limits, none of which has to be there."""
    return msgspec.defstruct(
        name,
        [(one.name, one.type | None, None) for one in msgspec.structs.fields(Limits) if one.name in names],
        namespace={"unknown_words": unknown_words},
        frozen=True,
        forbid_unknown_fields=True,
    )


SomeLimits = _some("SomeLimits", Limits.__struct_fields__, "is no limit")
"""What a language's `[limits]` overrides."""
WishedLimits = _some("WishedLimits", WISHES, "cannot be wished for")


class LimitsFile(Struct, frozen=True, forbid_unknown_fields=True):
    """`limits.toml`."""

    defaults: Limits
    ceilings: WishedLimits = WishedLimits()  # type: ignore[valid-type]
    floors: WishedLimits = WishedLimits()  # type: ignore[valid-type]
