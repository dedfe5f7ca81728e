"""Watches the workspace for changes: by inotify, and by scanning it when inotify is not sufficient.

Every folder has a watch, up to MAX_WATCHES.  A program can use up the user's watches, or change more files
than the kernel's queue holds.  Then the whole workspace is scanned, in pieces of a few milliseconds: at a
channel's end, and every SLOW_SECONDS while a server is attached.
"""

from __future__ import annotations

import errno
import os
import stat
import time
import zlib

from coderunner.wire import artifacts

from . import files, folders
from .inotify import CLOSE_WRITE, CREATE, FOLDER, IGNORED, MOVED_FROM, MOVED_TO, OVERFLOW, Inotify

PAUSE_SECONDS = 0.25  # between two reads of inotify: changes are reported that often at most
SLOW_SECONDS = 2.0  # between two scans, when inotify does not cover everything
REST_FACTOR = 5  # after a scan none begins for this many times the CPU time that it took
SCAN_PIECE = 256  # entries of one call of `folders.listing`
MAX_WATCHES = 1024  # folders
MAX_SEEN = 512  # files that are remembered


class Watcher:
    """Finds changed files.  ``revision``: incremented with each change that was noticed.

    The agent's loop calls ``read`` when ``descriptor`` is readable and ``wants`` allows it, and ``tick`` in
    each turn; ``pop_made`` gives the new artifacts.  ``now``: seconds of the monotonic clock."""

    def __init__(self, now: float) -> None:
        self.revision = 0
        self._inotify: Inotify | None = None
        self._folders: dict[int, str] = {}  # watch -> path, with a slash at its end
        self._watches: dict[str, int] = {}  # path -> watch
        self._covered = True  # every folder has a watch
        self._read_at = now  # when inotify may be read again
        self._cursor: str | None = None  # of the scan in progress
        self._scanning = False
        self._wanted = False  # a scan is to begin as soon as it may
        self._scan_at = now  # when the next scan may begin
        self._spent = 0.0  # seconds of CPU time of the scan in progress
        self._sum = 0  # CRC-32 over all paths, sizes and times of the scan in progress
        self._last_sum: int | None = None  # of the scan before
        self._seen: dict[str, tuple[int, int, int]] = {}  # path -> signature, of files that may be artifacts
        self._made: dict[str, int] = {}  # path -> size, of artifacts that `pop_made` has not returned yet
        self._open()

    @property
    def descriptor(self) -> int:
        """The descriptor of inotify; -1 without one."""
        return self._inotify.descriptor if self._inotify else -1

    @property
    def looking(self) -> bool:
        """Whether a scan is in progress or due, which may find files that were made before."""
        return self._scanning or self._wanted

    def _open(self) -> None:
        try:
            self._inotify = Inotify()
            self._watch("")
        except OSError:
            self._covered = False

    # --- the loop's turn ---------------------------------------------------------------------------

    def wants(self, now: float) -> bool:
        """Whether ``read`` may be called: PAUSE_SECONDS after the last time."""
        return self._inotify is not None and now >= self._read_at

    def tick(self, now: float, *, attached: bool) -> float | None:
        """Scans a piece if that is due; returns the moment at which it has to be called again, or None.

        ``attached``: whether a server is; without one nobody is told of changes."""
        if not self.looking and not self._covered and attached and now >= self._scan_at + SLOW_SECONDS:
            self._wanted = True
        if self._wanted and not self._scanning and now >= self._scan_at:
            self._begin()
        if self._scanning:
            self._scan(now)
        if self._scanning:
            return now
        if self._wanted:
            return self._scan_at
        moments = [self._read_at] if now < self._read_at else []
        if not self._covered and attached:
            moments.append(self._scan_at + SLOW_SECONDS)
        return min(moments, default=None)

    @property
    def made(self) -> bool:
        """Whether ``pop_made`` has something to return."""
        return bool(self._made)

    def pop_made(self) -> dict[str, int]:
        """{path: size} of files that may be artifacts and have changed since the last call."""
        made, self._made = self._made, {}
        return made

    def mark_ours(self, path: str, status: os.stat_result) -> None:
        """The agent wrote this file itself: it is no program's artifact.

        ``status``: of the file afterwards."""
        if artifacts.kind(path):
            self._remember(path, _signature(status))

    def read(self, now: float) -> None:
        """Reads and handles the events of inotify."""
        if self._inotify is None:
            return
        changed = False
        for watch, mask, name in self._inotify.read():
            # Events were lost, so only a scan finds what has changed.
            if mask & OVERFLOW:
                changed = self._wanted = True
            elif mask & IGNORED:
                gone = self._folders.pop(watch, None)
                if gone is not None:
                    self._watches.pop(gone, None)
            elif watch in self._folders and not files.hidden(name):
                changed = True
                path = self._folders[watch] + name
                if mask & FOLDER:
                    self._folder(path + "/", mask)
                elif mask & (CLOSE_WRITE | MOVED_TO) and artifacts.kind(name):
                    self._look(path)
        self.revision += changed
        self._read_at = now + PAUSE_SECONDS

    def _folder(self, path: str, mask: int) -> None:
        if mask & MOVED_FROM:
            self._unwatch(path)
        elif mask & (CREATE | MOVED_TO):
            self._watch(path)
            self._wanted = True  # files may have been put into it before it had a watch

    # --- watches -----------------------------------------------------------------------------------

    def _watch(self, path: str) -> None:
        """Adds a watch for a folder.  ``path``: with a slash at its end; empty for the workspace."""
        if self._inotify is None or path in self._watches or path.count("/") > folders.MAX_DEPTH:
            return
        if len(self._watches) >= MAX_WATCHES:
            self._covered = False
            return
        try:
            watch = self._inotify.add(f"{files.WORKSPACE}/{path}")
        except OSError as error:
            # The folder is gone, or (ENOSPC) the user has no watch left.
            self._covered = self._covered and error.errno != errno.ENOSPC
            return
        # A folder that was renamed keeps its watch: its old path is forgotten.
        before = self._folders.get(watch)
        if before is not None:
            self._watches.pop(before, None)
        self._folders[watch] = path
        self._watches[path] = watch

    def _unwatch(self, path: str) -> None:
        for known in [one for one in self._watches if one.startswith(path)]:
            watch = self._watches.pop(known)
            self._folders.pop(watch, None)
            if self._inotify is not None:
                self._inotify.remove(watch)

    # --- scanning ----------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._wanted, self._scanning = False, True
        self._cursor, self._sum, self._spent = None, 0, 0.0
        # Assumed until a folder is found that can have no watch.
        self._covered = True
        if self._inotify is None:
            self._open()

    def _scan(self, now: float) -> None:
        began = time.thread_time()
        try:
            entries, self._cursor = folders.listing(self._cursor, SCAN_PIECE)
        except OSError:
            entries, self._cursor = [], None
        for entry in entries:
            path = entry["path"]
            self._sum = zlib.crc32(f"{path}\0{entry['size']}\0{entry['mtime_ms']}".encode(), self._sum)
            if entry["folder"]:
                self._watch(path + "/")
            elif artifacts.kind(path):
                self._look(path)
        self._spent += time.thread_time() - began
        if self._cursor is None:
            self._scanning = False
            self._scan_at = now + REST_FACTOR * self._spent
            if self._sum != self._last_sum and self._last_sum is not None:
                self.revision += 1
            self._last_sum = self._sum

    # --- files that may be artifacts ---------------------------------------------------------------

    def _look(self, path: str) -> None:
        """Notes a file that may be an artifact, if it is new or has changed."""
        try:
            with files.folder_of(path) as (folder, name):
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            # Raises for a name that is not UTF-8, which no message could carry.
            path.encode()
        except (files.FilesError, UnicodeEncodeError):
            return
        if not stat.S_ISREG(status.st_mode) or not status.st_size:
            return
        signature = _signature(status)
        if self._seen.get(path) != signature:
            self._remember(path, signature)
            self._made[path] = status.st_size
            while len(self._made) > MAX_SEEN:
                del self._made[next(iter(self._made))]

    def _remember(self, path: str, signature: tuple[int, int, int]) -> None:
        self._seen.pop(path, None)
        self._seen[path] = signature
        while len(self._seen) > MAX_SEEN:
            del self._seen[next(iter(self._seen))]


def _signature(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns
