"""The workspace as an archive, read through the agent: nothing a program plants leads out of it.

A file may change while it is read: the archive has what was there when its turn came.
"""

from __future__ import annotations

import time
import zipfile
from collections.abc import AsyncIterator
from typing import IO, Any, cast

from coderunner.core.project import check_path
from coderunner.errors import BadPath, FilesFailed
from coderunner.sessions.link import AgentLink

MOST_FILES = 8192  # what a workspace has inodes for
PIECE = 60_000


class _Sink:
    """Where the archive is written to, piece by piece; a zip needs no seeking."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        self._data += data
        return len(data)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data


async def archive(link: AgentLink) -> AsyncIterator[bytes]:
    """A zip of the workspace's files, as pieces.  Raises AgentLost."""
    reply, _ = await link.call("list", most=MOST_FILES)
    sink = _Sink()
    with zipfile.ZipFile(cast(IO[bytes], sink), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as whole:
        for entry in reply.get("files", ()):
            if not isinstance(entry, dict) or entry.get("folder"):
                continue
            async for piece in _file(link, whole, sink, entry):
                yield piece
    yield sink.take()


async def _file(
    link: AgentLink, whole: zipfile.ZipFile, sink: _Sink, entry: dict[str, Any]
) -> AsyncIterator[bytes]:
    try:
        path = check_path(str(entry.get("path")))  # the agent's word, for a program's name
        _, data = await link.call("read", path=path, offset=0, most=PIECE)
    except (BadPath, FilesFailed):
        return  # gone, or not a name that another machine could take
    information = zipfile.ZipInfo(path, _moment(entry.get("mtime_ms")))
    information.compress_type = zipfile.ZIP_DEFLATED
    information.external_attr = 0o100644 << 16
    with whole.open(information, "w", force_zip64=True) as member:
        offset = 0
        while data:
            member.write(data)
            offset += len(data)
            yield sink.take()
            if len(data) < PIECE:
                break
            try:
                _, data = await link.call("read", path=path, offset=offset, most=PIECE)
            except (BadPath, FilesFailed):
                break


def _moment(milliseconds: Any) -> tuple[int, int, int, int, int, int]:
    """A zip knows the years 1980 to 2107; a program may set any."""
    if not isinstance(milliseconds, int | float) or not 315_619_200_000 <= milliseconds <= 4_000_000_000_000:
        return (1980, 1, 1, 0, 0, 0)
    moment = time.gmtime(milliseconds / 1000)
    return (moment.tm_year, moment.tm_mon, moment.tm_mday, moment.tm_hour, moment.tm_min, moment.tm_sec)
