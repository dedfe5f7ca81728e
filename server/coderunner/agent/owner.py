"""Opens files and folders as their owner, also where a program has taken its own permissions away.

Permissions are changed for good when something is to be written.  For reading they are changed and restored,
so that a user who is learning about permissions finds them unchanged.
"""

from __future__ import annotations

import os
import stat

from .lean import suppress

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Without O_PATH, gVisor follows a link in spite of O_NOFOLLOW where O_DIRECTORY is given, too.
PLACE = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a named pipe that nobody writes to would block PID 1.
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
LOOK, CHANGE = 0o500, 0o700  # permissions that are needed of a folder
READ = 0o400  # and of a file
OURS = (".build", ".tmp")  # folders of the workspace that every program needs
# Folders of the workspace in which compilers and services keep folders of their own.
KEPT = (".cache", ".service")
MAX_KEPT = 64  # folders that are looked at in each of these

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Entered = tuple[int, int | None]


def enter(name: str, needed: int, folder: int | None = None) -> Entered:
    """Opens the folder ``name`` below the descriptor ``folder``, with the permissions ``needed``.

    Returns (descriptor, previous permissions), which ``restore`` takes; None when they were sufficient.
    Raises OSError.
    """
    try:
        inner = _open_folder(name, folder)
    except PermissionError:
        return _widened(name, needed, folder, _open_folder)
    mode = os.fstat(inner).st_mode
    if mode & needed == needed:
        return inner, None
    try:
        os.fchmod(inner, stat.S_IMODE(mode) | needed)
    except PermissionError:  # another user's folder: its permissions may still suffice
        return inner, None
    return inner, stat.S_IMODE(mode)


def read(name: str, folder: int, *, keep: bool = True) -> int:
    """Opens a file in ``folder`` for reading.  ``keep``: restore its permissions.  Raises OSError."""
    try:
        return _open_file(name, folder)
    except PermissionError:
        source, before = _widened(name, READ, folder, _open_file)
        if keep:
            restore(source, before)
        return source


def restore(descriptor: int, before: int | None) -> None:
    """Restores the permissions that ``enter`` returned; None: they were not changed."""
    if before is not None:
        os.fchmod(descriptor, before)


def make_usable(path: str) -> None:
    """Creates the folder ``path`` if it is missing, and gives its owner all permissions.  Raises OSError.

    A file or a broken link in its place is renamed: the user could not remove it otherwise, as a shell needs
    the folder too, and listings of the workspace leave it out.
    """
    try:
        os.makedirs(path, exist_ok=True)
    except FileExistsError:
        if os.path.basename(path) not in OURS:  # another folder: the user is told, and can remove it
            raise
        os.rename(path, f"{path}~")
        os.makedirs(path, exist_ok=True)
    mode = os.stat(path).st_mode
    if mode & CHANGE != CHANGE:
        os.chmod(path, stat.S_IMODE(mode) | CHANGE)


def make_kept_usable(workspace: str) -> None:
    """As `make_usable`, for the folders of ``KEPT`` that exist, and the folders in them.

    Nothing is created, and no link is followed.  Errors are ignored: the program that needs a folder reports
    them.
    """
    for name in KEPT:
        try:
            kept = enter(os.path.join(workspace, name), CHANGE)[0]
        except OSError:
            continue
        try:
            for one in os.listdir(kept)[:MAX_KEPT]:
                with suppress(OSError):
                    make_usable_at(one, kept)
        finally:
            os.close(kept)


def make_usable_at(name: str, folder: int) -> None:
    """As `make_usable`, for an existing folder below the descriptor ``folder``."""
    inner, _ = enter(name, CHANGE, folder)
    os.close(inner)


def _open_folder(name: str, folder: int | None) -> int:
    place = os.open(name, PLACE, dir_fd=folder)
    try:
        return os.open(".", FOLDER, dir_fd=place)
    finally:
        os.close(place)


def _open_file(name: str, folder: int | None) -> int:
    return os.open(name, FILE, dir_fd=folder)


def _widened(name: str, needed: int, folder: int | None, again: Callable[[str, int | None], int]) -> Entered:
    # O_PATH needs no permission and follows no link, so the permissions of exactly this file are changed.
    thing = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        before = stat.S_IMODE(os.fstat(thing).st_mode)
        os.chmod(f"/proc/self/fd/{thing}", before | needed)
        return again(name, folder), before
    finally:
        os.close(thing)
