"""Selects versions as npm does, as Piston's clients name a language's version so: `3.10.0`, `3.x`, `^18`.

Versions here are three numbers, so a selector is a union of half-open intervals of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

LONGEST = 256  # characters of a selector; npm's own bound
Numbers = tuple[int, ...]
# At most nine digits, as int() takes quadratic time.
_PART = r"(?:[0-9]{1,9}|[xX*])"
_PARTIAL = rf"v?({_PART}(?:\.{_PART}){{0,2}})(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?"
_COMPARATOR = re.compile(rf"(\^|~>?|>=|<=|>|<|=|)\s*{_PARTIAL}(?:\s+|$)")
_HYPHEN = re.compile(rf"{_PARTIAL}\s+-\s+{_PARTIAL}")
ALL: tuple[Numbers, Numbers] = ((0, 0, 0), (10**9 + 1, 0, 0))


def newest(selector: str, versions: Iterable[str]) -> str | None:
    """The newest of `versions` that the selector matches; None without one, or for an invalid selector."""
    if len(selector) > LONGEST:
        return None
    try:
        intervals = [_interval(one.strip()) for one in selector.split("||")]
    except ValueError:
        return None
    taken = [
        (numbers, one)
        for one in versions
        for numbers in [tuple(int(part) for part in one.split("."))]
        if any(low <= numbers < high for low, high in intervals)
    ]
    return max(taken)[1] if taken else None


def _interval(text: str) -> tuple[Numbers, Numbers]:
    """The versions from the first, included, to the second, excluded. Raises ValueError."""
    # "" is any version; `latest` is a tag of npm's registry, which Piston does not have.
    if text in ("", "latest"):
        return ALL if not text else (ALL[1], ALL[1])
    between = _HYPHEN.fullmatch(text)
    if between is not None:
        return _bounds(">=", between[1])[0], _bounds("<=", between[2])[1]
    low, high = ALL
    at = 0
    while at < len(text):
        found = _COMPARATOR.match(text, at)
        if found is None:
            raise ValueError
        first, last = _bounds(found[1], found[2])
        low, high, at = max(low, first), min(high, last), found.end()
    return low, high


def _bounds(operator: str, partial: str) -> tuple[Numbers, Numbers]:
    known: list[int] = []
    for part in partial.split("."):
        if not part.isdigit():
            break
        known.append(int(part))
    if not known:
        # Nothing is below or above all versions.
        return (ALL[1], ALL[1]) if operator in ("<", ">") else ALL
    begin, behind = _padded(known), _padded([*known[:-1], known[-1] + 1])
    match operator:
        case ">=":
            return begin, ALL[1]
        case ">":
            return behind, ALL[1]
        case "<":
            return ALL[0], begin
        case "<=":
            return ALL[0], behind
        case "~" | "~>":
            return begin, _padded([known[0], known[1] + 1]) if len(known) > 1 else behind
        case "^":
            # npm's rule: the first number that is not 0 stays ("^0.2.3" takes no 0.3.0).
            fixed = next((i for i, one in enumerate(known) if one), len(known) - 1)
            return begin, _padded([*known[:fixed], known[fixed] + 1])
    return begin, behind


def _padded(numbers: list[int]) -> Numbers:
    return tuple((*numbers, 0, 0, 0)[:3])
