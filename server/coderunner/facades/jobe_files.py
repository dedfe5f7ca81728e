"""Files that Jobe's callers send before the runs that use them, in a folder of bounded size."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import OrderedDict
from pathlib import Path

from aiohttp import web

from coderunner.errors import FileTooLarge
from coderunner.fleet.registry import Caller

MAX_FILE = 2 * 1024 * 1024  # bytes
MAX_ALL, MAX_OF_ONE = 128 * 1024 * 1024, 32 * 1024 * 1024  # bytes of all callers' files, and of one caller's
COST = 4096  # bytes that a file counts as at least, as it takes a name and a block


class Cache:
    """Files by caller and id. Beyond the bounds, the least recently used are removed.

    Jobe's clients send a file again if it is missing. `folder`: used only by this server. Methods block: call
    them in a thread, one at a time.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sizes: OrderedDict[str, int] = OrderedDict()  # the least recently used first
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        found = [(one.stat(), one) for one in folder.iterdir()]
        # Only the time of writing is stored: after a restart it stands for the last use.
        for told, one in sorted(found, key=lambda pair: pair[0].st_mtime):
            # Left by a server that was killed while writing.
            if one.name.endswith(".new"):
                one.unlink(missing_ok=True)
            else:
                self._sizes[one.name] = max(told.st_size, COST)

    def put(self, caller: Caller, name: str, data: bytes) -> None:
        """Stores a file. Raises FileTooLarge, OSError."""
        if len(data) > MAX_FILE:
            raise FileTooLarge(f"the file has {len(data)} bytes; send at most {MAX_FILE}")
        whose = _whose(caller)
        # Digests, so that clients choose no part of a path.
        path = self._folder / (whose + _digest(name))
        descriptor, draft = tempfile.mkstemp(suffix=".new", dir=self._folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            # Renamed: a run that reads the file meanwhile gets the old content or the new, never a part.
            Path(draft).replace(path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
        self._sizes.pop(path.name, None)
        self._sizes[path.name] = max(len(data), COST)
        # The caller's own first, so that one who stores much loses its own files before others lose any.
        self._shrink(whose, MAX_OF_ONE)
        self._shrink("", MAX_ALL)

    def _shrink(self, whose: str, maximum: int) -> None:
        """Removes the files of one caller, or with "" of all, that were used least recently."""
        held = [(name, size) for name, size in self._sizes.items() if name.startswith(whose)]
        total = sum(size for _, size in held)
        for name, size in held:
            if total <= maximum:
                return
            total -= size
            del self._sizes[name]
            (self._folder / name).unlink(missing_ok=True)

    def get(self, caller: Caller, name: str) -> bytes | None:
        """A file's content; None if it is not there."""
        path = self._folder / (_whose(caller) + _digest(name))
        if path.name not in self._sizes:
            return None
        try:
            data = path.read_bytes()
        except OSError:
            return None
        self._sizes.move_to_end(path.name)
        return data

    def has(self, caller: Caller, name: str) -> bool:
        """Whether a file is stored."""
        return _whose(caller) + _digest(name) in self._sizes


def _whose(caller: Caller) -> str:
    """The prefix of the names of a caller's files, which keeps callers' files apart."""
    return _digest(f"{caller.principal}" if caller.principal else f"address {caller.address}")[:16] + "-"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


FILES: web.AppKey[Cache] = web.AppKey("jobe_files", Cache)
