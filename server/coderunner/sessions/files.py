"""The files of a session, read and written by its agent with the session's user id.

Links and other files that a program has made therefore lead to nothing that it could not reach itself.  Each
call to the agent is small, so that it delays neither programs nor keystrokes, and there are only a few at one
time. The agent is not trusted: its answers are checked.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from msgspec import convert
from msgspec.structs import replace

from coderunner import timing
from coderunner.core.members import PIECE
from coderunner.core.project import check_path
from coderunner.errors import AgentLost, BadPath, FilesBusy, FilesFailed, FileTooLarge, NoSession
from coderunner.schema import calls, reports
from coderunner.schema.answers import FileEntry
from coderunner.schema.calls import Call
from coderunner.schema.reports import AgentProtocolError
from coderunner.sessions.container import Container
from coderunner.sessions.link import Reply

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_ENTRIES = 8192  # of a listing; a workspace has no more inodes
LIST_PIECE = 256  # entries that the agent looks at in one call
MAX_PIECES = 512  # calls for one listing, some of which may give fewer entries
MAX_PATHS = 2048  # that `paths` returns, about
REMOVE_PIECE = 256  # files that are removed in one call
MAX_ARCHIVES = 2  # requests at one time that pack or unpack an archive
CHECK_PIECE = 1024 * 1024  # bytes that the agent reads for a checksum in one call
MAX_REMOVALS = 400  # calls for one removal: twice as many as a full workspace needs
MAX_CALLS = 4  # to the agent at one time
MAX_REQUESTS = 16  # of clients at one time
MAX_WAITING = 128  # requests that wait for their turn; a page may show as many pictures at once
WAIT_SECONDS = 20.0  # that a request waits for its turn
MEND_SECONDS = 10.0  # that a call waits for a broken stream to be replaced
RETRY_AFTER_MS = 1000


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a file.  ``size``: of the whole file at that moment.  ``inode``: identifies the file."""

    data: bytes
    size: int
    inode: int


async def paths(container: Container) -> set[str]:
    """The paths of the workspace's files, about MAX_PATHS at most.  Raises AgentLost, CodeRunnerError."""
    found: set[str] = set()
    # Bounded by calls and by paths: a program may fill the workspace while it is listed.
    cursor: str | None = None
    for _ in range(MAX_PIECES):
        reply, _ = await container.call(calls.List(after=cursor, limit=LIST_PIECE))
        listed = _read(reports.Listed, reply, "list")
        found |= {entry.path for entry in _entries(listed) if not entry.folder}
        cursor = listed.next
        if cursor is None or len(found) >= MAX_PATHS:
            break
    return found


class Files:
    """Access to the files of one session.

    All methods raise NoSession when the session has ended, AgentLost when its agent cannot be reached for
    now, BadPath, and FilesFailed with the system's message."""

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
        """Encloses everything that one request does, after waiting for its turn.  Raises FilesBusy.

        ``archive``: it packs or unpacks an archive, of which fewer are allowed at one time.
        """
        turns = self._archives if archive else self._requests
        # Refused at once, before a place in the queue is taken.
        if self._waiting >= MAX_WAITING:
            raise FilesBusy(retry_after_ms=RETRY_AFTER_MS)
        # Counted while waiting only; what runs is bounded by the semaphores.
        self._waiting += 1
        try:
            async with timing.within(WAIT_SECONDS):
                await turns.acquire()
        except TimeoutError:
            raise FilesBusy(retry_after_ms=RETRY_AFTER_MS) from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            turns.release()

    # --- reading -----------------------------------------------------------------------------------------

    async def listing(self) -> AsyncIterator[tuple[list[FileEntry], bool]]:
        """The workspace's entries, in pieces of (entries, whether some are left out at the end).

        Sorted by name within each folder, a folder before its content.  Entries whose names are not valid on
        every machine are left out.
        """
        count = 0
        cursor: str | None = None
        for _ in range(MAX_PIECES):
            reply, _ = await self._again(calls.List(after=cursor, limit=LIST_PIECE))
            listed = _read(reports.Listed, reply, "list")
            # One more than allowed, by which `full` is recognised below.
            found = _entries(listed)[: MAX_ENTRIES + 1 - count]
            count += len(found)
            cursor = listed.next
            full = count > MAX_ENTRIES
            yield found[:-1] if full else found, full
            if full or cursor is None:
                return
        yield [], True

    async def read(self, path: str, offset: int = 0, limit: int = PIECE) -> Piece:
        """At most ``limit`` bytes of a file, from ``offset`` on.  Raises NoFile."""
        reply, data = await self._again(
            calls.Read(path=check_path(path), offset=offset, limit=min(limit, PIECE))
        )
        told = _read(reports.FileRead, reply, "read")
        # Cut, as the agent may send more than was asked for.
        return Piece(data[:limit], told.size, told.inode)

    async def pieces(self, path: str, begin: Piece, offset: int, end: int) -> AsyncIterator[bytes]:
        """The bytes of a file from ``offset`` to ``end``, in pieces.  ``begin``: the piece at ``offset``.

        Fewer bytes when the file has shrunk, was overwritten or replaced meanwhile: the last piece is only
        given after a checksum has shown that all pieces are in the file at the same time.
        """
        piece, first, crc = begin, offset, 0
        while offset < end and piece.data:
            data = piece.data[: end - offset]
            offset += len(data)
            crc = zlib.crc32(data, crc)
            several = offset - first > len(data)
            # A single piece is read by the agent in one call, so it needs no check.
            if several and offset == end and not await self._unchanged(path, begin.inode, (first, end), crc):
                return
            yield data
            # The last piece waits for the check above, so an incomplete file is noticed by its length.
            if offset < end:
                piece = await self.read(path, offset, end - offset)
                if piece.inode != begin.inode:
                    return

    async def _unchanged(self, path: str, inode: int, span: tuple[int, int], crc: int) -> bool:
        """Whether the bytes of a file between two offsets have this CRC-32 now.

        The file's times would not tell: they do not change when a program writes to a mapped file.
        """
        found = 0
        for at in range(*span, CHECK_PIECE):
            size = min(CHECK_PIECE, span[1] - at)
            reply, _ = await self._again(calls.Check(path=path, offset=at, limit=size, crc=found))
            told = _read(reports.FileChecked, reply, "check")
            if told.inode != inode:
                return False
            found = told.crc
        return found == crc

    # --- writing ----------------------------------------------------------------------------------------

    async def write(
        self, path: str, content: AsyncIterator[bytes], *, max_bytes: int, executable: bool = False
    ) -> int:
        """Writes a whole file, which replaces an old one once it is complete; returns its size in bytes.

        ``content``: in pieces of any size.  Raises FileTooLarge, WorkspaceFull; FileExists for a folder.
        """
        upload, size = next(self._uploads), 0
        waiting = b""
        part = calls.Put(upload=upload, path=check_path(path), executable=executable, offset=0, last=False)
        # Pieces of a fixed size, whatever the client's are: each is a call of its own to the agent.
        try:
            async for data in content:
                waiting += data
                if size + len(waiting) > max_bytes:
                    raise FileTooLarge(f"{path!a} has more than {max_bytes} bytes")
                while len(waiting) > PIECE:
                    await self._call(replace(part, offset=size), waiting[:PIECE])
                    size += PIECE
                    waiting = waiting[PIECE:]
            await self._call(replace(part, offset=size, last=True), waiting)
            return size + len(waiting)
        except BaseException:
            # Without an answer: the upload is dropped with the agent's next server, too.
            self._container.link.cast(calls.Drop(upload=upload))
            raise

    async def rename(self, path: str, to: str) -> None:
        """Renames a file or folder; ``to`` must not exist.  Raises NoFile, FileExists."""
        await self._call(calls.Rename(path=check_path(path), to=check_path(to)))

    async def remove(self, path: str) -> int:
        """Removes a file, or a folder with its content; returns the number of files and folders.

        Raises NoFile."""
        count = 0
        for _ in range(MAX_REMOVALS):
            reply, _ = await self._call(calls.Remove(path=check_path(path), limit=REMOVE_PIECE))
            told = _read(reports.Removed, reply, "remove")
            # `removed` is bounded, as the agent is not trusted and the sum goes to the client.
            count += min(told.removed, REMOVE_PIECE + 1)
            if not told.more:
                return count
        raise FilesFailed(f"{path!a} fills up again while it is being deleted; stop the program that writes")

    async def make_folder(self, path: str) -> None:
        """Creates a folder, with its parents.

        An existing folder is no error.  Raises FileExists for a file."""
        await self._call(calls.Folder(path=check_path(path)))

    # --- the agent ---------------------------------------------------------------------------------------

    async def _call(self, call: Call, raw: bytes = b"") -> Reply:
        async with self._calls:
            await self._linked()
            return await self._container.link.call(call, raw)

    async def _again(self, call: Call) -> Reply:
        """As `_call`, for calls that change nothing: repeated once when the stream broke."""
        # Before the call: what counts is whether this very link has ended, and not its successor.
        link = self._container.link
        try:
            return await self._call(call)
        except AgentLost:
            if not link.closed.done():
                raise
            return await self._call(call)

    async def _linked(self) -> None:
        """Waits for a stream to the agent.  Raises NoSession, AgentLost."""
        container = self._container
        with contextlib.suppress(TimeoutError):
            async with timing.within(MEND_SECONDS):
                # `changed` fires for every report, so the condition is looked at again.
                while container.link.closed.done() and not self._ended:
                    await container.changed.wait()
        if self._over or container.gone.done():
            raise NoSession()
        if self._ended:
            raise AgentLost("the session's container is out of reach")

    def end(self) -> None:
        """The session has ended, although its container may still exist: from now on all calls raise
        NoSession.

        Requests in progress end at their next call."""
        self._over = True
        # Requests that wait in `_linked` look again, and end.
        self._container.changed.fire()

    @property
    def _ended(self) -> bool:
        return self._over or self._container.gone.done() or self._container.fault.done()


def _read(kind: type[T], reply: Mapping[str, object], op: str) -> T:
    """An answer of the agent as a model.  Raises FilesFailed when it is malformed."""
    try:
        return reports.read(kind, reply, f"the answer to '{op}'")
    except AgentProtocolError as error:
        raise FilesFailed(f"the agent broke its protocol: {error}") from None


def _entries(listed: reports.Listed) -> list[FileEntry]:
    """The entries of an answer, without malformed ones and names that are not valid on every machine."""
    found = []
    for one in listed.files:
        # Each by itself: one bad name must not hide the other files.
        with contextlib.suppress(BadPath, AgentProtocolError):
            file = reports.read(reports.FileFound, one, "a file")
            check_path(file.path)
            found.append(convert(file, FileEntry, from_attributes=True))
    return found
