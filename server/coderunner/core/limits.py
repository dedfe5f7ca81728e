"""What a session and a program may use: defaults as data, a language's own, a client's wishes, ceilings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from coderunner.errors import BadLimit
from coderunner.schema.limits import Limits, LimitsFile
from coderunner.schema.toml import read_toml

RUN_WISHES = frozenset({"wall_ms", "cpu_ms", "output_bytes"})
"""What `run.limits` may name."""

OPEN_WISHES = frozenset({"idle_ms", "lifetime_ms", "memory_bytes", "pids"})
"""What `open.limits` may name."""


NAMES = tuple(Limits.__struct_fields__)


@dataclass(frozen=True, slots=True)
class LimitRules:
    """`limits.toml`: the defaults, and between what a client's wishes may lie."""

    defaults: Limits
    ceilings: Mapping[str, int]
    floors: Mapping[str, int] = field(default_factory=dict)

    def under(self, *, memory_bytes: int, cpus: float, lifetime_ms: int, idle_ms: int) -> LimitRules:
        """With what the server's settings say. No wish makes a session outlive `lifetime_ms`."""
        ceilings = {**self.ceilings, "lifetime_ms": lifetime_ms}
        for name in ("idle_ms", "wall_ms"):
            ceilings[name] = min(ceilings.get(name, 0), lifetime_ms)
        defaults = replace(
            self.defaults, memory_bytes=memory_bytes, cpus=cpus, lifetime_ms=lifetime_ms, idle_ms=idle_ms
        )
        return LimitRules(defaults, ceilings, self.floors)

    def wish(self, base: Limits, wishes: Mapping[str, int], allowed: frozenset[str]) -> Limits:
        """`base` with the client's wishes. Raises BadLimit as `resolve`, and for a wish below its floor."""
        return resolve(base, {}, wishes, self.ceilings, self.floors, allowed=allowed)


def parse_rules(text: str) -> LimitRules:
    """Reads `limits.toml`. Raises ConfigError with all problems."""
    file = read_toml(LimitsFile, text, "limits.toml")
    return LimitRules(file.defaults, given(file.ceilings), given(file.floors))


def given(limits: Struct) -> dict[str, Any]:
    """Those that are set, by name."""
    return {name: value for name, value in asdict(limits).items() if value is not None}


def resolve(
    defaults: Limits,
    language: Mapping[str, Any],
    wishes: Mapping[str, int] | None = None,
    ceilings: Mapping[str, int] | None = None,
    floors: Mapping[str, int] | None = None,
    *,
    allowed: frozenset[str] = RUN_WISHES | OPEN_WISHES,
) -> Limits:
    """The limits in force: the defaults, then the language's own, then the client's wishes.

    A wish may go down to the floor, and up to the ceiling or what is in force without it, whichever is
    greater. Raises BadLimit for a wish that is not `allowed` here, or lies outside of that. The file systems
    in memory are made to fit in half of the memory.
    """
    limits = replace(defaults, **language)
    for name, wish in (wishes or {}).items():
        if name not in allowed:
            raise BadLimit(f"{name} cannot be set here; possible are {', '.join(sorted(allowed))}")
        if isinstance(wish, bool) or not isinstance(wish, int) or wish <= 0:
            raise BadLimit(f"{name} must be a positive whole number")
        ceiling = max(getattr(limits, name), (ceilings or {}).get(name, 0))
        if wish > ceiling:
            raise BadLimit(f"{name} may be at most {ceiling}")
        floor = min(getattr(limits, name), (floors or {}).get(name, 1))
        if wish < floor:
            raise BadLimit(f"{name} must be at least {floor}")
        limits = replace(limits, **{name: wish})
    return _fitting(limits)


def _fitting(limits: Limits) -> Limits:
    """What stands in a tmpfs is memory: a full workspace must not be the program's death by oom."""
    half = limits.memory_bytes // 2
    if limits.workspace_bytes + limits.tmp_bytes <= half:
        return limits
    tmp = min(limits.tmp_bytes, half // 4)
    return replace(limits, tmp_bytes=tmp, workspace_bytes=min(limits.workspace_bytes, half - tmp))
