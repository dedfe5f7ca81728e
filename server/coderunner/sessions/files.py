"""A session's files, through its agent and as its own user: nothing a program plants leads out of them.

Each call to the agent is small, so that it never keeps a program or a keystroke waiting, and only a few are
under way at a time.  What the agent answers is a stranger's word, and checked.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from msgspec import convert

from coderunner import timing
from coderunner.core.members import PIECE
from coderunner.core.project import check_path
from coderunner.errors import AgentLost, BadPath, FilesBusy, FilesFailed, FileTooLarge, NoSession
from coderunner.schema import reports
from coderunner.schema.answers import FileEntry
from coderunner.schema.reports import AgentProtocolError
from coderunner.sessions.container import Container
from coderunner.sessions.link import Reply

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_ENTRIES = 8192  # what a workspace has inodes for
LIST_PIECE = 256  # entries that the agent looks at in one call
MAX_PIECES = 512  # an agent may give shorter ones
MAX_PATHS = 2048
REMOVE_PIECE = 256
MAX_ARCHIVES = 2  # requests at a time that pack or unpack one
CHECK_PIECE = 1024 * 1024  # bytes that the agent reads again in one call
MAX_REMOVALS = 400  # calls: as many as a full workspace takes, and as many again
MAX_CALLS = 4
MAX_REQUESTS = 16
MAX_WAITING = 128  # a page may show as many pictures at once
WAIT_SECONDS = 20.0
MEND_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Piece:
    """``size``: of the whole file at this moment; ``inode``: which file it was, whatever its name."""

    data: bytes
    size: int
    inode: int


async def paths(container: Container) -> set[str]:
    """Of the workspace's files, MAX_PATHS or a few more at most. Raises AgentLost, CodeRunnerError."""
    found: set[str] = set()
    cursor: str | None = None
    for _ in range(MAX_PIECES):
        reply, _ = await container.call("list", after=cursor, most=LIST_PIECE)
        listed = _read(reports.Listed, reply, "list")
        found |= {entry.path for entry in _entries(listed) if not entry.folder}
        cursor = listed.next
        if cursor is None or len(found) >= MAX_PATHS:
            break
    return found


class Files:
    """All raise NoSession when the session is over or its container gone, AgentLost where that one is out of
    reach for now, BadPath, and FilesFailed with what the system said."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._calls = asyncio.Semaphore(MAX_CALLS)
        self._requests = asyncio.Semaphore(MAX_REQUESTS)
        self._archives = asyncio.Semaphore(MAX_ARCHIVES)
        self._waiting = 0
        self._over = False
        self._uploads = itertools.count(1)

    @contextlib.asynccontextmanager
    async def request(self, *, archive: bool = False) -> AsyncIterator[None]:
        """Around everything that one request does; some wait for others.  Raises FilesBusy."""
        turns = self._archives if archive else self._requests
        if self._waiting >= MAX_WAITING:
            raise FilesBusy(retry_after_ms=1000)
        self._waiting += 1
        try:
            async with timing.within(WAIT_SECONDS):
                await turns.acquire()
        except TimeoutError:
            raise FilesBusy(retry_after_ms=1000) from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            turns.release()

    # --- looking -----------------------------------------------------------------------------------------

    async def listing(self) -> AsyncIterator[tuple[list[FileEntry], bool]]:
        """(entries, whether there are more that are not told), a piece at a time: nobody holds all of them.
        Sorted name by name, a folder before what is in it.

        What has a name that no other machine could take is not among them.
        """
        count = 0
        cursor: str | None = None
        for _ in range(MAX_PIECES):
            reply, _ = await self._again("list", after=cursor, most=LIST_PIECE)
            listed = _read(reports.Listed, reply, "list")
            found = _entries(listed)[: MAX_ENTRIES + 1 - count]
            count += len(found)
            cursor = listed.next
            full = count > MAX_ENTRIES
            yield found[:-1] if full else found, full
            if full or cursor is None:
                return
        yield [], True

    async def read(self, path: str, offset: int = 0, most: int = PIECE) -> Piece:
        """Raises NoFile."""
        reply, data = await self._again("read", path=check_path(path), offset=offset, most=min(most, PIECE))
        told = _read(reports.FileRead, reply, "read")
        return Piece(data[:most], told.size, told.inode)

    async def pieces(self, path: str, begin: Piece, offset: int, end: int) -> AsyncIterator[bytes]:
        """What lies from ``offset`` (where ``begin`` was read) to ``end``.

        Less where the file has shrunk or was written over meanwhile, or another has its name: the last piece
        is only told when all of them stand in the file together.
        """
        piece, first, crc = begin, offset, 0
        while offset < end and piece.data:
            data = piece.data[: end - offset]
            offset += len(data)
            crc = zlib.crc32(data, crc)
            several = offset - first > len(data)
            if several and offset == end and not await self._stands(path, begin.inode, (first, end), crc):
                return
            yield data
            if offset < end:
                piece = await self.read(path, offset, end - offset)
                if piece.inode != begin.inode:
                    return

    async def _stands(self, path: str, inode: int, span: tuple[int, int], crc: int) -> bool:
        """Whether the bytes of a file between two offsets have this CRC-32, now.

        Its times do not tell: they stay as they are where a program writes to a mapped file.
        """
        found = 0
        for at in range(*span, CHECK_PIECE):
            most = min(CHECK_PIECE, span[1] - at)
            reply, _ = await self._again("check", path=path, offset=at, most=most, crc=found)
            told = _read(reports.FileChecked, reply, "check")
            if told.inode != inode:
                return False
            found = told.crc
        return found == crc

    # --- changing ----------------------------------------------------------------------------------------

    async def write(
        self, path: str, content: AsyncIterator[bytes], *, most: int, executable: bool = False
    ) -> int:
        """A whole file, which replaces the old one when all of it is there; its size.

        Raises FileTooLarge, WorkspaceFull, FileExists where it is a folder.
        """
        upload, size = next(self._uploads), 0
        waiting = b""
        common = {"upload": upload, "path": check_path(path), "executable": executable}
        try:
            async for data in content:
                waiting += data
                if size + len(waiting) > most:
                    raise FileTooLarge(f"{path!a} has more than {most} bytes")
                while len(waiting) > PIECE:
                    await self._call("put", waiting[:PIECE], **common, offset=size, last=False)
                    size += PIECE
                    waiting = waiting[PIECE:]
            await self._call("put", waiting, **common, offset=size, last=True)
            return size + len(waiting)
        except BaseException:
            self._container.link.cast("drop", upload=upload)
            raise

    async def rename(self, path: str, to: str) -> None:
        """Raises NoFile, FileExists."""
        await self._call("rename", path=check_path(path), to=check_path(to))

    async def remove(self, path: str) -> int:
        """A file, or a folder with everything in it; how many went.  Raises NoFile."""
        count = 0
        for _ in range(MAX_REMOVALS):
            reply, _ = await self._call("remove", path=check_path(path), most=REMOVE_PIECE)
            told = _read(reports.Removed, reply, "remove")
            count += min(told.removed, REMOVE_PIECE + 1)
            if not told.more:
                return count
        raise FilesFailed(f"{path!a} fills up again while it is being deleted; stop the program that writes")

    async def make_folder(self, path: str) -> None:
        """With those above it; one that is there already is fine.  Raises FileExists for a file."""
        await self._call("folder", path=check_path(path))

    # --- the agent ---------------------------------------------------------------------------------------

    async def _call(self, op: str, raw: bytes = b"", **body: Any) -> Reply:
        async with self._calls:
            await self._linked()
            return await self._container.link.call(op, raw, **body)

    async def _again(self, op: str, **body: Any) -> Reply:
        """What changes nothing is asked again when the stream broke beneath it."""
        link = self._container.link
        try:
            return await self._call(op, **body)
        except AgentLost:
            if not link.closed.done():
                raise
            return await self._call(op, **body)

    async def _linked(self) -> None:
        """Until the stream to the agent has been mended, if it is broken."""
        container = self._container
        with contextlib.suppress(TimeoutError):
            async with timing.within(MEND_SECONDS):
                while container.link.closed.done() and not self._ended:
                    await container.changed.wait()
        if self._over or container.gone.done():
            raise NoSession()
        if self._ended:
            raise AgentLost("the session's container is out of reach")

    def end(self) -> None:
        """The session is over, though its container may have to wait for its end: nothing more is told of its
        files, and what is under way breaks off at its next piece."""
        self._over = True
        self._container.changed.fire()

    @property
    def _ended(self) -> bool:
        return self._over or self._container.gone.done() or self._container.fault.done()


def _read(kind: type[T], reply: Mapping[str, object], op: str) -> T:
    """Raises FilesFailed where the answer is none."""
    try:
        return reports.read(kind, reply, f"the answer to '{op}'")
    except AgentProtocolError as error:
        raise FilesFailed(f"the agent broke its protocol: {error}") from None


def _entries(listed: reports.Listed) -> list[FileEntry]:
    """Without those that are malformed, or have a name that no other machine could take."""
    found = []
    for one in listed.files:
        with contextlib.suppress(BadPath, AgentProtocolError):
            file = reports.read(reports.FileFound, one, "a file")
            check_path(file.path)
            found.append(convert(file, FileEntry, from_attributes=True))
    return found
