"""Refuses engines that cannot enforce the containers' settings."""

from __future__ import annotations

from coderunner.errors import UnsupportedEngine
from coderunner.schema.engine import EngineVersion

_INSTEAD = "run Docker Engine 20.10 or newer, and name its socket in DOCKER_HOST"


def refuse_podman(version: EngineVersion) -> None:
    """Refuses Podman. `version`: the engine's response to `/version`. Raises UnsupportedEngine."""
    # By its components: Podman imitates the engine's version number, but names itself here.
    if any("podman" in one.name.lower() for one in version.components or ()):
        raise UnsupportedEngine(
            "Podman is not supported: its API does not accept some settings that sessions need, such as"
            f" a seccomp profile within the request; {_INSTEAD}"
        )
