"""What all work has that programs order: a folder with what is stored of it, its records, its end."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgspec
from msgspec import Struct

from coderunner.core.admission import Position
from coderunner.errors import CodeRunnerError, Draining, InternalError
from coderunner.fleet.registry import Caller
from coderunner.jobs.spool import Record, Spool
from coderunner.schema.messages import File

OUTPUT, END, ANSWER = "output", "end.json", "answer.json"


class AboutWork(Protocol):
    """What is stored before anything is opened. `key`: a digest of its `Idempotency-Key` and principal, empty
    where it goes when its caller goes. `digest`: of the request. `room`: bytes that its records may take."""

    id: str
    nonce: str
    key: str
    digest: str
    principal: str | None
    address: str
    version: str
    room: int
    created: float

    @property
    def language(self) -> str:
        """The language that was asked for."""

    @property
    def held(self) -> int:
        """Bytes of memory that its request takes."""


class Work:
    """`folder`: with all that is stored of it. It is `done` when its answer is stored, or `error` says why
    there is none. `suspended`: this server stops, the next one goes on with it. `resumed`: a server before
    this one began it, and its caller was told so. `unwanted`: nobody can ask for its answer."""

    place: str  # where it is asked for, below /api/

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
        self.ended_at = (folder / ANSWER).stat().st_mtime if self.done else 0.0
        self._cancelled = False
        self._resumed = resumed
        self._news = asyncio.Event()

    @property
    def over(self) -> bool:
        """Nothing more comes of it here."""
        return self.done or self.error is not None or self.suspended

    @property
    def begun(self) -> bool:
        """Whether it waits for no session any more."""
        raise NotImplementedError

    @property
    def status(self) -> str:
        """`queued`, `running` or `done`."""
        return "done" if self.done else "running" if self.begun else "queued"

    async def news(self) -> None:
        """Until there is something that was not there: a record, a place in the queue, the end."""
        if not self.over:
            await self._news.wait()

    def answer(self) -> BinaryIO:
        """The stored answer, which may be long. Raises OSError."""
        return (self.folder / ANSWER).open("rb")

    def end(self) -> bytes:
        """The answer without what events have told. Raises OSError."""
        return (self.folder / END).read_bytes()

    @property
    def stored(self) -> int:
        """Bytes that it takes in its folder, once it is done."""
        return sum(one.stat().st_size for one in self.folder.iterdir()) if self.done else 0

    def shed(self) -> None:
        """Forgets what it was given, as its answer is stored."""
        raise NotImplementedError

    def state(self) -> Struct:
        """What is answered while there is none."""
        raise NotImplementedError

    def event(self, record: Record) -> tuple[str, Any]:
        """The name of a record's event, and what it tells."""
        raise NotImplementedError

    def cancel(self) -> None:
        """Ends it; the answer tells what came of it until now."""
        raise NotImplementedError

    def remove(self) -> None:
        """Nothing of it is kept."""
        self.spool.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _on_position(self, position: Position) -> None:
        self.position = position
        self._tell()

    @property
    def _caller(self) -> Caller:
        return Caller(self.about.address, self.about.principal)

    async def run(self) -> None:
        """Until it is over. Never raises what is an answer to its caller."""
        try:
            await self._work()
        except Draining:
            self.suspended = True
        except CodeRunnerError as error:
            self.error = error
        except asyncio.CancelledError:
            self.suspended = True
            raise
        except BaseException:
            self.error = InternalError()
            raise
        finally:
            self._tell()

    async def _work(self) -> None:
        raise NotImplementedError


def stored(about: Struct) -> bytes:
    """What is written of it, from which it is read again."""
    document = msgspec.to_builtins(about)
    for file in _files(document):
        file["content_base64"] = file.pop("content")  # as bytes become base64, whatever the name
    return msgspec.json.encode(document)


def _files(document: Any) -> Iterator[dict[str, Any]]:
    request = document["request"]
    yield from request.get("files", ())
    yield from request.get("checker", {}).get("files", ())


def sizes(files: tuple[File, ...]) -> int:
    """Bytes of memory that these take."""
    return sum(sys.getsizeof(file.content) + sys.getsizeof(file.path) for file in files)


def store(path: Path, data: Iterable[bytes]) -> None:
    """A file that is there as a whole, or as it was before. Raises OSError."""
    draft = path.with_suffix(".new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.writelines(data)
    draft.replace(path)
