"""Packs the workspace into archives, and unpacks archives into it, file by file.

Files may change meanwhile: the archive has each file as it was when its turn came.
"""

from __future__ import annotations

import asyncio
import io
import tarfile
import time
import zipfile
import zlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import IO, BinaryIO, cast

from coderunner.core.archives import Bounds, Contents, examine, members
from coderunner.core.members import Member
from coderunner.errors import BadArchive, BadPath, CodeRunnerError, FilesFailed, NoFile
from coderunner.schema.answers import FileEntry
from coderunner.sessions.files import Files, Piece

_GONE = (BadPath, FilesFailed, NoFile)  # errors of a file that was removed or replaced since it was listed
MAX_NAMES = 2 * 1024 * 1024  # characters of all names, which are in memory until they end a zip
_EARLIEST, _LATEST = 315_619_200_000, 4_000_000_000_000  # milliseconds: a zip has the years 1980 to 2107


@dataclass(slots=True)
class Unpacked:
    """What was unpacked into the workspace.  ``error``: what ended it early, or None."""

    written: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    error: CodeRunnerError | None = None


# --- out ------------------------------------------------------------------------------------------------


async def pack(files: Files, kind: str) -> AsyncIterator[bytes]:
    """The workspace as an archive, in pieces.  ``kind``: one of `rest.ARCHIVES`.

    Links, pipes, devices and files whose names are not valid on every machine are left out.  Raises
    AgentLost, and FilesFailed when a file changes while it is packed.
    """
    entries = _entries(files)
    if kind == "zip":
        # Level 1 of compression, as the server's processor is shared by all sessions.
        packed = _zip(files, entries)
    elif kind == "tar":
        packed = _tar(files, entries)
    else:
        packed = _gzip(_tar(files, entries))
    async for piece in packed:
        yield piece


async def _entries(files: Files) -> AsyncIterator[FileEntry]:
    async for entries, _ in files.listing():
        for entry in entries:
            yield entry


class Sink:
    """A file object that collects what `zipfile` writes, until ``drain`` takes it."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        """As of a file."""
        self._data += data
        return len(data)

    def flush(self) -> None:
        """As of a file; nothing is held back."""

    def drain(self) -> bytes:
        """What was written since the last time."""
        data = bytes(self._data)
        self._data.clear()
        return data


async def _zip(files: Files, entries: AsyncIterator[FileEntry]) -> AsyncIterator[bytes]:
    # zipfile needs a file object that it can write to, and tell a position by counting.
    sink, names = Sink(), 0
    with zipfile.ZipFile(cast(IO[bytes], sink), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as whole:
        async for entry in entries:
            # A zip's directory is written at its end, so all names are kept until then.
            names += len(entry.path)
            if names > MAX_NAMES:
                raise FilesFailed("the files' names are too long together for a zip; ask for a tar")
            information = zipfile.ZipInfo(entry.path, moment(entry.mtime_ms))
            information.compress_type = zipfile.ZIP_DEFLATED
            # The upper half is Unix's mode, by which unpackers restore the executable bit.
            information.external_attr = (0o100755 if entry.executable else 0o100644) << 16
            if entry.folder:
                information.filename += "/"
                # 0x10 is the same for DOS: a folder.
                information.external_attr = 0o40755 << 16 | 0x10
                whole.writestr(information, b"")
                continue
            begin = await _begin(files, entry)
            if begin is None:
                continue
            # `force_zip64`, as the size is not known when the header is written.
            with whole.open(information, "w", force_zip64=True) as member:
                async for data in _content(files, entry, begin):
                    member.write(data)
                    # After each piece: the sink never holds more than one.
                    yield sink.drain()
    yield sink.drain()


def moment(milliseconds: int) -> tuple[int, int, int, int, int, int]:
    """A file's time for a zip; the earliest one for times that a zip cannot have, as a program may set
    any."""
    if not _EARLIEST <= milliseconds <= _LATEST:
        return (1980, 1, 1, 0, 0, 0)
    at = time.gmtime(milliseconds / 1000)
    return (at.tm_year, at.tm_mon, at.tm_mday, at.tm_hour, at.tm_min, at.tm_sec)


async def _tar(files: Files, entries: AsyncIterator[FileEntry]) -> AsyncIterator[bytes]:
    async for entry in entries:
        information = tarfile.TarInfo(entry.path)
        # Before 1970 a tar would need an extended header.
        information.mtime = max(0, entry.mtime_ms // 1000)
        information.mode = 0o755 if entry.folder or entry.executable else 0o644
        if entry.folder:
            information.type = tarfile.DIRTYPE
            yield information.tobuf(tarfile.PAX_FORMAT)
            continue
        begin = await _begin(files, entry)
        if begin is None:
            continue
        # Known beforehand and promised in the header: `_content` gives exactly so many bytes, or raises.
        information.size = begin.size
        yield information.tobuf(tarfile.PAX_FORMAT)
        async for data in _content(files, entry, begin):
            yield data
        # Each file fills up its last block.
        yield bytes(-information.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


async def _gzip(packed: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    # wbits=31: with the header of gzip.
    packer = zlib.compressobj(1, wbits=31)
    async for data in packed:
        piece = packer.compress(data)
        if piece:
            yield piece
    yield packer.flush()


async def _begin(files: Files, entry: FileEntry) -> Piece | None:
    try:
        return await files.read(entry.path)
    except _GONE:
        return None


async def _content(files: Files, entry: FileEntry, begin: Piece) -> AsyncIterator[bytes]:
    """Exactly the bytes that the file had at its beginning.

    Raises FilesFailed when it has shrunk, was overwritten or removed meanwhile: a user notices an archive
    that breaks off, but not one with a part of a file."""
    left = begin.size
    try:
        async for data in files.pieces(entry.path, begin, 0, begin.size):
            left -= len(data)
            yield data
    except _GONE:
        pass
    if left:
        raise FilesFailed(f"{entry.path!a} changed while it was being packed; ask for the archive again")


# --- in -------------------------------------------------------------------------------------------------


async def unpack(files: Files, archive: BinaryIO, bounds: Bounds, into: str = "") -> Unpacked:
    """Writes an archive's files to the workspace, below ``into``.

    The whole archive is examined first.  Raises BadArchive, BadPath, FileTooLarge, TooManyFiles, and then
    nothing was written.  A later error is in the result, beside what was written before it.
    """
    # In a thread: reading an archive's members decompresses it, which takes seconds for the largest.
    contents = await asyncio.to_thread(_examined, archive, bounds, into)
    done = Unpacked(left_out=list(contents.left_out))
    try:
        # Folders first, also empty ones, which no file would make.
        for folder in contents.folders:
            await files.make_folder(folder)
            done.folders.append(folder)
        found = members(archive, bounds, into)
        while (taken := await asyncio.to_thread(_next, found)) is not None:
            member, begin = taken
            if member.plain and not member.folder:
                await files.write(
                    member.path,
                    _pieces(member, begin),
                    max_bytes=bounds.max_file_bytes,
                    executable=member.executable,
                )
                done.written.append(member.path)
    # Earlier files stay: the answer names them, and what failed.
    except CodeRunnerError as error:
        done.error = error
    return done


def _examined(archive: BinaryIO, bounds: Bounds, into: str) -> Contents:
    try:
        return examine(archive, bounds, into)
    # What the archive libraries raise for archives that are cut off or damaged.
    except (ValueError, OverflowError, io.UnsupportedOperation) as error:
        raise BadArchive(f"the archive cannot be read: {error}") from None


def _next(found: Iterator[Member]) -> tuple[Member, bytes] | None:
    """The next member and its first piece, read in one go: a small file then needs a thread only once."""
    member = next(found, None)
    if member is None:
        return None
    return member, next(member.content, b"") if member.plain and not member.folder else b""


async def _pieces(member: Member, begin: bytes) -> AsyncIterator[bytes]:
    left = member.size - len(begin)
    yield begin
    while left > 0 and (data := await asyncio.to_thread(next, member.content, None)) is not None:
        left -= len(data)
        yield data
