"""Models of the limits of sessions and programs, and of the subsets that languages and clients may set."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, ClassVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from coderunner.schema.types import MAX_OFFSET

# Positive: a limit of 0 would make every program fail.
Whole = Annotated[int, Meta(ge=1, le=MAX_OFFSET, description="a positive whole number")]
# 1024: an upper bound for typing errors; the engine refuses more than its machine has.
Processors = Annotated[float, Meta(gt=0, le=1024, description="a positive number")]


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All limits. `_ms` are milliseconds, `_bytes` bytes, `cpus` processors.
    There is no value for unlimited."""

    unknown_words: ClassVar[str] = "is no limit"  # for `schema.check`, in messages about unknown names

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
    compile_memory_bytes: Whole | None = None
    """Memory for compilers, which often need more than the programs; None: as much as programs."""

    @property
    def container_bytes(self) -> int:
        """The memory of the session's container in bytes: enough for its programs and for its compilers."""
        # One container for both, of which the agent gives programs only their part.
        return max(self.memory_bytes, self.compile_memory_bytes or 0)


# What is bound to the container is fixed when the session opens; a run can only set what the agent enforces.
RUN_LIMITS = ("wall_ms", "cpu_ms", "output_bytes")
"""The limits that a client may request in `run.limits`."""
OPEN_LIMITS = ("idle_ms", "lifetime_ms", "memory_bytes", "pids")
"""The limits that a client may request in `open.limits`."""


def _some(name: str, names: Collection[str], unknown_words: str) -> type[Struct]:
    """Makes a model with the limits in `names`, all optional. `unknown_words`: end of the sentence "<name>
    ..." for other names.

    The types are taken from `Limits`, so that each bound is declared once.
    """
    chosen = [one for one in msgspec.structs.fields(Limits) if one.name in names]
    return msgspec.defstruct(
        name,
        [(one.name, one.type | UnsetType, UNSET) for one in chosen],
        namespace={"unknown_words": unknown_words},
        frozen=True,
        forbid_unknown_fields=True,
    )


SomeLimits = _some("SomeLimits", Limits.__struct_fields__, "is no limit")
"""A language's `[limits]` table."""
RequestedLimits = _some("RequestedLimits", RUN_LIMITS + OPEN_LIMITS, "cannot be requested")
"""All that a client may request in `run` and `open`; `limits.toml` has ceilings and floors for these."""
RunLimits = _some("RunLimits", RUN_LIMITS, "cannot be requested for a program")
OpenLimits = _some("OpenLimits", OPEN_LIMITS, "cannot be requested for a session")


class LimitsFile(Struct, frozen=True, forbid_unknown_fields=True):
    """`limits.toml`."""

    defaults: Limits
    ceilings: RequestedLimits = RequestedLimits()  # type: ignore[valid-type]
    floors: RequestedLimits = RequestedLimits()  # type: ignore[valid-type]
