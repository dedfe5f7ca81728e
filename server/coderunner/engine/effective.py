"""Compares a container as the engine made it with the table of settings.

The engine silently ignores keys that it does not know and settings that its kernel does not support. Whether
a limit is really enforced, it cannot tell; the canary tests that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coderunner.engine.containers import SETTINGS

ENGINES_OWN = "com.docker.volume."
_MERGED = frozenset({"Env", "Labels", "HostConfig.Ulimits"})
"""Settings to which the image or the engine's configuration may add; the requested values must be
included."""


def compare(body: Mapping[str, Any], document: Mapping[str, Any]) -> list[str]:
    """The settings of a create request's `body` that differ in the engine's `document`, one text for each."""
    return [
        difference
        for setting in SETTINGS
        # Settings that were not asked for are the engine's defaults, which the canary tests where they
        # matter.
        if (asked := _look_up(body, setting.key)) is not None
        and (difference := _difference(setting.key, asked, _made(document, setting.key))) is not None
    ]


def _made(document: Mapping[str, Any], key: str) -> Any:
    made = _look_up(document, key if key.startswith("HostConfig.") else f"Config.{key}")
    return _without_marks(made) if key == "HostConfig.Mounts" else made


def _without_marks(mounts: Any) -> Any:
    """Mounts without the engine's own labels: since 28.5 it labels volumes without a name."""
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
        # `type(asked)()`: an engine may report null for an empty list or table.
        missing = _missing(asked, made or type(asked)())
        return f"{key}: asked for {missing}, which the engine did not set" if missing else None
    if asked == made or (not asked and not made):  # the engine may report an empty list as null
        return None
    return f"{key}: asked for {_short(asked)}, the engine made {_short(made)}"


def _missing(asked: Any, made: Any) -> Any:
    if isinstance(asked, Mapping):
        return {name: value for name, value in asked.items() if made.get(name) != value}
    return [item for item in asked if item not in made]


def _short(value: Any) -> str:
    text = repr(value)
    # 200 characters: the seccomp profile alone has 65,000, and the text is for a log line.
    return text if len(text) <= 200 else text[:200] + "…"
