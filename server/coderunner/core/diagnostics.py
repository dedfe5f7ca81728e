"""Extracts diagnostics (file, line, message) and hints from what a compiler or a program printed. Pure.

Programs are hostile, so the time is bounded: at most MAX_LINES lines of MAX_LINE characters are examined,
each once by each pattern.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from coderunner.core.project import check_path
from coderunner.errors import BadPath
from coderunner.schema.languages import Hint, Pattern
from coderunner.schema.messages import Diagnostic
from coderunner.schema.templates import Template

MAX_BYTES = 64 * 1024
MAX_LINES = 1600  # Java prints 1,024 frames of a stack overflow, and the message stands before them
MAX_LINE = 400  # characters of a line that are examined
MAX_ITEMS = 100  # diagnostics of one text
MAX_MESSAGE = 300  # characters
MAX_HINTS = 4
# At the end of a program's output.  Tcl and PostgreSQL print 70 KB, 3,000 lines, behind the message that a
# stack is full.
MAX_HINT_BYTES = 128 * 1024
MAX_HINT_LINES = 4096
WORKSPACE = "/workspace/"
_OURS = (".build/", ".tmp/", ".service/")  # folders that the server itself makes in the workspace
# Terminal escape sequences. Each repetition is bounded: an unterminated one must not cost quadratic time.
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]{0,32}[ -/]{0,4}[@-~]|\][^\x07\x1b\n]{0,256}(?:\x07|\x1b\\)?|[@-Z\\-_=>])"
)
_BREAKS = re.compile(r"\r?\n|\r")


def diagnose(
    text: bytes,
    patterns: Sequence[Pattern],
    *,
    entry: str,
    tail: bool = False,
    files: Collection[str] | None = None,
) -> tuple[Diagnostic, ...]:
    """Returns the diagnostics that a text contains, in its order.

    `entry`: the file for lines that name none. `tail`: examine the end of a text that is too long instead of
    its beginning. `files`: the workspace's files if known; diagnostics for other files are dropped.
    """
    if not patterns:
        return ()
    search = _Search(patterns, entry, files)
    for number, line in enumerate(_lines(text, tail=tail)):
        search.add_line(number, line)
    return search.items()


def _lines(text: bytes, *, tail: bool) -> list[str]:
    part = text[-MAX_BYTES:] if tail else text[:MAX_BYTES]
    lines = _BREAKS.split(_ESCAPES.sub("", part.decode("utf-8", "replace")))
    chosen = lines[-MAX_LINES:] if tail else lines[:MAX_LINES]
    return [line[:MAX_LINE].rstrip() for line in chosen]


def hints(text: bytes, declared: Sequence[Hint]) -> tuple[str, ...]:
    """Returns the sentences of the hints that match the end of a program's output, at most MAX_HINTS."""
    found: dict[str, None] = {}  # a dict as an ordered set
    told: set[int] = set()  # numbers of lines that a hint has matched: only the first hint of a line counts
    plain = _ESCAPES.sub("", text[-MAX_HINT_BYTES:].decode("utf-8", "replace"))
    lines: list[str] = []
    for hint in declared:
        for template in hint.lines:
            if template.literal not in plain:  # one search of the whole text instead of one per line
                continue
            lines = lines or [line[:MAX_LINE].rstrip() for line in _BREAKS.split(plain)[-MAX_HINT_LINES:]]
            for number, line in enumerate(lines):
                parts = template.match(line)
                if parts is not None and number not in told:
                    told.add(number)
                    found[_filled(hint.say, parts)] = None
    return tuple(found)[:MAX_HINTS]


def hints_of_end(
    declared: Sequence[Hint], *, reason: str, signal: str | None, thrashed: bool
) -> tuple[str, ...]:
    """Returns the sentences of the hints that match how a program ended, whatever it printed: those for all
    languages, which are declared last, say what it means; then the language's own what to do.

    `reason`, `signal`: those of the exit message. `thrashed`: memory was short.
    """
    ends = set()
    if thrashed:
        ends.add("thrashed")
    if reason == "oom":
        ends.add("oom")
    elif reason == "signaled" and signal:
        ends.add(signal)
    return tuple(hint.say for hint in reversed(declared) if hint.ended in ends)


def _filled(say: str, parts: Mapping[str, str]) -> str:
    for name in ("name", "word"):
        say = say.replace(f"{{{name}}}", parts.get(name, ""))
    return say[:MAX_MESSAGE]


def _place(path: str, known: Collection[str]) -> str | None:
    """Resolves a path in a tool's output to one of the `known` files; None if none fits.

    Tools may print a path without its leading folders, or with additional ones. Of several files the one
    that is nearest to the workspace's root is taken, or the one that shares the longest end.
    """
    if path in known:
        return path
    below = [one for one in known if one.endswith("/" + path)]
    above = [one for one in known if path.endswith("/" + one)]
    if below:
        return min(below, key=lambda one: (one.count("/"), one))
    return max(above, key=len, default=None)


@dataclass(slots=True)
class _Opened:
    """The first line of a pattern of two, which has matched."""

    number: int  # of the line
    parts: dict[str, str]
    sure: bool  # the line behind it was as the pattern says


class _Search:
    """Feeds lines to all patterns, and collects the diagnostics without duplicates."""

    def __init__(self, patterns: Sequence[Pattern], entry: str, files: Collection[str] | None) -> None:
        self._patterns = patterns
        self._entry = entry
        self._files = files
        # Patterns of two lines whose first has matched, by the pattern's index.
        self._open: dict[int, _Opened] = {}
        # Pattern's index -> the parts whose message the next line may go on with.
        self._growing: dict[int, dict[str, str]] = {}
        self._before = ""  # the line before, but for empty ones
        # Keyed by (path, line, message): tools repeat a message, for example in a summary.
        self._found: dict[tuple[str, int, str], Diagnostic] = {}
        # Number of a line that is told -> the diagnostic's key. A place or a message is told once, whichever
        # patterns match it.
        self._told: dict[int, tuple[str, int, str]] = {}

    def items(self) -> tuple[Diagnostic, ...]:
        return tuple(self._found.values())

    def add_line(self, number: int, line: str) -> None:
        said = False
        for index, pattern in enumerate(self._patterns):
            if len(self._found) >= MAX_ITEMS:
                return
            self._grow(index, pattern, line)
            if _one_of(pattern.skip, line):
                continue
            if len(pattern.lines) == 1:
                # The first pattern that matches a line wins: a more general one after it would report the
                # same line again, for example a warning as an error.
                if said or (pattern.only and not _one_of(pattern.only, line)):
                    continue
                parts = pattern.lines[0].match(line)
                if parts is not None:
                    said = self._add(parts, pattern, (number,))
            else:
                self._two(index, pattern, number, line)
        self._before = line or self._before

    def _grow(self, index: int, pattern: Pattern, line: str) -> None:
        """Adds a line to the message before it, if it is a part of it."""
        parts = self._growing.get(index)
        if parts is None or not line:
            return
        if _one_of(pattern.more, line) and len(parts["message"]) < MAX_MESSAGE:
            parts["message"] += f" {line.strip()}"
        else:
            del self._growing[index]

    def _two(self, index: int, pattern: Pattern, number: int, line: str) -> None:
        first, second = pattern.lines
        opened = self._open.get(index)
        if opened is not None and not opened.sure:
            opened.sure = _one_of(pattern.then, line)
            if not opened.sure:
                opened = None
        if opened is None or number - opened.number > pattern.within or _one_of(pattern.end, line):
            self._open.pop(index, None)
            opened = None
        if opened is not None and (not pattern.after or _one_of(pattern.after, self._before)):
            parts = second.match(line)
            if parts is not None and self._add(opened.parts | parts, pattern, (opened.number, number)):
                del self._open[index]
                return
        parts = first.match(line)
        # In a stack trace the innermost frames may be a library's. They must not replace an open match that
        # is in the workspace, as the user can only change that one.
        if parts is None or ("line" in first.names and not self._path(parts, pattern)):
            return
        if opened is not None and pattern.then:  # it is sure, and this line may be any
            return
        self._open[index] = _Opened(number, parts, not pattern.then)
        if pattern.more and "message" in parts:
            self._growing[index] = parts

    def _path(self, parts: dict[str, str], pattern: Pattern) -> str | None:
        path = workspace_path(parts["path"] + pattern.extension) if "path" in parts else self._entry
        if path is not None and self._files is not None:
            return _place(path, self._files)
        # A name may be that of a file, or of anything.
        return None if "path" in parts and pattern.extension else path

    def _add(self, parts: dict[str, str], pattern: Pattern, numbers: tuple[int, ...]) -> bool:
        """Adds what was found on the lines of these numbers. False: it is not in the workspace."""
        path, line = self._path(parts, pattern), int(parts["line"])
        if path is None or line < 1:
            return False
        message = parts["message"].removeprefix("• ")  # GHC's bullet
        if parts.get("name"):
            message = f"{parts['name']}: {message}"
        message = "".join(each if each.isprintable() else " " for each in message)[:MAX_MESSAGE].strip()
        column = int(parts.get("column", 0))
        key = (path, line, message)
        if any(self._told.get(number, key) != key for number in numbers):
            return True
        self._told.update(dict.fromkeys(numbers, key))
        known = self._found.get(key)  # replaced only by one that is more exact
        if known is None or (not known.column and column):
            severity = parts.get("severity", pattern.severity)
            self._found[key] = Diagnostic(path, line, column, severity, message)
        return True


def _one_of(templates: Sequence[Template], line: str) -> bool:
    return any(template.match(line) is not None for template in templates)


def workspace_path(path: str) -> str | None:
    """A printed path as the workspace's listing has it; None if it is outside of the workspace."""
    path = path.strip()
    if path.startswith("file://"):  # the URL of a module
        path = unquote(path.removeprefix("file://"))
    path = path.removeprefix(WORKSPACE)
    while path.startswith(("./", " ")):
        path = path.removeprefix("./").lstrip()
    if path.startswith(("<", "(", *_OURS)):  # `<stdin>`, `(eval)` and the like are no files
        return None
    if "/../" in path:
        path = posixpath.normpath(path)
    try:
        return check_path(path)
    except BadPath:
        return None
