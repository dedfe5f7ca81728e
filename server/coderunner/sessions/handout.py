"""A project for all sessions of a room, and the files of all of them as one archive."""

from __future__ import annotations

import contextlib
import re
import zipfile
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import IO, BinaryIO, cast

from coderunner import timing
from coderunner.core.archives import Bounds, examine, members
from coderunner.core.members import PIECE
from coderunner.errors import BadArchive, CodeRunnerError, FilesFailed, FileTooLarge
from coderunner.schema.answers import FileEntry
from coderunner.sessions.files import Files
from coderunner.sessions.packing import MAX_NAMES, Sink, moment

MAX_PACKED = 4 * 1024 * 1024  # bytes of an archive that is handed out; it is in memory until all have it
BOUNDS = Bounds(max_files=256, max_file_bytes=MAX_PACKED, max_bytes=MAX_PACKED)
"""Of a project that is handed out, unpacked."""
PUT_SECONDS = 15.0  # for all of it to be written to one session
READ_SECONDS = 15.0  # for a listing or a file of one session to be read
# Users choose how many files there are, and can keep their container busy: each would take READ_SECONDS.
EACH_SECONDS = 30.0  # for which one session is waited for when files are collected
ALL_SECONDS = 200.0  # for which all are; who collects gives up after 300 s
MAX_FILE = 4 * 1024 * 1024  # bytes of a file that is collected: it is in memory as a whole
MAX_EACH = 32 * 1024 * 1024  # bytes that are collected from one session
MAX_ALL = 256 * 1024 * 1024  # bytes that are collected from all
MAX_TOLD = 1000  # lines of LEFT_OUT
LEFT_OUT = "left-out.txt"  # in the archive: what is not in it, and why
_ODD = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, slots=True)
class Handed:
    """A file that is handed out: its path in the workspace, and its content."""

    path: str
    data: bytes
    executable: bool


def project(archive: BinaryIO, into: str) -> tuple[Handed, ...]:
    """The files of an archive, below the folder `into` of a workspace. To be called in a thread.

    Raises BadArchive, BadPath, FileTooLarge, TooManyFiles."""
    try:
        examine(archive, BOUNDS, into)
        found = tuple(
            Handed(one.path, b"".join(one.content), one.executable)
            for one in members(archive, BOUNDS, into)
            if one.plain and not one.folder
        )
    # What the archive libraries raise for archives that are cut off or damaged.
    except (ValueError, OverflowError) as error:
        raise BadArchive(f"the archive cannot be read: {error}") from None
    if not found:
        raise BadArchive("there is no file in the archive")
    return found


async def put(files: Files, handed: tuple[Handed, ...]) -> str | None:
    """Writes them to a session, and replaces those of the same names; why this failed, or None."""
    try:
        async with timing.within(PUT_SECONDS), files.request(archive=True):
            for one in handed:
                await files.write(
                    one.path, _once(one.data), max_bytes=len(one.data), executable=one.executable
                )
    except CodeRunnerError as error:
        return error.message
    except TimeoutError:
        return "the session did not take them in time"
    return None


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def folder_of(name: str, session: str) -> str:
    """The folder of a session in the archive: the name of who opened it as far as it can be a file's, and the
    end of the session's id."""
    return f"{_ODD.sub('_', name)[:40].strip('._') or 'session'}-{session[-8:]}"


async def collect(sources: Iterable[tuple[str, Files]]) -> AsyncIterator[bytes]:
    """A zip of the workspaces of all sessions, in pieces. `sources`: (folder in the archive, files of a
    session). What cannot be read, or is too large, is left out and named in LEFT_OUT."""
    sink, total, names, left_out, limits = Sink(), 0, 0, _LeftOut(), _TimeLimits()
    with zipfile.ZipFile(cast(IO[bytes], sink), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as whole:
        for folder, files in sources:
            limits.begin()
            entries, why = await _listed(files, limits)
            if why is not None:
                left_out.note(f"{folder}: {why}")
            size = 0
            for entry in entries:
                path, data = f"{folder}/{entry.path}", b""
                names += len(path)
                most = min(MAX_FILE, MAX_EACH - size, MAX_ALL - total)
                try:
                    if names > MAX_NAMES:
                        raise FilesFailed("the names of all files are too long together")
                    data = await _whole(files, entry, most, limits)
                except CodeRunnerError as error:
                    left_out.note(f"{path}: {error.message}")
                    continue
                except TimeoutError:
                    left_out.note(f"{path}: the session did not answer in time")
                    continue
                size, total = size + len(data), total + len(data)
                information = zipfile.ZipInfo(path, moment(entry.mtime_ms))
                information.compress_type = zipfile.ZIP_DEFLATED
                information.external_attr = (0o100755 if entry.executable else 0o100644) << 16
                with whole.open(information, "w") as member:
                    # In pieces: to compress all of it at once would hold up the event loop.
                    for at in range(0, len(data), PIECE):
                        member.write(data[at : at + PIECE])
                        yield sink.drain()
        if left_out.count:
            whole.writestr(LEFT_OUT, left_out.text())
    yield sink.drain()


class _TimeLimits:
    """How long sessions are still waited for."""

    def __init__(self) -> None:
        self._each, self._all = 0.0, ALL_SECONDS

    def begin(self) -> None:
        """The next session."""
        self._each = EACH_SECONDS

    @contextlib.asynccontextmanager
    async def answer(self) -> AsyncIterator[None]:
        """Encloses the wait for an answer of the session. Raises TimeoutError."""
        began, most = timing.now(), min(READ_SECONDS, self._each, self._all)
        if most < 0.01:  # a timer may be early by less
            raise TimeoutError
        try:
            async with timing.within(most):
                yield
        finally:
            spent = timing.now() - began
            self._each, self._all = self._each - spent, self._all - spent


class _LeftOut:
    """What is not in the archive. Only MAX_TOLD lines are kept: users choose how many files there are, and
    how long their names are."""

    def __init__(self) -> None:
        self.count = 0
        self._lines: list[str] = []

    def note(self, line: str) -> None:
        self.count += 1
        if self.count <= MAX_TOLD:
            self._lines.append(line)

    def text(self) -> str:
        more = self.count - len(self._lines)
        return "".join(f"{line}\n" for line in (*self._lines, *([f"and {more} more"] if more else [])))


async def _listed(files: Files, limits: _TimeLimits) -> tuple[list[FileEntry], str | None]:
    """The files of a workspace; and why some are missing, or None."""
    found: list[FileEntry] = []
    try:
        async with limits.answer(), files.request():
            async for entries, _ in files.listing():
                found += [entry for entry in entries if not entry.folder]
    except CodeRunnerError as error:
        return [], error.message
    except TimeoutError:
        return [], "the session did not answer in time"
    return found, None


async def _whole(files: Files, entry: FileEntry, most: int, limits: _TimeLimits) -> bytes:
    """A file's content. Raises FileTooLarge beyond `most` bytes, FilesFailed if it changes meanwhile."""
    async with limits.answer(), files.request():
        begin = await files.read(entry.path)
        if begin.size > most:
            raise FileTooLarge(f"it has {begin.size} bytes; there is room for {max(0, most)}")
        data = b"".join([piece async for piece in files.pieces(entry.path, begin, 0, begin.size)])
    if len(data) != begin.size:
        raise FilesFailed("it changed while it was read")
    return data
