"""Which files of a workspace a compiler is given: those of the program that begins with the entry.

A language says by patterns which files are its sources, and by an expression what a main function looks
like.  A file with a main function of its own is another program, except the entry: it is left out, and so is
all of the folder of such a file, unless the entry lies in it or what is kept names the folder (as an include
does).  Where the entry has no main function (it is a part of a program), the program is the only one.
"""

from __future__ import annotations

import fnmatch
import os
import re

MAX_READ = 1 << 20  # bytes of a source that are looked at for a main function
MAX_NAMED = 8  # files that a message names
# What is no code in the languages of C's family: comments, texts (raw ones, too), characters, and what
# `#if 0` hides.
_NO_CODE = re.compile(
    r"""//[^\n]*|/\*.*?\*/|/\+.*?\+/|R"([^()\s\\]{0,16})\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'"""
    r"""|`[^`]*`|^[ \t]*\#[ \t]*if[ \t]+0\b.*?^[ \t]*\#[ \t]*(?:endif|else|elif)\b""",
    re.S | re.M,
)
# A module with its own test has a main function for those who ask for it; none when it is a part.
_ON_DEMAND = re.compile(r"^[ \t]*#[ \t]*if(?:def)?\b.*?^[ \t]*#[ \t]*endif\b", re.S | re.M)


class NoProgram(Exception):
    """No program can be made with this entry; the text says why, and what to do."""


def program(
    workspace: str, entry: str, patterns: list[str], main: str, parts: list[str]
) -> tuple[list[str], list[str]]:
    """(the program's sources, those left out since they are other programs): paths in the workspace, sorted.

    ``main``: an expression that is searched for in the code of a source, or "" for languages that tell
    programs apart by themselves.  ``parts``: how else the names of a program's parts end, such as ``.h``.
    Raises NoProgram where the entry is no source, or has no main function where several others have.
    """
    found = find(workspace, patterns)
    if not main:
        return found, []
    if entry not in found and _is_source(workspace, entry, patterns, parts):
        found = sorted([*found, entry])  # in a hidden folder: it was asked for
    texts = {path: _read(os.path.join(workspace, path)) for path in found}
    others = _other_programs(entry, texts, main)
    apart = {folder for path in others if not _within(entry, folder := os.path.dirname(path))}
    kept = [path for path in found if path not in others and not _within_any(path, apart)]
    apart = {folder for folder in apart if not any(_names(texts[path], folder) for path in kept)}
    left = [path for path in found if path in others or _within_any(path, apart)]
    return [path for path in found if path not in left], left


def _is_source(workspace: str, entry: str, patterns: list[str], parts: list[str]) -> bool:
    """False for another part of a program.  Raises NoProgram where it is neither."""
    if not os.path.exists(os.path.join(workspace, entry)):
        raise NoProgram(f"{entry}: there is no such file; choose another one to begin with")
    if _matches(os.path.basename(entry), patterns):
        return True
    if not entry.endswith(tuple(parts)):
        names = " or ".join(patterns)
        raise NoProgram(f"{entry}: not a source; choose a file named {names} to begin with")
    return False


def _other_programs(entry: str, texts: dict[str, str], main: str) -> list[str]:
    """The sources beside the entry that begin a program of their own."""
    begins = re.compile(main, re.M)
    codes = {path: _NO_CODE.sub(" ", text) for path, text in texts.items()}
    others = [path for path in codes if path != entry and begins.search(_ON_DEMAND.sub(" ", codes[path]))]
    if begins.search(codes.get(entry, "")):
        return others
    if len(others) > 1:
        raise NoProgram(f"{entry}: it has no main function; choose a file that has one: {named(others)}")
    return []


def find(workspace: str, patterns: list[str]) -> list[str]:
    """Files of the workspace whose name matches a pattern, sorted; hidden folders are not looked into."""
    found = []
    for folder, folders, names in os.walk(workspace):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [os.path.join(folder, name) for name in names if _matches(name, patterns)]
    return sorted(os.path.relpath(path, workspace) for path in found)


def named(paths: list[str]) -> str:
    """The first MAX_NAMED paths for a message, and how many more there are."""
    more = len(paths) - MAX_NAMED
    return ", ".join(paths[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def _read(path: str) -> str:
    """The first MAX_READ bytes of a file as Latin-1; empty where it cannot be read."""
    try:
        # Without blocking: a program may have left a named pipe here.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            return (file.read(MAX_READ) or b"").decode("latin-1").replace("\r\n", "\n")
    except OSError:
        return ""


def _matches(name: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _within(path: str, folder: str) -> bool:
    """Whether a path lies in a folder or below it; all do in the workspace itself, which is ""."""
    return not folder or path.startswith(folder + "/")


def _within_any(path: str, folders: set[str]) -> bool:
    return any(_within(path, folder) for folder in folders)


def _names(text: str, folder: str) -> bool:
    """Whether a text has the name of a folder as a part of a path or of a module's name."""
    return re.search(rf"\b{re.escape(os.path.basename(folder))}[/.]", text) is not None
