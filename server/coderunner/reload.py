"""Watches the server's source files, for development."""

from __future__ import annotations

import asyncio
from pathlib import Path

# Compared by time, without inotify: it works in every mount of a container, and needs no library.
LOOK_SECONDS = 1.0  # between two comparisons of the files' times
SUFFIXES = (".py", ".toml", ".json", "Dockerfile")


def _stamps(folder: Path) -> dict[Path, int]:
    return {
        path: path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.name.endswith(SUFFIXES) and path.is_file()
    }


async def changed_sources(folder: Path) -> str:
    """Waits until a source file below `folder` is changed, added or removed; returns its name."""
    before = await asyncio.to_thread(_stamps, folder)
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            now = await asyncio.to_thread(_stamps, folder)
        except FileNotFoundError:
            continue  # an editor is replacing a file at this moment
        if now != before:
            different = {path for path in now.keys() | before.keys() if now.get(path) != before.get(path)}
            # One is enough for the log; the smallest, so that it is always the same one.
            return min(different).name
