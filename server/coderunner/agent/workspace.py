"""The session's workspace: files in and out, reports of changes, and which program made which artifact."""

from __future__ import annotations

import os
import time

from coderunner.wire import frames

from . import files
from .ledger import Ledger
from .limited import EXITED
from .snapshot import Snapshot
from .watch import Watcher

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from typing import Any

    from coderunner.wire import typed

    from .channel import Channel
    from .link import Link
    from .programs import Programs

MAX_NEWS = 32  # artifacts that are reported in one turn


class Workspace:
    """Combines uploads, the watcher for changes, and the ledger of artifacts.

    ``programs``: who may have made them."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self._uploads = files.Uploads()
        self._watcher = Watcher(time.monotonic())
        self._ledger = Ledger()
        self._told = 0  # the revision that was reported to the server
        self._due: float | None = None  # when the watcher is to be called again
        self._ended: int | None = None  # the channel that ended last: files found now may be its work
        self._snapshot: Snapshot | None = None
        self._unlooked: set[int] = set()  # channels whose last files are not collected yet

    # --- what changes ------------------------------------------------------------------------------

    @property
    def descriptor(self) -> int:
        """Readable when files have changed; -1 without inotify."""
        return self._watcher.descriptor

    def wants(self, now: float) -> bool:
        """Whether the descriptor is to be polled now."""
        return self._watcher.wants(now)

    def read(self) -> None:
        """Reads the kernel's reports of changes."""
        self._watcher.read(time.monotonic())

    def tick(self) -> float | None:
        """The moment at which `look_around` has to be called again, or None."""
        return self._due

    def collect_last(self, channel: Channel) -> None:
        """When ``channel`` has ended: records its last files as its own, so that they are reported before
        its end."""
        if channel.phase == EXITED and channel.number in self._unlooked:
            self._unlooked.discard(channel.number)
            self._ended = channel.number
            self.read()
            self._record_made()

    def look_around(self, *, attached: bool) -> None:
        """Scans a part of the workspace if that is due.  ``attached``: whether a server is."""
        self._due = self._watcher.tick(time.monotonic(), attached=attached)
        self._record_made()
        if not self._watcher.looking:
            self._ended = None

    def _record_made(self) -> None:
        """Records new files for the program that runs; of several, for the one that began last."""
        if not self._watcher.made:
            return
        made = self._watcher.pop_made()
        # The program that ended last still counts: its last files may be found after its end.
        runs = self._programs.runs(self._ended)
        for path, size in made.items() if runs else ():
            self._ledger.add(runs[-1], path, size)

    # --- programs ----------------------------------------------------------------------------------

    def before(self) -> None:
        """Before a program begins: records earlier files, which it has not made."""
        self.read()
        self._record_made()

    def began(self, number: int) -> None:
        """A program has begun: its last files are collected when it ends."""
        self._unlooked.add(number)

    def forget(self, number: int) -> None:
        """The channel is removed."""
        self._ledger.forget(number)

    # --- snapshot ------------------------------------------------------------------------------------

    def keep(self) -> None:
        """Takes a snapshot of the workspace, for `restore`.  Raises TooMuch, OSError."""
        self._snapshot = Snapshot()

    def restore(self) -> None:
        """Restores the snapshot, after all processes but this one were killed.

        Raises StillAlive, OSError, and ValueError without a snapshot."""
        if self._snapshot is None:
            raise ValueError("there is no snapshot to restore")
        self._snapshot.restore()

    # --- the server --------------------------------------------------------------------------------

    def attached(self) -> None:
        """A server has attached: everything is reported to it again, and incomplete uploads are dropped."""
        self._uploads.clear()  # their server does not continue them
        self._told = 0
        self._ledger.repeat()

    def fill(self, link: Link) -> bool:
        """Adds reports of changes to the stream.

        False when more must be sent first: a program's end is reported after its artifacts."""
        if self._told != self._watcher.revision:
            self._told = self._watcher.revision
            link.send(frames.WORKSPACE, offset=self._told)
        for number, news in self._ledger.next(MAX_NEWS):
            link.send_json(frames.ARTIFACT, news, channel=number)
        return not self._ledger

    # --- files in and out --------------------------------------------------------------------------

    def put(self, entries: Any, raw: bytes) -> None:
        """Writes files.

        ``entries``: their (path, size), in the order of their bytes in ``raw``.  Raises FilesError."""
        start = 0
        for path, size in entries:
            self._watcher.mark_ours(path, files.write(path, raw[start : start + size]))
            start += size

    def put_piece(self, body: typed.Put, raw: bytes) -> int | None:
        """Writes a piece of an upload.

        Returns the file's size after the last one, else None.  Raises FilesError."""
        status = self._uploads.put(
            body["upload"],
            body["path"],
            body["offset"],
            raw,
            last=body["last"],
            executable=body["executable"],
        )
        if status:
            self._watcher.mark_ours(body["path"], status)
        return status.st_size if status else None

    def drop(self, upload: Any) -> None:
        """Drops an incomplete upload."""
        self._uploads.drop(upload)

    def rename(self, path: str, to: str) -> None:
        """Renames a file or folder.  Raises FilesError."""
        self._watcher.mark_ours(to, files.rename(path, to))


def standard_input(spec: typed.ProgramSpec) -> int:
    """A descriptor of the file for the program's standard input; -1 without one.  Raises FilesError."""
    path = spec.get("stdin")
    if not path:
        return -1
    source, _ = files.opened(path)
    # It was opened without blocking, in case it was a pipe; programs expect a blocking file.
    os.set_blocking(source, True)
    return source
