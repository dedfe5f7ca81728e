"""Computes the limits in force from the defaults, a language's own limits and a client's requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import UNSET, Struct
from msgspec.structs import asdict, replace

from coderunner.errors import BadLimit
from coderunner.schema.check import problems
from coderunner.schema.limits import Limits, LimitsFile, RequestedLimits
from coderunner.schema.toml import read_toml

NAMES = tuple(Limits.__struct_fields__)


@dataclass(frozen=True, slots=True)
class LimitRules:
    """The contents of `limits.toml`: the defaults, and the upper and lower bounds of a client's requests."""

    defaults: Limits
    ceilings: Mapping[str, int]
    floors: Mapping[str, int] = field(default_factory=dict)

    def under(self, *, memory_bytes: int, cpus: float, lifetime_ms: int, idle_ms: int) -> LimitRules:
        """Returns the rules with the server's settings applied: bytes, processors, milliseconds.

        The ceilings of all times are lowered to `lifetime_ms`, so that no request can exceed it.
        """
        ceilings = {**self.ceilings, "lifetime_ms": lifetime_ms}
        # A program or an idle time that outlives the session would only show a misleading number.
        for name in ("idle_ms", "wall_ms"):
            ceilings[name] = min(ceilings.get(name, 0), lifetime_ms)
        defaults = replace(
            self.defaults, memory_bytes=memory_bytes, cpus=cpus, lifetime_ms=lifetime_ms, idle_ms=idle_ms
        )
        return LimitRules(defaults, ceilings, self.floors)

    def with_requested(self, base: Limits, requested: Mapping[str, int], kind: type[Struct]) -> Limits:
        """Returns `base` with a client's requests applied. `kind`: `RunLimits` or `OpenLimits`.

        Raises BadLimit as `resolve` does.
        """
        return resolve(base, {}, requested, self.ceilings, self.floors, kind=kind)


def parse_rules(text: str) -> LimitRules:
    """Parses the text of `limits.toml`. Raises ConfigError with all problems found."""
    file = read_toml(LimitsFile, text, "limits.toml")
    return LimitRules(file.defaults, given(file.ceilings), given(file.floors))


def given(limits: Struct) -> dict[str, Any]:
    """The fields of a model that are set, by name."""
    return {name: value for name, value in asdict(limits).items() if value is not UNSET}


def resolve(
    defaults: Limits,
    language: Mapping[str, Any],
    requested: Mapping[str, int] | None = None,
    ceilings: Mapping[str, int] | None = None,
    floors: Mapping[str, int] | None = None,
    *,
    kind: type[Struct] = RequestedLimits,
) -> Limits:
    """Returns the limits in force: the defaults, replaced by the language's, replaced by requested ones.

    A request may go down to the floor, and up to the ceiling or to the value without the request, whichever
    is greater. The sizes of the in-memory file systems are reduced to half of the memory. Raises BadLimit for
    a request that is not in the model `kind`, is no positive integer, or is out of bounds.
    """
    limits = replace(defaults, **language)
    wrong = [problem.sentence("") for problem in problems(kind, requested or {})]
    if wrong:
        raise BadLimit("; ".join(wrong))
    for name, value in (requested or {}).items():
        # The value without the request is always allowed: a language may exceed the general ceiling.
        ceiling = max(getattr(limits, name), (ceilings or {}).get(name, 0))
        if value > ceiling:
            raise BadLimit(f"{name} may be at most {ceiling}")
        # Likewise downwards: a language's own value may be below the general floor.
        floor = min(getattr(limits, name), (floors or {}).get(name, 1))
        if value < floor:
            raise BadLimit(f"{name} must be at least {floor}")
        limits = replace(limits, **{name: value})
    return _fitting(limits)


def _fitting(limits: Limits) -> Limits:
    """Reduces the sizes of workspace and /tmp together to half of the memory.

    Both are tmpfs, which counts as the container's memory: without this, filling the workspace would get the
    program killed for memory instead of failing with "no space left".
    """
    half = limits.memory_bytes // 2
    if limits.workspace_bytes + limits.tmp_bytes <= half:
        return limits
    tmp = min(limits.tmp_bytes, half // 4)  # the larger part for the workspace, where users' files are
    return replace(limits, tmp_bytes=tmp, workspace_bytes=min(limits.workspace_bytes, half - tmp))
