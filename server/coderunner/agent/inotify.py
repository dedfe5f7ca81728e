"""The kernel's inotify, which Python's standard library lacks."""

from __future__ import annotations

import fcntl
import os
import struct
import termios

from .lean import get_errno, libc

# From <sys/inotify.h>. With _EXCEPT_UNLINKED, files that were removed while open cause no events.
MODIFY, CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x2, 0x8, 0x40, 0x80, 0x100, 0x200
OVERFLOW, IGNORED, FOLDER = 0x4000, 0x8000, 0x4000_0000
_ONLY_FOLDERS, _DONT_FOLLOW, _EXCEPT_UNLINKED = 0x100_0000, 0x200_0000, 0x400_0000
_WANTED = (
    MODIFY | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE
    | _ONLY_FOLDERS | _DONT_FOLLOW | _EXCEPT_UNLINKED
)  # fmt: skip
# Watch, mask, cookie, length of the name that follows.
_EVENT = struct.Struct("iIII")
READ_SIZE = 65536


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(get_errno(), os.strerror(get_errno()))
    return result


class Inotify:
    """One inotify descriptor.  Raises OSError when the user has no instances left."""

    def __init__(self) -> None:
        self.descriptor = _checked(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def add(self, path: str) -> int:
        """Watches a folder; returns the watch's number, the old one if it has a watch already.

        Raises OSError; ENOSPC when the user has no watches left."""
        return _checked(libc.inotify_add_watch(self.descriptor, os.fsencode(path), _WANTED))

    def remove(self, watch: int) -> None:
        """Removes a watch."""
        libc.inotify_rm_watch(self.descriptor, watch)

    def read(self) -> list[tuple[int, int, str]]:
        """[(watch, mask, name)]: the waiting events, in order.

        At most READ_SIZE bytes are read; further events are dropped and an OVERFLOW is added, as the kernel
        does when its queue is full.  That bounds the time of one call."""
        try:
            data = os.read(self.descriptor, READ_SIZE)
        except BlockingIOError:
            return []
        found = []
        at = 0
        while at < len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size
            found.append((watch, mask, os.fsdecode(data[at : at + length].rstrip(b"\0"))))
            at += length
        # After a short read the queue is empty, which saves a system call.
        if len(data) > READ_SIZE // 2 and self._drop():
            found.append((-1, OVERFLOW, ""))
        return found

    def _drop(self) -> bool:
        """Drops all waiting events; returns whether there were any."""
        waiting = bytearray(4)
        dropped = False
        for _ in range(64):  # more than the kernel's queue holds
            fcntl.ioctl(self.descriptor, termios.FIONREAD, waiting)
            if not any(waiting):
                break
            os.read(self.descriptor, READ_SIZE)
            dropped = True
        return dropped
