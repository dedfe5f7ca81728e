"""What the engine says of itself, its images and its containers, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """`id` is the engine's own, `api_version` the one agreed on, `memory_bytes` the host's."""

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

    @classmethod
    def parse(cls, version: Mapping[str, Any], info: Mapping[str, Any], api_version: str) -> EngineInfo:
        """From the engine's answers to `/version` and `/info`."""
        return cls(
            id=str(info.get("ID", "")),
            version=str(version.get("Version", "")),
            api_version=api_version.removeprefix("v"),
            kernel=str(info.get("KernelVersion", "")),
            operating_system=str(info.get("OperatingSystem", "")),
            cgroup_version=int(info.get("CgroupVersion") or 1),
            cpus=int(info.get("NCPU", 0)),
            memory_bytes=int(info.get("MemTotal", 0)),
            default_runtime=str(info.get("DefaultRuntime", "")),
            security=tuple(info.get("SecurityOptions") or ()),
            live_restore=bool(info.get("LiveRestoreEnabled")),
        )


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """`id` is the content's digest; `size` in bytes."""

    id: str
    tags: tuple[str, ...]
    labels: Mapping[str, str]
    size: int

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> ImageInfo:
        """From the engine's answer to an inspect."""
        config = document.get("Config") or {}
        return cls(
            id=document["Id"],
            tags=tuple(document.get("RepoTags") or ()),
            labels=dict(config.get("Labels") or {}),
            size=int(document.get("Size", 0)),
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
    def parse(cls, document: Mapping[str, Any]) -> ContainerState:
        """From the engine's answer to an inspect."""
        state = document["State"]
        ended = not state["Running"] and state["Status"] in ("exited", "dead")
        return cls(
            id=document["Id"],
            name=document["Name"].removeprefix("/"),
            status=state["Status"],
            running=state["Running"],
            paused=state["Paused"],
            exit_code=state["ExitCode"] if ended else None,
            oom_killed=state["OOMKilled"],
            error=state.get("Error", ""),
            pid=state["Pid"],
            labels=dict(document["Config"].get("Labels") or {}),
            image=document["Config"]["Image"],
            started_at=state["StartedAt"],
            finished_at=state["FinishedAt"],
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
    def parse(cls, row: Mapping[str, Any]) -> ContainerSummary:
        """From a row of the engine's list."""
        status = row["State"]
        return cls(
            id=row["Id"],
            name=(row.get("Names") or ["/"])[0].removeprefix("/"),
            status=status,
            running=status in ("running", "paused"),
            paused=status == "paused",
            labels=dict(row.get("Labels") or {}),
            image=row["Image"],
            created=int(row["Created"]),
        )
