"""HTTP access to the workspace of a live session, authorised by the session's token as bearer.

The handlers' docstrings are published at `/api/docs`.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from typing import BinaryIO
from urllib.parse import quote

from aiohttp import web

from coderunner import timing
from coderunner.config import Settings
from coderunner.core.archives import Bounds
from coderunner.core.codec import encode_answer
from coderunner.core.project import check_path
from coderunner.errors import BadMessage, FileTooLarge, NoSession, NotAllowed, TooSlow
from coderunner.identity.guest import serial_of
from coderunner.schema.answers import ArchiveUnpacked, FileMoved, FilesRemoved, FileWritten, FolderMade
from coderunner.schema.check import NotJson, S, read_json
from coderunner.schema.rest import ARCHIVES, DownloadQuery, MakeFolder, MoveFile, UploadQuery
from coderunner.sessions import packing
from coderunner.sessions.session import Session
from coderunner.web import guard
from coderunner.web.keys import PARTS
from coderunner.web.replies import error_reply, json_reply, query_of

BODY_SECONDS = 30.0  # for a body to arrive, beside the time that its bytes take at SLOWEST
WRITE_SECONDS = 60.0  # for a client to read a piece of an answer
IN_MEMORY = 1024 * 1024  # bytes of an uploaded archive that are kept in memory; larger ones go to a file
SLOWEST = 16 * 1024  # bytes per second that a client must send on average, or it is refused


def session_of(request: web.Request) -> Session:
    """Returns the session that a request is for.

    Raises NotAllowed for a token that only allows watching over a WebSocket; NoSession for an unknown session
    and for a wrong token, which a client must not be able to tell apart.
    """
    name, token = request.match_info["session"], guard.bearer(request)
    # The same error for both cases, and in the same time (`Registry.find`).
    return request.app[PARTS].registry.owned(name, token)


def present_of(request: web.Request, *, control: bool = False) -> Session:
    """As `session_of`, but also accepts the token of a guest who is attached.

    `control`: a guest must have the control now. Raises also NotAllowed if it has not.
    """
    token = guard.bearer(request)
    if serial_of(token) is None:
        return session_of(request)
    session = request.app[PARTS].registry.live(request.match_info["session"])
    role = session.company.role_of(token)
    if role is None:
        raise NoSession()
    if control and role != "control":
        raise NotAllowed("only who has the control may change files")
    return session


def largest(settings: Settings) -> int:
    """The most bytes of a file over HTTP. More than in a message: it is streamed, and not held in memory."""
    return max(settings.max_file_size, settings.max_archive_size)


def _path(request: web.Request) -> str:
    return check_path(request.match_info["path"])


# --- reading --------------------------------------------------------------------------------------------


async def listing(request: web.Request) -> web.StreamResponse:
    """Lists all files and folders, sorted; `complete` is false if there are more than are listed."""
    # Streamed, as the names of a full workspace have many megabytes, and many clients may ask at once.
    session = present_of(request)
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Cache-Control": "no-store"})
    async with session.files.request():
        begun, complete = False, True
        async for entries, more in session.files.listing():
            complete = complete and not more
            if not response.prepared:  # only now, so that an error of the first call can still be answered
                await response.prepare(request)
                await _send(response, b'{"files":[')
            if entries:
                told = b",".join(encode_answer(entry) for entry in entries)
                await _send(response, b"," + told if begun else told)
                begun = True
        await _send(response, b'],"complete":true}' if complete else b'],"complete":false}')
    await response.write_eof()
    return response


async def read(request: web.Request) -> web.StreamResponse:
    """Returns a file's content, or the part that the header `Range` requests."""
    session, path = present_of(request), _path(request)
    name = quote(path.rpartition("/")[2])
    return await send_file(
        request,
        session,
        path,
        {
            "Content-Type": "application/octet-stream",
            "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
            "Cache-Control": "no-store",
        },
    )


async def send_file(
    request: web.Request, session: Session, path: str, headers: dict[str, str]
) -> web.StreamResponse:
    """Sends a file or the requested range of it, with these headers.

    Raises NoFile, BadPath or FilesFailed, only before anything is sent.
    """
    async with session.files.request():
        # Read first: a missing file is answered with a status, and its size decides about the range.
        begin = await session.files.read(path)
        span = _span(request, begin.size)
        headers["Accept-Ranges"] = "bytes"
        if span is None:
            headers["Content-Range"] = f"bytes */{begin.size}"
            return web.Response(status=416, headers={"Content-Range": headers["Content-Range"]})
        offset, end, whole = span
        if not whole:
            headers["Content-Range"] = f"bytes {offset}-{end - 1}/{begin.size}"
        response = web.StreamResponse(status=200 if whole else 206, headers=headers)
        response.content_length = end - offset
        # The first piece was read from the beginning, and the range begins elsewhere.
        if offset and request.method != "HEAD":
            begin = await session.files.read(path, offset, end - offset)
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        async for data in session.files.pieces(path, begin, offset, end):
            await _send(response, data)
            offset += len(data)
        if offset < end:
            # The file became shorter meanwhile. Aborting makes the client see an incomplete answer.
            response.force_close()
            if request.transport is not None:
                request.transport.abort()
        else:
            await response.write_eof()
        return response


def _span(request: web.Request, size: int) -> tuple[int, int, bool] | None:
    """The requested range of a file of `size` bytes: (offset, end, whether it is the whole file).

    None if the range is outside of the file. For several ranges and for an invalid header the whole file is
    returned, as RFC 9110 allows.
    """
    try:
        asked = request.http_range
    except ValueError:
        return 0, size, True
    if asked.start is None:
        return 0, size, True
    offset, end, _ = asked.indices(size)
    # `bytes=-0` has no bytes; aiohttp takes it for the whole file.
    if asked.start == 0 and "=-" in request.headers["Range"]:
        return None
    return (offset, end, False) if offset < end else None


async def _send(response: web.StreamResponse, data: bytes) -> None:
    """Writes a piece. Raises TimeoutError if the client reads nothing for WRITE_SECONDS."""
    async with timing.within(WRITE_SECONDS):
        await response.write(data)


# --- changing -------------------------------------------------------------------------------------------


async def write(request: web.Request) -> web.Response:
    """Replaces a file by the body, atomically, after the whole body has arrived."""
    session, path = present_of(request, control=True), _path(request)
    maximum = largest(request.app[PARTS].settings)
    # Refused by the header, before the transfer begins.
    if (request.content_length or 0) > maximum:
        raise FileTooLarge(f"{path!a} has {request.content_length} bytes; send at most {maximum}")
    # Inside its turn, so that waiting bodies do not occupy memory.
    async with session.files.request():
        size = await session.files.write(path, body_pieces(request), max_bytes=maximum)
    return json_reply(FileWritten(path, size))


async def rename(request: web.Request) -> web.Response:
    """Moves a file or a folder: `{"path": "new/name"}`. An existing file is not replaced."""
    session, path = present_of(request, control=True), _path(request)
    # Read before the turn is taken: a slow client must not hold one.
    to = (await body_of(request, MoveFile)).path
    async with session.files.request():
        await session.files.rename(path, check_path(to))
    return json_reply(FileMoved(to))


async def remove(request: web.Request) -> web.Response:
    """Removes a file, or a folder with everything in it."""
    session, path = present_of(request, control=True), _path(request)
    async with session.files.request():
        count = await session.files.remove(path)
    return json_reply(FilesRemoved(count))


async def make_folder(request: web.Request) -> web.Response:
    """Makes a folder and its parents: `{"folder": true}`. An existing folder is no error."""
    session, path = present_of(request, control=True), _path(request)
    await body_of(request, MakeFolder)
    async with session.files.request():
        await session.files.make_folder(path)
    return json_reply(FolderMade(path), 201)


async def body_of(request: web.Request, kind: type[S]) -> S:
    """Reads a JSON body as a model of `schema.rest`. Raises BadMessage with its problems, TooSlow."""
    try:
        async with timing.within(BODY_SECONDS):
            text = await request.read()
    except TimeoutError:
        raise TooSlow("the body did not come in time; send it again, faster") from None
    try:
        return read_json(kind, text)
    except NotJson:
        raise BadMessage("the body must be a JSON object") from None
    except ValueError as error:
        raise BadMessage(str(error)) from None


async def body_pieces(request: web.Request) -> AsyncIterator[bytes]:
    """Yields the body in pieces as they arrive. Raises TooSlow."""
    # Each piece postpones the deadline by the time that it takes at the slowest rate. A deadline for each
    # read alone would allow a client to send one byte at a time for ever.
    due = timing.now() + BODY_SECONDS
    while True:
        # `due` moves with each piece, so the wait is for the rest of it.
        try:
            async with timing.within(due - timing.now()):
                data = await request.content.readany()
        except TimeoutError:
            raise TooSlow("the body did not come in time; send it again, faster") from None
        if not data:
            return
        due += len(data) / SLOWEST
        yield data


# --- archives -------------------------------------------------------------------------------------------


async def download(request: web.Request) -> web.StreamResponse:
    """Returns the whole workspace as an archive. `format`: zip, tar or tar.gz."""
    session = present_of(request)
    kind = query_of(request, DownloadQuery).format
    name = f"{session.language.name}-project.{kind}"
    response = web.StreamResponse(
        headers={
            "Content-Type": ARCHIVES[kind],
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
        }
    )
    async with session.files.request(archive=True):
        await response.prepare(request)
        async for piece in packing.pack(session.files, kind):
            await _send(response, piece)
    await response.write_eof()
    return response


async def upload(request: web.Request) -> web.Response:
    """Unpacks a zip, a tar or a gzipped tar into the workspace, or into its folder `into`."""
    session = present_of(request, control=True)
    settings = request.app[PARTS].settings
    into = query_of(request, UploadQuery).into.strip("/")
    if into:
        check_path(into)
    bounds = Bounds(settings.max_files_per_session, largest(settings), session.limits.workspace_bytes)
    async with session.files.request(archive=True):
        # To a file on disk beyond IN_MEMORY.
        with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as archive:
            await _spool(request, archive, settings.max_archive_size)  # type: ignore[arg-type]
            done = await packing.unpack(session.files, archive, bounds, into)  # type: ignore[arg-type]
    unpacked = ArchiveUnpacked(tuple(done.written), tuple(done.folders), tuple(done.left_out))
    if done.error is not None:
        # A partial result and an error: the client is told both.
        done.error.message += f"; {len(done.written)} files of the archive were written before"
        return error_reply(request, done.error, unpacked)
    return json_reply(unpacked)


async def _spool(request: web.Request, archive: BinaryIO, maximum: int) -> None:
    """Stores the body, at most `maximum` bytes. Zip files can only be read with random access."""
    size = 0
    if (request.content_length or 0) > maximum:
        raise FileTooLarge(f"the archive has {request.content_length} bytes; send at most {maximum}")
    async for data in body_pieces(request):
        size += len(data)
        if size > maximum:
            raise FileTooLarge(f"the archive has more than {maximum} bytes")
        archive.write(data)
