"""Compares what the engine made of a container with the table of settings.

The engine ignores keys that it does not know and drops what its kernel cannot do, both silently. What it
cannot say itself (whether a bound holds) is the canary's to find out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coderunner.engine.containers import SETTINGS

ENGINES_OWN = "com.docker.volume."
_MERGED = frozenset({"Env", "Labels", "HostConfig.Ulimits"})
"""Where the image or the engine's own configuration adds to what was asked: ours must be among it."""


def compare(body: Mapping[str, Any], document: Mapping[str, Any]) -> list[str]:
    """Every setting of a create `body` that an inspect `document` shows otherwise, in words; [] if none."""
    return [
        difference
        for setting in SETTINGS
        if (asked := _look_up(body, setting.key)) is not None
        and (difference := _difference(setting.key, asked, _made(document, setting.key))) is not None
    ]


def _made(document: Mapping[str, Any], key: str) -> Any:
    made = _look_up(document, key if key.startswith("HostConfig.") else f"Config.{key}")
    return _without_marks(made) if key == "HostConfig.Mounts" else made


def _without_marks(mounts: Any) -> Any:
    """Mounts without the labels of the engine's own: from 28.5 on it marks the volumes that have no name."""
    if not isinstance(mounts, list):
        return mounts
    return [_unmarked(mount) if isinstance(mount, Mapping) else mount for mount in mounts]


def _unmarked(mount: Mapping[str, Any]) -> Mapping[str, Any]:
    options = mount.get("VolumeOptions")
    if not isinstance(options, Mapping) or not isinstance(options.get("Labels"), Mapping):
        return mount
    labels = {name: value for name, value in options["Labels"].items() if not name.startswith(ENGINES_OWN)}
    return {**mount, "VolumeOptions": {**options, "Labels": labels}}


def _look_up(document: Mapping[str, Any], key: str) -> Any:
    here: Any = document
    for part in key.split("."):
        here = here.get(part) if isinstance(here, Mapping) else None
    return here


def _difference(key: str, asked: Any, made: Any) -> str | None:
    if key in _MERGED:
        missing = _missing(asked, made or type(asked)())
        return f"{key}: asked for {missing}, which the engine did not set" if missing else None
    if asked == made or (not asked and not made):  # the engine shows an empty list also as null
        return None
    return f"{key}: asked for {_short(asked)}, the engine made {_short(made)}"


def _missing(asked: Any, made: Any) -> Any:
    if isinstance(asked, Mapping):
        return {name: value for name, value in asked.items() if made.get(name) != value}
    return [item for item in asked if item not in made]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "…"
