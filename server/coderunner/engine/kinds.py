"""Engines on which sessions cannot have what they are promised: refused at once, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coderunner.errors import UnsupportedEngine

_INSTEAD = "run Docker Engine 20.10 or newer, and name its socket in DOCKER_HOST"


def refuse_podman(version: Mapping[str, Any]) -> None:
    """`version`: the engine's answer to `/version`.  Raises UnsupportedEngine."""
    names = [str(one.get("Name", "")) for one in version.get("Components") or () if isinstance(one, Mapping)]
    if any("podman" in name.lower() for name in names):
        raise UnsupportedEngine(
            "Podman is not supported: its API does not take what the table of settings asks for (a filter of "
            f"system calls within the request, among others); {_INSTEAD}"
        )
