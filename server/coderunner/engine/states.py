"""What the engine says of itself, its images and its containers, as values made from `schema.engine`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from coderunner.schema.engine import (
    ContainerDocument,
    ContainerRow,
    EngineFacts,
    EngineVersion,
    ImageDocument,
)


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """`id` is the engine's own, `api_version` the one agreed on, `root` its folder;
    `memory_bytes` is the host's."""

    id: str
    version: str
    api_version: str
    kernel: str
    operating_system: str
    cgroup_version: int
    cpus: int
    memory_bytes: int
    default_runtime: str
    security: tuple[str, ...]
    live_restore: bool
    runtimes: tuple[str, ...] = ()
    root: str = ""

    @classmethod
    def of(cls, version: EngineVersion, info: EngineFacts, api_version: str) -> EngineInfo:
        """From the engine's answers to `/version` and `/info`. Raises ValueError."""
        return cls(
            id=info.id,
            version=version.version,
            api_version=api_version.removeprefix("v"),
            kernel=info.kernel_version,
            operating_system=info.operating_system,
            cgroup_version=int(info.cgroup_version or 1),
            cpus=info.ncpu,
            memory_bytes=info.mem_total,
            default_runtime=info.default_runtime,
            security=info.security_options or (),
            live_restore=info.live_restore_enabled,
            runtimes=tuple(info.runtimes or ()),
            root=info.docker_root_dir,
        )


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """`id` is the content's digest; `size` in bytes."""

    id: str
    tags: tuple[str, ...]
    labels: Mapping[str, str]
    size: int

    @classmethod
    def of(cls, document: ImageDocument) -> ImageInfo:
        """From the engine's answer to an inspect."""
        return cls(
            id=document.id,
            tags=document.repo_tags or (),
            labels=(document.config and document.config.labels) or {},
            size=document.size,
        )


@dataclass(frozen=True, slots=True)
class ContainerState:
    """One container as inspected. `exit_code` is None while it runs or was never started; `pid` 0 then.

    `oom_killed` is exact on cgroup v1; on v2 the engine may miss it.
    """

    id: str
    name: str
    status: str
    running: bool
    paused: bool
    exit_code: int | None
    oom_killed: bool
    error: str
    pid: int
    labels: Mapping[str, str]
    image: str
    started_at: str
    finished_at: str

    @classmethod
    def of(cls, document: ContainerDocument) -> ContainerState:
        """From the engine's answer to an inspect."""
        state = document.state
        ended = not state.running and state.status in ("exited", "dead")
        return cls(
            id=document.id,
            name=document.name.removeprefix("/"),
            status=state.status,
            running=state.running,
            paused=state.paused,
            exit_code=state.exit_code if ended else None,
            oom_killed=state.oom_killed,
            error=state.error,
            pid=state.pid,
            labels=document.config.labels or {},
            image=document.config.image,
            started_at=state.started_at,
            finished_at=state.finished_at,
        )


@dataclass(frozen=True, slots=True)
class ContainerSummary:
    """One line of a list. `created` in unix seconds; `status` as in `ContainerState`."""

    id: str
    name: str
    status: str
    running: bool
    paused: bool
    labels: Mapping[str, str]
    image: str
    created: int

    @classmethod
    def of(cls, row: ContainerRow) -> ContainerSummary:
        """From a row of the engine's list."""
        return cls(
            id=row.id,
            name=(row.names or ("/",))[0].removeprefix("/"),
            status=row.state,
            running=row.state in ("running", "paused"),
            paused=row.state == "paused",
            labels=row.labels or {},
            image=row.image,
            created=row.created,
        )
