"""`coderunner upgrade-check`: reports what replacing the running version by this one would do.
Changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from coderunner import __version__, declarations, places
from coderunner.config import Settings
from coderunner.engine.agents import spoken
from coderunner.engine.images import ImageBuilder
from coderunner.wire import VERSION

UNITS = Path("/etc/systemd/system")


async def check(settings: Settings, units: Path = UNITS) -> tuple[bool, list[str]]:
    """Returns (whether all sessions would survive, the report as lines).
    `units`: the folder of installed systemd units.

    Raises EngineUnavailable, ConfigError.
    """
    containers = await asyncio.to_thread(spoken, settings.docker_host, settings.instance_name)
    lines = [f"version {__version__}, instance {settings.instance_name}: the settings are valid"]
    # An agent keeps its version as long as its container runs;
    # a server only talks to agents of its own version.
    ending = sum(count for version, count in containers.items() if version != VERSION)
    staying = containers[VERSION]
    if ending:
        lines.append(f"sessions: {ending} containers have another agent version; their sessions will END")
    lines.append(f"sessions: {staying} containers continue; the next server adopts them")
    declared = declarations.load(only=settings.languages)
    uids = range(settings.session_uid_base, settings.session_uid_base + settings.session_uid_count)
    present = await ImageBuilder(settings.docker_host, declared.folder, uids).present(declared.languages)
    missing = [name for name in declared.demand if name not in present]
    if missing:
        lines.append(
            f"images: {len(missing)} are missing, run `coderunner images build` first: {', '.join(missing)}"
        )
    else:
        lines.append(f"images: all {len(present)} exist")
    lines += _units(units)
    lines.append("run `coderunner files CHANGELOG.md` to see what has changed")
    return not ending, lines


def _units(folder: Path) -> Iterator[str]:
    """Lines about installed units and other files of deploy/ that differ from this version's."""
    for name, path in places.files().items():
        installed = folder / path.name
        # What is not installed is not missed: many servers run without systemd.
        there = name.startswith("deploy/") and installed.is_file()
        if there and installed.read_bytes() != path.read_bytes():
            yield f"{installed} differs from this version's; compare it with `coderunner files {name}`"
