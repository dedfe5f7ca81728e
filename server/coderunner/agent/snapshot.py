"""The workspace as it was at one moment, and the container brought back to it: for programs of which each is
to begin as if none had run before.

What is kept is in this process's memory, which no program can read or change.  Programs share one user with
us, so nothing else in the container would be safe from them.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time

from . import kernel, owner, tree

WORKSPACE = "/workspace"
SHARED = ("/tmp", "/dev/shm", "/dev/mqueue")  # whatever else programs can write to
LEFT_OUT = (".tmp", ".service")  # of the workspace: nothing of a program's own is there
MAX_BYTES = 32 * 1024 * 1024
MAX_ENTRIES = 8192
MAX_PATH = 3000
KILL_SECONDS = 1.0

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from collections.abc import Iterable

    Entry = tuple[str, os.stat_result, bytes]


class TooMuch(Exception):
    """More than is kept; the text says what."""


class StillAlive(Exception):
    """What was killed has not ended yet."""


class Snapshot:
    """Regular files, folders and symbolic links. Hard links become files of their own."""

    def __init__(self) -> None:
        """Takes it. Raises TooMuch, OSError."""
        self._mode = stat.S_IMODE(os.stat(WORKSPACE).st_mode)
        self._entries: list[Entry] = []
        self._size = 0
        self._take("")

    def _take(self, first: str) -> None:
        folders = [first]
        while folders:
            folder = folders.pop()
            for name in sorted(os.listdir(os.path.join(WORKSPACE, folder))):
                path = os.path.join(folder, name)
                if path in LEFT_OUT:
                    continue
                status = os.lstat(os.path.join(WORKSPACE, path))
                if len(self._entries) == MAX_ENTRIES or len(os.fsencode(path)) > MAX_PATH:
                    raise TooMuch(f"the project has more than {MAX_ENTRIES} files, or too long a path")
                if stat.S_ISDIR(status.st_mode):
                    folders.append(path)
                    self._entries.append((path, status, b""))
                elif stat.S_ISLNK(status.st_mode):
                    target = os.readlink(os.path.join(WORKSPACE, path))
                    self._entries.append((path, status, os.fsencode(target)))
                elif stat.S_ISREG(status.st_mode):
                    self._entries.append((path, status, self._content(path)))

    def _content(self, path: str) -> bytes:
        with open(os.path.join(WORKSPACE, path), "rb") as file:
            data = file.read(MAX_BYTES - self._size + 1)
        self._size += len(data)
        if self._size > MAX_BYTES:
            raise TooMuch(f"the project has more than {MAX_BYTES} bytes with what its compiler made")
        return data

    def restore(self) -> None:
        """Ends every process but ours, and puts everything back. Raises StillAlive, OSError."""
        end_all()
        kernel.remove_shared()
        for root in (WORKSPACE, *SHARED):
            with contextlib.suppress(FileNotFoundError):
                empty(root)
        os.chmod(WORKSPACE, self._mode)
        for path, status, data in self._entries:
            self._make(os.path.join(WORKSPACE, path), status, data)
        # Backwards, as what is made in a folder changes it.
        for path, status, _ in reversed(self._entries):
            if stat.S_ISDIR(status.st_mode):
                whole = os.path.join(WORKSPACE, path)
                os.chmod(whole, stat.S_IMODE(status.st_mode))
                os.utime(whole, ns=(status.st_atime_ns, status.st_mtime_ns))

    @staticmethod
    def _make(path: str, status: os.stat_result, data: bytes) -> None:
        if stat.S_ISDIR(status.st_mode):
            os.mkdir(path, 0o700)
            return
        if stat.S_ISLNK(status.st_mode):
            os.symlink(data, os.fsencode(path))
            return
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(target, left) :]
            os.fchmod(target, stat.S_IMODE(status.st_mode))
            os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
        finally:
            os.close(target)


def end_all() -> None:
    """Kills every process of the container but this one, and waits until none lives. Raises StillAlive."""
    end = time.monotonic() + KILL_SECONDS
    while tree.kill(os.getpid()):
        if time.monotonic() > end:
            raise StillAlive("processes that were killed have not ended yet")
        time.sleep(0.0005)


def empty(root: str) -> None:
    """Removes all that is in a folder, which stays. Nothing else may write there meanwhile. Raises OSError.

    Folders in it are brought to its own level one by one, so that none is too deep.
    """
    mark = os.urandom(8).hex()
    count = 0
    folder, _ = owner.enter(root, owner.CHANGE)
    try:
        names = os.listdir(folder)
        while names:
            name = names.pop()
            if not _is_folder(name, folder):
                os.unlink(name, dir_fd=folder)
                continue
            inner, _ = owner.enter(name, owner.CHANGE, folder)
            try:
                for one in os.listdir(inner):
                    if not _is_folder(one, inner):
                        os.unlink(one, dir_fd=inner)
                        continue
                    owner.mend_at(one, inner)  # a folder that is moved is written to
                    count += 1
                    moved = f".{mark}.{count}"
                    os.rename(one, moved, src_dir_fd=inner, dst_dir_fd=folder)
                    names.append(moved)
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=folder)
        _forget_attributes(folder)
    finally:
        os.close(folder)


def _is_folder(name: str, folder: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def _forget_attributes(folder: int) -> None:
    names: Iterable[str] = ()
    with contextlib.suppress(OSError):
        names = os.listxattr(folder)
    for name in names:
        if name.startswith("user."):
            with contextlib.suppress(OSError):
                os.removexattr(folder, name)
