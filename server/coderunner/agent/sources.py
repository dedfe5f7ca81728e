"""Chooses the files of a workspace that a compiler is given: those of the entry's program.

A language declares patterns for its source files, and a regular expression for a main function.  Any file
with a main function, other than the entry, belongs to another program.  It is left out, with all files of its
folder, unless the entry is in that folder or a file of the program names the folder (as an include does).  An
entry without a main function is a part of the only program that there is.
"""

from __future__ import annotations

import os

from .lean import matches

MAX_READ = 1 << 20  # bytes of a source file that are searched for a main function
MAX_NAMED = 8  # files that a message lists


def program(
    workspace: str, entry: str, patterns: list[str], main: str, parts: list[str]
) -> tuple[list[str], list[str]] | str:
    """(source files of the entry's program, those of other programs): paths in the workspace, sorted.

    ``patterns``: of the names of source files.  ``main``: a regular expression for a main function, or ""
    when the compiler itself tells programs apart.  ``parts``: further extensions of a program's files, such
    as ``.h``.  Returns a text that says why when the entry is no source file, and when it has no main
    function while several other files have one: the class of an exception would be among those that Python's
    programs find.
    """
    found = find(workspace, patterns)
    if not main:
        return found, []
    if entry not in found:
        is_source = _is_source(workspace, entry, patterns, parts)
        if isinstance(is_source, str):
            return is_source
        if is_source:
            found = sorted([*found, entry])  # it is in a hidden folder, and was asked for
    texts = {path: _read(os.path.join(workspace, path)) for path in found}
    others = _other_programs(entry, texts, main)
    if isinstance(others, str):
        return others
    # A folder with another program's main function belongs to that program, with all of its files,
    apart = {folder for path in others if not _within(entry, folder := os.path.dirname(path))}
    kept = [path for path in found if path not in others and not _within_any(path, apart)]
    # except where a kept file names the folder: then it is a library that has a test program of its own.
    apart = {folder for folder in apart if not any(_names(texts[path], folder) for path in kept)}
    left = [path for path in found if path in others or _within_any(path, apart)]
    return [path for path in found if path not in left], left


def _is_source(workspace: str, entry: str, patterns: list[str], parts: list[str]) -> bool | str:
    """Whether the entry is a source file; False for another part of a program, and a text for neither."""
    if not os.path.exists(os.path.join(workspace, entry)):
        return f"{entry}: there is no such file; choose another one to begin with"
    if _matches(os.path.basename(entry), patterns):
        return True
    if not entry.endswith(tuple(parts)):
        names = " or ".join(patterns)
        return f"{entry}: not a source; choose a file named {names} to begin with"
    return False


def _other_programs(entry: str, texts: dict[str, str], main: str) -> list[str] | str:
    """The source files, without the entry, that have a main function; a text if it should have one."""
    from . import patterns  # see there why only here

    begins = patterns.lines(main)
    codes = {path: patterns.NO_CODE.sub(" ", text) for path, text in texts.items()}
    always = {path: patterns.ON_DEMAND.sub(" ", code) for path, code in codes.items() if path != entry}
    others = [path for path, code in always.items() if begins.search(code)]
    if begins.search(codes.get(entry, "")):
        return others
    if len(others) > 1:
        return f"{entry}: it has no main function; choose a file that has one: {named(others)}"
    return []


def find(workspace: str, patterns: list[str]) -> list[str]:
    """Paths of all files in the workspace whose name matches a pattern, sorted.

    Hidden folders are skipped."""
    found = []
    for folder, folders, names in os.walk(workspace):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [os.path.join(folder, name) for name in names if _matches(name, patterns)]
    return sorted(os.path.relpath(path, workspace) for path in found)


def named(paths: list[str]) -> str:
    """The first MAX_NAMED paths, and the number of the others, as text for a message."""
    more = len(paths) - MAX_NAMED
    return ", ".join(paths[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def _read(path: str) -> str:
    """The first MAX_READ bytes of a file, decoded as Latin-1; "" when it cannot be read."""
    try:
        # Non-blocking, as a program may have created a named pipe here.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            return (file.read(MAX_READ) or b"").decode("latin-1").replace("\r\n", "\n")
    except OSError:
        return ""


def _matches(name: str, patterns: list[str]) -> bool:
    return any(matches(name, pattern) for pattern in patterns)


def _within(path: str, folder: str) -> bool:
    """Whether a path is in a folder or below it; "" is the workspace itself."""
    return not folder or path.startswith(folder + "/")


def _within_any(path: str, folders: set[str]) -> bool:
    return any(_within(path, folder) for folder in folders)


def _names(text: str, folder: str) -> bool:
    from . import patterns  # see there why only here

    return patterns.names(text, os.path.basename(folder))
