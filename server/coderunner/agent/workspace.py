"""The workspace as the session has it: files in and out, word of its changes, and who made what."""

from __future__ import annotations

import os
import time

from coderunner.wire import frames

from . import files
from .channel import EXITED
from .ledger import Ledger
from .snapshot import Snapshot
from .watch import Watcher

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from typing import Any

    from .channel import Channel
    from .link import Link
    from .programs import Programs

NEWS = 32  # artifacts told at once


class Workspace:
    """Uploads, the watcher of changes, and the ledger of what programs made."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self._uploads = files.Uploads()
        self._watcher = Watcher(time.monotonic())
        self._ledger = Ledger()
        self._told = 0  # the revision that the server knows
        self._due: float | None = None  # when to look again
        self._ended: int | None = None  # the channel that gets what is found of the time before its end
        self._snapshot: Snapshot | None = None
        self._unlooked: set[int] = set()  # live channels whose end nobody has looked at the workspace for

    # --- what changes ------------------------------------------------------------------------------

    @property
    def descriptor(self) -> int:
        """Readable when something has changed; -1 where the kernel does not tell."""
        return self._watcher.descriptor

    def wants(self, now: float) -> bool:
        """Whether ``read`` is due."""
        return self._watcher.wants(now)

    def read(self) -> None:
        """Takes in what the kernel says of changes."""
        self._watcher.read(time.monotonic())

    def tick(self) -> float | None:
        """The moment at which to look again, or None."""
        return self._due

    def settle(self, channel: Channel) -> None:
        """What a program made last is its own, and told before its end."""
        if channel.phase == EXITED and channel.number in self._unlooked:
            self._unlooked.discard(channel.number)
            self._ended = channel.number
            self.read()
            self._give()

    def look_around(self, *, attached: bool) -> None:
        """Looks through a piece of the workspace where that is due. ``attached``: a server is there."""
        self._due = self._watcher.tick(time.monotonic(), attached=attached)
        self._give()
        if not self._watcher.looking:
            self._ended = None

    def _give(self) -> None:
        """What was made, to the program that ran then; of several to the one that began last."""
        if not self._watcher.made:
            return
        made = self._watcher.take()
        runs = self._programs.runs(self._ended)
        for path, size in made.items() if runs else ():
            self._ledger.add(runs[-1], path, size)

    # --- programs ----------------------------------------------------------------------------------

    def before(self) -> None:
        """What happened until now is not the next program's doing."""
        self.read()
        self._give()

    def began(self, number: int) -> None:
        """A program has begun: what is made until its end is looked at then."""
        self._unlooked.add(number)

    def forget(self, number: int) -> None:
        """The channel is removed."""
        self._ledger.forget(number)

    # --- as it was -----------------------------------------------------------------------------------

    def keep(self) -> None:
        """Keeps the workspace as it is now, for `restore`. Raises TooMuch, OSError."""
        self._snapshot = Snapshot()

    def restore(self) -> None:
        """Brings the container back to what was kept; no process of before lives on.

        Raises StillAlive, OSError, and ValueError where nothing was kept."""
        if self._snapshot is None:
            raise ValueError("nothing was kept")
        self._snapshot.restore()

    # --- the server --------------------------------------------------------------------------------

    def attached(self) -> None:
        """A server has attached: it is told everything anew, and knows of no upload."""
        self._uploads.clear()  # the server before does not go on with them
        self._told = 0
        self._ledger.repeat()

    def fill(self, link: Link) -> bool:
        """False when there is more to tell first: a program's end comes behind all that it made."""
        if self._told != self._watcher.revision:
            self._told = self._watcher.revision
            link.say(frames.WORKSPACE, offset=self._told)
        for number, news in self._ledger.next(NEWS):
            link.say_json(frames.ARTIFACT, news, channel=number)
        return not self._ledger

    # --- files in and out --------------------------------------------------------------------------

    def put(self, entries: Any, raw: bytes) -> None:
        """``entries``: (path, size) of the files that stand in ``raw`` one behind the other."""
        start = 0
        for path, size in entries:
            self._watcher.own(path, files.write(path, raw[start : start + size]))
            start += size

    def put_piece(self, body: dict[str, Any], raw: bytes) -> int | None:
        """A piece of a file; nothing of it shows before the last.  The file's size then, else None."""
        status = self._uploads.put(
            body["upload"],
            body["path"],
            body["offset"],
            raw,
            last=body["last"],
            executable=body["executable"],
        )
        if status:
            self._watcher.own(body["path"], status)
        return status.st_size if status else None

    def drop(self, upload: Any) -> None:
        """Gives an upload up."""
        self._uploads.drop(upload)

    def rename(self, path: str, to: str) -> None:
        """Moves a file or folder. Raises FilesError."""
        self._watcher.own(to, files.rename(path, to))


def standard_input(spec: dict[str, Any]) -> int:
    """A descriptor of the file that is the program's standard input; -1 without one."""
    if not spec.get("stdin"):
        return -1
    source, _ = files.opened(spec["stdin"])
    os.set_blocking(source, True)
    return source
