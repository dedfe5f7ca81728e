"""Checks the files that a client sends: paths, sizes, numbers, and conflicts between them."""

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
        """The path relative to the workspace, with slashes."""

    @property
    def content(self) -> bytes:
        """The file's content."""


def check_files(files: Iterable[ProjectFile], *, max_files: int, max_file_bytes: int) -> None:
    """Checks a set of files that are written together.

    Raises TooManyFiles, FileTooLarge, and BadPath: for an invalid path, for two files with the same path
    (after Unicode normalisation, as they look the same), and for a path that is both a file and a folder.
    """
    sizes = [(file.path, len(file.content)) for file in files]
    check_sizes(sizes, max_files=max_files, max_file_bytes=max_file_bytes)


def check_sizes(sizes: Sequence[tuple[str, int]], *, max_files: int, max_file_bytes: int) -> None:
    """As `check_files`, for pairs of path and size in bytes."""
    if len(sizes) > max_files:
        raise TooManyFiles(f"{len(sizes)} files are too many; send at most {max_files}")
    seen: dict[str, str] = {}  # normalised path -> path as sent, for the messages
    folders: dict[str, str] = {}  # normalised folder -> a file in it
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
    # `a` and `a/b` cannot both be written.
    for key in seen.keys() & folders.keys():
        raise BadPath(f"{seen[key]!a} is a file and, in {folders[key]!a}, a folder; rename one")
