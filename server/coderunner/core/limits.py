"""What a session and a program may use: defaults as data, a language's own, a client's requests, ceilings."""

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
    """`limits.toml`: the defaults, and the bounds of what a client may request."""

    defaults: Limits
    ceilings: Mapping[str, int]
    floors: Mapping[str, int] = field(default_factory=dict)

    def under(self, *, memory_bytes: int, cpus: float, lifetime_ms: int, idle_ms: int) -> LimitRules:
        """With what the server's settings say. No request makes a session outlive `lifetime_ms`."""
        ceilings = {**self.ceilings, "lifetime_ms": lifetime_ms}
        for name in ("idle_ms", "wall_ms"):
            ceilings[name] = min(ceilings.get(name, 0), lifetime_ms)
        defaults = replace(
            self.defaults, memory_bytes=memory_bytes, cpus=cpus, lifetime_ms=lifetime_ms, idle_ms=idle_ms
        )
        return LimitRules(defaults, ceilings, self.floors)

    def with_requested(self, base: Limits, requested: Mapping[str, int], kind: type[Struct]) -> Limits:
        """`base` with what a client requested; `kind` is `RunLimits` or `OpenLimits`.

        Raises BadLimit as `resolve` does.
        """
        return resolve(base, {}, requested, self.ceilings, self.floors, kind=kind)


def parse_rules(text: str) -> LimitRules:
    """Reads `limits.toml`. Raises ConfigError with all problems."""
    file = read_toml(LimitsFile, text, "limits.toml")
    return LimitRules(file.defaults, given(file.ceilings), given(file.floors))


def given(limits: Struct) -> dict[str, Any]:
    """Those that are set, by name."""
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
    """The limits in force: the defaults, then the language's own, then what the client requested.

    A request may go down to the floor, and up to the ceiling or what is in force without it, whichever is
    greater. Raises BadLimit for one that is not in the model `kind`, is no positive whole number, or lies
    outside of these bounds. The file systems in memory are made to fit in half of the memory.
    """
    limits = replace(defaults, **language)
    wrong = [problem.sentence("") for problem in problems(kind, requested or {})]
    if wrong:
        raise BadLimit("; ".join(wrong))
    for name, value in (requested or {}).items():
        ceiling = max(getattr(limits, name), (ceilings or {}).get(name, 0))
        if value > ceiling:
            raise BadLimit(f"{name} may be at most {ceiling}")
        floor = min(getattr(limits, name), (floors or {}).get(name, 1))
        if value < floor:
            raise BadLimit(f"{name} must be at least {floor}")
        limits = replace(limits, **{name: value})
    return _fitting(limits)


def _fitting(limits: Limits) -> Limits:
    """What stands in a tmpfs is memory: a full workspace must not be the program's death by oom."""
    half = limits.memory_bytes // 2
    if limits.workspace_bytes + limits.tmp_bytes <= half:
        return limits
    tmp = min(limits.tmp_bytes, half // 4)
    return replace(limits, tmp_bytes=tmp, workspace_bytes=min(limits.workspace_bytes, half - tmp))
