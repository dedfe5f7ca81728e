"""A snapshot of the workspace, to which the container is restored between programs.

Used when each program has to start as if none had run before.  The snapshot is kept in this process's memory,
which programs can neither read nor change.  They have the same user as this process, so every other place in
the container would be open to them.
"""

from __future__ import annotations

import os
import stat
import time

from . import kernel, owner, tree
from .lean import suppress

WORKSPACE = "/workspace"
SHARED = ("/tmp", "/dev/shm", "/dev/mqueue")  # other folders that programs can write to
LEFT_OUT = (".tmp", ".service")  # folders of the workspace without files of a program
MAX_BYTES = 32 * 1024 * 1024  # of all files
MAX_ENTRIES = 8192  # files, folders and links
MAX_PATH = 3000  # bytes of a path
KILL_SECONDS = 1.0  # in which killed processes must have ended
KILL_PAUSE_SECONDS = 0.0005  # between two checks

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from collections.abc import Iterable

    Entry = tuple[str, os.stat_result, bytes]


class TooMuch(Exception):
    """The workspace exceeds a bound of the snapshot; the text says which."""


class StillAlive(Exception):
    """A killed process has not ended within KILL_SECONDS."""


class Snapshot:
    """The workspace's regular files, folders and symbolic links.  Hard links become separate files."""

    def __init__(self) -> None:
        """Takes the snapshot.  Raises TooMuch, OSError."""
        self._mode = stat.S_IMODE(os.stat(WORKSPACE).st_mode)
        self._entries: list[Entry] = []
        self._size = 0
        self._read_tree()

    def _read_tree(self) -> None:
        folders = [""]
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
        """Kills every process but this one, and restores all files.  Raises StillAlive, OSError."""
        end_all()
        kernel.remove_shared()
        for root in (WORKSPACE, *SHARED):
            with suppress(FileNotFoundError):
                empty(root)
        os.chmod(WORKSPACE, self._mode)
        for path, status, data in self._entries:
            self._make(os.path.join(WORKSPACE, path), status, data)
        # Last and in reverse order, as each new file changes the times of its folder.
        for path, status, _ in reversed(self._entries):
            if stat.S_ISDIR(status.st_mode):
                whole = os.path.join(WORKSPACE, path)
                os.chmod(whole, stat.S_IMODE(status.st_mode))
                os.utime(whole, ns=(status.st_atime_ns, status.st_mtime_ns))

    @staticmethod
    def _make(path: str, status: os.stat_result, data: bytes) -> None:
        if stat.S_ISDIR(status.st_mode):
            # It must be writable while it is filled; its own permissions are set at the end.
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
    """Kills every process of the container but this one, and waits for their ends.  Raises StillAlive."""
    end = time.monotonic() + KILL_SECONDS
    while tree.kill(os.getpid()):
        if time.monotonic() > end:
            raise StillAlive("processes that were killed have not ended yet")
        # This blocks the event loop on purpose: nothing may run while files are restored.
        time.sleep(KILL_PAUSE_SECONDS)


def empty(root: str) -> None:
    """Removes the content of a folder.  No other process may write to it meanwhile.  Raises OSError.

    Folders are moved to its top level one by one, so that a deep tree needs neither recursion nor long paths.
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
                    owner.make_usable_at(one, inner)  # moving a folder needs permission to write to it
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
    # Extended attributes of the folder itself would outlive its content.
    names: Iterable[str] = ()
    with suppress(OSError):
        names = os.listxattr(folder)
    for name in names:
        if name.startswith("user."):
            with suppress(OSError):
                os.removexattr(folder, name)
