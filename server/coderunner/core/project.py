"""The rules for a project's files: which paths a workspace takes, and how many bytes."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Protocol

from coderunner.errors import BadPath, FileTooLarge, TooManyFiles

MAX_PATH_BYTES = 1024
MAX_COMPONENT_BYTES = 255
MAX_DEPTH = 32

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that reorder the text around them: with them a name shows as another one."""


class ProjectFile(Protocol):
    @property
    def path(self) -> str: ...
    @property
    def content(self) -> bytes: ...


def check_path(path: str) -> str:
    """Answers the path as it is if it is a plain relative one. Raises BadPath, which says what to do."""
    shown = ascii(path if len(path) <= 60 else path[:57] + "...")
    if not path:
        raise BadPath("a path is empty; give the file a name")
    for character in path:
        category = unicodedata.category(character)
        if character in _BIDI or category in ("Cc", "Cs", "Zl", "Zp"):
            raise BadPath(
                f"the path {shown} holds the character U+{ord(character):04X}; remove control characters,"
                " text-direction marks and broken characters"
            )
    if path.startswith("/"):
        raise BadPath(f"the path {shown} is absolute; leave the leading / away")
    if "\\" in path:
        raise BadPath(f"the path {shown} holds a backslash; separate folders with /")
    if len(path.encode()) > MAX_PATH_BYTES:
        raise BadPath(f"the path {shown} is too long; use at most {MAX_PATH_BYTES} bytes")
    components = path.split("/")
    if len(components) > MAX_DEPTH:
        raise BadPath(f"the path {shown} is too deep; use at most {MAX_DEPTH} levels")
    for component in components:
        if component in ("", ".", ".."):
            what = f"the component {component!r}" if component else "an empty component"
            raise BadPath(f"the path {shown} has {what}; write it without")
        if len(component.encode()) > MAX_COMPONENT_BYTES:
            raise BadPath(f"a name in {shown} is too long; use at most {MAX_COMPONENT_BYTES} bytes a name")
    return path


def check_files(files: Iterable[ProjectFile], *, max_files: int, max_file_bytes: int) -> None:
    """Checks a set of files that is written together.

    Raises TooManyFiles, FileTooLarge, or BadPath for a bad path, for two files of one path (also where the
    two are equal only to the eye, after Unicode normalisation), and for a file that is used as a folder.
    """
    sizes = [(file.path, len(file.content)) for file in files]
    check_sizes(sizes, max_files=max_files, max_file_bytes=max_file_bytes)


def check_sizes(sizes: Sequence[tuple[str, int]], *, max_files: int, max_file_bytes: int) -> None:
    """As `check_files`, of paths and sizes."""
    if len(sizes) > max_files:
        raise TooManyFiles(f"{len(sizes)} files are too many; send at most {max_files}")
    seen: dict[str, str] = {}
    folders: dict[str, str] = {}
    for name, size in sizes:
        path = check_path(name)
        if size > max_file_bytes:
            raise FileTooLarge(f"{path!a} has {size} bytes; send at most {max_file_bytes}")
        key = unicodedata.normalize("NFC", path)
        if key in seen:
            raise BadPath(f"there are two files {path!a}; rename or remove one")
        seen[key] = path
        while "/" in key:
            key = key.rpartition("/")[0]
            folders.setdefault(key, path)
    for key in seen.keys() & folders.keys():
        raise BadPath(f"{seen[key]!a} is a file and, in {folders[key]!a}, a folder; rename one")
