"""Writes the languages' images to an archive and loads them from it, for machines without a network."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import docker

from coderunner.engine.threads import Say, Stop

PIECE = 1024 * 1024
LEVEL = 4  # of gzip: twice as fast as the default level, with archives that are 5% larger
TOLD_EVERY = 256 * 1024 * 1024  # bytes between two lines of progress
PACKED = (".gz", ".tgz")


class CannotCarry(Exception):
    """The archive cannot be written or read; the text has the reason."""


def save(
    client: docker.APIClient, references: Iterable[str], path: Path, size: int, stop: Stop, say: Say
) -> int:
    """Writes images to the archive `path`, compressed if its name ends with `.gz`. Returns its size in bytes.

    `references`: the images. `size`: bytes of their layers, for the progress and the check of the free space.
    `stop`: ends the work when set. `say`: called with each line of progress. Raises CannotCarry.
    """
    folder = path.absolute().parent
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise CannotCarry(f"{folder}: {error.strerror}") from None
    packed = path.name.endswith(PACKED)
    say(f"{_mb(size)} of images{', before compression' if packed else ''}; {folder} has {_mb(free)} free")
    if free < (size // 2 if packed else size):  # gzip is assumed to halve the size
        raise CannotCarry(f"{folder} has no space for {_mb(size)}; name fewer languages, or another folder")
    # Written under another name, so that a broken archive is never taken for a complete one.
    draft = path.with_name(path.name + ".part")
    url = f"{client.base_url}/v{client.api_version}/images/get"
    try:
        with ExitStack() as stack:
            answer = stack.enter_context(client.get(url, params={"names": list(references)}, stream=True))
            answer.raise_for_status()
            file: IO[bytes] = stack.enter_context(draft.open("wb"))
            if packed:
                # `mtime=0`: the same images give the same archive.
                file = stack.enter_context(gzip.GzipFile("", "wb", LEVEL, file, mtime=0))  # type: ignore[arg-type]
            _copy(answer.iter_content(PIECE), file.write, size, stop, say)
        os.replace(draft, path)
        return path.stat().st_size
    except OSError as error:
        raise CannotCarry(f"{path}: {error.strerror or error}") from None
    finally:
        draft.unlink(missing_ok=True)


def load(client: docker.APIClient, path: Path, stop: Stop, say: Say) -> list[str]:
    """Loads an archive of `save`, or of `docker save`, into the engine. Returns the images' names.

    `stop` and `say`: as for `save`. Raises CannotCarry.
    """
    loaded = []
    try:
        with path.open("rb") as file:
            say(f"{_mb(os.fstat(file.fileno()).st_size)} to read")
            for line in client.load_image(_pieces(file, stop)):
                text = str(line.get("stream") or "").strip()
                if text.startswith("Loaded image: "):
                    loaded.append(text.removeprefix("Loaded image: "))
                    say(text)
    except OSError as error:
        raise CannotCarry(f"{path}: {error.strerror or error}") from None
    # An archive of `docker save` by id has images without names, which no server would find.
    if not loaded:
        raise CannotCarry(f"{path} has no image with a name; make the archive with `coderunner images save`")
    return loaded


def _copy(pieces: Iterable[bytes], write: Callable[[bytes], object], size: int, stop: Stop, say: Say) -> None:
    done = told = 0
    for piece in pieces:
        # The thread cannot be interrupted, so it looks between two pieces (1 MiB).
        if stop.is_set():
            raise CannotCarry("cancelled")
        write(piece)
        done += len(piece)
        if done - told >= TOLD_EVERY:
            told = done
            say(f"{_mb(done)} of about {_mb(size)}")


def _pieces(file: IO[bytes], stop: Stop) -> Iterator[bytes]:
    while not stop.is_set() and (piece := file.read(PIECE)):
        yield piece


def _mb(size: int) -> str:
    return f"{round(size / 1e6):,} MB"
