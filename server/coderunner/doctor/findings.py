"""What a check found, and how it is shown."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import orjson

OK, WARN, FAIL = "ok", "warn", "fail"
"""FAIL: sessions do not work, or not as promised. WARN: they do, and something should be mended."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`check`: its name. `text`: what was seen. `mend`: what to do about it, empty where all is well."""

    check: str
    state: str
    text: str
    mend: str = ""


def ok(check: str, text: str) -> Finding:
    """A check that passed."""
    return Finding(check, OK, text)


def warn(check: str, text: str, mend: str) -> Finding:
    """A check that passed, but found something to be mended."""
    return Finding(check, WARN, text, mend)


def fail(check: str, text: str, mend: str) -> Finding:
    """A check that failed."""
    return Finding(check, FAIL, text, mend)


def of_sentence(check: str, sentence: str) -> Finding:
    """A warning that says `... Mend it: ...` in one sentence."""
    text, _, mend = sentence.partition(" Mend it: ")
    return warn(check, text, mend or "see docs/deployment.md")


@contextlib.contextmanager
def guarded(check: str, found: list[Finding]) -> Iterator[None]:
    """A check that fails by itself is a finding, too, and keeps no other from being made."""
    try:
        yield
    except Exception as error:
        text = f"the check itself failed: {type(error).__name__}: {error}"
        found.append(fail(check, text, "please report this, with the command and its output"))


def as_text(found: Iterable[Finding]) -> str:
    """A line for each, and below it what mends it."""
    lines = []
    for one in found:
        lines.append(f"{one.state:<4}  {one.check:<12}  {one.text}")
        if one.mend:
            lines.append(f"{'':<20}-> {one.mend}")
    return "\n".join(lines)


def as_json(found: Iterable[Finding]) -> str:
    """`{"ok": true, "findings": [{"check", "state", "text", "mend"}]}`."""
    rows = [asdict(one) for one in found]
    document = {"ok": all(row["state"] != FAIL for row in rows), "findings": rows}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()
