"""The agent's regular expressions, apart from what uses them: Python's `re` and compiling them take a
seventh of its start, and few programs of a session need them.

Imported when the container has been idle for a moment, else by what needs it first."""

from __future__ import annotations

import re

# What is no code in languages like C: comments, strings (raw ones, too), characters, and the content of `#if
# 0`.
NO_CODE = re.compile(
    r"""//[^\n]*|/\*.*?\*/|/\+.*?\+/|R"([^()\s\\]{0,16})\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'"""
    r"""|`[^`]*`|^[ \t]*\#[ \t]*if[ \t]+0\b.*?^[ \t]*\#[ \t]*(?:endif|else|elif)\b""",
    re.S | re.M,
)
# A main function within `#if` is usually a module's own test, and not compiled when the module is a part.
ON_DEMAND = re.compile(r"^[ \t]*#[ \t]*if(?:def)?\b.*?^[ \t]*#[ \t]*endif\b", re.S | re.M)
# What changes a terminal's modes: DEC private modes, resets, the keypad.
SEQUENCE = re.compile(rb"\x1b(?:\[\?([0-9;]{1,40})([hl])|\[!p|c|([=>]))")


def lines(expression: str) -> re.Pattern[str]:
    """An expression of a language's declaration, whose ^ and $ are those of a line."""
    return re.compile(expression, re.M)


def names(text: str, folder: str) -> bool:
    """Whether a source text names a folder, as a part of a path or of a module's name."""
    return re.search(rf"\b{re.escape(folder)}[/.]", text) is not None
