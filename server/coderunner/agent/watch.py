"""Watches the workspace for changes: by inotify, and by looking through it where that does not suffice.

Every folder has a watch, up to a bound.  A program can use up the user's watches, or change more than the
kernel keeps: then all is looked through, in pieces of a few milliseconds, at a channel's end, and now and
then while somebody is attached.
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

PAUSE_SECONDS = 0.25  # between two looks at what the kernel says: changes are told this often at most
SLOW_SECONDS = 2.0  # between two looks at everything, where the kernel does not say all
REST = 5  # after looking through everything, so many times as long as that took of the processor
SCAN_PIECE = 256
MAX_WATCHES = 1024
MAX_SEEN = 512


class Watcher:
    """``revision`` grows with each change that was noticed.  The agent's loop calls ``read`` when
    ``descriptor`` is ready and ``wants`` says so, and ``tick``; ``take`` gives the files that were made."""

    def __init__(self, now: float) -> None:
        self.revision = 0
        self._inotify: Inotify | None = None
        self._folders: dict[int, str] = {}  # watch -> path, with a slash behind
        self._watches: dict[str, int] = {}  # the other way round
        self._whole = True  # every folder has a watch
        self._resume = now  # when the kernel's word is wanted again
        self._cursor: str | None = None  # of a scan that is under way
        self._scanning = False
        self._wanted = False  # a scan, as soon as may be
        self._rested = now
        self._spent = 0.0
        self._sum = 0
        self._last_sum: int | None = None
        self._seen: dict[str, tuple[int, int, int]] = {}  # path -> signature, of files that may be artifacts
        self._made: dict[str, int] = {}  # path -> size, of those that changed since they were taken
        self._open()

    @property
    def descriptor(self) -> int:
        """The kernel's descriptor; -1 where it gives none."""
        return self._inotify.descriptor if self._inotify else -1

    @property
    def looking(self) -> bool:
        """Whether something may still be found of what happened before."""
        return self._scanning or self._wanted

    def _open(self) -> None:
        try:
            self._inotify = Inotify()
            self._watch("")
        except OSError:
            self._whole = False

    # --- the loop's turn ---------------------------------------------------------------------------

    def wants(self, now: float) -> bool:
        """Whether ``read`` is due, so that changes are told at most every PAUSE_SECONDS."""
        return self._inotify is not None and now >= self._resume

    def tick(self, now: float, *, attached: bool) -> float | None:
        """Look through a piece where that is due; the moment of the next one, or None."""
        if not self.looking and not self._whole and attached and now >= self._rested + SLOW_SECONDS:
            self._wanted = True
        if self._wanted and not self._scanning and now >= self._rested:
            self._begin()
        if self._scanning:
            self._scan(now)
        if self._scanning:
            return now
        if self._wanted:
            return self._rested
        moments = [self._resume] if now < self._resume else []
        if not self._whole and attached:
            moments.append(self._rested + SLOW_SECONDS)
        return min(moments, default=None)

    @property
    def made(self) -> bool:
        """Whether ``take`` would give something."""
        return bool(self._made)

    def take(self) -> dict[str, int]:
        """{path: size} of files that may be artifacts and have changed."""
        made, self._made = self._made, {}
        return made

    def own(self, path: str, status: os.stat_result) -> None:
        """We wrote it: no program did."""
        if artifacts.kind(path):
            self._remember(path, _signature(status))

    def read(self, now: float) -> None:
        """What the kernel says, up to now."""
        if self._inotify is None:
            return
        changed = False
        for watch, mask, name in self._inotify.read():
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
        self._resume = now + PAUSE_SECONDS

    def _folder(self, path: str, mask: int) -> None:
        if mask & MOVED_FROM:
            self._unwatch(path)
        elif mask & (CREATE | MOVED_TO):
            self._watch(path)
            self._wanted = True  # what was put into it before it had a watch

    # --- watches -----------------------------------------------------------------------------------

    def _watch(self, path: str) -> None:
        """``path`` ends with a slash, or is empty."""
        if self._inotify is None or path in self._watches or path.count("/") > folders.MAX_DEPTH:
            return
        if len(self._watches) >= MAX_WATCHES:
            self._whole = False
            return
        try:
            watch = self._inotify.add(f"{files.WORKSPACE}/{path}")
        except OSError as error:
            # Gone meanwhile, or there are no more of them.
            self._whole = self._whole and error.errno != errno.ENOSPC
            return
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

    # --- looking through everything ----------------------------------------------------------------

    def _begin(self) -> None:
        self._wanted, self._scanning = False, True
        self._cursor, self._sum, self._spent = None, 0, 0.0
        self._whole = True
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
            self._rested = now + REST * self._spent
            if self._sum != self._last_sum and self._last_sum is not None:
                self.revision += 1
            self._last_sum = self._sum

    # --- files that may be artifacts ---------------------------------------------------------------

    def _look(self, path: str) -> None:
        try:
            with files.folder_of(path) as (folder, name):
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
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
