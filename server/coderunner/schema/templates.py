"""Lines of compilers and interpreters, described by an example with its parts in braces.

    {path}:{line}:{column}: {severity}: {message}

A part ends where the text behind it begins; nothing is ever tried twice, so a line costs its length at most,
whatever it says.

    {path}      a file's name              {line}, {column}    whole numbers
    {severity}  error, warning, note …     {name}              a word, put before the message
    {word}      a word that is of no use   {*}                 anything
    {message}   what is wrong

A space at the beginning stands for any amount of them; without it the line must begin with what is there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_PARTS = re.compile(r"\{(\w+|\*)\}")
KNOWN = {"path", "line", "column", "severity", "name", "word", "message", "*"}
_NUMBER = re.compile(r"[0-9]{1,7}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.$<>-]{0,127}(?:::[A-Za-z0-9_.$<>]{1,127}){0,8}")
_SEVERITIES = {
    "error": "error", "fatal error": "error", "fatal": "error", "parse error": "error",
    "internal compiler error": "error", "panic": "error",
    "warning": "warning", "warn": "warning", "deprecated": "warning",
    "note": "info", "notice": "info", "info": "info", "hint": "info", "help": "info",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Template:
    """`head`: the text before the first part; `parts`: each with the text behind it, "" at the line's end."""

    indented: bool
    head: str
    parts: tuple[tuple[str, str], ...]

    @property
    def names(self) -> frozenset[str]:
        """The names between braces."""
        return frozenset(name for name, _ in self.parts)

    @property
    def literal(self) -> str:
        """The longest text that must be in a line."""
        return max((self.head, *(behind for _, behind in self.parts)), key=len)

    def match(self, line: str) -> dict[str, str] | None:
        """The parts of a line; None for one that is another."""
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
        return found if at == len(line) else None


def parse_template(text: str) -> Template:
    """Raises ValueError, which says what is wrong."""
    pieces = _PARTS.split(text.lstrip(" "))
    names, texts = pieces[1::2], pieces[2::2]
    for name in names:
        if name not in KNOWN:
            raise ValueError(f"{{{name}}} is not known; known are {', '.join(sorted(KNOWN))}")
        if name != "*" and names.count(name) > 1:
            raise ValueError(f"{{{name}}} stands twice in {text!r}")
    for name, behind in zip(names[:-1], texts[:-1], strict=True):
        if not behind and name not in ("line", "column"):
            raise ValueError(f"behind {{{name}}} there must be some text in {text!r}, where it ends")
    if not pieces[0] and not names:
        raise ValueError("a line is empty")
    return Template(text.startswith(" "), pieces[0], tuple(zip(names, texts, strict=True)))


def _part(line: str, at: int, name: str, behind: str) -> tuple[str, int]:
    """(the part, where what follows the text behind it begins); -1: it is not there."""
    if name in ("line", "column", "name", "word"):
        word = (_NAME if name in ("name", "word") else _NUMBER).match(line, at)
        if not word or not line.startswith(behind, word.end()):
            return "", -1
        return word[0], word.end() + len(behind)
    if not behind:
        end = len(line)
    elif name == "message":
        end = line.rfind(behind, at)
    else:
        end = line.find(behind, at)
    if end <= at and not (name == "*" and end == at):
        return "", -1
    value = line[at:end]
    if name == "severity":
        value = _SEVERITIES.get(value.strip().lower(), "")
    elif name == "message" and value[0].isspace():
        value = ""  # a line of source, indented
    return value, end + len(behind) if value or name == "*" else -1
