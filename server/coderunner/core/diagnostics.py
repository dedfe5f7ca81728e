"""From what a compiler or a program printed to problems with a place: pure, and bounded in time by its shape.

Of a text at most MAX_LINES lines of MAX_LINE characters are looked at, each once by each pattern.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Mapping, Sequence

from coderunner.core.project import check_path
from coderunner.errors import BadPath
from coderunner.schema.languages import Hint, Pattern
from coderunner.schema.messages import Diagnostic

MAX_BYTES = 64 * 1024
MAX_LINES = 1600  # Java shows 1,024 frames of a stack that overflowed
MAX_LINE = 400
MAX_ITEMS = 100
MAX_MESSAGE = 300
MAX_HINTS = 4
WORKSPACE = "/workspace/"
_OURS = (".build/", ".tmp/", ".service/")
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
    """The problems that a text names, in its order.

    `entry`: the file that a line means that names none. `tail`: where the text is too long, its end counts
    and not its beginning. `files`: those of the workspace, where they are known; no others have a problem.
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
    """The sentences that fit the end of what a program printed, at most MAX_HINTS."""
    found: dict[str, None] = {}
    told: set[int] = set()  # a line that one has explained is left alone by those behind it
    plain = _ESCAPES.sub("", text[-MAX_BYTES:].decode("utf-8", "replace"))
    lines: list[str] = []
    for hint in declared:
        for template in hint.lines:
            if template.literal not in plain:
                continue
            lines = lines or [line[:MAX_LINE].rstrip() for line in _BREAKS.split(plain)[-MAX_LINES:]]
            for number, line in enumerate(lines):
                parts = template.match(line)
                if parts is not None and number not in told:
                    told.add(number)
                    found[_filled(hint.say, parts)] = None
    return tuple(found)[:MAX_HINTS]


def _filled(say: str, parts: Mapping[str, str]) -> str:
    for name in ("name", "word"):
        say = say.replace(f"{{{name}}}", parts.get(name, ""))
    return say[:MAX_MESSAGE]


def _place(path: str, known: Collection[str]) -> str | None:
    """The file of the workspace that a tool means, which may leave its folder out, or name one more."""
    if path in known:
        return path
    below = [one for one in known if one.endswith("/" + path)]
    above = [one for one in known if path.endswith("/" + one)]
    if below:
        return min(below, key=lambda one: (one.count("/"), one))
    return max(above, key=len, default=None)


class _Search:
    def __init__(self, patterns: Sequence[Pattern], entry: str, files: Collection[str] | None) -> None:
        self._patterns = patterns
        self._entry = entry
        self._files = files
        self._open: dict[int, tuple[int, dict[str, str]]] = {}  # pattern -> (line's number, its first line)
        self._found: dict[tuple[str, int, str], Diagnostic] = {}

    def items(self) -> tuple[Diagnostic, ...]:
        return tuple(self._found.values())

    def add_line(self, number: int, line: str) -> None:
        said = False
        for index, pattern in enumerate(self._patterns):
            if len(self._found) >= MAX_ITEMS:
                return
            if len(pattern.lines) == 1:
                # What a pattern before has read is not read anew, as a warning without its severity.
                parts = None if said else pattern.lines[0].match(line)
                if parts is not None:
                    said = self._add(parts, pattern)
            else:
                self._two(index, pattern, number, line)

    def _two(self, index: int, pattern: Pattern, number: int, line: str) -> None:
        first, second = pattern.lines
        began, opened = self._open.get(index, (0, None))
        if opened is not None and number - began > pattern.within:
            del self._open[index]
            opened = None
        if opened is not None:
            parts = second.match(line)
            if parts is not None and self._add(opened | parts, pattern):
                del self._open[index]
                return
        parts = first.match(line)
        # A place outside of the workspace (a library's) does not take the place of one inside.
        if parts is not None and ("line" not in first.names or self._path(parts)):
            self._open[index] = (number, parts)

    def _path(self, parts: dict[str, str]) -> str | None:
        path = workspace_path(parts["path"]) if "path" in parts else self._entry
        return path if path is None or self._files is None else _place(path, self._files)

    def _add(self, parts: dict[str, str], pattern: Pattern) -> bool:
        path, line = self._path(parts), int(parts["line"])
        if path is None or line < 1:
            return False
        message = parts["message"].removeprefix("• ")
        if parts.get("name"):
            message = f"{parts['name']}: {message}"
        message = "".join(each if each.isprintable() else " " for each in message)[:MAX_MESSAGE].strip()
        column = int(parts.get("column", 0))
        key = (path, line, message)
        known = self._found.get(key)
        if known is None or (not known.column and column):
            severity = parts.get("severity", pattern.severity)
            self._found[key] = Diagnostic(path, line, column, severity, message)
        return True


def workspace_path(path: str) -> str | None:
    """A file of the workspace as its listing has it; None for any other."""
    path = path.strip().removeprefix("file://").removeprefix(WORKSPACE)
    while path.startswith("./"):
        path = path[2:]
    if path.startswith(("<", "(", *_OURS)):  # no file: a text, or a library's
        return None
    if "/../" in path:
        path = posixpath.normpath(path)
    try:
        return check_path(path)
    except BadPath:
        return None
