"""Access as the owner: opens files and folders whatever permissions a program took away.

Permissions are widened for good where something is written, and for the moment of reading where it is only
read: who learns about permissions finds them as they were.
"""

from __future__ import annotations

import contextlib
import os
import stat

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
LOOK, CHANGE = 0o500, 0o700  # what is needed of a folder
READ = 0o400  # and of a file
OURS = (".build", ".tmp")  # folders of the workspace that every program needs
KEPT = (".cache", ".service")  # those in which compilers and services keep theirs, each in a folder
MOST = 64  # folders looked at in each of these

TYPE_CHECKING = False
if TYPE_CHECKING:
    Entered = tuple[int, int | None]


def enter(name: str, needed: int, folder: int | None = None) -> Entered:
    """A folder, below the descriptor ``folder``, opened with ``needed``: (descriptor, permissions before).

    They are what ``restore`` takes; None where nothing had to be widened.
    """
    try:
        inner = os.open(name, FOLDER, dir_fd=folder)
    except PermissionError:
        return _widened(name, FOLDER, needed, folder)
    mode = os.fstat(inner).st_mode
    if mode & needed == needed:
        return inner, None
    try:
        os.fchmod(inner, stat.S_IMODE(mode) | needed)
    except PermissionError:  # somebody else's: it may still be enough
        return inner, None
    return inner, stat.S_IMODE(mode)


def read(name: str, folder: int, *, keep: bool = True) -> int:
    """A descriptor of a file in ``folder``, which ``keep``s the permissions that it had."""
    try:
        return os.open(name, FILE, dir_fd=folder)
    except PermissionError:
        source, before = _widened(name, FILE, READ, folder)
        if keep:
            restore(source, before)
        return source


def restore(descriptor: int, before: int | None) -> None:
    """Gives a folder or file back the permissions that ``enter`` returned; None: they were not changed."""
    if before is not None:
        os.fchmod(descriptor, before)


def mend(path: str) -> None:
    """Make this folder if it is not there, and its owner's to use.

    A file or a link to nowhere in its place is kept under a name beside: were it only told, its owner could
    not remove it, for a shell needs the folder as well, and lists of the workspace leave it out.
    """
    try:
        os.makedirs(path, exist_ok=True)
    except FileExistsError:
        if os.path.basename(path) not in OURS:  # a program may be told of any other
            raise
        os.rename(path, f"{path}~")
        os.makedirs(path, exist_ok=True)
    mode = os.stat(path).st_mode
    if mode & CHANGE != CHANGE:
        os.chmod(path, stat.S_IMODE(mode) | CHANGE)


def mend_kept(workspace: str) -> None:
    """What compilers and services keep is theirs again: the folders of ``KEPT``, and those in them.

    Nothing is made, no link followed; what cannot be mended is left for the program that needs it to say.
    """
    for name in KEPT:
        try:
            kept = enter(os.path.join(workspace, name), CHANGE)[0]
        except OSError:
            continue
        try:
            for one in os.listdir(kept)[:MOST]:
                with contextlib.suppress(OSError):
                    mend_at(one, kept)
        finally:
            os.close(kept)


def mend_at(name: str, folder: int) -> None:
    """As `mend`, of a folder that is there, below the descriptor ``folder``."""
    inner, _ = enter(name, CHANGE, folder)
    os.close(inner)


def _widened(name: str, flags: int, needed: int, folder: int | None) -> Entered:
    # A look at the thing itself needs no permission, and follows no link.
    thing = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        before = stat.S_IMODE(os.fstat(thing).st_mode)
        os.chmod(f"/proc/self/fd/{thing}", before | needed)
        return os.open(name, flags, dir_fd=folder), before
    finally:
        os.close(thing)
