"""What server and agent send each other, for a type checker.

Made by scripts/schema.sh from coderunner/schema. The agent never imports it at run time, as `typing` costs
each container a megabyte. A pair arrives as a list.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict


class ServiceSpec(TypedDict):
    """A `coderunner.schema.calls.ServiceSpec`."""

    command: list[str]
    env: dict[str, str]
    folder: str
    start_ms: int
    ready: str


class PreloadSpec(TypedDict):
    """A `coderunner.schema.calls.PreloadSpec`."""

    command: list[str]
    env: dict[str, str]
    folder: str
    start_ms: int
    run: list[str]
    entries: list[str]
    fixed: list[str]


class Companions(TypedDict):
    """A `coderunner.schema.calls.Companions`."""

    service: NotRequired[ServiceSpec | None]
    preload: NotRequired[PreloadSpec | None]


class ProgramLimits(TypedDict):
    """A `coderunner.schema.calls.ProgramLimits`."""

    wall_ms: int
    cpu_ms: int
    output_bytes: int
    cpus: float
    memory_bytes: int


class ProgramVariant(TypedDict):
    """A `coderunner.schema.calls.ProgramVariant`."""

    when: str
    compile: list[str]
    run: list[str]


class ProgramSpec(TypedDict):
    """A `coderunner.schema.calls.ProgramSpec`."""

    kind: str
    mode: str
    cols: int
    rows: int
    workspace: str
    build: str
    entry: str
    args: NotRequired[list[str]]
    sources: list[str]
    main: str
    extensions: list[str]
    variants: NotRequired[list[ProgramVariant]]
    compile: NotRequired[list[str]]
    run: list[str]
    stdin: NotRequired[str | None]
    env: dict[str, str]
    limits: ProgramLimits
    restored: NotRequired[bool]


class Seal(TypedDict):
    """A `coderunner.schema.calls.Seal`."""

    record: str | None


class Quit(TypedDict):
    """A `coderunner.schema.calls.Quit`."""


class Prepare(TypedDict):
    """A `coderunner.schema.calls.Prepare`."""

    service: NotRequired[ServiceSpec | None]
    preload: NotRequired[PreloadSpec | None]
    wait_for_preload: NotRequired[bool]


class Run(TypedDict):
    """A `coderunner.schema.calls.Run`."""

    channel: int
    spec: ProgramSpec
    files: NotRequired[list[tuple[str, int]]]
    controlled: NotRequired[bool]


class Resize(TypedDict):
    """A `coderunner.schema.calls.Resize`."""

    channel: int
    cols: int
    rows: int


class Repaint(TypedDict):
    """A `coderunner.schema.calls.Repaint`."""

    channel: int


class Signal(TypedDict):
    """A `coderunner.schema.calls.Signal`."""

    channel: int
    name: str


class Eof(TypedDict):
    """A `coderunner.schema.calls.Eof`."""

    channel: int
    offset: int


class Kill(TypedDict):
    """A `coderunner.schema.calls.Kill`."""

    channel: int
    intent: str


class Fetch(TypedDict):
    """A `coderunner.schema.calls.Fetch`."""

    channel: int
    offset: int
    limit: int


class Keep(TypedDict):
    """A `coderunner.schema.calls.Keep`."""


class Files(TypedDict):
    """A `coderunner.schema.calls.Files`."""

    files: list[tuple[str, int]]


class Read(TypedDict):
    """A `coderunner.schema.calls.Read`."""

    path: str
    offset: int
    limit: int


class Check(TypedDict):
    """A `coderunner.schema.calls.Check`."""

    path: str
    offset: int
    limit: int
    crc: int


class List(TypedDict):
    """A `coderunner.schema.calls.List`."""

    after: NotRequired[str | None]
    limit: int


class Put(TypedDict):
    """A `coderunner.schema.calls.Put`."""

    upload: int
    path: str
    executable: bool
    offset: int
    last: bool


class Drop(TypedDict):
    """A `coderunner.schema.calls.Drop`."""

    upload: int


class Rename(TypedDict):
    """A `coderunner.schema.calls.Rename`."""

    path: str
    to: str


class Remove(TypedDict):
    """A `coderunner.schema.calls.Remove`."""

    path: str
    limit: int


class Folder(TypedDict):
    """A `coderunner.schema.calls.Folder`."""

    path: str


ChannelState = TypedDict(
    "ChannelState",
    {
        "channel": "int",
        "mode": "str",
        "kind": "str",
        "occupied": "bool",
        "phase": "str",
        "phase_offset": "int",
        "run_offset": "NotRequired[int | None]",
        "from": "int",
        "to": "int",
        "sent": "int",
        "released": "int",
        "in_acked": "int",
        "input_offset": "int",
        "input_eof": "bool",
        "cols": "int",
        "rows": "int",
        "wall_ms": "int",
        "stopped": "NotRequired[str | None]",
        "end": "NotRequired[int | None]",
        "evidence": "NotRequired[Evidence | None]",
    },
)


class Hello(TypedDict):
    """A `coderunner.schema.reports.Hello`."""

    version: int
    sealed: NotRequired[str | None]
    channels: NotRequired[list[ChannelState]]


class ArtifactNews(TypedDict):
    """A `coderunner.schema.reports.ArtifactNews`."""

    path: NotRequired[str]
    size: NotRequired[int]
    more: NotRequired[bool]


class Fault(TypedDict):
    """A `coderunner.schema.reports.Fault`."""

    code: NotRequired[str]
    message: NotRequired[str]


class Reply(TypedDict):
    """A `coderunner.schema.reports.Reply`."""

    error: NotRequired[Fault | None]


class Prepared(TypedDict):
    """A `coderunner.schema.reports.Prepared`."""

    preload: NotRequired[str | None]


class Started(TypedDict):
    """A `coderunner.schema.reports.Started`."""

    channels: list[int]
    error: NotRequired[Fault | None]
    state: NotRequired[ChannelState | None]


Fetched = TypedDict(
    "Fetched",
    {
        "from": "int",
        "stream": "NotRequired[int]",
        "restore": "NotRequired[str | None]",
    },
)


class FileFound(TypedDict):
    """A `coderunner.schema.reports.FileFound`."""

    path: str
    size: int
    mtime_ms: int
    folder: bool
    executable: bool


class Listed(TypedDict):
    """A `coderunner.schema.reports.Listed`."""

    files: NotRequired[list[FileFound]]
    next: NotRequired[str | None]


class FileRead(TypedDict):
    """A `coderunner.schema.reports.FileRead`."""

    size: int
    inode: NotRequired[int]


class FileChecked(TypedDict):
    """A `coderunner.schema.reports.FileChecked`."""

    crc: int
    inode: NotRequired[int]


class Removed(TypedDict):
    """A `coderunner.schema.reports.Removed`."""

    removed: int
    more: bool


class End(TypedDict):
    """A `coderunner.schema.reports.End`."""

    code: NotRequired[int | None]
    signal: NotRequired[str | None]
    left_behind: NotRequired[int | None]
    wall_ms: NotRequired[int | None]
    cpu_ms: NotRequired[int | None]
    memory_peak_bytes: NotRequired[int | None]


class Evidence(TypedDict):
    """A `coderunner.schema.reports.Evidence`."""

    compile: NotRequired[End | None]
    main: NotRequired[End | None]
    intent: NotRequired[str | None]
    oom_kills: NotRequired[int]
    fork_refusals: NotRequired[int]
    disk_full: NotRequired[bool]
    thrashed: NotRequired[bool]
    supervisor_lost: NotRequired[bool]
