"""Refuses engines that cannot isolate sessions as promised."""

from __future__ import annotations

from coderunner.errors import UnsupportedEngine
from coderunner.schema.engine import EngineVersion

_INSTEAD = "run Docker Engine 20.10 or newer, and name its socket in DOCKER_HOST"


def refuse_podman(version: EngineVersion) -> None:
    """`version`: the engine's answer to `/version`.  Raises UnsupportedEngine."""
    if any("podman" in one.name.lower() for one in version.components or ()):
        raise UnsupportedEngine(
            "Podman is not supported: its API does not take what the table of settings asks for (a filter of "
            f"system calls within the request, among others); {_INSTEAD}"
        )
