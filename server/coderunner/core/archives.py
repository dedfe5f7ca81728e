"""Reads uploaded archives (zip, tar, gzipped tar) within bounds, and checks the paths of their members.

Archives come from untrusted clients. Nothing here trusts a size that an archive states about itself.
"""

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
"""Unpacked bytes that every archive may have, however small it is: a small text file may compress 1000:1."""
MAX_RATIO = 200
"""Beyond FREE_BYTES an archive may unpack to this many times its size; real projects stay below 30."""
OVERHEAD = 4096  # bytes of headers and padding allowed for each member of a tar, on top of its content
_LITTER = "__MACOSX/"  # metadata folder that macOS adds to every zip; not part of the project


@dataclass(frozen=True, slots=True)
class Bounds:
    """Upper bounds of an archive: number of files, bytes of one file, bytes of all files together."""

    max_files: int
    max_file_bytes: int
    max_bytes: int

    @property
    def members(self) -> int:
        """The most members of any kind, including folders and skipped ones, as each takes reading time."""
        return 4 * self.max_files + 64  # room for folders and macOS metadata beside the files themselves


@dataclass(frozen=True, slots=True)
class Contents:
    """Workspace paths of an archive's members, in its order. `left_out`: skipped links and devices."""

    files: tuple[str, ...]
    folders: tuple[str, ...]
    left_out: tuple[str, ...]


def members(file: BinaryIO, bounds: Bounds, into: str = "") -> Iterator[Member]:
    """Yields the archive's members, each with its checked path in the workspace, below the folder `into`.

    The kind of archive is recognised by its first bytes, as file names and media types are the client's
    claim. The content of a member has to be read before the next member is requested.
    Raises BadArchive, BadPath, TooManyFiles.
    """
    file.seek(0)
    head = file.read(4)
    file.seek(0)
    if not head:
        raise BadArchive("the archive is empty; send a zip, a tar or a gzipped tar")
    if head[:2] == b"PK":
        found = zip_members(file, maximum=bounds.members)
    elif head[:2] == b"\x1f\x8b":
        found = tar_members(Gunzip(file.read, _maximum(file, bounds) + bounds.members * OVERHEAD).read)
    else:
        found = tar_members(file.read)
    for count, member in enumerate(found):
        if count >= bounds.members:
            raise TooManyFiles(f"the archive holds more than {bounds.members} entries")
        path = member.path
        while path.startswith("./"):  # `tar -c .` writes every name so
            path = path[2:]
        path = path[:-1] if path.endswith("/") else path
        if (path in ("", ".") and member.folder) or path.startswith(_LITTER):
            continue
        path = check_path(path)
        # Checked again with `into`: only the two together show whether the path is too long or too deep.
        yield Member(
            path=check_path(f"{into}/{path}") if into else path,
            size=member.size,
            folder=member.folder,
            plain=member.plain,
            executable=member.executable,
            content=member.content,
        )


def _maximum(file: BinaryIO, bounds: Bounds) -> int:
    """The most bytes that an archive may unpack to. The file's position is left as it was."""
    position = file.tell()
    packed = file.seek(0, 2)
    file.seek(position)
    return min(bounds.max_bytes, FREE_BYTES + MAX_RATIO * packed)


def examine(file: BinaryIO, bounds: Bounds, into: str = "") -> Contents:
    """Unpacks the whole archive without keeping any content, and returns what it holds.

    An archive that passes here can be written to a workspace without failing half-way.
    Raises BadArchive, BadPath, FileTooLarge, TooManyFiles.
    """
    maximum = _maximum(file, bounds)
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
            # Each file by itself at once, before its content is unpacked; all of them together at the end.
            check_sizes(sizes[-1:], max_files=1, max_file_bytes=bounds.max_file_bytes)
            total += member.size
            if len(sizes) > bounds.max_files:
                raise TooManyFiles(f"the archive holds more than {bounds.max_files} files")
            if total > maximum:
                raise BadArchive(f"the archive unpacks to more than {maximum} bytes")
            for _ in member.content:  # raises BadArchive if it is damaged or longer than stated
                pass
    check_sizes(sizes, max_files=bounds.max_files, max_file_bytes=bounds.max_file_bytes)
    # `check_sizes` compares the files with each other, but not with the archive's empty folders.
    both = {path for path, _ in sizes} & set(folders)
    if both:
        raise BadPath(f"{min(both)!a} is a file and a folder in the archive")
    return Contents(tuple(path for path, _ in sizes), tuple(folders), tuple(left_out))
