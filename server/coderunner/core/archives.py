"""From the bytes of an archive to the files that it puts into a workspace, every bound kept on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from coderunner.core.members import Member
from coderunner.core.project import check_path, check_sizes
from coderunner.core.tars import Gunzip, tar_members
from coderunner.core.zips import zip_members
from coderunner.errors import BadArchive, BadPath, TooManyFiles

FREE_BYTES = 8 * 1024 * 1024
MAX_RATIO = 200
"""Beyond FREE_BYTES an archive may unpack to this many times its size; an honest project stays below 30."""
OVERHEAD = 4096  # of a member, in headers and padding
_LITTER = "__MACOSX/"  # what one system adds of its own to every zip


@dataclass(frozen=True, slots=True)
class Bounds:
    """`max_bytes`: of all files together."""

    max_files: int
    max_file_bytes: int
    max_bytes: int

    @property
    def members(self) -> int:
        """Folders and what is left out count as well, so that they cost no unbounded time."""
        return 4 * self.max_files + 64


@dataclass(frozen=True, slots=True)
class Contents:
    """What an archive holds: paths in the workspace, in the archive's order. `left_out`: links, devices."""

    files: tuple[str, ...]
    folders: tuple[str, ...]
    left_out: tuple[str, ...]


def members(file: BinaryIO, bounds: Bounds, into: str = "") -> Iterator[Member]:
    """The archive's members, each with its path in the workspace below `into`.

    Zip, tar and gzipped tar are told apart by their first bytes. Raises BadArchive, BadPath, TooManyFiles.
    """
    file.seek(0)
    head = file.read(4)
    file.seek(0)
    if not head:
        raise BadArchive("the archive is empty; send a zip, a tar or a gzipped tar")
    if head[:2] == b"PK":
        found = zip_members(file, most=bounds.members)
    elif head[:2] == b"\x1f\x8b":
        found = tar_members(Gunzip(file.read, _most(file, bounds) + bounds.members * OVERHEAD).read)
    else:
        found = tar_members(file.read)
    for count, member in enumerate(found):
        if count >= bounds.members:
            raise TooManyFiles(f"the archive holds more than {bounds.members} entries")
        path = member.path
        while path.startswith("./"):
            path = path[2:]
        path = path[:-1] if path.endswith("/") else path
        if (path in ("", ".") and member.folder) or path.startswith(_LITTER):
            continue
        path = check_path(path)
        yield Member(
            path=check_path(f"{into}/{path}") if into else path,
            size=member.size,
            folder=member.folder,
            plain=member.plain,
            executable=member.executable,
            content=member.content,
        )


def _most(file: BinaryIO, bounds: Bounds) -> int:
    """How many bytes of files may come of it; the file's position stays."""
    position = file.tell()
    packed = file.seek(0, 2)
    file.seek(position)
    return min(bounds.max_bytes, FREE_BYTES + MAX_RATIO * packed)


def examine(file: BinaryIO, bounds: Bounds, into: str = "") -> Contents:
    """Unpacks all of it and keeps nothing: what passes here can be written.

    Raises BadArchive, BadPath, FileTooLarge, TooManyFiles.
    """
    most = _most(file, bounds)
    sizes: list[tuple[str, int]] = []
    folders: list[str] = []
    left_out: list[str] = []
    total = 0
    for member in members(file, bounds, into):
        if not member.plain:
            left_out.append(member.path)
        elif member.folder:
            folders.append(member.path)
        else:
            sizes.append((member.path, member.size))
            check_sizes(sizes[-1:], max_files=1, max_file_bytes=bounds.max_file_bytes)
            total += member.size
            if len(sizes) > bounds.max_files:
                raise TooManyFiles(f"the archive holds more than {bounds.max_files} files")
            if total > most:
                raise BadArchive(f"the archive unpacks to more than {most} bytes")
            for _ in member.content:
                pass
    check_sizes(sizes, max_files=bounds.max_files, max_file_bytes=bounds.max_file_bytes)
    both = {path for path, _ in sizes} & set(folders)
    if both:
        raise BadPath(f"{min(both)!a} is a file and a folder in the archive")
    return Contents(tuple(path for path, _ in sizes), tuple(folders), tuple(left_out))
