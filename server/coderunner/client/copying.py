"""`coderunner cp`: files and folders to and from the workspace of a session."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from coderunner.client.patience import Away
from coderunner.client.refused import Refused, check_names
from coderunner.client.rest import Answer, Rest, file_route
from coderunner.schema import messages as m

MOST_FILES = 4096  # in one copy
MESSAGE_BYTES = 1024 * 1024  # of files in a message: of the 2 MiB that a server accepts, as JSON
OPEN_BYTES = 32 * 1024  # the same of `open`, for which it is 64 KiB
FILE_BYTES = 40  # of a file besides its path and content: the names of the fields

Step = Callable[[str], None]
"""Is told the path of each file that was copied."""


async def upload(rest: Rest, source: Path, target: str, step: Step) -> int:
    """Copies a file or a folder into the session. `target`: a path there; with a slash at its end, or empty,
    the folder to copy into. Returns the number of files. Raises Refused, OSError, and as `Rest`."""
    found, own = await asyncio.to_thread(_listed, source)
    base = target if target and not target.endswith("/") else target + own
    for inner, path in found:
        data = await asyncio.to_thread(path.read_bytes)
        name = f"{base}/{inner}" if inner else base
        _checked(await rest("PUT", file_route(name), data), name)
        step(name)
    return len(found)


def divided(files: Sequence[m.File], room: int = MESSAGE_BYTES) -> tuple[list[m.File], list[m.File]]:
    """The files to send within a message, and those to upload besides, as it has no room for them: more than
    `room` bytes in all."""
    sent: list[m.File] = []
    large: list[m.File] = []
    for one in files:
        size = _encoded(bytes(one.content or b"")) + _encoded(one.path.encode()) + FILE_BYTES
        (sent if size <= room else large).append(one)
        room -= size if size <= room else 0
    return sent, large


def _encoded(data: bytes) -> int:
    """The size of a file's content in a message, in bytes."""
    try:
        return len(json.dumps(data.decode(), ensure_ascii=False).encode())  # its ends of lines are two bytes
    except UnicodeDecodeError:
        return len(data) * 4 // 3 + 4  # base64


async def bring_files(rest: Rest, files: Sequence[m.File]) -> None:
    """Uploads files whose content is known. Raises Refused, and as `Rest`."""
    for one in files:
        _checked(await rest("PUT", file_route(one.path), bytes(one.content or b"")), one.path)


def _listed(source: Path) -> tuple[list[tuple[str, Path]], str]:
    """(files by their paths below `source`, its own name); the path is "" if `source` is a file itself.
    Raises Refused if there are more than MOST_FILES, or if a name is not UTF-8."""
    if not source.is_dir():
        return [("", source)], source.resolve().name
    found = [(one.relative_to(source).as_posix(), one) for one in sorted(source.rglob("*")) if one.is_file()]
    if len(found) > MOST_FILES:
        raise Refused(f"{source} has {len(found)} files; at most {MOST_FILES} are copied at once")
    check_names(path for path, _ in found)
    return found, source.resolve().name


async def download(rest: Rest, source: str, target: Path, step: Step) -> int:
    """Copies a file or a folder out of the session. `target`: a path here, or a folder to copy into. Returns
    the number of files. Raises Refused, OSError, and as `Rest`."""
    source = source.strip("/")
    listed = _checked(await rest("GET", "/files"), "the session").document
    if not listed["complete"]:
        raise Refused("the session has too many files to be listed; name one of them")
    paths = [one["path"] for one in listed["files"] if not one["folder"]]
    pairs = await asyncio.to_thread(_pairs, paths, source, target)
    for path, place in pairs:
        answer = _checked(await rest("GET", file_route(path)), path)
        await asyncio.to_thread(_write, place, answer.body)
        step(path)
    return len(pairs)


def _pairs(paths: list[str], source: str, target: Path) -> list[tuple[str, Path]]:
    """Each path to copy, with the place to write it to. Raises Refused if there is none, or if a place would
    be outside of `target`."""
    inside = [path for path in paths if not source or path.startswith(source + "/")]
    within = target.is_dir()
    base = target / PurePosixPath(source).name if source and within else target
    if source in paths:
        pairs = [(source, base)]
    elif inside:
        pairs = [(path, base / path.removeprefix(source).lstrip("/")) for path in inside]
    else:
        raise Refused(f"the session has no file {source!r}")
    roots = (base.resolve(), (target if within else target.parent).resolve())
    for path, place in pairs:
        # A server is not trusted to name paths: none of them may lead out of what was named here.
        if "\0" in path or not all(place.resolve().is_relative_to(root) for root in roots):
            raise Refused(f"the session has a file that would be written outside of {roots[0]}: {path!r}")
    return pairs


def _write(place: Path, data: bytes) -> None:
    """Writes a file and the folders above it. Raises OSError."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)


def _checked(answer: Answer, name: str) -> Answer:
    """Returns an answer that is no refusal. Raises Refused with `name` and the server's reason, and Away."""
    if not answer.own:
        raise Away(name, answer.status)
    if answer.status < 400:
        return answer
    raise Refused(f"{name}: {answer.document['detail']}")
