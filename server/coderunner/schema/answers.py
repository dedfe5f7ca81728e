"""Models of the JSON documents that the server returns over HTTP.

Times are in milliseconds and sizes in bytes unless a field says otherwise. `web/routes.py` maps routes to
models. The docstrings are published as descriptions at `/api/docs`.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Struct, UnsetType

from coderunner.schema import messages as m
from coderunner.schema.reports import Kinds
from coderunner.schema.types import one_of

# --- the server -----------------------------------------------------------------------------------------


class Health(Struct, frozen=True):
    """`GET /api/health`: the process is alive. `uptime_s`: seconds since it started."""

    status: str
    version: str
    uptime_s: float


class Address(Struct, frozen=True):
    """`GET /api/address`: the caller's address as the rate limits see it; for IPv6 its /64 network."""

    address: str


class WhoAmI(Struct, frozen=True):
    """`GET /api/identity`: who the caller is here.

    `principal`: None without a credential. `roles`: of `user`, `teacher`, `operator`. `rooms`: courses or
    teams that it belongs to. `how`: the kind of its credential. `required`: whether sessions need a
    credential; `may_open`: whether this caller may open one. `ways`: how somebody can sign in: `key`, `oidc`.
    `audit_days`: for how many days the server keeps who did what, 0 for ever; `audit_programs`: whether with
    the text of programs.
    """

    principal: str | None
    name: str
    roles: tuple[str, ...]
    rooms: tuple[str, ...]
    how: str
    required: bool
    may_open: bool
    ways: tuple[str, ...]
    audit_days: int
    audit_programs: bool


class GuestView(Struct, frozen=True, kw_only=True):
    """A guest's token, without the token. `serial`: its number, which is no secret. `take`: whether it may
    take the control without asking. `created`, `expires`, `revoked`: seconds since 1970, or null.
    """

    serial: str
    name: str
    role: str
    take: bool
    created: float
    expires: float | None
    revoked: float | None


class Invited(GuestView, frozen=True, kw_only=True):
    """`POST /tokens`: a guest's token, which is returned only here."""

    token: str


class GuestsView(Struct, frozen=True):
    """`GET /tokens`: the tokens of a session's guests, and who is attached."""

    tokens: tuple[GuestView, ...]
    people: tuple[m.Person, ...]


class Uninvited(Struct, frozen=True):
    """`DELETE /tokens/{serial}`: the token opens nothing any more. `closed`: how many connections ended."""

    closed: int


class SignedOut(Struct, frozen=True):
    """`POST /auth/logout`: the sign-in has ended."""

    ended: bool


class LanguagesReady(Struct, frozen=True):
    """Number of languages that are `ready`, `of` all. `missing`: names of languages that a client requested
    and that are not ready. `failed`: names of those whose image could not be built."""

    ready: int
    of: int
    missing: tuple[str, ...]
    failed: tuple[str, ...]


class Ready(Struct, frozen=True):
    """`GET /api/ready`: whether a session could start now. If not, the status is 503 and `reasons` say why.

    `degraded`: what does not work although sessions start, such as the database. `confinement`: the
    mandatory access control that the engine applies to containers, such as AppArmor. `agent_stream`: the
    transport between the server and the agents in the containers.
    """

    ready: bool
    reasons: tuple[str, ...]
    languages: LanguagesReady
    degraded: tuple[str, ...]
    warnings: tuple[str, ...]
    confinement: str
    agent_stream: str


# In camel case, unlike the other documents: clients rely on these names.
class QueueBlock(Struct, frozen=True, rename="camel"):
    """Figures of the queue. `active` sessions hold a slot, `queued` ones wait for one.

    `queue_utilization`: from 0 to 1. `memory_bytes`: sum of the live sessions' memory limits;
    `max_memory_bytes`: its bound, 0 for unlimited.
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
    """Figures of the worker pool, which calls the container engine."""

    total_workers: int
    active_workers: int
    idle_workers: int
    queued_tasks: int
    completed_tasks: int
    failed_tasks: int
    average_task_time: float


class WarmLanguage(Struct, frozen=True):
    """The warm containers of one language. `hits` and `misses`: sessions that did and did not get one."""

    ready: int
    starting: int
    target: int
    hits: int
    misses: int


class WarmPoolBlock(Struct, frozen=True):
    """The warm containers of all languages. `max`: the most there may be."""

    ready: int
    starting: int
    max: int
    languages: dict[str, WarmLanguage]


class QueueStatistics(Struct, frozen=True, rename="camel"):
    """`GET /api/queue-stats`. `timestamp`: ISO 8601 in UTC."""

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


# The last two fields change while the server runs; the others are made once (`web/routes.py`).
class LanguageView(Struct, frozen=True):
    """A language, as the page shows it. `status`: progress of its image;
    `message`: the same as text for people.

    `editor`: name of the editor's mode. `repl`: whether the language has an interactive prompt.
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
    """`file_bytes`: the largest file that a client may send."""

    file_bytes: int


class Languages(Struct, frozen=True):
    """`GET /api/languages`, in the order of demand."""

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
    """A file that a program made, to be displayed: the fields of the message `artifact`,
    without its channel."""

    path: str
    mime: str
    size: int
    url: str


class ProgramView(Struct, frozen=True):
    """A channel of a session. `exit` is null while its program runs."""

    channel: int
    kind: Kinds
    mode: m.Modes
    phase: m.Phases
    exit: ExitView | None
    diagnostics: tuple[m.Diagnostic, ...]
    artifacts: tuple[ArtifactView, ...]


class SessionView(Struct, frozen=True):
    """`GET /api/sessions/{session}`. `revision`: increases with every change of the workspace."""

    session: str
    language: str
    revision: int
    expires: m.Expiry
    channels: tuple[ProgramView, ...]


class ViewsKept(Struct, frozen=True, omit_defaults=True):
    """`POST .../views`. `kept`: for each URL whether it is valid. `ms`: how long it is valid from now.

    `word`: a secret with which a frame may load a page, if one was requested.
    """

    kept: tuple[bool, ...]
    ms: int
    word: str | UnsetType = UNSET


# --- files ----------------------------------------------------------------------------------------------


class FileEntry(Struct, frozen=True):
    """A file or folder of a workspace. `mtime_ms`: time of the last change, milliseconds since 1970."""

    path: str
    size: int
    mtime_ms: int
    folder: bool
    executable: bool


class FileList(Struct, frozen=True):
    """`GET .../files`. `complete`: false if the workspace has more files than are listed."""

    files: tuple[FileEntry, ...]
    complete: bool


class FileWritten(Struct, frozen=True):
    """`PUT .../files/{path}`."""

    path: str
    size: int


class FileMoved(Struct, frozen=True):
    """`PATCH .../files/{path}`. `path`: the new one."""

    path: str


class FolderMade(Struct, frozen=True):
    """`POST .../files/{path}`."""

    path: str


class FilesRemoved(Struct, frozen=True):
    """`DELETE .../files/{path}`. `removed`: number of files and folders."""

    removed: int


class ArchiveUnpacked(Struct, frozen=True):
    """`PUT .../archive`: paths of the files and folders written.
    `left_out`: names of skipped links and devices."""

    written: tuple[str, ...]
    folders: tuple[str, ...]
    left_out: tuple[str, ...]
