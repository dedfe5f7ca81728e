"""Lists and removes folders piece by piece: no call takes long, however many files a program creates."""

from __future__ import annotations

import bisect
import errno
import os
import stat

from . import files, owner
from .lean import suppress

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from typing import Any

    from coderunner.wire import typed

LISTING_BYTES = 65536  # of all paths in one piece of a listing
MAX_DEPTH = 32  # components of a path (as in schema/paths.py); deeper files are not listed


def listing(after: str | None, limit: int) -> tuple[list[typed.FileFound], str | None]:
    """([entry], cursor): the files and folders after the path ``after`` (None: from the beginning).

    Sorted by name within each folder, a folder before its content.  An entry is {path, size, mtime_ms,
    folder, executable}.  At most ``limit`` entries are looked at, and their paths have about LISTING_BYTES at
    most.  The cursor is the ``after`` of the next call, None at the end.  Nothing is kept between two calls,
    so a tree that changes meanwhile is listed with only its changes wrong.  Raises OSError.
    """
    found: list[typed.FileFound] = []
    looked, last, size = 0, after, 0
    # A stack of (result of owner.enter, names still to look at with the next one last, path with a slash).
    levels: list[Any] = []
    try:
        _descend(levels, [] if after is None else after.split("/"))
        while levels:
            (folder, _), names, prefix = levels[-1]
            if not names:
                _close(levels.pop())
                continue
            if looked >= limit or size >= LISTING_BYTES:
                return found, last
            name = names.pop()
            if files.hidden(name):
                continue
            looked += 1
            last = prefix + name
            size += len(os.fsencode(last))
            with suppress(OSError):
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if not _add(found, last, status) or not stat.S_ISDIR(status.st_mode):
                    continue
                if len(levels) < MAX_DEPTH:
                    looked += 1
                    _enter(levels, owner.enter(name, owner.LOOK, folder), last + "/", "")
        return found, None
    finally:
        for level in reversed(levels):
            _close(level)


def _close(level: Any) -> None:
    owner.restore(*level[0])
    os.close(level[0][0])


def _descend(levels: list[Any], parts: list[str]) -> None:
    """Opens the folders on the way to where the last call stopped, as far as they still exist."""
    entered, prefix = owner.enter(files.WORKSPACE, owner.LOOK), ""
    for part in parts[:MAX_DEPTH]:
        _enter(levels, entered, prefix, part)
        try:
            entered = owner.enter(part, owner.LOOK, entered[0])
        except OSError:
            # Removed meanwhile: the listing goes on behind its name.
            return
        prefix += part + "/"
    if len(levels) < MAX_DEPTH:
        _enter(levels, entered, prefix, "")
    else:
        _close((entered,))


def _enter(levels: list[Any], entered: owner.Entered, prefix: str, after: str) -> None:
    levels.append((entered, [], prefix))  # first, so that its descriptor is closed if the listing fails
    names = sorted(os.listdir(entered[0]))
    levels[-1] = (entered, names[bisect.bisect_right(names, after) :][::-1], prefix)


def _add(found: list[typed.FileFound], path: str, status: os.stat_result) -> bool:
    """Adds an entry; False for a link or device, and for a name that is not UTF-8."""
    folder = stat.S_ISDIR(status.st_mode)
    if not folder and not stat.S_ISREG(status.st_mode):
        return False
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    found.append(
        {
            "path": path,
            "size": 0 if folder else status.st_size,
            "mtime_ms": status.st_mtime_ns // 1_000_000,
            "folder": folder,
            "executable": not folder and bool(status.st_mode & 0o100),
        }
    )
    return True


def remove(path: str, limit: int) -> tuple[int, bool]:
    """(number of removed files and folders, whether there are more): a file, or a folder with its content.

    Removes at most ``limit`` in one call.  Links are removed and not followed.  Raises FilesError."""
    with files.folder_of(path, change=True) as (folder, name):
        if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=folder)
            return 1, False
        top, _ = owner.enter(name, owner.CHANGE, folder)
        try:
            count = _empty(top, limit)
        finally:
            os.close(top)
        if count < limit:
            gone = _rmdir(name, folder)
            return count + gone, not gone
        return count, True


def _empty(top: int, limit: int) -> int:
    """Removes at most ``limit`` files and folders below the descriptor ``top``; returns how many."""
    count = 0
    levels: list[Any] = [(os.dup(top), os.listdir(top), None)]
    try:
        while levels and count < limit:
            folder, names, own = levels[-1]
            if not names:
                levels.pop()
                os.close(folder)
                if levels:
                    count += _rmdir(own, levels[-1][0])
                continue
            name = names.pop()
            # A program may have removed it first.
            with suppress(FileNotFoundError):
                if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                    os.unlink(name, dir_fd=folder)
                    count += 1
                elif len(levels) < MAX_DEPTH:
                    inner, _ = owner.enter(name, owner.CHANGE, folder)
                    levels.append((inner, [], name))
                    levels[-1] = (inner, os.listdir(inner), name)
                else:
                    # Too deep to keep every folder on the way open: it is moved to the top.
                    near = files.temporary()
                    os.rename(name, near, src_dir_fd=folder, dst_dir_fd=top)
                    levels[0][1].append(near)
                    count += 1
        return count
    finally:
        for level in levels:
            os.close(level[0])


def _rmdir(name: str, folder: int) -> int:
    try:
        os.rmdir(name, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return 0  # a program keeps writing to it
    return 1
