"""What a session and a program may use: defaults as data, a language's own, a client's wishes, ceilings."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from coderunner.errors import BadLimit, ConfigError

RUN_WISHES = frozenset({"wall_ms", "cpu_ms", "output_bytes"})
"""What `run.limits` may name."""

OPEN_WISHES = frozenset({"idle_ms", "lifetime_ms", "memory_bytes", "pids"})
"""What `open.limits` may name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Times in milliseconds, sizes in bytes. All are positive: nothing is unlimited."""

    wall_ms: int
    cpu_ms: int
    output_bytes: int
    memory_bytes: int
    cpus: float
    pids: int
    nofile: int
    file_bytes: int
    workspace_bytes: int
    inodes: int
    tmp_bytes: int
    idle_ms: int
    lifetime_ms: int


NAMES = tuple(field.name for field in fields(Limits))


@dataclass(frozen=True, slots=True)
class LimitRules:
    """`limits.toml`: the defaults, and how far a client's wishes may go."""

    defaults: Limits
    ceilings: Mapping[str, int]


def parse_rules(text: str) -> LimitRules:
    """Reads `limits.toml`. Raises ConfigError with all problems."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"limits.toml: {error}"]) from None
    problems: list[str] = []
    defaults = check_table(document.get("defaults", {}), "limits.toml [defaults]", problems)
    ceilings = check_table(document.get("ceilings", {}), "limits.toml [ceilings]", problems)
    for name in NAMES:
        if name not in defaults:
            problems.append(f"limits.toml [defaults]: {name} is missing")
    for name in sorted(ceilings.keys() - RUN_WISHES - OPEN_WISHES):
        problems.append(f"limits.toml [ceilings]: {name} cannot be wished for; remove it")
    if problems:
        raise ConfigError(problems)
    return LimitRules(Limits(**defaults), {name: int(value) for name, value in ceilings.items()})


def check_table(table: Any, where: str, problems: list[str]) -> dict[str, Any]:
    """The good entries of a table of limits; the bad ones go to `problems`."""
    if not isinstance(table, dict):
        problems.append(f"{where}: must be a table")
        return {}
    good: dict[str, Any] = {}
    for name, value in table.items():
        if name not in NAMES:
            problems.append(f"{where}: {name} is no limit; the limits are {', '.join(NAMES)}")
        elif not _fits(name, value):
            kind = "number" if name == "cpus" else "whole number"
            problems.append(f"{where}: {name} must be a positive {kind}")
        else:
            good[name] = float(value) if name == "cpus" else value
    return good


def _fits(name: str, value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    if name == "cpus":
        return math.isfinite(value) and 0 < value <= 1024
    return isinstance(value, int) and 0 < value < 2**53


def resolve(
    defaults: Limits,
    language: Mapping[str, Any],
    wishes: Mapping[str, int] | None = None,
    ceilings: Mapping[str, int] | None = None,
    *,
    allowed: frozenset[str] = RUN_WISHES | OPEN_WISHES,
) -> Limits:
    """The limits in force: the defaults, then the language's own, then the client's wishes.

    A wish may always go below what would be in force without it, and above it up to the ceiling. Raises
    BadLimit for a wish that is not `allowed` here, not positive, or above its ceiling (the greater of the
    ceiling and what the language has anyhow).
    """
    limits = replace(defaults, **language)
    for name, wish in (wishes or {}).items():
        if name not in allowed:
            raise BadLimit(f"{name} cannot be wished for here; possible are {', '.join(sorted(allowed))}")
        if isinstance(wish, bool) or not isinstance(wish, int) or wish <= 0:
            raise BadLimit(f"{name} must be a positive whole number")
        ceiling = max(getattr(limits, name), (ceilings or {}).get(name, 0))
        if wish > ceiling:
            raise BadLimit(f"{name} may be at most {ceiling}")
        limits = replace(limits, **{name: wish})
    return limits
