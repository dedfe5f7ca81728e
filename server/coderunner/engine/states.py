"""What the engine reports about itself, its images and its containers, as values made from
`schema.engine`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from coderunner.engine.runtimes import is_gvisor
from coderunner.schema.engine import (
    ContainerDocument,
    ContainerRow,
    EngineFacts,
    EngineVersion,
    ImageDocument,
)


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Facts about the engine. `api_version`: the negotiated one. `memory_bytes`, `cpus`: of its machine.
    `root`: its data folder. `security`: its security options, such as `name=seccomp,profile=default`.
    `cgroup_driver`: what makes the containers' control groups, `cgroupfs` or `systemd`; "" if unknown."""

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
    cgroup_driver: str = ""

    @classmethod
    def of(cls, version: EngineVersion, info: EngineFacts, api_version: str) -> EngineInfo:
        """Made from the engine's responses to `/version` and `/info`. Raises ValueError."""
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
            cgroup_driver=info.cgroup_driver,
        )


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """Facts about an image. `id`: digest of its content. `size`: bytes."""

    id: str
    tags: tuple[str, ...]
    labels: Mapping[str, str]
    size: int

    @classmethod
    def of(cls, document: ImageDocument) -> ImageInfo:
        """Made from the engine's response to an inspect request."""
        return cls(
            id=document.id,
            tags=document.repo_tags or (),
            labels=(document.config and document.config.labels) or {},
            size=document.size,
        )


@dataclass(frozen=True, slots=True)
class ContainerState:
    """The state of one container. `exit_code`: None if it is running or was never started. `pid`: of its PID
    1 on the host, 0 if it is not running. `oom_killed`: exact on cgroup v1; on v2 the engine may miss it.
    `runtime`: the engine's name for it, "" if it does not say.
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
    runtime: str = ""

    @classmethod
    def of(cls, document: ContainerDocument) -> ContainerState:
        """Made from the engine's response to an inspect request."""
        state = document.state
        # `created` containers also have an exit code (0), which means nothing.
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
            runtime=document.host_config.runtime if document.host_config is not None else "",
        )

    @property
    def ended_for_memory(self) -> bool:
        """Whether all of it ended because its memory was used up: so it is in gVisor alone, where the
        machine's kernel sees one process in the whole container."""
        return not self.running and self.oom_killed and is_gvisor(self.runtime)


@dataclass(frozen=True, slots=True)
class ContainerSummary:
    """One container of a list. `created`: unix seconds. `status`: as in `ContainerState`. `networks`: names
    of those that it is connected to."""

    id: str
    name: str
    status: str
    running: bool
    paused: bool
    labels: Mapping[str, str]
    image: str
    created: int
    networks: tuple[str, ...] = ()

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
            networks=tuple((row.network_settings and row.network_settings.networks) or ()),
        )
