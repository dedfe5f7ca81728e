"""The result of a check, and its text and JSON forms."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import orjson

OK, WARN, FAIL = "ok", "warn", "fail"
"""States. FAIL: sessions do not work, or not as promised. WARN: they work, but something should be fixed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check. `check`: its name. `state`: OK, WARN or FAIL. `text`: what was found. `mend`:
    how to fix it; empty if OK."""

    check: str
    state: str
    text: str
    mend: str = ""


def ok(check: str, text: str) -> Finding:
    """A check that passed."""
    return Finding(check, OK, text)


def warn(check: str, text: str, mend: str) -> Finding:
    """A check that passed, but found something to be fixed; `mend` says how."""
    return Finding(check, WARN, text, mend)


def fail(check: str, text: str, mend: str) -> Finding:
    """A check that failed; `mend` says how to fix it."""
    return Finding(check, FAIL, text, mend)


def of_sentence(check: str, sentence: str) -> Finding:
    """A warning from a sentence that has its remedy behind ` Fix: `, as the server's own warnings have."""
    text, _, mend = sentence.partition(" Fix: ")
    return warn(check, text, mend or "see docs/deployment.md")


@contextlib.contextmanager
def guarded(check: str, found: list[Finding]) -> Iterator[None]:
    """Turns an exception of a check into a finding, so that the remaining checks still run."""
    try:
        yield
    except Exception as error:
        text = f"the check could not be completed: {type(error).__name__}: {error}"
        found.append(fail(check, text, "please report this, with the command and its output"))


def as_text(found: Iterable[Finding]) -> str:
    """One line for each finding, with its remedy below it."""
    lines = []
    for one in found:
        lines.append(f"{one.state:<4}  {one.check:<12}  {one.text}")
        if one.mend:
            lines.append(f"{'':<20}-> {one.mend}")
    return "\n".join(lines)


def as_json(found: Iterable[Finding]) -> str:
    """The findings as JSON: `{"ok": true, "findings": [{"check", "state", "text", "mend"}]}`. `ok` is false
    if any has failed."""
    rows = [asdict(one) for one in found]
    document = {"ok": all(row["state"] != FAIL for row in rows), "findings": rows}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()
