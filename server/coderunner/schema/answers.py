"""The JSON documents that the server answers over HTTP, one model for each.

Times are milliseconds and sizes bytes, where a field does not say otherwise. Which route answers with which
model stands in `web/routes.py`.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Struct, UnsetType

from coderunner.errors import CodeRunnerError
from coderunner.schema import messages as m
from coderunner.schema.reports import Kinds
from coderunner.schema.types import one_of

# --- the server -----------------------------------------------------------------------------------------


class Health(Struct, frozen=True):
    """`GET /api/health`: the process answers. `uptime_s` in seconds."""

    status: str
    version: str
    uptime_s: float


class Address(Struct, frozen=True):
    """`GET /api/address`: the caller's, as the limits count it; of IPv6 its /64."""

    address: str


class LanguagesReady(Struct, frozen=True):
    """How many `of` how many languages are ready; the names of those that somebody asked for and that are not
    ready (`missing`), and of those whose image could not be built (`failed`)."""

    ready: int
    of: int
    missing: tuple[str, ...]
    failed: tuple[str, ...]


class Ready(Struct, frozen=True):
    """`GET /api/ready`: whether a session could start now; if not, the `reasons`, with status 503.

    `confinement`: the kernel's access control that the engine uses. `agent_stream`: how agents are reached.
    """

    ready: bool
    reasons: tuple[str, ...]
    languages: LanguagesReady
    warnings: tuple[str, ...]
    confinement: str
    agent_stream: str


class QueueBlock(Struct, frozen=True, rename="camel"):
    """Sessions: `active` hold one of the slots, `queued` wait for one. `queue_utilization` is from 0 to 1.

    `memory_bytes`: what the limits of all live sessions add up to; `max_memory_bytes`: to what they may (0:
    nothing bounds it).
    """

    queued: int
    active: int
    max_concurrent: int
    completed_tasks: int
    failed_tasks: int
    average_task_time: float
    max_queue_size: int
    queued_by_language: dict[str, int]
    queue_utilization: float
    memory_bytes: int
    max_memory_bytes: int


class WorkersBlock(Struct, frozen=True, rename="camel"):
    """The workers that call the engine."""

    total_workers: int
    active_workers: int
    idle_workers: int
    queued_tasks: int
    completed_tasks: int
    failed_tasks: int
    average_task_time: float


class WarmLanguage(Struct, frozen=True):
    """One language's waiting containers. `hits`: openings that got one, `misses`: that did not."""

    ready: int
    starting: int
    target: int
    hits: int
    misses: int


class WarmPoolBlock(Struct, frozen=True):
    """The waiting containers of all languages, at most `max`."""

    ready: int
    starting: int
    max: int
    languages: dict[str, WarmLanguage]


class QueueStatistics(Struct, frozen=True, rename="camel"):
    """`GET /api/queue-stats`. `timestamp` is ISO 8601 in UTC."""

    status: Annotated[str, one_of(("ok", "degraded", "draining"))]
    timestamp: str
    queue: QueueBlock
    warnings: tuple[str, ...]
    worker_pool: WorkersBlock
    warm_pool: WarmPoolBlock


# --- languages ------------------------------------------------------------------------------------------


class SampleFile(Struct, frozen=True):
    """A file of a sample program."""

    path: str
    content: str


class SampleView(Struct, frozen=True):
    """A sample program: its files, and the fields of the `run` that starts it.

    `stdin` is the path of the file that is its standard input.
    """

    name: str
    title: str
    entry: str
    args: tuple[str, ...]
    stdin: str | None
    files: tuple[SampleFile, ...]


class LanguageView(Struct, frozen=True):
    """A language: how far its image is (`status`, and `message` in words), and what the page needs of it.

    `editor` names the mode of an editor, `repl` says whether there is a prompt of its own.
    """

    name: str
    title: str
    version: str
    entry: str
    editor: str
    extensions: tuple[str, ...]
    indent: int
    repl: bool
    samples: tuple[SampleView, ...]
    status: str = ""
    message: str = ""


class FileLimits(Struct, frozen=True):
    """The largest file that a client may send by itself."""

    file_bytes: int


class Languages(Struct, frozen=True):
    """`GET /api/languages`, those that are asked for most first."""

    languages: tuple[LanguageView, ...]
    limits: FileLimits


# --- a session ------------------------------------------------------------------------------------------


class ExitView(Struct, frozen=True):
    """How a program ended: the fields of the message `exit`, without its channel."""

    code: int | None
    signal: str | None
    reason: Annotated[str, one_of(m.REASONS)]
    limits_hit: tuple[str, ...]
    left_behind: int
    usage: m.Usage
    offset: int
    shared: bool


class ArtifactView(Struct, frozen=True):
    """A file to look at: the fields of the message `artifact`, without its channel."""

    path: str
    mime: str
    size: int
    url: str


class ProgramView(Struct, frozen=True):
    """A channel of a session. `exit` is null while its program lives."""

    channel: int
    kind: Kinds
    mode: m.Modes
    phase: m.Phases
    exit: ExitView | None
    diagnostics: tuple[m.Diagnostic, ...]
    artifacts: tuple[ArtifactView, ...]


class SessionView(Struct, frozen=True):
    """`GET /api/sessions/{session}`. `revision` grows with every change of the workspace."""

    session: str
    language: str
    revision: int
    expires: m.Expiry
    channels: tuple[ProgramView, ...]


class ViewsKept(Struct, frozen=True, omit_defaults=True):
    """`POST .../views`: for each address whether it opens something, and for how many `ms` from now.

    `word`: with which a frame may ask for a page, where that was requested.
    """

    kept: tuple[bool, ...]
    ms: int
    word: str | UnsetType = UNSET


# --- files ----------------------------------------------------------------------------------------------


class FileEntry(Struct, frozen=True):
    """A file or folder of a workspace. `mtime_ms`: of its last change, since 1970."""

    path: str
    size: int
    mtime_ms: int
    folder: bool
    executable: bool


class FileList(Struct, frozen=True):
    """`GET .../files`. `complete` is false where there are more than are listed."""

    files: tuple[FileEntry, ...]
    complete: bool


class FileWritten(Struct, frozen=True):
    """`PUT .../files/{path}`."""

    path: str
    size: int


class FileMoved(Struct, frozen=True):
    """`PATCH .../files/{path}`: where it is now."""

    path: str


class FolderMade(Struct, frozen=True):
    """`POST .../files/{path}`."""

    path: str


class FilesRemoved(Struct, frozen=True):
    """`DELETE .../files/{path}`: how many files and folders went."""

    removed: int


class ArchiveUnpacked(Struct, frozen=True):
    """`PUT .../archive`: paths of the files and folders written, and names of entries that were left out."""

    written: tuple[str, ...]
    folders: tuple[str, ...]
    left_out: tuple[str, ...]


# --- errors ---------------------------------------------------------------------------------------------


class ErrorBody(Struct, frozen=True):
    """An error as the WebSocket tells it: see the table of codes."""

    code: str
    message: str
    retryable: bool


class ErrorAnswer(Struct, frozen=True, omit_defaults=True):
    """The answer to a request that failed. The last three where an archive was unpacked in part."""

    error: ErrorBody
    written: tuple[str, ...] | UnsetType = UNSET
    folders: tuple[str, ...] | UnsetType = UNSET
    left_out: tuple[str, ...] | UnsetType = UNSET

    @classmethod
    def of(cls, error: CodeRunnerError, unpacked: ArchiveUnpacked | None = None) -> ErrorAnswer:
        """The answer that tells a client of `error`, with what an archive left in the workspace before it."""
        body = ErrorBody(error.code, error.message, error.retryable)
        if unpacked is None:
            return cls(body)
        return cls(body, unpacked.written, unpacked.folders, unpacked.left_out)
