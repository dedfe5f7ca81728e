"""The rules for a project's files: which paths a workspace takes, and how many bytes."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Protocol

from coderunner.errors import BadPath, FileTooLarge, TooManyFiles
from coderunner.schema.paths import MAX_PATH_BYTES as MAX_PATH_BYTES
from coderunner.schema.paths import check_path as check_path


class ProjectFile(Protocol):
    """A file that a client sends."""

    @property
    def path(self) -> str:
        """Below the workspace, with slashes."""
    @property
    def content(self) -> bytes:
        """All of its bytes."""


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
