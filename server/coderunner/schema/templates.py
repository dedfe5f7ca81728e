"""Templates that match lines of compilers and interpreters, with the parts to extract in braces.

    {path}:{line}:{column}: {severity}: {message}

Templates instead of regular expressions: a part ends at the first occurrence of the text behind it
({message} at the last), without backtracking, so that hostile output cannot make the matching slow.

    {path}      a file's name or URL       {line}, {column}    whole numbers
    {severity}  error, warning, note …     {name}              a word, put before the message
    {word}      a word that is not used    {*}                 anything
    {message}   the problem's description

A space at the beginning matches any indentation of at least one character; otherwise the line must begin
with the template's beginning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_PARTS = re.compile(r"\{(\w+|\*)\}")
KNOWN = {"path", "line", "column", "severity", "name", "word", "message", "*"}
# The lengths are bounded, so that a line cannot cost more than its own length.
_NUMBER = re.compile(r"[0-9]{1,7}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.$<>-]{0,127}(?:::[A-Za-z0-9_.$<>]{1,127}){0,8}")
# What tools print, and the protocol's three severities.
_SEVERITIES = {
    "error": "error", "fatal error": "error", "fatal": "error", "parse error": "error",
    "internal compiler error": "error", "panic": "error",
    "warning": "warning", "warn": "warning", "deprecated": "warning",
    "note": "info", "notice": "info", "info": "info", "hint": "info", "help": "info",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template. `indented`: it begins with a space. `head`: the text before the first part.
    `parts`: names, each with the text that follows it, "" at the end of the line."""

    indented: bool
    head: str
    parts: tuple[tuple[str, str], ...]

    @property
    def names(self) -> frozenset[str]:
        """The names of the parts."""
        return frozenset(name for name, _ in self.parts)

    @property
    def literal(self) -> str:
        """The longest fixed text, which every matching line contains: callers search for it first."""
        return max((self.head, *(behind for _, behind in self.parts)), key=len)

    def match(self, line: str) -> dict[str, str] | None:
        """Returns the parts of a matching line by name, or None. `{*}` is left out."""
        if self.indented:
            stripped = line.lstrip()
            if stripped == line:
                return None
            line = stripped
        if not line.startswith(self.head):
            return None
        at = len(self.head)
        found: dict[str, str] = {}
        for name, behind in self.parts:
            value, at = _part(line, at, name, behind)
            if at < 0:
                return None
            if name != "*":
                found[name] = value
        return found if at == len(line) else None  # a rest at the end means that it is another kind of line


def parse_template(text: str) -> Template:
    """Parses a template. Raises ValueError with the reason."""
    pieces = _PARTS.split(text.lstrip(" "))
    names, texts = pieces[1::2], pieces[2::2]
    for name in names:
        if name not in KNOWN:
            raise ValueError(f"{{{name}}} is not known; known are {', '.join(sorted(KNOWN))}")
        if name != "*" and names.count(name) > 1:
            raise ValueError(f"{{{name}}} stands twice in {text!r}")
    # A part of free length needs a text behind it, or its end is ambiguous; numbers end by themselves.
    for name, behind in zip(names[:-1], texts[:-1], strict=True):
        if not behind and name not in ("line", "column"):
            raise ValueError(f"behind {{{name}}} there must be some text in {text!r}, where it ends")
    if not pieces[0] and not names:
        raise ValueError("a line is empty")
    return Template(text.startswith(" "), pieces[0], tuple(zip(names, texts, strict=True)))


def _part(line: str, at: int, name: str, behind: str) -> tuple[str, int]:
    """Matches one part at position `at`. Returns its value and the position behind the text that follows it,
    or ("", -1)."""
    if name in ("line", "column", "name", "word"):
        word = (_NAME if name in ("name", "word") else _NUMBER).match(line, at)
        if not word or not line.startswith(behind, word.end()):
            return "", -1
        return word[0], word.end() + len(behind)
    if not behind:
        end = len(line)
    elif name == "message":
        end = line.rfind(behind, at)  # the last one: a message may contain the text that ends it
    else:
        # The colon of a URL does not end a path.
        skipped = len("file:") if name == "path" and line.startswith("file://", at) else 0
        end = line.find(behind, at + skipped)
    if end <= at and not (name == "*" and end == at):
        return "", -1
    value = line[at:end]
    if name == "severity":
        value = _SEVERITIES.get(value.strip().lower(), "")
    elif name == "message" and value[0].isspace():
        value = ""  # an indented text is a quoted line of source code, no message
    return value, end + len(behind) if value or name == "*" else -1
