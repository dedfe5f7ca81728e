"""The base class of runs and batches: a folder with their state, records of their events, and an answer."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from msgspec import Struct

from coderunner.core.admission import Position
from coderunner.errors import CodeRunnerError, Draining, InternalError, SpoolFull
from coderunner.fleet.registry import Caller
from coderunner.jobs.about import AboutWork
from coderunner.jobs.spool import Record, Spool
from coderunner.logs import fields

log = logging.getLogger(__name__)

DISK_RETRY_MS = 10_000  # `retry_after_ms` if the disk is full
OUTPUT, END, ANSWER = "output", "end.json", "answer.json"


class Work:
    """A run or a batch. `folder`: where it is stored. `done`: its answer is stored. `error`: why there will
    be no answer. `suspended`: this server is stopping, and the next one continues it. `resumed`: an earlier
    server began it, so its caller knows its id. `unwanted`: nobody can fetch its answer."""

    place: str  # the part of its URL after /api/

    def __init__(self, about: AboutWork, folder: Path, *, resumed: bool = False) -> None:
        self.about: Any = about
        self.id = about.id
        self.folder = folder
        self.spool = Spool(folder / OUTPUT)
        self.position: Position | None = None
        self.error: CodeRunnerError | None = None
        self.done = (folder / ANSWER).exists()
        if self.done:
            self.shed()
        self.suspended = False
        self.unwanted = False
        # The file's own time: a later server keeps the answer for the rest of KEPT_SECONDS.
        self.ended_at = (folder / ANSWER).stat().st_mtime if self.done else 0.0
        self._cancelled = False
        self._resumed = resumed
        self._news = asyncio.Event()

    @property
    def patient(self) -> bool:
        """Whether an error is kept for its caller like an answer."""
        return False

    @property
    def over(self) -> bool:
        """Whether it does not change any more in this process."""
        return self.done or self.error is not None or self.suspended

    @property
    def begun(self) -> bool:
        """Whether it has left the queue."""
        raise NotImplementedError

    @property
    def status(self) -> str:
        """`queued`, `running` or `done`."""
        return "done" if self.done else "running" if self.begun else "queued"

    async def news(self) -> None:
        """Waits for the next record, a change of its place in the queue, or the end."""
        if not self.over:
            await self._news.wait()

    def answer(self) -> BinaryIO:
        """Opens the stored answer, which may be long. Raises OSError."""
        return (self.folder / ANSWER).open("rb")

    def end(self) -> bytes:
        """The answer without the parts that were sent as events. Raises OSError."""
        return (self.folder / END).read_bytes()

    @property
    def stored(self) -> int:
        """Bytes of its files if it is done, otherwise 0."""
        return sum(one.stat().st_size for one in self.folder.iterdir()) if self.done else 0

    def shed(self) -> None:
        """Drops the request from memory, once the answer is stored."""
        raise NotImplementedError

    def state(self) -> Struct:
        """The status that is returned while there is no answer."""
        raise NotImplementedError

    def event(self, record: Record) -> tuple[str, Any]:
        """The name and the data of the event for a record."""
        raise NotImplementedError

    def cancel(self) -> None:
        """Ends it early. Its answer has the results so far."""
        raise NotImplementedError

    def remove(self) -> None:
        """Removes its folder."""
        self.spool.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _tell(self) -> None:
        # A new event for the next wait: clearing one event would lose readers that are not scheduled yet.
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _on_position(self, position: Position) -> None:
        self.position = position
        self._tell()

    @property
    def _caller(self) -> Caller:
        return Caller(self.about.address, self.about.principal, about=self.about.told)

    async def run(self) -> None:
        """Does the work. An error for its caller is stored in `error`, not raised."""
        try:
            await self._work()
        # No result: the next server continues from the folder.
        except Draining:
            self.suspended = True
        except CodeRunnerError as error:
            self.error, self.ended_at = error, time.time()
        except OSError as error:
            self.error, self.ended_at = not_stored(self.folder, error), time.time()
        except asyncio.CancelledError:
            self.suspended = True
            raise
        except BaseException:
            self.error, self.ended_at = InternalError(), time.time()
            raise
        finally:
            self._tell()

    async def _work(self) -> None:
        raise NotImplementedError


def not_stored(folder: Path, error: OSError) -> SpoolFull:
    """Logs that a run cannot be stored, as the disk is full, and returns the error for its caller.

    Logged without a traceback, as it is neither the caller's nor the server's fault.
    """
    why = error.strerror or str(error)
    # Not the run's own folder: its name gives access to the run.
    log.error("a run cannot be stored", extra=fields(folder=folder.parent, why=why))
    return SpoolFull(f"the server cannot store runs now ({why})", retry_after_ms=DISK_RETRY_MS)


def store(path: Path, data: Iterable[bytes]) -> None:
    """Replaces the file at `path` atomically. Raises OSError."""
    # rename(2) is atomic within a file system, so the draft is beside its target.
    draft = path.with_suffix(".new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.writelines(data)
    draft.replace(path)
